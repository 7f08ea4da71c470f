"""A Keras model becomes a TFLite flatbuffer. Runs in the child process, see `converters.worker`.

Strategy. What is converted is not the model but a twin of it (`converters.twin`), of which there
are two. With its recurrent layers unrolled it is plain matrix arithmetic: no state, any batch, the
fastest int8. With them rolled, and the batch fixed, each LSTM becomes one fused operator, which
keeps its state between invocations: the file is smaller and float is as fast at batch 1, but int8
is several times slower and less exact, since that operator has its own idea of ranges.

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

import numpy as np

from converters._tensorflow import tf
from converters.batch import STAND_IN, with_batch
from converters.calibration import calibration_rows
from converters.formats import Format, Recurrence, first_line
from converters.strip import stripped
from converters.twin import fusible_twin, is_recurrent, unrolled_twin
from edge_agent.contract.errors import ConversionError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray


def to_flatbuffer(
    model: Any,
    form: Format,
    scaled: NDArray[np.float32],
    recurrence: Recurrence = Recurrence.UNROLLED,
    batch: int | None = None,
) -> bytes:
    """Convert a Keras model.

    Args:
        model: Input (n_features,) in [0, 1], output (1,) or (1 + n_families,), any layers TFLite
            knows; see `check_shape`.
        form: How to store it.
        scaled: Calibration rows after scaling, shape (n_rows, n_features); used for int8.
        recurrence: What becomes of recurrent layers; a model without any (`is_recurrent`) converts
            to the same bytes either way, but for the batch.
        batch: Rows an invocation takes, every shape in the file fixed; None leaves them open where
            they can be: a fused layer takes one row.

    Raises:
        ConversionError: One of the model's layers does not fit.
    """
    if recurrence is Recurrence.FUSED and is_recurrent(model):
        network, batch = fusible_twin(model), batch or 1
    else:
        network = unrolled_twin(model)
    shape = (STAND_IN, model.input_shape[1])
    forward = tf.function(lambda features: network(features, training=False))
    converter = tf.lite.TFLiteConverter.from_concrete_functions(
        [forward.get_concrete_function(tf.TensorSpec(shape, tf.float32))], network
    )
    if form is not Format.FLOAT32:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if form is Format.FLOAT16:
        converter.target_spec.supported_types = [tf.float16]
    if form is Format.INT8:
        rows = calibration_rows(scaled)

        def representative() -> Iterator[list[NDArray[np.float32]]]:
            # A fixed batch takes no rest: rows repeated do not move a range.
            for start in range(0, len(rows), shape[0]):
                yield [np.resize(rows[start : start + shape[0]], shape)]

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
    return stripped(with_batch(flatbuffer, batch))


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
