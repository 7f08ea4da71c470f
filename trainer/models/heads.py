"""The last layers of every network: an attack score and, if wanted, shares of attack families.

One output of 1 + n_families columns, since the agent's interpreter reads one: the score first, the
families' shares behind it. Sigmoid and softmax stand as layers of their own: the loss is computed
from what goes into them, which keeps its gradient where a saturated sigmoid has none. Both always
are float32: in half precision a score near 1 has three digits.
"""

from __future__ import annotations

from typing import Any, Final

from trainer._tensorflow import keras

_SCORE: Final = "score"
_FAMILY: Final = "family"


def verdict(x: Any, n_families: int) -> Any:
    """Put the output on the last hidden layer.

    Args:
        x: A Keras tensor, shape (n_flows, any).
        n_families: How many attack families to tell apart; 0 for a score alone.

    Returns:
        A Keras tensor, shape (n_flows, 1 + n_families).
    """
    layers = keras.layers
    logit = layers.Dense(1, dtype="float32", name=f"{_SCORE}_logit")(x)
    score = layers.Activation("sigmoid", dtype="float32", name=_SCORE)(logit)
    if not n_families:
        return score
    logits = layers.Dense(n_families, dtype="float32", name=f"{_FAMILY}_logits")(x)
    shares = layers.Activation("softmax", dtype="float32", name=_FAMILY)(logits)
    return layers.Concatenate(dtype="float32", name="verdict")([score, shares])


def logits(model: Any) -> Any:
    """The same network, weights shared, with what goes into sigmoid and softmax as its output.

    Args:
        model: Its output is of `verdict`.
    """
    names = {layer.name for layer in model.layers}
    outputs = [model.get_layer(_SCORE).input]
    if _FAMILY in names:
        outputs.append(model.get_layer(_FAMILY).input)
        joined = keras.layers.Concatenate(dtype="float32", name="logits")(outputs)
    else:
        joined = outputs[0]
    return keras.Model(model.input, joined, name=f"{model.name}_logits")
