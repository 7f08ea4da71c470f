"""A Keras model becomes a TFLite flatbuffer. Runs in the child process, see `converters.worker`.

Strategy. A rolled LSTM converts either to one fused operator, which keeps its state between
invocations and is five times slower in int8 than in float32, or not at all. Unrolled it is plain
matrix arithmetic: no state, a dynamic batch, the fastest int8. So the model is rebuilt from its own
configuration with every recurrent layer unrolled, takes over the weights, and that twin is
converted. Nothing here knows an architecture.

The output is one table: the score and, for a model that names attack families, the share of each,
joined by a Concatenate layer. A concatenation has one scale for all it joins. Numbers of a sigmoid
and of a softmax are quantised alike, at scale 1/256 and zero point -128; joined they get 1/256, or
1/255 where the calibration rows reach from 0 to 1: next to nothing is lost.

The input is quantised at scale 1/255 and zero point -128, so that the bins of a quantile scaler are
int8 codes as they are (`contract.scaling`). The converter takes the range it saw, hence the
calibration rows must reach from 0 to 1 exactly; see `converters.calibration`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from converters._tensorflow import tf
from converters.calibration import calibration_rows
from converters.formats import Format, first_line
from converters.strip import stripped
from edge_agent.contract.errors import ConversionError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

# Rows a calibration step: ranges are the same for any number, larger steps are only faster.
_CALIBRATION_STEP = 64


def unrolled_twin(model: Any) -> Any:
    """The same model with every recurrent layer unrolled, sharing no weights with the original.

    Raises:
        ConversionError: The model holds code of its own.
    """
    try:
        twin = type(model).from_config(_unrolled(model.get_config()))
    except (ValueError, TypeError) as error:
        raise ConversionError(
            f"the model cannot be rebuilt from its configuration ({first_line(error)}); use layers"
            " that Keras has built in."
        ) from error
    if not twin.built:
        twin.build(model.input_shape)
    twin.set_weights(model.get_weights())
    return twin


def to_flatbuffer(model: Any, form: Format, scaled: NDArray[np.float32]) -> bytes:
    """Convert a Keras model.

    Args:
        model: Input (n_features,) in [0, 1], output (1,) or (1 + n_families,), any layers TFLite
            knows; see `check_shape`.
        form: How to store it.
        scaled: Calibration rows after scaling, shape (n_rows, n_features); used for int8.

    Raises:
        ConversionError: One of the model's layers does not fit.
    """
    converter = tf.lite.TFLiteConverter.from_keras_model(unrolled_twin(model))
    if form is not Format.FLOAT32:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if form is Format.FLOAT16:
        converter.target_spec.supported_types = [tf.float16]
    if form is Format.INT8:
        rows = calibration_rows(scaled)

        def representative() -> Iterator[list[NDArray[np.float32]]]:
            for start in range(0, len(rows), _CALIBRATION_STEP):
                yield [rows[start : start + _CALIBRATION_STEP]]

        converter.representative_dataset = representative
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = tf.int8
        converter.inference_output_type = tf.int8
    try:
        flatbuffer: bytes = converter.convert()
    # The converter lets through whatever its many layers raise; all of it means this one thing.
    except Exception as error:
        raise ConversionError(
            f"TensorFlow cannot convert the model to {form.value} ({first_line(error)}); use layers"
            " that TFLite has built in."
        ) from error
    return stripped(flatbuffer)


def check_shape(model: Any, families: Sequence[str] = ()) -> None:
    """Refuse a model that is not rows of numbers in, one table out.

    Args:
        model: A Keras model.
        families: Those of its run: behind the score it may have a column for each of them, or none.

    Raises:
        ConversionError: Its shape is another.
    """
    inputs, outputs = model.input_shape, model.output_shape
    if not (isinstance(inputs, tuple) and len(inputs) == 2 and inputs[0] is None):
        raise ConversionError(
            f"the model takes an input of shape {inputs}, not rows of n features; train it with"
            " edge-train."
        )
    if outputs not in ((None, 1), (None, 1 + len(families))):
        wanted = "one score a row"
        if families:
            wanted += f", alone or with the shares of the run's {len(families)} attack families"
        raise ConversionError(
            f"the model gives an output of shape {outputs}, not {wanted}; train it with edge-train."
        )


def _unrolled(config: Any) -> Any:
    """A model's configuration with every recurrent layer in it, however deep, unrolled.

    `implementation` 1 computes each gate for itself, so that in int8 each has a range of its own:
    half as many verdicts change as with the four of them in one tensor.
    """
    if isinstance(config, dict):
        deep = {key: _unrolled(value) for key, value in config.items()}
        if "unroll" in deep:
            deep["unroll"] = True
        if "implementation" in deep:
            deep["implementation"] = 1
        return deep
    if isinstance(config, (list, tuple)):
        return type(config)(_unrolled(value) for value in config)
    return config
