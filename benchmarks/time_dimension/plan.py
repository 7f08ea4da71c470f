"""What is trained on what, what chooses the threshold, and what is tested.

Recordings: trained on one and tested on each other one; trained on all but one and tested on that.
Tools: trained on all recordings without the campaigns of one tool, tested on these.

Thresholds never see a tested recording or minute. Of a single recording every third minute's
benign flows are kept out of training for it. With several, models of the single recordings judge
the benign flows of each other: that is what a network that was never seen looks like. These models
learn from whole recordings: one that lacks benign minutes is worse, and its threshold too high.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from benchmarks.time_dimension.flows import Flows

_HELD_MINUTE: Final = 3
# Of five minutes three are trained on, one chooses the threshold, one is tested.
_TOOL_MINUTES: Final = 5
_TRAINED_MINUTES: Final = 3

HELD: Final = "held out"


@dataclass(frozen=True, slots=True)
class Fit:
    """One training.

    Attributes:
        name: Unique in a plan.
        train: Flows to learn from.
        parts: Flows to score afterwards, by name.
    """

    name: str
    train: NDArray[np.int64]
    parts: dict[str, NDArray[np.int64]]


@dataclass(frozen=True, slots=True)
class Trial:
    """One figure of the report.

    Attributes:
        name: For the table.
        kind: Trials of one kind are summed up.
        tested: Fit and part.
        calibrated: Fits and parts whose benign scores choose the threshold.
    """

    name: str
    kind: str
    tested: tuple[str, str]
    calibrated: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """Fits, and what is read from their scores."""

    fits: tuple[Fit, ...]
    trials: tuple[Trial, ...]


def by_recording(flows: Flows) -> Plan:
    """Train on some recordings, test on another."""
    names = flows.recordings
    rows = {name: np.flatnonzero(flows.recording == i) for i, name in enumerate(names)}
    held = flows.benign & (flows.block % _HELD_MINUTE == 0)
    fits, trials = [], []
    for name in names:
        others = {other: rows[other] for other in names if other != name}
        kept = held[rows[name]]
        fits.append(Fit(name, rows[name][~kept], {HELD: rows[name][kept]} | others))
        trials += [
            Trial(f"{name} → {other}", "one recording", (name, other), ((name, HELD),))
            for other in others
        ]
    if len(names) > 2:
        for name in names:
            others = {other: rows[other] for other in names if other != name}
            fits.append(Fit(whole(name), rows[name], others))
        for name in names:
            known = [other for other in names if other != name]
            joint = " + ".join(known)
            train = np.concatenate([rows[other] for other in known])
            fits.append(Fit(joint, train, {name: rows[name]}))
            pairs = tuple((whole(one), other) for one in known for other in known if one != other)
            trials.append(Trial(f"{joint} → {name}", "all but one", (joint, name), pairs))
    return Plan(tuple(fits), tuple(trials))


def whole(name: str) -> str:
    """Name of the fit on all of a recording."""
    return f"{name}, whole"


def by_tool(flows: Flows, seed: int) -> Plan:
    """Train without one tool, test on its campaigns and on benign minutes that were held out.

    Args:
        flows: All.
        seed: Decides which minutes.
    """
    minute = (flows.block + seed) % _TOOL_MINUTES
    tool = flows.tool
    fits, trials = [], []
    for name in sorted({attack.tool for attack in flows.attacks}):
        train = np.where(flows.benign, minute < _TRAINED_MINUTES, tool != name)
        tested = (flows.benign & (minute == _TOOL_MINUTES - 1)) | (tool == name)
        parts = {
            HELD: np.flatnonzero(flows.benign & (minute == _TRAINED_MINUTES)),
            name: np.flatnonzero(tested),
        }
        fit = f"without {name}"
        fits.append(Fit(fit, np.flatnonzero(train), parts))
        trials.append(Trial(f"{fit} → {name}", "a tool left out", (fit, name), ((fit, HELD),)))
    return Plan(tuple(fits), tuple(trials))
