"""TensorFlow Lite Micro (TFLM): what it wants to know of a flatbuffer, and how to run one here.

A microcontroller links only the kernels that its firmware names, one `AddXxx()` a kernel, and plans
all memory before the first row, so that no shape may be open.
"""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from converters.operators import load_schema, operators
from edge_agent.contract.errors import ConversionError, InterpreterError
from edge_agent.detect import interpreter

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from converters.arena import Arena
    from edge_agent.detect.interpreter import Tensor

# The operators of `MicroMutableOpResolver`, micro_mutable_op_resolver.h of tflite-micro, as its
# methods call them behind "Add". Without underscores they are the format's own names.
_METHODS: Final = """
Abs Add AddN ArgMax ArgMin AssignVariable AveragePool2D BatchMatMul BatchToSpaceNd BroadcastTo
CallOnce Cast Ceil Concatenation Conv2D Cos CumSum DepthToSpace DepthwiseConv2D Dequantize Div
Elu Equal Exp ExpandDims Fill Floor FloorDiv FloorMod FullyConnected Gather GatherNd Greater
GreaterEqual HardSwish If L2Normalization L2Pool2D LeakyRelu Less LessEqual Log LogicalAnd
LogicalNot LogicalOr Logistic LogSoftmax Maximum MaxPool2D Mean Minimum MirrorPad Mul Neg
NotEqual Pack Pad PadV2 Prelu Quantize ReadVariable ReduceMax Relu Relu6 Reshape ResizeBilinear
ResizeNearestNeighbor Round Rsqrt SelectV2 Shape Sin Slice Softmax SpaceToBatchNd SpaceToDepth
Split SplitV Sqrt Square SquaredDifference Squeeze StridedSlice Sub Sum Svdf Tanh Transpose
TransposeConv UnidirectionalSequenceLSTM Unpack VarHandle While ZerosLike
"""
_METHOD_OF: Final = {name.upper(): name for name in _METHODS.split()}

# These keep a state from one row to the next, which the firmware must forget.
_STATEFUL: Final = frozenset({"UNIDIRECTIONAL_SEQUENCE_LSTM", "SVDF"})


def static_graph(flatbuffer: bytes) -> Any:
    """The one graph of a model, as the schema's `SubGraphT`.

    Raises:
        ConversionError: There are several graphs, or a shape is open.
    """
    graphs = load_schema().ModelT.InitFromPackedBuf(flatbuffer).subgraphs
    if len(graphs) != 1:
        raise ConversionError(
            f"the model has {len(graphs)} graphs, and a microcontroller gets one; use layers"
            " without loops and conditions."
        )
    for tensor in graphs[0].tensors:
        shapes = (tensor.shape, tensor.shapeSignature)
        if any(size < 0 for shape in shapes if shape is not None for size in shape):
            raise ConversionError(
                "the model has a tensor of open shape, and TensorFlow Lite Micro wants every shape"
                " fixed; convert it for a batch of 1."
            )
    return graphs[0]


def operator_names(flatbuffer: bytes) -> tuple[str, ...]:
    """Distinct operators by the format's names, such as "FULLY_CONNECTED", sorted."""
    return tuple(sorted(operators(flatbuffer)))


def resolver_calls(flatbuffer: bytes) -> tuple[str, ...]:
    """Methods of `MicroMutableOpResolver` that the firmware must call, such as "AddConv2D".

    Raises:
        ConversionError: TensorFlow Lite Micro has no such operator.
    """
    names = operator_names(flatbuffer)
    unknown = [name for name in names if name.replace("_", "") not in _METHOD_OF]
    if unknown:
        raise ConversionError(
            f"TensorFlow Lite Micro has no operator {' and no '.join(unknown)}; use other layers,"
            " or convert the model without --c-array."
        )
    return tuple(f"Add{_METHOD_OF[name.replace('_', '')]}" for name in names)


def keeps_state(flatbuffer: bytes) -> bool:
    """Whether a row's output depends on the row before, unless the interpreter is reset."""
    return not _STATEFUL.isdisjoint(operator_names(flatbuffer))


def installed() -> bool:
    """Whether the tflite-micro package is there; it is not imported."""
    return importlib.util.find_spec("tflite_micro") is not None


def load(flatbuffer: bytes, arena_bytes: int) -> Any:
    """TFLM's own interpreter with its memory laid out; a far too small arena ends the process.

    Raises:
        RuntimeError: TFLM refuses the model, or the arena is too small; it says why on the
            process's standard error.
    """
    from tflite_micro import runtime  # noqa: PLC0415  # few have it, and few need it

    return runtime.Interpreter.from_bytes(flatbuffer, arena_size=arena_bytes)


class MicroModel:
    """A static model on TFLM's own interpreter, as `interpreter.Predictor`, for who compares.

    Args:
        flatbuffer: Every shape fixed, batch 1.
        arena: At least what the model needs; with less, TFLM may end the process.

    Raises:
        InterpreterError: TFLM refuses the model.
    """

    def __init__(self, flatbuffer: bytes, arena: Arena) -> None:
        # The tensors are the model's, whoever runs it.
        model = interpreter.load(flatbuffer)
        self._input, self._output = model.input, model.output
        try:
            self._runtime = load(flatbuffer, arena.bytes)
        except RuntimeError as error:
            raise InterpreterError(
                f"TensorFlow Lite Micro refuses the model ({error}); convert it with --int8."
            ) from error

    @property
    def input(self) -> Tensor:
        """What `predict` takes per row."""
        return self._input

    @property
    def output(self) -> Tensor:
        """What `predict` gives per row."""
        return self._output

    def predict(self, rows: NDArray[Any]) -> NDArray[Any]:
        """Run rows of shape (n_rows, input.width) one after another, each from a fresh state."""
        result = np.empty((len(rows), self._output.width), dtype=self._output.dtype)
        for index, row in enumerate(rows):
            self._runtime.reset()
            self._runtime.set_input(row[None], 0)
            self._runtime.invoke()
            result[index] = self._runtime.get_output(0)[0]
        return result
