"""How much memory TensorFlow Lite Micro wants for a model: measured where it is installed.

An interpreter for microcontrollers has no heap. The firmware hands it one array, the arena, and all
tensors and bookkeeping must fit. The measurement finds the smallest array with which a row passes
the `tflite-micro` package's interpreter; too small a one may end the process instead of raising, so
each attempt is a process of its own: `python -m converters.arena MODEL.tflite`.

Without that package an estimate stands in. It lays the tensors out as TFLM's planner does, largest
first, each in the lowest gap that is free while it lives (greedy_memory_planner.cc), and adds what
TFLM was measured to keep for every tensor and operator on a 64-bit host.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from converters import micro
from converters.operators import load_schema
from edge_agent.contract.errors import ConversionError

if TYPE_CHECKING:
    from collections.abc import Iterable

# TFLM aligns the arena and every tensor to this.
ALIGNMENT: Final = 16
# More memory than any microcontroller has: what does not run in it, does not run.
_LARGEST_BYTES: Final = 16 * 1024 * 1024

# What TFLM keeps beside the tensors, on a 64-bit host. The first two are the sizes of its structs;
# the others were fitted to what it reports of eight models, int8 and float32.
_TENSOR_BYTES: Final = 24
_NODE_BYTES: Final = 64
_KERNEL_BYTES: Final = 72
_CHANNEL_BYTES: Final = 8  # multiplier and shift, 32 bits each
_LSTM_BYTES: Final = 800
_FIXED_BYTES: Final = 1200
# While it plans, TFLM keeps its notes where the planned tensors will be; of a model of many small
# tensors they are larger than these.
_NOTE_BYTES: Final = 32  # of every tensor
_PLACE_BYTES: Final = 40  # of every tensor to place
_LSTM_NOTES_BYTES: Final = 4 * (_NOTE_BYTES + _PLACE_BYTES)  # its kernel's four scratch buffers

# Bytes a number, where it is not one.
_WIDTH: Final = {"FLOAT32": 4, "INT32": 4, "INT64": 8, "INT16": 2}


@dataclass(frozen=True, slots=True)
class Arena:
    """Memory for a model's tensors and TFLM's bookkeeping.

    Attributes:
        bytes: Size of the array, a multiple of `ALIGNMENT`.
        measured: Whether a row has passed TFLM with it; else it is an estimate.
        how: How the number was found and what it holds for, in a sentence or two.
    """

    bytes: int
    measured: bool
    how: str


def needed(flatbuffer: bytes) -> Arena:
    """The arena of a model: measured where `tflite_micro` is installed, else estimated.

    Raises:
        ConversionError: A shape is open, or TFLM refuses the model.
    """
    micro.static_graph(flatbuffer)  # refuses what TFLM would refuse less clearly
    if not micro.installed():
        return estimated(flatbuffer)
    return measured(flatbuffer)


def measured(flatbuffer: bytes) -> Arena:
    """The smallest arena with which a row passes TFLM on this host.

    Raises:
        ConversionError: TFLM refuses the model whatever its arena.
    """
    with tempfile.TemporaryDirectory(prefix="edge-convert-") as folder:
        path = Path(folder) / "model.tflite"
        path.write_bytes(flatbuffer)
        done = subprocess.run(
            [sys.executable, "-m", "converters.arena", str(path)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            env=_environment(),
            check=False,
        )
    if done.returncode:
        told = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        raise ConversionError(
            f"TensorFlow Lite Micro refuses the model ({' '.join(told[:2]) or 'no output'});"
            " convert it with --int8."
        )
    return Arena(
        int(done.stdout),
        measured=True,
        how=f"Measured with tflite-micro's reference kernels on a {8 * _pointer_bytes()}-bit host:"
        f" the smallest multiple of {ALIGNMENT} with which a row passes. A 32-bit target needs less"
        " for the same kernels; optimised ones (CMSIS-NN, ESP-NN) may ask for more.",
    )


def estimated(flatbuffer: bytes) -> Arena:
    """What TFLM will need on a 64-bit host, within some percent, without asking it.

    Raises:
        ConversionError: A shape is open.
    """
    graph = micro.static_graph(flatbuffer)
    lifetimes = _lifetimes(graph, _constant_tensors(flatbuffer, graph))
    recurrent = micro.keeps_state(flatbuffer)
    notes = (
        _NOTE_BYTES * len(graph.tensors)
        + _PLACE_BYTES * len(lifetimes)
        + _LSTM_NOTES_BYTES * recurrent
    )
    variable = sum(_tensor_bytes(tensor) for tensor in graph.tensors if tensor.isVariable)
    total = (
        max(_peak_bytes(lifetimes), notes)
        + variable
        + _TENSOR_BYTES * len(graph.tensors)
        + (_NODE_BYTES + _KERNEL_BYTES) * len(graph.operators)
        + _CHANNEL_BYTES * sum(_channels(graph, operator) for operator in graph.operators)
        + _LSTM_BYTES * recurrent
        + _FIXED_BYTES
    )
    return Arena(
        _aligned(total),
        measured=False,
        how="Estimated for a 64-bit host from the tensors' lifetimes and TFLM's usual bookkeeping;"
        " install tflite-micro beside edge-convert to have it measured, and ask"
        " arena_used_bytes() on the target.",
    )


@dataclass(frozen=True, slots=True)
class _Lifetime:
    """A tensor that needs memory from its first to its last operator, both included."""

    size_bytes: int
    first: int
    last: int

    def meets(self, other: _Lifetime) -> bool:
        return self.first <= other.last and other.first <= self.last


def _lifetimes(graph: Any, constant: set[int]) -> list[_Lifetime]:
    first = {int(index): 0 for index in graph.inputs}
    last = dict(first)
    for step, operator in enumerate(graph.operators):
        for index in map(int, (*operator.inputs, *operator.outputs)):
            first.setdefault(index, step)
            last[index] = step
    last.update((int(index), len(graph.operators) - 1) for index in graph.outputs)
    return [
        _Lifetime(_aligned(_tensor_bytes(graph.tensors[index])), first[index], last[index])
        for index in first
        if index >= 0 and index not in constant and not graph.tensors[index].isVariable
    ]


def _peak_bytes(lifetimes: Iterable[_Lifetime]) -> int:
    """Memory that TFLM's greedy planner lays these out in."""
    placed: list[tuple[int, _Lifetime]] = []
    for lifetime in sorted(lifetimes, key=lambda item: -item.size_bytes):
        offset = 0
        for start, other in sorted(placed, key=lambda item: item[0]):
            if not lifetime.meets(other):
                continue
            if start - offset >= lifetime.size_bytes:
                break
            offset = max(offset, start + other.size_bytes)
        placed.append((offset, lifetime))
    return max((offset + item.size_bytes for offset, item in placed), default=0)


def _constant_tensors(flatbuffer: bytes, graph: Any) -> set[int]:
    buffers = load_schema().ModelT.InitFromPackedBuf(flatbuffer).buffers
    return {
        index
        for index, tensor in enumerate(graph.tensors)
        if buffers[tensor.buffer].data is not None and len(buffers[tensor.buffer].data)
    }


def _channels(graph: Any, operator: Any) -> int:
    """Output channels of an operator whose weights have a scale each, 0 for others."""
    if len(operator.inputs) < 2:
        return 0
    weights = graph.tensors[operator.inputs[1]]
    scales = weights.quantization.scale if weights.quantization is not None else None
    return 0 if scales is None else len(scales)


def _tensor_bytes(tensor: Any) -> int:
    types = load_schema().TensorType
    width = {getattr(types, name): width for name, width in _WIDTH.items()}.get(tensor.type, 1)
    return int(np.prod(tensor.shape, dtype=np.int64)) * width


def _aligned(size_bytes: int) -> int:
    return -(-size_bytes // ALIGNMENT) * ALIGNMENT


def _pointer_bytes() -> int:
    return np.dtype(np.intp).itemsize


def _environment() -> dict[str, str]:
    """The child finds this very package, and starts no threads that forking would lose."""
    here = str(Path(__file__).resolve().parent.parent)
    path = os.pathsep.join(filter(None, (here, os.environ.get("PYTHONPATH"))))
    return {**os.environ, "PYTHONPATH": path, "OPENBLAS_NUM_THREADS": "1"}


def main(arguments: list[str]) -> int:
    """Print the smallest arena of a model file; TFLM says on standard error what it refuses."""
    flatbuffer = Path(arguments[0]).read_bytes()
    likely_bytes = 2 * estimated(flatbuffer).bytes
    for size_bytes in (likely_bytes, _LARGEST_BYTES):
        if _passes(flatbuffer, size_bytes):
            break
    else:
        return 1
    too_small, enough = 0, size_bytes // ALIGNMENT
    while enough - too_small > 1:
        middle = (too_small + enough) // 2
        if _passes(flatbuffer, middle * ALIGNMENT):
            enough = middle
        else:
            too_small = middle
    sys.stdout.write(f"{enough * ALIGNMENT}\n")
    return 0


def _passes(flatbuffer: bytes, arena_bytes: int) -> bool:
    """Whether a row of zeros passes, tried in a fork: TFLM may die of too small an arena."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            interpreter = micro.load(flatbuffer, arena_bytes)
            tensor = interpreter.get_input_details(0)
            interpreter.set_input(np.zeros(tensor["shape"], tensor["dtype"]), 0)
            interpreter.invoke()
            code = 0
        except RuntimeError as error:
            sys.stderr.write(f"{error}\n")
        finally:
            # Not `sys.exit`: the copy must not run what its parent has yet to do.
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
