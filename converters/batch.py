"""A flatbuffer made for a stand-in number of rows becomes one for any number, or for another.

Asked for an open batch, the converter computes shapes at run time: it writes operators that ask for
a shape, take it apart and put another together, and each of them parts the graph into pieces that
XNNPACK runs on its own. Asked for a fixed batch it folds all that away. So it is asked for a batch
of `STAND_IN` rows, a number that no layer has for a width, and wherever that number stands in the
file it is then replaced. Open or fixed, the operators are the same.

A large number serves calibration too. The calibrator does not reset what a fused LSTM keeps between
invocations: fed row by row it would measure states that no flow ever starts from.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import flatbuffers  # type: ignore[import-untyped]
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from converters.strip import FILE_MARK
from edge_agent.contract.errors import ConversionError

if TYPE_CHECKING:
    from numpy.typing import NDArray

STAND_IN: Final = 2003
"""A prime, so that rows times steps are still recognised; wider than any layer; and more rows than
a run keeps for calibration, so that one call takes them all."""

_ANY: Final = -1
"""What the format writes for an open batch."""

# Operators that hold the shape of their result, and which of their inputs it is.
_SHAPE_INPUT: Final = {schema.BuiltinOperator.RESHAPE: 1, schema.BuiltinOperator.SLICE: 2}


def with_batch(flatbuffer: bytes, batch: int | None) -> bytes:
    """Change the batch of a model made for `STAND_IN` rows.

    Args:
        flatbuffer: The model.
        batch: Rows an invocation takes; None for any number.

    Raises:
        ConversionError: A constant differs from row to row of the batch.
    """
    model = schema.ModelT.InitFromPackedBuf(flatbuffer)
    constants: dict[int, NDArray[np.uint8]] = {}
    for graph in model.subgraphs:
        for operator in graph.operators:
            _change_operator(model, graph, operator, batch)
        for tensor in graph.tensors:
            # A scalar has no shape at all.
            if tensor.shape is not None and _places(tensor.shape).any():
                _change_tensor(model, tensor, batch, constants)
    for number, row in constants.items():
        model.buffers[number].data = row
    builder = flatbuffers.Builder()
    builder.Finish(model.Pack(builder), FILE_MARK)
    return bytes(builder.Output())


def _change_tensor(
    model: Any, tensor: Any, batch: int | None, constants: dict[int, NDArray[np.uint8]]
) -> None:
    """Change a tensor's shape; what its buffer shall hold, if it is a constant, goes aside.

    At once would be too early: another tensor may have the same buffer.
    """
    data = model.buffers[tensor.buffer].data
    if data is not None and len(data):
        constants[tensor.buffer] = _one_row(np.asarray(data), tensor.shape)
        tensor.shape = _changed(tensor.shape, 1)
        return
    if batch is None:
        tensor.shapeSignature = _changed(tensor.shape, None)
    tensor.shape = _changed(tensor.shape, batch or 1)


def _change_operator(model: Any, graph: Any, operator: Any, batch: int | None) -> None:
    """Change the shape that an operator holds as a constant."""
    code = model.operatorCodes[operator.opcodeIndex].builtinCode
    if code not in _SHAPE_INPUT:
        return
    buffer = model.buffers[graph.tensors[operator.inputs[_SHAPE_INPUT[code]]].buffer]
    if buffer.data is not None:
        shape = np.asarray(buffer.data).view(np.int32)
        buffer.data = _changed(shape, batch).view(np.uint8)
    # A reshape holds its shape twice.
    options = operator.builtinOptions
    if code == schema.BuiltinOperator.RESHAPE and options is not None:
        options.newShape = _changed(np.asarray(options.newShape), batch)


def _places(shape: NDArray[np.int32]) -> NDArray[np.bool_]:
    places: NDArray[np.bool_] = (shape > 0) & (shape % STAND_IN == 0)
    return places


def _changed(shape: NDArray[np.int32], batch: int | None) -> NDArray[np.int32]:
    size = _ANY if batch is None else shape // STAND_IN * batch
    return np.where(_places(shape), size, shape).astype(np.int32)


def _one_row(data: NDArray[np.uint8], shape: NDArray[np.int32]) -> NDArray[np.uint8]:
    """The first of a constant's rows, which must all be equal: it then goes with any batch."""
    rows = data.reshape(STAND_IN, -1)
    if shape[0] != STAND_IN or (rows != rows[0]).any():
        raise ConversionError(
            f"a constant of shape {shape.tolist()} in the model is not the same for every row of a"
            " batch; use layers that treat rows alike."
        )
    row: NDArray[np.uint8] = rows[0].copy()
    return row
