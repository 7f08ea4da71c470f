"""The wrapper around the interpreter: batches, resets, types, and what goes wrong."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.contract.bundle import Bundle
from edge_agent.contract.errors import InterpreterError
from edge_agent.detect import interpreter
from edge_agent.detect.interpreter import BATCH_SIZES, RUNTIMES, Model, Tensor, load

WIDTH = 3


@dataclass
class Fake:
    """Adds up each row; with `leak`, what was left from the last invocation too."""

    rows: int = -1
    leak: bool = False
    fails: bool = False
    outputs: int = 1
    calls: list[str] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    details_asked: int = 0
    state: float = 0.0
    value: np.ndarray = field(default_factory=lambda: np.empty(0))
    result: np.ndarray = field(default_factory=lambda: np.empty(0))
    allocated: int = 0

    def get_input_details(self) -> list[dict[str, Any]]:
        self.details_asked += 1
        return [self._detail(4, WIDTH)]

    def get_output_details(self) -> list[dict[str, Any]]:
        return [self._detail(9, 1)] * self.outputs

    def _detail(self, index: int, width: int) -> dict[str, Any]:
        return {
            "index": index,
            "shape": np.array([abs(self.rows), width]),
            "shape_signature": np.array([self.rows, width]),
            "dtype": np.float32,
            "quantization": (0.0, 0),
        }

    def resize_tensor_input(self, input_index: int, tensor_size: tuple[int, int]) -> None:
        assert input_index == 4
        self.calls.append("resize")

    def allocate_tensors(self) -> None:
        self.calls.append("allocate")
        self.allocated += 1

    def reset_all_variables(self) -> None:
        self.calls.append("reset")
        self.state = 0.0

    def set_tensor(self, tensor_index: int, value: np.ndarray) -> None:
        assert tensor_index == 4
        self.value = value
        self.sizes.append(len(value))

    def invoke(self) -> None:
        if self.fails:
            raise RuntimeError("Node number 3 (LSTM) failed to invoke.\nmore")
        self.calls.append("invoke")
        self.result = self.value.sum(axis=1, keepdims=True) + self.state
        self.state = float(self.result[-1, 0])

    def get_tensor(self, tensor_index: int) -> np.ndarray:
        assert tensor_index == 9
        return self.result


def model_of(**facts: Any) -> tuple[Model, list[Fake]]:
    made: list[Fake] = []

    def make() -> Fake:
        made.append(Fake(**facts))
        return made[-1]

    return Model(make, "fake"), made


@given(st.integers(0, 700))
def test_any_number_of_rows_is_cut_to_the_ready_sizes(count: int) -> None:
    model, made = model_of()
    rows = np.random.default_rng(count).random((count, WIDTH), dtype=np.float32)
    result = model.predict(rows)
    assert result.shape == (count, 1)
    assert np.array_equal(result[:, 0], rows.sum(axis=1))
    sizes = [size for fake in made for size in fake.sizes]
    assert set(sizes) <= set(BATCH_SIZES)
    # At most half of the last batch is padding, and large counts use large batches.
    assert sum(sizes) <= max(2 * count, 1)
    assert len(sizes) <= count // 256 + 12
    assert all(fake.allocated == 1 for fake in made)


def test_one_interpreter_per_size_is_made_once() -> None:
    model, made = model_of()
    for _ in range(3):
        for size in BATCH_SIZES:
            model.predict(np.zeros((size, WIDTH), np.float32))
    assert len(made) == len(BATCH_SIZES)
    asked = [fake.details_asked for fake in made]
    model.predict(np.zeros((1, WIDTH), np.float32))
    assert [fake.details_asked for fake in made] == asked, "details are asked for once only"


def test_every_invocation_follows_a_reset() -> None:
    model, made = model_of(rows=1)
    rows = np.arange(12, dtype=np.float32).reshape(4, WIDTH)
    assert np.array_equal(model.predict(rows)[:, 0], rows.sum(axis=1))
    (fake,) = made
    assert "resize" not in fake.calls
    steps = [call for call in fake.calls if call in ("reset", "invoke")]
    assert steps == ["reset", "invoke"] * 4


def test_a_fixed_batch_is_filled_up() -> None:
    model, made = model_of(rows=8)
    rows = np.ones((11, WIDTH), np.float32)
    assert np.array_equal(model.predict(rows)[:, 0], np.full(11, 3.0))
    assert made[0].sizes == [8, 8]


@pytest.mark.parametrize(
    "rows", [np.zeros((2, 4), np.float32), np.zeros(3, np.float32), np.zeros((2, WIDTH))]
)
def test_other_shapes_and_types_are_refused(rows: np.ndarray) -> None:
    model, _ = model_of()
    with pytest.raises(ValueError, match="expected rows of 3 float32"):
        model.predict(rows)


def test_what_the_interpreter_raises_becomes_one_sentence() -> None:
    model, _ = model_of(fails=True)
    with pytest.raises(
        InterpreterError, match=r"^fake refuses the model \(Node number 3"
    ) as caught:
        model.predict(np.zeros((1, WIDTH), np.float32))
    assert "\n" not in str(caught.value)
    assert isinstance(caught.value.__cause__, RuntimeError)


def test_a_model_of_two_outputs_is_refused() -> None:
    with pytest.raises(InterpreterError, match="output tensors of shapes"):
        model_of(outputs=2)


def test_quantised_numbers_go_there_and_back() -> None:
    tensor = Tensor(np.dtype(np.int8), 1, 1 / 256, -128)
    values = np.linspace(0, 255 / 256, 256, dtype=np.float32)
    codes = tensor.quantize(values)
    assert codes.tolist() == list(range(-128, 128))
    assert np.allclose(tensor.dequantize(codes), values, atol=1e-7)
    assert tensor.quantize(np.array([-9, 9], np.float32)).tolist() == [-128, 127]


# The real interpreters from here on.


def test_runtimes_are_found_without_being_imported() -> None:
    found = interpreter.installed_runtimes()
    assert found
    assert set(found) <= set(RUNTIMES)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_each_runtime_is_used_or_named_with_its_remedy(runtime: str, tiny: Bundle) -> None:
    if runtime in interpreter.installed_runtimes():
        assert load(tiny.flatbuffer, runtime).runtime == runtime
    else:
        with pytest.raises(InterpreterError, match=f"{runtime} is not installed; pip install"):
            load(tiny.flatbuffer, runtime)


def test_auto_takes_the_first_installed(tiny: Bundle) -> None:
    assert load(tiny.flatbuffer).runtime == interpreter.installed_runtimes()[0]


def test_no_runtime_at_all_names_both_ways_out(
    tiny: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InterpreterError, match="no TFLite interpreter is installed") as caught:
        load(tiny.flatbuffer)
    assert "pip install edge-ids " in str(caught.value)
    assert "edge-ids[tflite-runtime]" in str(caught.value)


def test_numpy_2_is_named_before_tflite_runtime_is_imported(
    tiny: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(interpreter, "installed_runtimes", lambda: ("tflite-runtime",))
    monkeypatch.setattr(np, "__version__", "2.4.1")
    with pytest.raises(InterpreterError, match=r"not work with numpy 2\.4\.1; .*numpy<2"):
        load(tiny.flatbuffer)


def test_a_broken_installation_is_named(tiny: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ImportError("libfoo.so: wrong ELF class")

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(InterpreterError, match=r"cannot be imported .*wrong ELF class"):
        load(tiny.flatbuffer)


def test_unknown_runtime_is_a_programming_error(tiny: Bundle) -> None:
    with pytest.raises(ValueError, match="unknown runtime"):
        load(tiny.flatbuffer, "onnx")


def test_bytes_that_are_no_model_are_refused() -> None:
    with pytest.raises(InterpreterError, match="refuses the model"):
        load(b"\x00" * 64)


def test_the_file_loads_although_a_zip_follows(tiny_path: Path, tiny: Bundle) -> None:
    rows = np.zeros((5, len(tiny.features)), np.int8)
    whole, alone = load(tiny_path.read_bytes()), load(tiny.flatbuffer)
    assert np.array_equal(whole.predict(rows), alone.predict(rows))


def test_real_batches_equal_single_rows(tiny: Bundle) -> None:
    model = load(tiny.flatbuffer)
    rows = np.random.default_rng(5).integers(-128, 128, (341, len(tiny.features)), dtype=np.int8)
    together = model.predict(rows)
    single = np.concatenate([model.predict(row[None]) for row in rows])
    # int8 kernels are exact: a row's output does not depend on its batch.
    assert np.array_equal(together, single)
