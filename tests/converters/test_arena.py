"""The arena: measured on TFLM where it is installed, else estimated close above it."""

from __future__ import annotations

import functools
import subprocess
import sys
from pathlib import Path

import flatbuffers  # type: ignore[import-untyped]
import numpy as np
import pytest

from converters import arena, micro
from edge_agent.contract.bundle import Bundle
from edge_agent.contract.errors import ConversionError
from edge_agent.detect import interpreter
from tests.converters.data import MICRO_FORMS, micro_bundle
from tests.detect.synthetic import family_problem

schema = pytest.importorskip("ai_edge_litert.schema_py_generated")

needs_tflm = pytest.mark.skipif(not micro.installed(), reason="tflite-micro is not installed")

OPEN = Path(__file__).parent.parent / "detect" / "data" / "tiny.tflite"


def flatbuffer(form: str) -> bytes:
    return micro_bundle(form).flatbuffer


@functools.cache
def measured(form: str) -> arena.Arena:
    """The measurement, which takes seconds, once."""
    return arena.measured(flatbuffer(form))


def passes(model: Path, arena_bytes: int) -> bool:
    """Whether TFLM lays the model out, in a process of its own."""
    code = (
        "import sys; from pathlib import Path; from converters import micro;"
        "micro.load(Path(sys.argv[1]).read_bytes(), int(sys.argv[2]))"
    )
    command = [sys.executable, "-c", code, str(model), str(arena_bytes)]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


@needs_tflm
@pytest.mark.parametrize("form", MICRO_FORMS)
def test_measured_is_enough_and_less_is_not(form: str, tmp_path: Path) -> None:
    model = tmp_path / "model.tflite"
    model.write_bytes(flatbuffer(form))
    found = measured(form)
    assert found.measured
    assert "64-bit" in found.how
    assert found.bytes % arena.ALIGNMENT == 0
    assert passes(model, found.bytes)
    assert not passes(model, found.bytes - arena.ALIGNMENT)
    # So small that TFLM does not raise but dies: the bisection went through such sizes.
    assert not passes(model, arena.ALIGNMENT)


@needs_tflm
@pytest.mark.parametrize("form", MICRO_FORMS)
def test_estimate_is_close_and_never_too_small(form: str) -> None:
    estimate, truth = arena.estimated(flatbuffer(form)), measured(form)
    assert not estimate.measured
    assert estimate.how.startswith("Estimated")
    # A tenth is what the estimate claims; the toy, of hardly any tensors, is its hardest case.
    assert truth.bytes <= estimate.bytes <= 1.15 * truth.bytes


@needs_tflm
def test_what_tflm_refuses_is_said_in_its_words() -> None:
    spoiled = schema.ModelT.InitFromPackedBuf(flatbuffer("fused"))
    graph = spoiled.subgraphs[0]
    graph.tensors[graph.inputs[0]].type = schema.TensorType.BOOL
    builder = flatbuffers.Builder()
    builder.Finish(spoiled.Pack(builder), b"TFL3")
    with pytest.raises(ConversionError, match=r"TensorFlow Lite Micro refuses the model \(.+\)"):
        arena.measured(bytes(builder.Output()))


def test_open_shapes_are_refused() -> None:
    with pytest.raises(ConversionError, match="open shape"):
        arena.needed(Bundle.open(OPEN).flatbuffer)


def test_without_tflm_it_is_estimated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(micro, "installed", lambda: False)
    assert arena.needed(flatbuffer("fused")) == arena.estimated(flatbuffer("fused"))


@needs_tflm
def test_with_tflm_it_is_measured() -> None:
    assert arena.needed(flatbuffer("fused")) == measured("fused")


def test_tensors_that_never_meet_share_memory() -> None:
    lifetimes = [arena._Lifetime(160, first, first + 1) for first in (0, 2, 4)]
    assert arena._peak_bytes(lifetimes) == 160
    assert arena._peak_bytes([*lifetimes, arena._Lifetime(32, 0, 5)]) == 192
    # The small ones fill the gap below the one that lies high.
    stacked = [arena._Lifetime(96, 0, 1), arena._Lifetime(64, 1, 3), arena._Lifetime(48, 2, 3)]
    assert arena._peak_bytes(stacked) == 160
    assert arena._peak_bytes([]) == 0


@needs_tflm
@pytest.mark.parametrize("form", MICRO_FORMS)
def test_tflm_agrees_with_the_interpreter(form: str) -> None:
    data = flatbuffer(form)
    tflm = micro.MicroModel(data, measured(form))
    other = interpreter.load(data)
    assert (tflm.input, tflm.output) == (other.input, other.output)
    bundle = micro_bundle(form)
    raw = family_problem(500, seed=91)[0]
    codes = other.input.quantize(bundle.scaler.transform(raw))
    found, wanted = tflm.predict(codes), other.predict(codes)
    shares, others = (tflm.output.dequantize(table) for table in (found, wanted))
    # Kernels round differently in the last code of some layers: a number may move by some codes
    # where sigmoid or softmax is steep, but hardly any row changes sides.
    assert np.abs(shares - others).max() < 0.1
    assert (shares[:, 0] == others[:, 0]).mean() > 0.9
    assert ((shares[:, 0] >= 0.5) != (others[:, 0] >= 0.5)).sum() <= 1


@needs_tflm
def test_rows_leave_no_state_behind() -> None:
    data = flatbuffer("fused")
    tflm = micro.MicroModel(data, measured("fused"))
    rows = np.random.default_rng(5).integers(-128, 128, (40, tflm.input.width)).astype(np.int8)
    assert np.array_equal(tflm.predict(rows)[::-1], tflm.predict(rows[::-1]))
    # It would: the same rows without the reset between them.
    raw = micro.load(data, measured("fused").bytes)
    leaked = []
    for row in rows:
        raw.set_input(row[None], 0)
        raw.invoke()
        leaked.append(raw.get_output(0)[0])
    assert not np.array_equal(np.array(leaked), tflm.predict(rows))


def test_operators_become_methods() -> None:
    assert "AddUnidirectionalSequenceLSTM" in micro.resolver_calls(flatbuffer("fused"))
    calls = micro.resolver_calls(flatbuffer("unrolled"))
    assert {"AddConv2D", "AddFullyConnected", "AddMaxPool2D", "AddTanh"} <= set(calls)
    assert micro.keeps_state(flatbuffer("fused"))
    assert not micro.keeps_state(flatbuffer("unrolled"))


def test_an_operator_that_tflm_lacks_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(micro, "operator_names", lambda flatbuffer: ("ADD", "RFFT2D"))
    with pytest.raises(ConversionError, match="no operator RFFT2D"):
        micro.resolver_calls(b"")
