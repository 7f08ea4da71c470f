"""Interpreters of this environment and of others: found, used, and blamed by name."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import numpy as np
import pytest

from converters import trials
from converters.trials import Place, places, try_in
from edge_agent.contract.bundle import Bundle
from edge_agent.contract.errors import ConversionError, InterpreterError
from edge_agent.detect import trial
from edge_agent.detect.detector import Detector
from tests.conftest import ROOT
from tests.detect.conftest import TINY
from tests.detect.synthetic import problem

RAW = problem(200, seed=5)[0]
ROWS = trials.Rows(test=RAW, train=RAW[:20])
LEGACY = ROOT / ".venv-tflite" / "bin" / "python"


def script(path: Path, code: str) -> str:
    """A program that stands for another environment's Python."""
    path.write_text(f"#!{sys.executable}\nimport sys\n{code}\n")
    path.chmod(0o755)
    return str(path)


def test_this_environment_comes_first() -> None:
    found, left_out = places([shlex.quote(sys.executable)])
    assert found[0].python == ()
    assert found[-1].python == (sys.executable,)
    assert str(found[0]) == found[0].runtime
    assert str(found[-1]).endswith(f" of {sys.executable}")
    assert left_out == {}


def test_a_trial_elsewhere_is_a_trial_here() -> None:
    here, there = places([shlex.quote(sys.executable)])[0]
    bundle = Bundle.open(TINY)
    for place in (here, there):
        found = try_in(place, bundle, ROWS)
        assert np.array_equal(found.test, Detector.open(TINY).outputs(RAW))


@pytest.mark.skipif(not LEGACY.exists(), reason="needs make test's environment of tflite-runtime")
def test_the_legacy_interpreter_is_asked_in_its_own_environment() -> None:
    (place,) = [place for place in places([str(LEGACY)])[0] if place.python]
    assert place.runtime == "tflite-runtime"
    found = try_in(place, Bundle.open(TINY), ROWS)
    assert found.place.startswith("tflite-runtime 2.14")
    here = Detector.open(TINY)
    wanted = here.is_attack(here.score(RAW))
    assert (here.is_attack(found.test[:, 0]) == wanted).mean() > 0.98


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("sys.exit('No module named edge_agent')", "pip install edge-ids there"),
        ("print('{}')", "has no TFLite interpreter that works (none is installed)"),
        (
            'print(\'{"tflite-runtime": "it needs numpy 1."}\')',
            "has no TFLite interpreter that works (it needs numpy 1.)",
        ),
    ],
)
def test_an_environment_without_an_interpreter_is_named(
    tmp_path: Path, code: str, said: str
) -> None:
    python = script(tmp_path / "python", code)
    with pytest.raises((ConversionError, InterpreterError)) as caught:
        places([python])
    assert python in str(caught.value)
    assert said in str(caught.value)


def test_a_command_that_does_not_start_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConversionError, match="nowhere: cannot be started"):
        places([str(tmp_path / "nowhere")])


def test_a_broken_interpreter_beside_a_sound_one_is_left_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(trial, "runtimes", lambda: {"ai-edge-litert": None, "tflite-runtime": "x"})
    found, left_out = places([])
    assert found == [Place((), "ai-edge-litert")]
    assert left_out == {"tflite-runtime": "x"}


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("print('oh no'); sys.exit(5)", r"crashes with the model \(exit code 5: oh no\)"),
        ("import os; os.kill(os.getpid(), 9)", r"crashes with the model \(exit code -9"),
        ("", "gives no outcome that can be read"),
        (
            "open(sys.argv[3] + '/failure.txt', 'w').write('it refuses the model.'); sys.exit(1)",
            "it refuses the model",
        ),
    ],
)
def test_an_interpreter_that_fails_is_an_error(tmp_path: Path, code: str, said: str) -> None:
    place = Place((script(tmp_path / "python", code),), "ai-edge-litert")
    with pytest.raises(InterpreterError, match=said):
        try_in(place, Bundle.open(TINY), ROWS)
