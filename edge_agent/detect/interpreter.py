"""The one place that imports a TFLite interpreter.

`ai-edge-litert` and `tflite-runtime` are the same interpreter under its new and its old name, with
the same class and methods. Which one is there is a matter of the board (`RUNTIMES`).

Three facts shape this module:

- A fused LSTM keeps its state between invocations: each flow would start from the last flow's
  state, silently. So all variables are reset before every invocation; that costs 0.5 to 3 µs.
- Asking for tensor details costs as much as a small model, so they are asked for once.
- A model with a dynamic batch wants its memory laid out anew for each batch size (50 to 500 µs),
  while one interpreter per size costs under a megabyte once. So a few fixed sizes are kept ready
  (`BATCH_SIZES`), rows are cut to them, and what is left over is padded.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np

from edge_agent.contract.errors import InterpreterError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

RUNTIMES: Final = ("ai-edge-litert", "tflite-runtime")
"""Distributions that hold the interpreter, the preferred one first."""

# Each four times the last: a rest is at most half padding, and 255 rows need at most ten calls.
BATCH_SIZES: Final = (1, 4, 16, 64, 256)


class Interpreter(Protocol):
    """The part of `Interpreter` that both runtimes have and this module uses."""

    def get_input_details(self) -> list[dict[str, Any]]:
        """One dictionary per input tensor."""

    def get_output_details(self) -> list[dict[str, Any]]:
        """One dictionary per output tensor."""

    def resize_tensor_input(self, input_index: int, tensor_size: tuple[int, int]) -> None:
        """Set an input's shape; `allocate_tensors` must follow."""

    def allocate_tensors(self) -> None:
        """Lay out the memory."""

    def reset_all_variables(self) -> None:
        """Forget the state of stateful operators."""

    def set_tensor(self, tensor_index: int, value: NDArray[Any]) -> None:
        """Copy an input in."""

    def invoke(self) -> None:
        """Run the graph."""

    def get_tensor(self, tensor_index: int) -> NDArray[Any]:
        """Copy an output out."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """What a model takes or gives, per row.

    Attributes:
        dtype: int8, uint8 or float32.
        width: Numbers per row.
        scale: Value of one step of an integer tensor; 0 for floats.
        zero_point: Integer that stands for 0.
    """

    dtype: np.dtype[Any]
    width: int
    scale: float
    zero_point: int

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        facts = asdict(self)
        return facts | {"dtype": self.dtype.name}

    @classmethod
    def from_json(cls, facts: dict[str, Any]) -> Tensor:
        """What `to_json` gave."""
        return cls(**facts | {"dtype": np.dtype(facts["dtype"])})

    @property
    def quantized(self) -> bool:
        """Whether numbers are integers that stand for `scale * (number - zero_point)`."""
        return self.scale != 0.0

    def quantize(self, values: NDArray[np.float32]) -> NDArray[Any]:
        """Values as this tensor holds them, any shape."""
        if not self.quantized:
            return values.astype(self.dtype)
        limits = np.iinfo(self.dtype)
        codes = np.rint(values / np.float32(self.scale)) + self.zero_point
        clipped: NDArray[Any] = np.clip(codes, limits.min, limits.max).astype(self.dtype)
        return clipped

    def dequantize(self, numbers: NDArray[Any]) -> NDArray[np.float32]:
        """What this tensor's numbers stand for, any shape."""
        if not self.quantized:
            return numbers.astype(np.float32)
        return (numbers.astype(np.float32) - np.float32(self.zero_point)) * np.float32(self.scale)


class Predictor(Protocol):
    """What a detector needs of a model; `Model` is one, and tests hand in spoiled ones."""

    @property
    def input(self) -> Tensor:
        """What `predict` takes per row."""

    @property
    def output(self) -> Tensor:
        """What `predict` gives per row."""

    def predict(self, rows: NDArray[Any]) -> NDArray[Any]:
        """Raw output of shape (n_rows, output.width)."""


@dataclass(frozen=True, slots=True)
class _Ready:
    """An interpreter with its memory laid out for one batch size."""

    interpreter: Interpreter
    input_index: int
    output_index: int
    rows: int


class Model:
    """A TFLite model: rows in, raw output out. For one thread.

    Args:
        make: Makes an interpreter of the model; called once per batch size in use.
        runtime: Name of the runtime, for messages.

    Raises:
        InterpreterError: The interpreter refuses the model, or it is not one table in, one out.
    """

    def __init__(self, make: Callable[[], Interpreter], runtime: str) -> None:
        self.runtime = runtime
        self._make = make
        self._ready: dict[int, _Ready] = {}
        with _translated(runtime):
            interpreter = make()
            inputs, outputs = interpreter.get_input_details(), interpreter.get_output_details()
        self._input = _tensor(inputs, "input")
        self._output = _tensor(outputs, "output")
        fixed_rows = int(inputs[0].get("shape_signature", inputs[0]["shape"])[0])
        self._dynamic = fixed_rows < 0
        self._sizes = BATCH_SIZES if self._dynamic else (fixed_rows,)
        self._prepare(self._sizes[0], interpreter)

    @property
    def input(self) -> Tensor:
        """What `predict` takes per row."""
        return self._input

    @property
    def output(self) -> Tensor:
        """What `predict` gives per row."""
        return self._output

    def predict(self, rows: NDArray[Any]) -> NDArray[Any]:
        """Run the model.

        Args:
            rows: Shape (n_rows, input.width), of `input.dtype`.

        Returns:
            Shape (n_rows, output.width), of `output.dtype`; the row's number alone decides its
            output, whatever came before.

        Raises:
            ValueError: The rows have another shape or type.
            InterpreterError: The interpreter fails.
        """
        if rows.ndim != 2 or rows.shape[1] != self._input.width or rows.dtype != self._input.dtype:
            raise ValueError(
                f"expected rows of {self._input.width} {self._input.dtype},"
                f" got {rows.shape} {rows.dtype}"
            )
        result = np.empty((len(rows), self._output.width), dtype=self._output.dtype)
        start = 0
        with _translated(self.runtime):
            while start < len(rows):
                size = self._best_size(len(rows) - start)
                chunk = rows[start : start + size]
                result[start : start + size] = self._invoke(size, chunk)[: len(chunk)]
                start += size
        return result

    def _best_size(self, rest: int) -> int:
        """The largest size that is at least half full; the smallest where none is."""
        for size in reversed(self._sizes):
            if 2 * rest > size:
                return size
        return self._sizes[0]

    def _invoke(self, size: int, chunk: NDArray[Any]) -> NDArray[Any]:
        ready = self._ready.get(size) or self._prepare(size, self._make())
        if len(chunk) < size:
            padded = np.zeros((size, self._input.width), dtype=self._input.dtype)
            padded[: len(chunk)] = chunk
            chunk = padded
        ready.interpreter.reset_all_variables()
        ready.interpreter.set_tensor(ready.input_index, chunk)
        ready.interpreter.invoke()
        return ready.interpreter.get_tensor(ready.output_index)

    def _prepare(self, size: int, interpreter: Interpreter) -> _Ready:
        with _translated(self.runtime):
            input_index = int(interpreter.get_input_details()[0]["index"])
            output_index = int(interpreter.get_output_details()[0]["index"])
            if self._dynamic:
                interpreter.resize_tensor_input(input_index, (size, self._input.width))
            interpreter.allocate_tensors()
        ready = _Ready(interpreter, input_index, output_index, size)
        self._ready[size] = ready
        return ready


def installed_runtimes() -> tuple[str, ...]:
    """The runtimes whose packages are there, the preferred one first; none is imported."""
    return tuple(name for name in RUNTIMES if importlib.util.find_spec(name.replace("-", "_")))


def check(runtime: str) -> None:
    """Make sure that an interpreter works in this environment, whatever the model.

    Raises:
        InterpreterError: It is missing or broken.
        ValueError: Its name is unknown.
    """
    _imported(_chosen(runtime))


def load(flatbuffer: bytes, runtime: str = "auto", threads: int = 1) -> Model:
    """Load a TFLite model.

    Args:
        flatbuffer: The model, with or without a zip behind it.
        runtime: "auto" or one of `RUNTIMES`.
        threads: Threads per invocation; small models lose by a second one.

    Raises:
        InterpreterError: The runtime is missing or broken, or it refuses the model.
        ValueError: The runtime's name is unknown.
    """
    name = _chosen(runtime)
    module = _imported(name)

    def make() -> Interpreter:
        interpreter: Interpreter = module.Interpreter(model_content=flatbuffer, num_threads=threads)
        return interpreter

    return Model(make, name)


def _chosen(runtime: str) -> str:
    if runtime not in ("auto", *RUNTIMES):
        raise ValueError(f"unknown runtime {runtime!r}: choose auto or one of {RUNTIMES}")
    installed = installed_runtimes()
    if runtime == "auto" and installed:
        return installed[0]
    if runtime in installed:
        return runtime
    missing = "no TFLite interpreter" if runtime == "auto" else f"the interpreter {runtime}"
    negation = "is installed" if runtime == "auto" else "is not installed"
    remedy = {
        "auto": "pip install edge-ids (64-bit boards) or pip install 'edge-ids[tflite-runtime]'"
        " (32-bit boards, Python up to 3.11)",
        "ai-edge-litert": "pip install ai-edge-litert, or choose another interpreter",
        "tflite-runtime": "pip install 'edge-ids[tflite-runtime]' (Python up to 3.11), or choose"
        " another interpreter",
    }[runtime]
    raise InterpreterError(f"{missing} {negation}; {remedy}.")


def _imported(name: str) -> Any:
    # Built against numpy 1: with numpy 2 it imports, prints a page, and fails in Interpreter().
    if name == "tflite-runtime" and int(np.__version__.split(".")[0]) >= 2:
        raise InterpreterError(
            f"tflite-runtime does not work with numpy {np.__version__};"
            " pip install 'numpy<2', or use ai-edge-litert."
        )
    try:
        return importlib.import_module(f"{name.replace('-', '_')}.interpreter")
    except ImportError as error:
        raise InterpreterError(
            f"{name} is installed but cannot be imported ({error}); install it again for this"
            " Python and board."
        ) from error


def _tensor(details: list[dict[str, Any]], what: str) -> Tensor:
    if len(details) != 1 or len(details[0]["shape"]) != 2:
        shapes = [list(map(int, detail["shape"])) for detail in details]
        raise InterpreterError(
            f"the model has {what} tensors of shapes {shapes}, not one table of rows; convert the"
            " run again with edge-convert."
        )
    scale, zero_point = details[0]["quantization"]
    return Tensor(
        dtype=np.dtype(details[0]["dtype"]),
        width=int(details[0]["shape"][1]),
        scale=float(scale),
        zero_point=int(zero_point),
    )


@contextlib.contextmanager
def _translated(runtime: str) -> Iterator[None]:
    """Turn what the interpreter raises into `InterpreterError`."""
    try:
        yield
    except (RuntimeError, ValueError, TypeError) as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise InterpreterError(
            f"{runtime} refuses the model ({lines[0]}); convert the run again with edge-convert,"
            " or update the interpreter."
        ) from error
