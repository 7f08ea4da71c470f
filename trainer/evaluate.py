"""Scores to figures, each with the interval that chance alone leaves it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from trainer.intervals import Interval, areas, f1_interval, mcc, mcc_interval, wilson

# Here too: what fits a network asks for both in one breath.
from trainer.thresholds import THRESHOLD_RULE, best_threshold

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

__all__ = ["THRESHOLD_RULE", "Confusion", "Outputs", "Truth", "best_threshold", "evaluate"]

BENIGN_FAMILY: Final = "benign"
_UNKNOWN: Final = "unknown"


@dataclass(frozen=True, slots=True)
class Truth:
    """What is known about the rows of a part.

    Attributes:
        target: uint8, shape (n_flows,), 1 for attacks.
        label: int16, shape (n_flows,), index into `labels`.
        labels: Unified; the first is BENIGN.
        families: Label → family, "benign" for BENIGN.
    """

    target: NDArray[np.uint8]
    label: NDArray[np.int16]
    labels: tuple[str, ...]
    families: Mapping[str, str]

    def family_of(self, label: str) -> str:
        """Family of a label; "unknown" where nothing says."""
        return self.families.get(label, _UNKNOWN)


@dataclass(frozen=True, slots=True)
class Outputs:
    """What a model said about the rows of a part.

    Attributes:
        scores: float32, shape (n_flows,), in [0, 1], higher is more likely an attack.
        family_shares: float32, shape (n_flows, n_families); None: the model names no families.
        families: What the columns of `family_shares` are.
    """

    scores: NDArray[np.float32]
    family_shares: NDArray[np.float32] | None = None
    families: tuple[str, ...] = ()


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

    @property
    def rows(self) -> int:
        """All of them."""
        return self.tn + self.fp + self.fn + self.tp

    def figures(self) -> dict[str, Any]:
        """The shares that `metrics.json` gives; 0 where there is nothing to divide by."""
        return {
            "accuracy": _share(self.tn + self.tp, self.rows),
            "precision": _share(self.tp, self.tp + self.fp),
            "recall": _share(self.tp, self.tp + self.fn),
            "f1": _share(2 * self.tp, 2 * self.tp + self.fp + self.fn),
            "false_alarm_rate": _share(self.fp, self.fp + self.tn),
            "mcc": float(mcc(np.array([self.tn, self.fp, self.fn, self.tp], dtype=np.float64))),
            "confusion": asdict(self),
            "rows": self.rows,
        }

    def intervals(self, seed: int) -> dict[str, Interval | None]:
        """95 % intervals of the shares of `figures`; None where there is nothing to divide by.

        Args:
            seed: Of the draws behind that of "mcc"; the others are computed.
        """
        return {
            "accuracy": wilson(self.tn + self.tp, self.rows),
            "precision": wilson(self.tp, self.tp + self.fp),
            "recall": wilson(self.tp, self.tp + self.fn),
            "f1": f1_interval(self.tp, self.fp + self.fn),
            "false_alarm_rate": wilson(self.fp, self.fp + self.tn),
            "mcc": mcc_interval((self.tn, self.fp, self.fn, self.tp), seed),
        }


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0


def evaluate(outputs: Outputs, truth: Truth, threshold: float, seed: int = 0) -> dict[str, Any]:
    """Figures of one part, as `metrics.json` has them.

    Args:
        outputs: What the model said.
        truth: What is known.
        threshold: Scores at or above it are attacks.
        seed: Of the draws behind the intervals.

    Returns:
        The shares of `Confusion.figures`; `roc_auc` and `average_precision` where both classes
        occur; `intervals`: figure → [low, high], figures without one left out; `per_class` and
        `per_family`: name → rows, how many were flagged ("detected"), their share ("recall"; for
        BENIGN that is the false-alarm rate) and its "interval"; `naming` where the model names
        families (see `_naming`).

    Raises:
        ValueError: Scores are NaN, as those of a network that diverged.
    """
    scores = outputs.scores
    if not np.isfinite(scores).all():
        raise ValueError("scores are not finite: the model diverged")
    flagged = scores >= threshold
    confusion = Confusion.of(flagged, truth.target)
    figures = confusion.figures()
    intervals = confusion.intervals(seed)
    if 0 < int(truth.target.sum()) < len(truth.target):
        exact = _areas(scores, truth.target)
        bounds = areas(scores, truth.target, exact, seed)
        figures |= {"roc_auc": exact[0], "average_precision": exact[1]}
        intervals |= asdict(bounds)
    figures["intervals"] = {name: list(pair) for name, pair in intervals.items() if pair}
    figures["per_class"] = _per_class(flagged, truth)
    figures["per_family"] = _per_family(figures["per_class"])
    if outputs.family_shares is not None and outputs.families:
        figures["naming"] = _naming(outputs, truth, flagged)
    return figures


def _areas(scores: NDArray[np.float32], target: NDArray[np.uint8]) -> tuple[float, float]:
    # scikit-learn takes a second to import: --help need not wait for it.
    from sklearn.metrics import average_precision_score, roc_auc_score  # noqa: PLC0415

    return float(roc_auc_score(target, scores)), float(average_precision_score(target, scores))


def _per_class(flagged: NDArray[np.bool_], truth: Truth) -> dict[str, dict[str, Any]]:
    rows = np.bincount(truth.label, minlength=len(truth.labels))
    detected = np.bincount(truth.label[flagged], minlength=len(truth.labels))
    return {
        label: {"family": truth.family_of(label)} | _counted(int(detected[code]), int(rows[code]))
        for code, label in enumerate(truth.labels)
        if rows[code]
    }


def _per_family(per_class: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    families = dict.fromkeys(str(facts["family"]) for facts in per_class.values())
    return {
        family: _counted(
            *(
                sum(facts[key] for facts in per_class.values() if facts["family"] == family)
                for key in ("detected", "rows")
            )
        )
        for family in families
    }


def _counted(part: int, whole: int) -> dict[str, Any]:
    bounds = wilson(part, whole)
    return {
        "rows": whole,
        "detected": part,
        "recall": _share(part, whole),
        "interval": list(bounds) if bounds else None,
    }


def _naming(outputs: Outputs, truth: Truth, flagged: NDArray[np.bool_]) -> dict[str, Any]:
    """How well flagged attacks are named.

    Returns:
        "rows": attack rows that were flagged; "right": those of them given their own family, and
        "share" and "interval" of that; "families": what can be named; "confusion": true family →
        {named family → rows}. Families that the model does not know cannot be named right, and
        count as wrong.
    """
    shares = outputs.family_shares
    chosen = flagged & (truth.target == 1)
    named = shares[chosen].argmax(axis=1) if shares is not None else np.zeros(0, np.intp)
    true = [truth.family_of(label) for label in truth.labels]
    present = np.bincount(truth.label[chosen], minlength=len(true))
    confusion: dict[str, dict[str, int]] = {
        family: dict.fromkeys(outputs.families, 0)
        for family in dict.fromkeys(true)
        if any(rows for rows, own in zip(present, true, strict=True) if own == family)
    }
    pairs = np.bincount(
        truth.label[chosen].astype(np.intp) * len(outputs.families) + named,
        minlength=len(true) * len(outputs.families),
    ).reshape(len(true), len(outputs.families))
    for code, column in zip(*np.nonzero(pairs), strict=True):
        confusion[true[code]][outputs.families[column]] += int(pairs[code, column])
    right = sum(row.get(family, 0) for family, row in confusion.items())
    rows = int(chosen.sum())
    bounds = wilson(right, rows)
    return {
        "rows": rows,
        "right": right,
        "share": _share(right, rows),
        "interval": list(bounds) if bounds else None,
        "families": list(outputs.families),
        "confusion": confusion,
    }
