"""Tries a model file out in every interpreter there is, each in a process of its own.

"There" are the interpreters of this environment, and of those environments whose Python the user
names (`edge-convert --interpreter`): tflite-runtime needs another numpy than TensorFlow does, and
another architecture needs an emulator in front.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from converters.formats import first_line
from edge_agent.contract.errors import ConversionError, InterpreterError
from edge_agent.detect import trial
from edge_agent.detect.trial import Trial

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from edge_agent.contract.bundle import Bundle

_MODULE: Final = "edge_agent.detect.trial"
_TOLD_LINES: Final = 2


@dataclass(frozen=True, slots=True)
class Place:
    """An interpreter in an environment.

    Attributes:
        python: Command of the environment's Python; empty: the one that runs this.
        runtime: Name of the interpreter.
    """

    python: tuple[str, ...]
    runtime: str

    def __str__(self) -> str:
        return f"{self.runtime} of {shlex.join(self.python)}" if self.python else self.runtime


@dataclass(frozen=True, slots=True)
class Rows:
    """Raw features that a model file is tried with, float32, shape (n_rows, n_features)."""

    test: NDArray[np.float32]
    train: NDArray[np.float32]


def places(pythons: Sequence[str]) -> tuple[list[Place], dict[str, str]]:
    """All interpreters of this environment and of others.

    Args:
        pythons: Commands of the others, as one would type them.

    Returns:
        Those that work, this environment's first, and what is wrong with the others.

    Raises:
        ConversionError: A command does not start, or its environment lacks edge-ids.
        InterpreterError: This environment has no interpreter that works, or another one has none.
    """
    found: list[Place] = []
    left_out: dict[str, str] = {}
    for python in ((), *(tuple(shlex.split(command)) for command in pythons)):
        runtimes = trial.runtimes() if not python else _asked(python)
        working = [Place(python, name) for name, problem in runtimes.items() if problem is None]
        broken = {str(Place(python, name)): why for name, why in runtimes.items() if why}
        if not working:
            raise InterpreterError(
                f"{shlex.join(python) or 'this environment'} has no TFLite interpreter that works"
                f" ({'; '.join(broken.values()) or 'none is installed'}); pip install edge-ids"
                " there."
            )
        found += working
        left_out |= broken
    return found, left_out


def _asked(python: tuple[str, ...]) -> dict[str, str | None]:
    try:
        done = subprocess.run(
            [*python, "-m", _MODULE, "--runtimes"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
    except OSError as error:
        raise ConversionError(
            f"--interpreter {shlex.join(python)}: cannot be started ({error.strerror}); give the"
            " command of a Python that has edge-ids, e.g. .venv-tflite/bin/python."
        ) from error
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
        raise ConversionError(
            f"--interpreter {shlex.join(python)}: cannot run edge-agent's code ({last[0]});"
            " pip install edge-ids there."
        )
    runtimes: dict[str, str | None] = json.loads(done.stdout)
    return runtimes


def try_in(place: Place, bundle: Bundle, rows: Rows) -> Trial:
    """Try a model file out as `edge_agent.detect.trial` does.

    Raises:
        InterpreterError: The interpreter refuses the model, or crashes with it.
    """
    with tempfile.TemporaryDirectory(prefix="edge-convert-") as name:
        folder = Path(name)
        bundle.save(folder / trial.MODEL)
        np.savez(folder / trial.ROWS, test=rows.test, train=rows.train)
        with (folder / "log.txt").open("w+", encoding="utf-8", errors="replace") as log:
            done = subprocess.run(
                [*(place.python or (sys.executable,)), "-m", _MODULE, name, place.runtime],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=None if place.python else _own_environment(),
                check=False,
            )
            log.seek(0)
            last = log.read().strip().splitlines()[-_TOLD_LINES:]
        failure = folder / trial.FAILURE
        if done.returncode and failure.exists():
            raise InterpreterError(failure.read_text(encoding="utf-8"))
        if done.returncode:
            raise InterpreterError(
                f"{place} crashes with the model (exit code {done.returncode}:"
                f" {' | '.join(last) or 'no output'})."
            )
        try:
            return Trial.load(folder / trial.OUTCOME)
        except (OSError, KeyError, TypeError, ValueError) as error:
            raise InterpreterError(
                f"{place} gives no outcome that can be read ({first_line(error)}); install the same"
                " version of edge-ids there."
            ) from error


def _own_environment() -> dict[str, str]:
    """This environment's child finds this very package, installed or not."""
    here = str(Path(trial.__file__).resolve().parents[2])
    path = os.pathsep.join(filter(None, (here, os.environ.get("PYTHONPATH"))))
    return {**os.environ, "PYTHONPATH": path}
