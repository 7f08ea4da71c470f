"""`--all` and `--sweep`: tables, files of what passed, and the picture."""

from __future__ import annotations

import dataclasses
import json
import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from converters.curve import curve
from converters.formats import Format, Recurrence
from converters.request import Request
from converters.several import convert_all, sweep_shares
from edge_agent.contract.bundle import Bundle
from edge_agent.contract.errors import ConversionError
from edge_agent.contract.runs import Run
from edge_agent.detect.interpreter import load
from tests.converters.toy_run import NAME
from tests.detect.spoiled import Offset

if TYPE_CHECKING:
    from pathlib import Path

    from converters.child import Network, Order
    from tests.converters.conftest import Workshop


def unrolled(run: Path) -> Request:
    return Request(run, recurrence=Recurrence.UNROLLED)


def test_all_formats_of_all_networks(workshop: Workshop, tmp_path: Path) -> None:
    run = shutil.copytree(workshop.run, tmp_path / "run")
    there = Run.open(run)
    two = {**there.models, f"{NAME}:paper": there.models[NAME]}
    dataclasses.replace(there, models=two).save(run)
    folder = tmp_path / "formats"
    found = convert_all(unrolled(run), folder, workshop.tools())
    assert found.refused is None
    files = {path.name for path in folder.iterdir()}
    names = (NAME, f"{NAME}-paper")
    wanted = {f"{name}-{form.value}.tflite" for name in names for form in Format}
    assert files == wanted | {"conversion.json"}
    assert json.loads((folder / "conversion.json").read_bytes()) == found.report
    assert len(found.text.splitlines()) == 1 + 2 * len(Format)
    for form in Format:
        bundle = Bundle.open(folder / f"{NAME}-{form.value}.tflite")
        assert bundle.provenance["conversion"]["format"] == form.value
    named = convert_all(
        dataclasses.replace(unrolled(run), model=NAME), tmp_path / "one", workshop.tools()
    )
    assert len(named.report["conversions"]) == len(Format)


def test_what_is_refused_is_in_the_table_and_nowhere_else(
    workshop: Workshop, tmp_path: Path
) -> None:
    def spoiled(flatbuffer: bytes) -> Any:
        model = load(flatbuffer)
        return Offset(model, 40) if model.input.dtype == np.int8 else model

    tools = workshop.tools(load=spoiled)

    def flatbuffer(network: Network, form: Format, *others: Any) -> bytes:
        if form is Format.FLOAT16:
            raise ConversionError("TensorFlow cannot convert the model.")
        return tools.flatbuffer(network, form, *others)

    some = dataclasses.replace(tools, flatbuffer=flatbuffer)
    found = convert_all(unrolled(workshop.run), tmp_path, some)
    assert "2 of 4 files are refused" in str(found.refused)
    assert {path.name for path in tmp_path.iterdir()} == {
        "conversion.json",
        f"{NAME}-float32.tflite",
        f"{NAME}-dynamic-range.tflite",
    }
    assert "float16: TensorFlow cannot convert the model." in found.text
    assert "int8: scores differ" in found.text


def test_a_sweep_leaves_curve_table_and_files(workshop: Workshop, tmp_path: Path) -> None:
    tools = workshop.tools()
    asked: list[tuple[float, float]] = []
    told: list[str] = []

    def prepare(order: Order) -> Network:
        order.tell("at work")
        asked.append((order.changes.shrink_share, order.changes.prune_share))
        return tools.prepare(order)

    request = dataclasses.replace(unrolled(workshop.run), tell=told.append)
    found = sweep_shares(
        request,
        Format.INT8,
        (0, 0.25, 0.5),
        tmp_path,
        dataclasses.replace(tools, prepare=prepare),
    )
    assert asked == [(0, 0), (0.25, 0), (0.5, 0), (0, 0.25), (0, 0.5)]
    assert "prune 0.5: at work" in told
    assert {path.name for path in tmp_path.iterdir()} == {
        *(f"sweep.{suffix}" for suffix in ("png", "md", "json")),
        *(f"shrink-{share}.tflite" for share in ("0", "0.25", "0.5")),
        *(f"prune-{share}.tflite" for share in ("0.25", "0.5")),
    }
    lines = found.text.splitlines()
    assert len(lines) == 2 + 5
    assert len({len(line) for line in lines}) == 1
    assert (tmp_path / "sweep.png").read_bytes().startswith(b"\x89PNG")
    assert Bundle.open(tmp_path / "prune-0.5.tflite").name == f"{NAME} pruned 0.5 int8"
    assert json.loads((tmp_path / "sweep.json").read_bytes()) == found.report


def test_the_curve_shows_its_points(workshop: Workshop, tmp_path: Path) -> None:
    shares = (0, 0.5)
    request = unrolled(workshop.run)
    points = sweep_shares(request, Format.INT8, shares, tmp_path, workshop.tools()).report["points"]
    assert curve(points) == curve(points)
    lower = [
        point | {"converted": point["converted"] | {"f1": 0.5}} if point["share"] else point
        for point in points
    ]
    assert curve(lower) != curve(points)


@pytest.mark.parametrize("shares", [(0,), (0.5,)])
def test_a_sweep_of_one_point_is_a_curve(
    workshop: Workshop, tmp_path: Path, shares: tuple[float, ...]
) -> None:
    sweep_shares(unrolled(workshop.run), Format.INT8, shares, tmp_path, workshop.tools())
    assert (tmp_path / "sweep.png").stat().st_size > 1000
