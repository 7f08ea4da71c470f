"""`python -m benchmarks accuracy` and `latency` from the outside."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from benchmarks.__main__ import main
from tests.benchmarks.workshop import SEPARATOR
from tests.conftest import ROOT
from tests.detect.conftest import TINY


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, check=False, cwd=ROOT
    )


@pytest.mark.skipif(importlib.util.find_spec("tensorflow") is None, reason="needs edge-ids[train]")
def test_both_commands_measure_the_full_model_and_the_file(tmp_path: Path) -> None:
    done = python("-m", "tests.benchmarks.workshop", str(tmp_path))
    assert done.returncode == 0, done.stderr[-2000:]
    latency, accuracy = map(json.loads, done.stdout.split(f"{SEPARATOR}\n")[:2])
    models = accuracy["held_out"]["models"]
    assert next(iter(models)) == "full"
    assert list(models) == list(latency["latency_us_per_flow"]["1"])
    assert len(models) >= 2
    # Two trainings of one architecture on an easy problem: both must find nearly everything.
    assert all(result["f1"] > 0.9 for result in models.values())
    assert all(result["p50"] > 0 for result in latency["latency_us_per_flow"]["256"].values())
    assert latency["threads"] == 1


def test_the_group_loads_no_tensorflow() -> None:
    done = python("-c", "import sys, benchmarks.__main__; sys.exit('tensorflow' in sys.modules)")
    assert done.returncode == 0


@pytest.mark.parametrize("command", ["accuracy", "latency"])
def test_a_missing_run_is_one_sentence(command: str, tmp_path: Path) -> None:
    result = CliRunner().invoke(main, [command, str(tmp_path / "nowhere"), str(TINY)])
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.startswith(f"benchmarks {command}: error: {tmp_path / 'nowhere'}")
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("option", ["--capture", "--truth"])
def test_a_capture_and_its_truth_go_together(option: str, tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["accuracy", str(tmp_path), str(TINY), option, "x"])
    assert result.exit_code == 2
    assert "go together" in result.stderr


@pytest.mark.parametrize("command", ["accuracy", "latency"])
def test_help_has_an_example(command: str) -> None:
    result = CliRunner().invoke(main, [command, "--help"])
    assert result.exit_code == 0
    assert "Example:\n" in result.stdout
