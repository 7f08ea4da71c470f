"""`edge-convert` from the outside: flags, exit codes, and the real children once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from click.testing import CliRunner

from converters import cli
from converters.cli import main
from converters.formats import Changes, Format, Recurrence
from converters.request import Request
from converters.several import Several
from edge_agent.contract.bundle import Bundle
from edge_agent.contract.errors import GateRefused
from edge_agent.contract.runs import load_rows
from edge_agent.detect.detector import Detector
from edge_agent.detect.interpreter import load
from tests.conftest import ROOT
from tests.detect.conftest import TINY
from tests.detect.synthetic import FAMILIES

if TYPE_CHECKING:
    from tests.converters.conftest import Workshop


def edge_convert(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "from converters.cli import main; main()", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


def test_the_command_converts_families(workshop: Workshop, tmp_path: Path) -> None:
    file = tmp_path / "model.tflite"
    done = edge_convert("--int8", workshop.family_run, "--output", file, "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["families"] == list(FAMILIES)
    assert report["lstm"]["form"] == "unrolled"
    assert set(report["lstm"]["latency_us_per_flow"]) == {"unrolled", "fused"}
    (place,) = report["gate"]["interpreters"]
    assert place.startswith("ai-edge-litert ")
    # The workshop has converted others before, which changes bytes but not numbers.
    raw = load_rows(workshop.family_run, "test").raw
    again = Detector(workshop.bundle("families-int8"), load(workshop.flatbuffer("families-int8")))
    assert np.array_equal(Detector.open(file).outputs(raw), again.outputs(raw))


def test_the_same_run_gives_the_same_bytes(workshop: Workshop, tmp_path: Path) -> None:
    files = [tmp_path / name / "model.tflite" for name in ("first", "second")]
    for file in files:
        done = edge_convert(
            "--int8", "--lstm", "unrolled", workshop.run, "--output", file, "--json"
        )
        assert done.returncode == 0, done.stderr
        report = json.loads(done.stdout)
        assert report["format"] == "int8"
        for batch in ("1", "16", "64", "256"):
            assert report["latency_us_per_flow"]["full"][batch]["p50"] > 0
            assert report["latency_us_per_flow"]["converted"][batch]["p99"] > 0
    assert files[0].read_bytes() == files[1].read_bytes()
    assert Bundle.open(files[0]).flatbuffer == workshop.flatbuffer("int8")


def test_a_smaller_network_goes_the_whole_way(workshop: Workshop, tmp_path: Path) -> None:
    file = tmp_path / "small.tflite"
    done = edge_convert(
        *("--int8", "--shrink", "0.4", "--prune", "0.3", "--cluster", "32", "--c-array"),
        *("--lstm", "unrolled", "--max-f1-drop", "3"),
        *(workshop.family_run, "--output", file),
    )
    assert done.returncode == 0, done.stderr
    assert "small.c, small.h: " in done.stdout
    report = json.loads((tmp_path / "conversion.json").read_bytes())
    assert report["parameters"]["converted"] < 0.8 * report["parameters"]["full"]
    assert report["zero_share"] == pytest.approx(0.3, abs=0.1)
    bundle = Bundle.open(file)
    assert bundle.name == "cnn-lstm shrunk 0.4 pruned 0.3 clustered 32 int8"
    assert len(bundle.features) == report["columns"]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        ["conversion.json", "small.tflite", *report["c_source"]["files"]]
    )
    assert report["c_source"]["arena_bytes"] > 1000


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--help"], 0, "Examples:"),
        (["--help"], 0, "inspect"),
        (["inspect", "--help"], 0, "Example"),
        (["--version"], 0, "edge-convert"),
        ([], 2, "Missing argument"),
        (["RUN"], 2, "--output"),
        (["RUN", "--output", "m", "--max-f1-drop", "-1"], 2, "--max-f1-drop"),
        (["RUN", "--output", "m", "--prune", "1"], 2, "--prune"),
        (["RUN", "--output", "m", "--shrink", "1"], 2, "--shrink"),
        (["RUN", "--output", "m", "--cluster", "1"], 2, "--cluster"),
        (["RUN", "--output", "m", "--sweep", "0,x"], 2, "is no list of shares"),
        (["RUN", "--output", "m", "--sweep", "0,1"], 2, "is no list of shares"),
        (["RUN", "--output", "m", "--sweep", "0,.5", "--all"], 2, "--sweep is for one format"),
        (["RUN", "--output", "m", "--sweep", ".5", "--prune", ".5"], 2, "sets the shares"),
        (["RUN", "--output", "m", "--c-array", "--float32"], 2, "--c-array is for"),
        (["none", "--output", "."], 2, "is a folder, and a file is to be written"),
        (["none", "--all", "--output", __file__], 2, "is a file, and a folder is to be written"),
        (["none", "--output", "m.tflite"], 1, "none: is no complete run folder"),
    ],
)
def test_exit_codes(
    arguments: list[str], code: int, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == code
    assert said in result.output
    assert list(tmp_path.iterdir()) == []


def test_a_tool_by_its_name() -> None:
    result = CliRunner().invoke(main, ["inspect", str(TINY), "--json"])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["format_version"] == 1


@pytest.mark.parametrize(
    ("flag", "form"),
    [
        ([], Format.INT8),
        (["--int8"], Format.INT8),
        (["--float32"], Format.FLOAT32),
        (["--float16"], Format.FLOAT16),
        (["--dynamic-range"], Format.DYNAMIC_RANGE),
    ],
)
def test_flags_reach_the_request(
    flag: list[str], form: Format, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[Any, ...]] = []

    def refuse(*order: Any, c_array: bool) -> dict[str, Any]:
        asked.append((*order, c_array))
        raise GateRefused("run: refused, because F1 drops.")

    monkeypatch.setattr(cli, "convert", refuse)
    result = CliRunner().invoke(
        main,
        [
            *(*flag, "run", "--output", "m.tflite", "--model", "x", "--max-f1-drop", "0.3"),
            *("--prune", "0.5", "--shrink", "0.25", "--cluster", "16", "--lstm", "fused"),
            *("--interpreter", "one", "--interpreter", "two three"),
        ],
    )
    assert result.exit_code == 3
    assert "edge-convert: error: run: refused, because F1 drops." in result.output
    ((request, *others),) = asked
    assert others == [form, Path("m.tflite"), False]
    assert request == Request(
        Path("run"),
        "x",
        Changes(prune_share=0.5, shrink_share=0.25, clusters=16),
        Recurrence.FUSED,
        0.3,
        ("one", "two three"),
        tell=request.tell,
    )


def test_all_that_was_measured_is_told_before_a_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    several = Several({"conversions": []}, "the table\n", GateRefused("run: 1 of 2 are refused."))
    monkeypatch.setattr(cli, "convert_all", lambda request, folder: several)
    result = CliRunner().invoke(main, ["--all", "run", "--output", "formats"])
    assert result.exit_code == 3
    assert result.stdout == "the table\n"
    assert result.stderr == "edge-convert: error: run: 1 of 2 are refused.\n"
