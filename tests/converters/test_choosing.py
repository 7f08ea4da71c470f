"""Which form of an LSTM is taken, and whose word counts: that of every interpreter."""

from __future__ import annotations

import dataclasses
import json
import time
from typing import TYPE_CHECKING, Any

import pytest

from converters.conversion import convert
from converters.formats import Format, Recurrence
from converters.request import Request
from converters.results import REPORT_NAME
from converters.trials import Place
from edge_agent.contract.bundle import Bundle
from edge_agent.contract.errors import ConversionError, GateRefused, InterpreterError
from edge_agent.contract.runs import Rows, load_rows, save_rows
from edge_agent.detect.interpreter import Model, load
from tests.converters.conftest import PLACE
from tests.detect.spoiled import Offset, Spoiled

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from converters import trials
    from converters.child import Network
    from edge_agent.detect.trial import Trial
    from tests.converters.conftest import Workshop


class Slow(Spoiled):
    """Sound, but takes its time."""

    def predict(self, rows: NDArray[Any]) -> NDArray[Any]:
        time.sleep(0.002 * len(rows))
        return super().predict(rows)


@pytest.mark.parametrize("slow", list(Recurrence), ids=lambda form: form.value)
def test_the_faster_form_of_the_lstm_is_taken(
    workshop: Workshop, tmp_path: Path, slow: Recurrence
) -> None:
    made = {Recurrence.UNROLLED: "float32", Recurrence.FUSED: "float32-fused"}

    def load_it(flatbuffer: bytes) -> Any:
        model = load(flatbuffer)
        return Slow(model) if flatbuffer == workshop.flatbuffer(made[slow]) else model

    few = few_rows(workshop, tmp_path)
    tools = workshop.tools(made=made, load=load_it)
    prepared = dataclasses.replace(tools, prepare=lambda order: shortened(tools.prepare(order)))
    report = convert(Request(few), Format.FLOAT32, tmp_path / "model.tflite", tools=prepared)
    (faster,) = set(Recurrence) - {slow}
    assert report["lstm"]["form"] == faster.value
    medians = {
        form: timing["1"]["p50"] for form, timing in report["lstm"]["latency_us_per_flow"].items()
    }
    assert medians[slow.value] > 2 * medians[faster.value]
    conversion = Bundle.open(tmp_path / "model.tflite").provenance["conversion"]
    assert conversion["lstm"] == faster.value


FEW = 40


def few_rows(workshop: Workshop, tmp_path: Path) -> Path:
    run = workshop.copied(tmp_path)
    for part in ("train", "test"):
        rows = load_rows(run, part)
        save_rows(run, part, Rows(rows.raw[:FEW], rows.label[:FEW]))
    return run


def shortened(network: Network) -> Network:
    return dataclasses.replace(network, test=network.test[:FEW], train=network.train[:FEW])


class Upside(Spoiled):
    """Calls attacks benign and the other way round."""

    def predict(self, rows: NDArray[Any]) -> NDArray[Any]:
        return 1 - super().predict(rows)


def test_a_faster_form_that_is_not_good_enough_is_not_taken(
    workshop: Workshop, tmp_path: Path
) -> None:
    made = {Recurrence.UNROLLED: "float32", Recurrence.FUSED: "float32-fused"}

    def load_it(flatbuffer: bytes) -> Any:
        model = load(flatbuffer)
        fused = flatbuffer == workshop.flatbuffer("float32-fused")
        return Upside(model) if fused else Slow(model)

    few = few_rows(workshop, tmp_path)
    tools = workshop.tools(made=made, load=load_it)
    prepared = dataclasses.replace(tools, prepare=lambda order: shortened(tools.prepare(order)))
    report = convert(Request(few), Format.FLOAT32, tmp_path / "model.tflite", tools=prepared)
    assert report["lstm"]["form"] == "unrolled"
    fused_us, unrolled_us = (
        report["lstm"]["latency_us_per_flow"][form]["1"]["p50"] for form in ("fused", "unrolled")
    )
    assert fused_us < unrolled_us


def test_what_cannot_be_fused_stays_unrolled(workshop: Workshop, tmp_path: Path) -> None:
    tools = workshop.tools()

    def flatbuffer(network: Network, form: Format, recurrence: Recurrence) -> bytes:
        if recurrence is Recurrence.FUSED:
            raise ConversionError("a GRU has no fused form.")
        return tools.flatbuffer(network, form, recurrence)

    some = dataclasses.replace(tools, flatbuffer=flatbuffer)
    output = tmp_path / "model.tflite"
    report = convert(Request(workshop.run), Format.INT8, output, tools=some)
    assert report["lstm"] == {
        "form": "unrolled",
        "left_out": {"fused": "a GRU has no fused form."},
    }
    told = Request(workshop.run, recurrence=Recurrence.FUSED)
    with pytest.raises(ConversionError, match="a GRU has no fused form"):
        convert(told, Format.INT8, output, tools=some)


def test_a_fused_lstm_whose_state_is_never_reset_is_refused(
    workshop: Workshop, tmp_path: Path
) -> None:
    def never_reset(flatbuffer: bytes) -> Any:
        make = load(flatbuffer)._make

        def made() -> Any:
            interpreter: Any = make()
            interpreter.reset_all_variables = lambda: None
            return interpreter

        return Model(made, "never reset")

    told = Request(workshop.run, recurrence=Recurrence.FUSED)
    made = {Recurrence.FUSED: "float32-fused"}
    output = tmp_path / "model.tflite"
    sound = workshop.tools(made=made)
    assert convert(told, Format.FLOAT32, output, tools=sound)["gate"]["passed"]
    output.unlink()
    leaking = workshop.tools(made=made, load=never_reset)
    with pytest.raises(GateRefused, match=r"differs by .* after other flows"):
        convert(told, Format.FLOAT32, output, tools=leaking)
    assert not output.exists()


def test_every_interpreter_must_agree(workshop: Workshop, tmp_path: Path) -> None:
    tools = workshop.tools()
    other = Place(("python3.9",), "tflite-runtime")
    spoiled = workshop.tools(load=lambda flatbuffer: Offset(load(flatbuffer), 40))

    def try_in(place: Place, bundle: Bundle, rows: trials.Rows) -> Trial:
        return (spoiled if place == other else tools).try_in(place, bundle, rows)

    both = dataclasses.replace(tools, places=lambda _: ([PLACE, other], {}), try_in=try_in)
    with pytest.raises(GateRefused, match=r"because in tflite-runtime of python3.9: scores differ"):
        convert(Request(workshop.run), Format.INT8, tmp_path / "model.tflite", tools=both)
    gate = json.loads((tmp_path / REPORT_NAME).read_bytes())["gate"]
    assert [found["passed"] for found in gate["interpreters"].values()] == [True, False]
    assert gate["f1_drop_points"] == gate["interpreters"]["ai-edge-litert"]["f1_drop_points"]


@pytest.mark.parametrize("broken", [0, 1], ids=["the first", "another"])
def test_an_interpreter_that_cannot_run_the_file_refuses_it(
    workshop: Workshop, tmp_path: Path, broken: int
) -> None:
    tools = workshop.tools()
    places = [PLACE, Place(("python3.9",), "tflite-runtime")]

    def try_in(place: Place, bundle: Bundle, rows: trials.Rows) -> Trial:
        if place == places[broken]:
            raise InterpreterError(f"{place.runtime} crashes with the model (exit code -11).")
        return tools.try_in(place, bundle, rows)

    both = dataclasses.replace(tools, places=lambda _: (places, {}), try_in=try_in)
    with pytest.raises(GateRefused, match=r"crashes with the model \(exit code -11\)"):
        convert(Request(workshop.run), Format.INT8, tmp_path / "model.tflite", tools=both)
    assert [path.name for path in tmp_path.iterdir()] == [REPORT_NAME]
    report = json.loads((tmp_path / REPORT_NAME).read_bytes())
    assert len(report["gate"]["interpreters"]) == 1
