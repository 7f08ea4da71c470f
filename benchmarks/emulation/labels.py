"""A model file's labels in two environments, row by row."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.subjects import columns, full_name
from converters import trials
from edge_agent.contract.bundle import Bundle
from edge_agent.contract.errors import RunError
from edge_agent.contract.runs import Run, load_rows

if TYPE_CHECKING:
    from pathlib import Path

    from edge_agent.detect.trial import Trial


@dataclass(frozen=True, slots=True)
class Agreement:
    """What two interpreters say of the same rows.

    Attributes:
        here: Interpreter, version and architecture of this environment.
        there: The same of the other one.
        rows: Test rows.
        same_label: Share of them with the same verdict.
        same_score: Share of them with the very same score.
        largest_score_difference: Between 0 and 1.
    """

    here: str
    there: str
    rows: int
    same_label: float
    same_score: float
    largest_score_difference: float

    def to_json(self) -> dict[str, Any]:
        """For programs."""
        return asdict(self)


def agreement(folder: Path, file: Path, python: str) -> Agreement:
    """Run the file over its run's test rows here and there.

    Args:
        folder: The run folder.
        file: A model file that was made of it.
        python: Command of the other environment's Python.

    Raises:
        RunError: The run folder is incomplete, or has no test rows.
        ModelFileError: The file cannot be used, or was made of another run.
        ConversionError: The other environment cannot run edge-agent's code.
        InterpreterError: An interpreter is missing, or refuses the model.
    """
    run, bundle = Run.open(folder), Bundle.open(file)
    full_name(run, bundle, folder, file)
    raw = load_rows(folder, "test").raw[:, columns(run, bundle)]
    if not len(raw):
        raise RunError(folder, "has no test rows", remedy="train on more flows")
    here, *others = trials.places((python,))[0]
    # This environment's interpreters come first; the other one's are those with a command.
    there = next(place for place in others if place.python)
    rows = trials.Rows(test=raw, train=raw[:0])
    return compared(bundle, *(trials.try_in(place, bundle, rows) for place in (here, there)))


def compared(bundle: Bundle, here: Trial, there: Trial) -> Agreement:
    """Count equal labels and scores of two trials of one file on the same rows."""
    threshold = np.float32(bundle.threshold)
    first, second = here.test[:, 0], there.test[:, 0]
    return Agreement(
        here=here.place,
        there=there.place,
        rows=len(first),
        same_label=float(((first >= threshold) == (second >= threshold)).mean()),
        same_score=float((first == second).mean()),
        largest_score_difference=float(np.abs(first - second).max()),
    )
