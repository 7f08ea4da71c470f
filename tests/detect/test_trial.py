"""Trials: what must make no difference is measured, whoever runs the model."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from edge_agent.contract.bundle import Bundle
from edge_agent.contract.errors import InterpreterError
from edge_agent.detect import interpreter, trial
from edge_agent.detect.detector import Detector
from edge_agent.detect.trial import Trial, try_out
from tests.detect.conftest import TINY
from tests.detect.spoiled import Leaking, Offset, Spoiled, Stuck
from tests.detect.synthetic import problem

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

RAW = problem(300, seed=4)[0]
(RUNTIME, *_) = interpreter.installed_runtimes()


def tried(spoil: Callable[[Any], Any] = Spoiled) -> Trial:
    bundle = Bundle.open(TINY)
    return try_out(bundle, spoil(interpreter.load(bundle.flatbuffer)), RAW, RAW[:50], "here")


def test_a_sound_model_passes_every_trial() -> None:
    found = tried()
    assert np.array_equal(found.test, Detector.open(TINY).outputs(RAW))
    assert np.array_equal(found.train, found.test[:50])
    assert (found.batch_difference, found.order_difference) == (0.0, 0.0)
    assert list(found.model_us) == list(found.detector_us) == ["1", "16", "64", "256"]
    assert all(0 < timing["p50"] <= timing["p99"] for timing in found.model_us.values())


def test_codes_of_the_input_are_the_bins() -> None:
    # What is lost is the rounding of 1/255 to a float, nothing else.
    assert tried().input_error < 1e-6


class Coarse(Spoiled):
    """Its input has another scale than the bins."""

    @property
    def input(self) -> interpreter.Tensor:
        return interpreter.Tensor(np.dtype(np.int8), super().input.width, 1 / 200, -128)


def test_another_scale_of_the_input_is_found() -> None:
    assert tried(Coarse).input_error > 0.001


@pytest.mark.parametrize(
    ("spoil", "what"),
    [(Leaking, "order_difference"), (Stuck, "batch_difference")],
    ids=["leaking state", "stuck batch"],
)
def test_a_broken_interpreter_is_found_out(spoil: Callable[[Any], Any], what: str) -> None:
    assert getattr(tried(spoil), what) > 0.01


class Blind(Spoiled):
    """Gives no numbers."""

    def predict(self, rows: NDArray[Any]) -> NDArray[Any]:
        return np.full((len(rows), self.output.width), np.nan, np.float32)

    @property
    def output(self) -> interpreter.Tensor:
        return interpreter.Tensor(np.dtype(np.float32), super().output.width, 0.0, 0)


def test_what_is_no_number_counts_as_the_largest_difference() -> None:
    assert tried(Blind).order_difference == 1.0


def test_an_outcome_round_trips(tmp_path: Path) -> None:
    found = tried(lambda model: Offset(model, 3))
    found.save(tmp_path / "outcome.npz")
    again = Trial.load(tmp_path / "outcome.npz")
    assert np.array_equal(again.test, found.test)
    assert np.array_equal(again.train, found.train)
    for name in ("place", "batch_difference", "input_error", "input", "output", "model_us"):
        assert getattr(again, name) == getattr(found, name)


def test_no_rows_give_an_outcome_of_none() -> None:
    bundle = Bundle.open(TINY)
    found = try_out(bundle, interpreter.load(bundle.flatbuffer), RAW[:0], RAW[:0])
    assert found.test.shape == (0, 1)
    assert found.order_difference == 0.0


# The process.


def module(*arguments: str) -> subprocess.CompletedProcess[str]:
    root = str(Path(trial.__file__).resolve().parents[2])
    return subprocess.run(
        [sys.executable, "-m", "edge_agent.detect.trial", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": root},
    )


def test_the_process_tells_its_interpreters() -> None:
    found = json.loads(module("--runtimes").stdout)
    assert found == trial.runtimes()
    assert found[RUNTIME] is None


def test_a_broken_interpreter_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(runtime: str) -> None:
        raise InterpreterError(f"{runtime} is broken.")

    monkeypatch.setattr(interpreter, "check", broken)
    assert trial.runtimes()[RUNTIME] == f"{RUNTIME} is broken."


def test_the_process_does_what_the_function_does(tmp_path: Path) -> None:
    (tmp_path / trial.MODEL).write_bytes(TINY.read_bytes())
    np.savez(tmp_path / trial.ROWS, test=RAW, train=RAW[:50])
    done = module(str(tmp_path), RUNTIME)
    assert (done.returncode, done.stderr) == (0, "") or "XNNPACK" in done.stderr
    found = Trial.load(tmp_path / trial.OUTCOME)
    assert np.array_equal(found.test, tried().test)
    assert found.place.startswith(f"{RUNTIME} ")


def test_the_process_leaves_its_reason(tmp_path: Path) -> None:
    (tmp_path / trial.MODEL).write_bytes(b"no model at all")
    assert module(str(tmp_path), RUNTIME).returncode == 1
    assert "is not a TFLite model" in (tmp_path / trial.FAILURE).read_text()
