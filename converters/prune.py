"""Magnitude pruning: the smallest weights become zero while the others learn to do without them.

What it buys: the file packs better. Size and latency as such stay the same, since the interpreter
multiplies by zeros as by anything else. Half of the weights is nearly free.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import tensorflow_model_optimization as tfmot

from converters._tensorflow import keras, tf

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edge_agent.contract.runs import Rows

_EPOCHS: Final = 4
_BATCH_ROWS: Final = 256
# Small runs get more epochs: after fewer steps the score still stands where the zeros put it.
_MIN_STEPS: Final = 192
# A tenth of what training from nothing takes: the weights are good already.
_LEARNING_RATE: Final = 5e-4
_SEED: Final = 0
# As in training: families are learned beside the score, never at its cost.
_FAMILY_WEIGHT: Final = 0.2


def pruned_copy(model: Any, share: float, scaled: NDArray[np.float32], rows: Rows) -> Any:
    """A fine-tuned copy of a Keras model in which a share of each kernel's weights is zero.

    Args:
        model: Stays as it is.
        share: Between 0 and 1.
        scaled: Training rows after scaling, shape (n_rows, n_features).
        rows: The same rows, for their labels and families.
    """
    keras.utils.set_random_seed(_SEED)
    tf.config.experimental.enable_op_determinism()
    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    steps_per_epoch = max(1, -(-len(scaled) // _BATCH_ROWS))
    epochs = max(_EPOCHS, -(-_MIN_STEPS // steps_per_epoch))
    steps = epochs * steps_per_epoch
    # Zeros are added over the first half, often; the second half is for recovering.
    schedule = tfmot.sparsity.keras.PolynomialDecay(
        0.0, share, begin_step=0, end_step=max(1, steps // 2), frequency=max(1, steps // 40)
    )
    prunable = (keras.layers.Conv1D, keras.layers.Dense, keras.layers.LSTM, keras.layers.GRU)

    def wrapped(layer: Any) -> Any:
        # What is fixed in training was put there on purpose, one weight a column.
        if isinstance(layer, prunable) and layer.trainable:
            return tfmot.sparsity.keras.prune_low_magnitude(layer, pruning_schedule=schedule)
        return layer

    wrapper = keras.models.clone_model(copy, clone_function=wrapped)
    rate = keras.optimizers.schedules.CosineDecay(_LEARNING_RATE, steps)
    wrapper.compile(keras.optimizers.Adam(rate), joint_loss)
    wrapper.fit(
        scaled,
        targets(rows, model.output_shape[-1]),
        batch_size=_BATCH_ROWS,
        epochs=epochs,
        verbose=0,
        callbacks=[tfmot.sparsity.keras.UpdatePruningStep()],
    )
    return tfmot.sparsity.keras.strip_pruning(wrapper)


def targets(rows: Rows, width: int) -> NDArray[np.float32]:
    """What the model's output should be, shape (n_rows, width).

    Column 0 is the label; the others are all 0 for benign rows and attacks of no known family.
    """
    wanted = np.zeros((len(rows.label), width), dtype=np.float32)
    wanted[:, 0] = rows.label
    for family in range(1, width):
        wanted[:, family] = (rows.label == 1) & (rows.family == family)
    return wanted


def joint_loss(wanted: Any, output: Any) -> Any:
    """Cross-entropy of the score, and of the families over the rows that have one."""
    loss = keras.losses.binary_crossentropy(wanted[:, :1], output[:, :1])
    if output.shape[-1] > 1:
        # Rows that have none have a target of zeros, which costs nothing.
        families = keras.losses.categorical_crossentropy(wanted[:, 1:], output[:, 1:])
        loss += _FAMILY_WEIGHT * families
    return loss


def zero_share(model: Any) -> float:
    """Share of zeros among the weights of all kernels."""
    kernels = [weight.numpy() for weight in model.trainable_weights if len(weight.shape) > 1]
    zeros = sum(int((kernel == 0).sum()) for kernel in kernels)
    return float(zeros / max(1, sum(kernel.size for kernel in kernels)))
