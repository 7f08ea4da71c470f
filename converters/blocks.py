"""A wide Dense layer whose units each look at few neighbouring inputs, as several narrow ones.

The ramps of the `edge` CNN-LSTM are such a layer: 320 units in the order of the feature that each
looks at, one weight each, 78 inputs. As one product it is a quarter of the model's arithmetic and
of its bytes, nearly all of it zeros. Cut into a few blocks of units, each with the inputs between
its first and its last weight, it computes the same with a quarter of both. More blocks save little
more and are more operators, which is what one flow at a time is slow with.

The ReLU behind the layer goes into the blocks: in int8 it is what gives them their range.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from converters._tensorflow import keras, tf

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

_BLOCKS: Final = 4
# A kernel that blocks leave more of than this stays whole.
_WORTHWHILE: Final = 0.5


class BlockwiseDense(keras.layers.Dense):  # type: ignore[misc]
    """A Dense layer and the ReLU behind it, in blocks; for inference.

    Args:
        ceiling: Of the ReLU; None where it has none.
        settings: As of a Dense layer.
    """

    def __init__(self, ceiling: float | None, **settings: Any) -> None:
        super().__init__(**settings)
        self._clip = keras.layers.ReLU(ceiling)

    def call(self, inputs: Any) -> Any:
        """The units' outputs, shape (n_rows, units)."""
        # Where the weights are is known before the graph is: they are not variables of it.
        with tf.init_scope():
            kernel = self.kernel.numpy()
        outputs = []
        for seen, units in _blocks(kernel):
            product = tf.matmul(inputs[:, seen], self.kernel[seen, units])
            outputs.append(self._clip(tf.nn.bias_add(product, self.bias[units])))
        return tf.concat(outputs, axis=1)


def cut_into_blocks(model: Any, config: dict[str, Any]) -> None:
    """Change each layer of a model's configuration for which that pays, and its ReLU to nothing.

    Args:
        model: A Keras model.
        config: Of it, or of a twin with the same layers.
    """
    entries = {entry["config"]["name"]: entry for entry in config["layers"]}
    for layer in model.layers:
        clip = _relu_behind(layer)
        if clip is None or not _pays(layer):
            continue
        dense, relu = entries[layer.name], entries[clip.name]
        _make(dense, BlockwiseDense.__name__, dense["config"] | {"ceiling": clip.max_value})
        dense.update(registered_name=BlockwiseDense.__name__, module=None)
        identity = {"name": clip.name, "dtype": clip.dtype, "activation": "linear"}
        _make(relu, "Activation", identity)


def _make(entry: dict[str, Any], kind: str, settings: dict[str, Any]) -> None:
    entry.update(class_name=kind, config=settings)


def _relu_behind(layer: Any) -> Any:
    """The plain ReLU that alone takes a linear Dense layer's output; None where there is none."""
    if type(layer) is not keras.layers.Dense or layer.activation is not keras.activations.linear:
        return None
    users = layer.outbound_nodes
    if len(layer.inbound_nodes) != 1 or len(users) != 1 or not layer.use_bias:
        return None
    clip = users[0].outbound_layer
    plain = type(clip) is keras.layers.ReLU and not clip.negative_slope and not clip.threshold
    return clip if plain else None


def _pays(layer: Any) -> bool:
    kernel = layer.kernel.numpy()
    if kernel.shape[1] < _BLOCKS:
        return False
    left = sum(
        (seen.stop - seen.start) * (units.stop - units.start) for seen, units in _blocks(kernel)
    )
    return bool(left <= _WORTHWHILE * kernel.size)


def _blocks(kernel: NDArray[np.float32]) -> Iterator[tuple[slice, slice]]:
    """Inputs that are seen, and units that see them, block by block."""
    for units in np.array_split(np.arange(kernel.shape[1]), _BLOCKS):
        mine = slice(int(units[0]), int(units[-1]) + 1)
        # Units without any weight still need an input to be multiplied by zero.
        seen = (
            np.flatnonzero(kernel[:, mine].any(axis=1)) if kernel[:, mine].any() else units[:1] * 0
        )
        yield slice(int(seen[0]), int(seen[-1]) + 1), mine
