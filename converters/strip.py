"""The same flatbuffer without what no interpreter reads, and with equal parts stored once.

An unrolled LSTM is some two hundred small tensors, and the converter writes for each of them a
name, a buffer that is empty, and scales and shapes that hundreds of others share. None of that is
weights: it is more than half of an edge model's file. A flatbuffer may point to one vector or table
from many places, so equal ones are written once.

Scores do not change by a bit: operators, weights, shapes and quantisation stay as they are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import flatbuffers  # type: ignore[import-untyped]
import numpy as np
from ai_edge_litert import schema_py_generated as schema

if TYPE_CHECKING:
    from numpy.typing import NDArray

FILE_MARK: Final = b"TFL3"
"""What a TFLite file is known by."""

# What the schema demands of weights, and the generated writer forgets.
_BUFFER_ALIGNMENT: Final = 16
# The format's first buffer is the empty one by rule: tensors without constants point to it.
_EMPTY: Final = 0


class _Builder(flatbuffers.Builder):  # type: ignore[misc]
    """Writes every vector of numbers once, and bytes where an interpreter may map them."""

    head: int  # the base class's: where the part written so far begins

    def __init__(self) -> None:
        super().__init__(1 << 16)
        self._vectors: dict[tuple[str, bytes], int] = {}

    def CreateNumpyVector(self, x: NDArray[Any]) -> int:  # noqa: N802  # the base class's name
        key = (x.dtype.str, x.tobytes())
        if key not in self._vectors:
            if x.dtype == np.uint8:
                self._vectors[key] = self._aligned_bytes(key[1])
            else:
                self._vectors[key] = int(super().CreateNumpyVector(x))
        return self._vectors[key]

    def _aligned_bytes(self, data: bytes) -> int:
        self.StartVector(1, len(data), _BUFFER_ALIGNMENT)
        self.head = self.head - len(data)
        self.Bytes[self.head : self.head + len(data)] = data
        return int(self.EndVector())


class _Once:
    """Stands in for a table: packs it the first time, then points to what was packed."""

    def __init__(self, table: Any, packed: dict[tuple[Any, ...], int]) -> None:
        self._table = table
        self._packed = packed
        self._key = _key(table)

    def Pack(self, builder: _Builder) -> int:  # noqa: N802  # the generated code's name
        if self._key not in self._packed:
            self._packed[self._key] = self._table.Pack(builder)
        return self._packed[self._key]


def stripped(flatbuffer: bytes) -> bytes:
    """Rewrite a TFLite model without names, signatures and metadata, equal parts stored once.

    Args:
        flatbuffer: A model whose input and output are found by position, as the agent does.

    Returns:
        A smaller model that computes the same.
    """
    model = schema.ModelT.InitFromPackedBuf(flatbuffer)
    model.description = None
    model.metadata = model.metadataBuffer = model.signatureDefs = None
    _drop_empty_buffers(model)
    packed: dict[tuple[Any, ...], int] = {}
    for graph in model.subgraphs:
        graph.name = None
        for tensor in graph.tensors:
            tensor.name = None
            if tensor.quantization is not None:
                _forget_ranges(tensor.quantization)
                tensor.quantization = _Once(tensor.quantization, packed)
        for operator in graph.operators:
            if operator.builtinOptions is not None:
                operator.builtinOptions = _Once(operator.builtinOptions, packed)
    builder = _Builder()
    builder.Finish(model.Pack(builder), FILE_MARK)
    return bytes(builder.Output())


def _drop_empty_buffers(model: Any) -> None:
    """Let every tensor without constants point to the first buffer, which is empty by rule."""
    kept, place = [model.buffers[_EMPTY]], {_EMPTY: _EMPTY}
    for graph in model.subgraphs:
        for tensor in graph.tensors:
            buffer = model.buffers[tensor.buffer]
            if buffer.data is None or not len(buffer.data):
                tensor.buffer = _EMPTY
                continue
            if tensor.buffer not in place:
                place[tensor.buffer] = len(kept)
                kept.append(buffer)
            tensor.buffer = place[tensor.buffer]
    model.buffers = kept


def _forget_ranges(quantization: Any) -> None:
    """Drop the calibrated minimum and maximum: scale and zero point say the same."""
    quantization.min = quantization.max = None


def _key(value: Any) -> Any:
    """Hashable contents of a table, equal for equal tables."""
    if isinstance(value, np.ndarray):
        return (value.dtype.str, value.shape, value.tobytes())
    if isinstance(value, (list, tuple)):
        return tuple(_key(item) for item in value)
    if hasattr(value, "__dict__"):
        fields = tuple((name, _key(item)) for name, item in sorted(vars(value).items()))
        return (type(value).__name__, fields)
    return value
