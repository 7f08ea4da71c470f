"""Scores to figures: thresholds and metrics."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from trainer.datasets.labels import OTHER

if TYPE_CHECKING:
    from numpy.typing import NDArray

# An int8 sigmoid gives out k/256. Thresholds lie halfway between two such codes, so that a score's
# last rounding never decides.
_CANDIDATES: Final = (np.arange(255) + 0.5) / 256

# Validation F1s closer than this are equal: on 5,000 rows it is one or two verdicts. Without it a
# single lucky row pulls the threshold to the edge, where rows of another day fall on both sides.
_F1_TOLERANCE: Final = 0.0005

THRESHOLD_RULE: Final = (
    f"highest F1 on the validation rows, within {_F1_TOLERANCE}, among the midpoints between int8"
    " output codes; of these the middle of the longest run"
)


@dataclass(frozen=True, slots=True)
class Threshold:
    """Scores at or above `value` are attacks; `f1` is what that gives where it was chosen."""

    value: float
    f1: float


@dataclass(frozen=True, slots=True)
class Confusion:
    """Counts of rows: truth benign (tn, fp) or attack (fn, tp), verdict benign (tn, fn) or not."""

    tn: int
    fp: int
    fn: int
    tp: int

    @classmethod
    def of(cls, flagged: NDArray[np.bool_], target: NDArray[np.uint8]) -> Confusion:
        """Count verdicts against the truth, both of shape (n_flows,)."""
        attack = target == 1
        return cls(
            tn=int((~flagged & ~attack).sum()),
            fp=int((flagged & ~attack).sum()),
            fn=int((~flagged & attack).sum()),
            tp=int((flagged & attack).sum()),
        )

    def figures(self) -> dict[str, Any]:
        """The shares that `metrics.json` gives; 0 where there is nothing to divide by."""
        rows = self.tn + self.fp + self.fn + self.tp
        return {
            "accuracy": _share(self.tn + self.tp, rows),
            "precision": _share(self.tp, self.tp + self.fp),
            "recall": _share(self.tp, self.tp + self.fn),
            "f1": _share(2 * self.tp, 2 * self.tp + self.fp + self.fn),
            "false_alarm_rate": _share(self.fp, self.fp + self.tn),
            "confusion": asdict(self),
            "rows": rows,
        }


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0


def best_threshold(scores: NDArray[np.float32], target: NDArray[np.uint8]) -> Threshold:
    """Choose a threshold by `THRESHOLD_RULE`.

    Args:
        scores: Shape (n_flows,), in [0, 1].
        target: Shape (n_flows,), 1 for attacks.
    """
    attack = np.sort(scores[target == 1])
    benign = np.sort(scores[target == 0])
    true = len(attack) - np.searchsorted(attack, _CANDIDATES, side="left")
    false = len(benign) - np.searchsorted(benign, _CANDIDATES, side="left")
    f1 = 2 * true / np.maximum(true + false + len(attack), 1)
    best = f1 >= f1.max() - _F1_TOLERANCE
    # A threshold amid a long run is the least sensitive to a change of scores.
    edges = np.flatnonzero(np.diff(np.concatenate([[0], best.astype(np.int8), [0]])))
    begin, end = edges[::2], edges[1::2]
    longest = int(np.argmax(end - begin))
    middle = int(begin[longest] + end[longest] - 1) // 2
    return Threshold(float(_CANDIDATES[middle]), float(f1[middle]))


def evaluate(
    scores: NDArray[np.float32],
    label: NDArray[np.str_],
    target: NDArray[np.uint8],
    threshold: float,
    families: dict[str, str],
) -> dict[str, Any]:
    """Figures of one part, as `metrics.json` has them.

    Args:
        scores: Shape (n_flows,).
        label: Shape (n_flows,), unified.
        target: Shape (n_flows,), 1 for attacks.
        threshold: Scores at or above it are attacks.
        families: Label → family.

    Returns:
        The shares of `Confusion.figures`, and `per_class`: label → family, rows, how many were
        flagged ("detected") and their share ("recall"; for BENIGN that is the false-alarm rate).
    """
    flagged = scores >= threshold
    classes, member = np.unique(label, return_inverse=True)
    rows = np.bincount(member, minlength=len(classes))
    detected = np.bincount(member, weights=flagged, minlength=len(classes)).astype(int)
    per_class = {
        str(name): {
            "family": families.get(str(name), OTHER),
            "rows": int(rows[index]),
            "detected": int(detected[index]),
            "recall": _share(int(detected[index]), int(rows[index])),
        }
        for index, name in enumerate(classes)
    }
    return Confusion.of(flagged, target).figures() | {"per_class": per_class}
