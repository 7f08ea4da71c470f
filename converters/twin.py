"""The same network, written so that a converter and an interpreter make the most of it.

A twin is rebuilt from the model's own configuration, with other settings or another class for each
recurrent layer in it, however deep, and for layers that can be cut into blocks
(`converters.blocks`), and takes over the weights. Nothing here knows an architecture.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, Final

from converters._tensorflow import keras, tf
from converters.blocks import BlockwiseDense, cut_into_blocks
from converters.formats import first_line
from edge_agent.contract.errors import ConversionError

if TYPE_CHECKING:
    from collections.abc import Iterator

# What an LSTM must be like for Keras to mark it as one operator, as for its fast kernel on GPUs.
_FUSIBLE: Final = {
    "activation": "tanh",
    "recurrent_activation": "sigmoid",
    "use_bias": True,
    "recurrent_dropout": 0,
}


class StepwiseLSTM(keras.layers.LSTM):  # type: ignore[misc]
    """An LSTM written out step by step; for inference.

    Keras unrolls an LSTM too, but cuts the sequence by a transposition and an operator that
    XNNPACK does not take over, and adds up two products a gate. Here the sequence is cut by slices,
    and input and state go through one product together: a third fewer operators.

    Each gate is a product of its own, so that in int8 each has a range of its own: with the four of
    them in one tensor scores are off by twice as much.
    """

    def call(
        self, inputs: Any, mask: Any = None, training: Any = None, initial_state: Any = None
    ) -> Any:
        """The output of the last step or, with `return_sequences`, of all."""
        if mask is not None or initial_state is not None or self.return_state or self.stateful:
            return super().call(inputs, mask, training, initial_state)
        outputs = self._outputs(_steps(inputs, self.go_backwards))
        return tf.stack(outputs, axis=1) if self.return_sequences else outputs[-1]

    def _outputs(self, steps: list[Any]) -> list[Any]:
        state = memory = None
        outputs = []
        for step in steps:
            entry, keep, new, exit_ = self._gates(step, state)
            memory = entry * new if memory is None else keep * memory + entry * new
            state = exit_ * self.activation(memory)
            outputs.append(state)
        return outputs

    def _gates(self, step: Any, state: Any) -> list[Any]:
        """Input gate, forget gate, candidate and output gate, in Keras' order."""
        kernel = tf.concat([self.cell.kernel, self.cell.recurrent_kernel], axis=0)
        if state is None:
            # Zeros, rather than a product with the upper part: its weights would stand twice.
            step = tf.pad(step, [[0, 0], [0, self.units]])
        else:
            step = tf.concat([step, state], axis=1)
        products = [tf.matmul(step, part) for part in tf.split(kernel, 4, axis=1)]
        if self.use_bias:
            biases = tf.split(self.cell.bias, 4)
            products = [
                tf.nn.bias_add(product, part)
                for product, part in zip(products, biases, strict=True)
            ]
        squash, shape = self.recurrent_activation, self.activation
        return [
            function(product)
            for function, product in zip((squash, squash, shape, squash), products, strict=True)
        ]


_OWN: Final = {kind.__name__: kind for kind in (StepwiseLSTM, BlockwiseDense)}
"""Classes that Keras must find by their names while a twin is rebuilt."""


def is_recurrent(model: Any) -> bool:
    """Whether a Keras model has recurrent layers, so that it matters what becomes of them."""
    return any(True for _ in _recurrent(model.get_config()))


def unrolled_twin(model: Any) -> Any:
    """The same model with every recurrent layer unrolled, sharing no weights with the original.

    Raises:
        ConversionError: The model holds code of its own.
    """
    config = copy.deepcopy(model.get_config())
    for layer in _recurrent(config):
        # `implementation` 1 computes each gate for itself, see `StepwiseLSTM`.
        layer["config"].update(unroll=True, implementation=1)
        if layer["class_name"] == "LSTM":
            name = StepwiseLSTM.__name__
            layer.update(class_name=name, registered_name=name, module=None)
    return _rebuilt(model, config)


def fusible_twin(model: Any) -> Any:
    """The same model with every recurrent layer rolled, sharing no weights with the original.

    Raises:
        ConversionError: TFLite has no operator for one of those layers, or the model holds code of
            its own.
    """
    config = copy.deepcopy(model.get_config())
    for layer in _recurrent(config):
        kind, settings = layer["class_name"], layer["config"]
        if kind != "LSTM" or any(settings[key] != value for key, value in _FUSIBLE.items()):
            raise ConversionError(
                f"the {kind} layer {settings['name']!r} cannot become one operator, only an LSTM of"
                " tanh and sigmoid with a bias and without recurrent dropout can; convert it"
                " unrolled."
            )
        settings["unroll"] = False
    return _rebuilt(model, config)


def _rebuilt(model: Any, config: dict[str, Any]) -> Any:
    cut_into_blocks(model, config)
    try:
        twin = type(model).from_config(config, custom_objects=_OWN)
    except (ValueError, TypeError) as error:
        raise ConversionError(
            f"the model cannot be rebuilt from its configuration ({first_line(error)}); use layers"
            " that Keras has built in."
        ) from error
    if not twin.built:
        twin.build(model.input_shape)
    twin.set_weights(model.get_weights())
    return twin


def _recurrent(config: Any) -> Iterator[dict[str, Any]]:
    """The entry of each recurrent layer in a model's configuration, however deep."""
    if isinstance(config, dict):
        inner = config.get("config")
        if isinstance(inner, dict) and "unroll" in inner:
            yield config
        for value in config.values():
            yield from _recurrent(value)
    elif isinstance(config, (list, tuple)):
        for value in config:
            yield from _recurrent(value)


def _steps(sequence: Any, backwards: bool) -> list[Any]:
    """Each step of a sequence (n, steps, width), as (n, width).

    Slices of a table: those of a sequence would drop an axis, which XNNPACK does not.
    """
    steps, width = sequence.shape[1:]
    table = tf.reshape(sequence, (-1, steps * width))
    starts = range(0, steps * width, width)
    return [
        table[:, start : start + width] for start in (reversed(starts) if backwards else starts)
    ]
