"""Is the converted model still the model that was trained? Pure: scores in, verdict out.

The figures are those of `metrics.json`, so that a run, a conversion and a model file speak of the
same things. A gate that cannot refuse is worth nothing: `tests/converters` feeds it interpreters
that are spoiled on purpose.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from converters.confidence import Intervals, intervals
from converters.families import FamilyComparison, Named, compare_families

if TYPE_CHECKING:
    from numpy.typing import NDArray

DEFAULT_MAX_F1_DROP_POINTS: Final = 0.1

# One flow or many, first or last: the same flow must get the same score. int8 arithmetic is exact;
# float kernels add in another order for other batch sizes, which moves the seventh digit.
_REPEAT_TOLERANCE: Final = 1e-4
# A carried-over threshold makes up for scores that are shifted, so a fault that shifts all must
# show in the scores themselves. Sound int8 files of real runs are at 0.004 to 0.013.
_MEAN_DIFFERENCE: Final = 0.03
# Bins that are codes are exact but for the rounding of 1/255 to a float.
_INPUT_TOLERANCE: Final = 1e-6


@dataclass(frozen=True, slots=True)
class Figures:
    """How well verdicts fit labels; shares between 0 and 1, 0 where nothing was to be counted."""

    accuracy: float
    precision: float
    recall: float
    f1: float
    false_alarm_rate: float
    confusion: dict[str, int]
    rows: int

    def to_json(self) -> dict[str, Any]:
        """The keys of `metrics.json`."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Comparison:
    """A converted model beside the full one, on the same rows.

    Attributes:
        full: Figures of the full model at its threshold.
        converted: Figures of the converted model at its threshold.
        f1_drop_points: How many points (hundredths) of F1 the conversion costs; below 0 it gains.
        false_alarm_rise_points: The same for the false-alarm rate.
        label_agreement: Share of rows with the same verdict.
        largest_score_difference: Between 0 and 1.
        mean_score_difference: Mean of the absolute differences.
        f1_drop_interval_points, false_alarm_rise_interval_points: 95 % intervals.
        batch_difference, order_difference, input_error: See `Invariants`.
        max_f1_drop_points: What was allowed.
        reasons: Why it is refused, one sentence each; empty when it passes.
        families: The same for the attack families; None where the model names none.
    """

    full: Figures
    converted: Figures
    f1_drop_points: float
    f1_drop_interval_points: tuple[float, float]
    false_alarm_rise_points: float
    false_alarm_rise_interval_points: tuple[float, float]
    label_agreement: float
    largest_score_difference: float
    mean_score_difference: float
    batch_difference: float
    order_difference: float
    input_error: float | None
    max_f1_drop_points: float
    reasons: tuple[str, ...]
    families: FamilyComparison | None = None

    @property
    def passed(self) -> bool:
        """Whether the converted model may be used."""
        return not self.reasons

    def to_json(self) -> dict[str, Any]:
        """Verdict and differences, for the model file and `conversion.json`."""
        facts = asdict(replace(self, families=None))
        del facts["full"], facts["converted"], facts["families"]
        for name in ("f1_drop_interval_points", "false_alarm_rise_interval_points"):
            # As JSON will have it: what is written equals what is read again.
            facts[name] = list(facts[name])
        if self.families:
            facts["families"] = self.families.to_json()
        return {"passed": self.passed, **facts, "reasons": list(self.reasons)}

    def metrics(self) -> dict[str, Any]:
        """Figures of both models, for the model file and `conversion.json`."""
        figures = {"full": self.full.to_json(), "converted": self.converted.to_json()}
        if self.families:
            figures["full"]["family_accuracy"] = self.families.full_accuracy
            figures["converted"]["family_accuracy"] = self.families.converted_accuracy
        return figures


def figures(labels: NDArray[np.uint8], attacks: NDArray[np.bool_]) -> Figures:
    """Count verdicts, shape (n_rows,), against labels (1 = attack), shape (n_rows,)."""
    positive = labels == 1
    tp = int((attacks & positive).sum())
    fp = int((attacks & ~positive).sum())
    fn = int((~attacks & positive).sum())
    tn = int((~attacks & ~positive).sum())
    return Figures(
        accuracy=_share(tp + tn, tp + tn + fp + fn),
        precision=_share(tp, tp + fp),
        recall=_share(tp, tp + fn),
        f1=_share(2 * tp, 2 * tp + fp + fn),
        false_alarm_rate=_share(fp, fp + tn),
        confusion={"tn": tn, "fp": fp, "fn": fn, "tp": tp},
        rows=len(labels),
    )


@dataclass(frozen=True, slots=True)
class Scored:
    """Scores of the same rows, shape (n_rows,), and the thresholds that make them verdicts."""

    full: NDArray[np.float32]
    full_threshold: float
    converted: NDArray[np.float32]
    converted_threshold: float


@dataclass(frozen=True, slots=True)
class Invariants:
    """Measured differences where there should be none; see `edge_agent.detect.trial.Trial`.

    Attributes:
        batch_difference: Between outputs of rows one by one and together.
        order_difference: Between outputs in order and in another order.
        input_error: Between scaled numbers and what their input codes stand for; None where the
            scaler has no bins for codes to coincide with.
    """

    batch_difference: float
    order_difference: float
    input_error: float | None = None


def compare(
    scored: Scored,
    labels: NDArray[np.uint8],
    invariants: Invariants,
    max_f1_drop_points: float = DEFAULT_MAX_F1_DROP_POINTS,
    named: Named | None = None,
) -> Comparison:
    """Judge a conversion.

    Args:
        scored: Scores of both models.
        labels: 1 = attack, shape (n_rows,).
        invariants: What was measured beside the verdicts.
        max_f1_drop_points: Points of F1 (hundredths) that the conversion may cost.
        named: Families of both models; None where they name none.
    """
    full_attacks = scored.full >= np.float32(scored.full_threshold)
    converted_attacks = scored.converted >= np.float32(scored.converted_threshold)
    full, converted = figures(labels, full_attacks), figures(labels, converted_attacks)
    drop = 100 * (full.f1 - converted.f1)
    difference: NDArray[np.float32] = np.nan_to_num(np.abs(scored.converted - scored.full), nan=1.0)
    mean_difference = float(difference.mean()) if len(labels) else 0.0
    reasons = []
    if not len(labels) or full.confusion["tp"] == 0:
        reasons.append("the full model finds no attack in the test rows, so nothing can be judged")
    if not np.isfinite(scored.converted).all():
        reasons.append("some scores are not finite")
    # Written so that a drop that is not a number refuses too. Rounding keeps 0.1 points from
    # exceeding 0.1 points.
    if not round(drop, 9) <= max_f1_drop_points:
        reasons.append(f"F1 drops by {drop:.2f} points, {max_f1_drop_points:g} are allowed")
    if mean_difference > _MEAN_DIFFERENCE:
        reasons.append(f"scores differ by {mean_difference:.3f} on average")
    if not invariants.batch_difference <= _REPEAT_TOLERANCE:
        reasons.append(
            f"a flow's score differs by {invariants.batch_difference:.3f} when it is scored alone"
        )
    if not invariants.order_difference <= _REPEAT_TOLERANCE:
        reasons.append(
            f"a flow's score differs by {invariants.order_difference:.3f} after other flows"
        )
    if invariants.input_error is not None and not invariants.input_error <= _INPUT_TOLERANCE:
        reasons.append(
            f"the input's codes are not the scaler's bins: a number is off by up to"
            f" {invariants.input_error:.4f} before the first layer"
        )
    families = compare_families(named, full_attacks & (labels == 1)) if named else None
    reasons += families.reasons if families else ()
    chance: Intervals = intervals(labels, full_attacks, converted_attacks)
    return Comparison(
        full=full,
        converted=converted,
        f1_drop_points=drop,
        f1_drop_interval_points=chance.f1_drop,
        false_alarm_rise_points=100 * (converted.false_alarm_rate - full.false_alarm_rate),
        false_alarm_rise_interval_points=chance.false_alarm_rise,
        label_agreement=float((full_attacks == converted_attacks).mean()) if len(labels) else 0.0,
        largest_score_difference=float(difference.max(initial=0.0)),
        mean_score_difference=mean_difference,
        batch_difference=invariants.batch_difference,
        order_difference=invariants.order_difference,
        input_error=invariants.input_error,
        max_f1_drop_points=max_f1_drop_points,
        reasons=tuple(reasons),
        families=families,
    )


def transferred_threshold(
    full: NDArray[np.float32], full_threshold: float, converted: NDArray[np.float32]
) -> float:
    """The converted model's threshold that repeats most of the full model's verdicts.

    Conversion moves scores a little, and int8 scores end at 255/256: a full model's threshold of
    0.998 would never be reached. Found on training rows, never on the rows the gate judges.
    Stays where it is unless another one does better.

    Args:
        full: Scores of the full model, shape (n_rows,).
        full_threshold: Its threshold.
        converted: Scores of the converted model for the same rows.
    """
    wanted = full >= np.float32(full_threshold)
    steps = np.arange(1, 256, dtype=np.float32) / np.float32(256)
    candidates = np.concatenate([[np.float32(full_threshold)], steps])
    repeated = (converted[:, None] >= candidates[None, :]) == wanted[:, None]
    agreement = repeated.mean(axis=0) if len(full) else np.zeros(len(candidates))
    best = agreement >= agreement.max()
    if best[0]:
        return full_threshold
    distance = np.where(best, np.abs(candidates - full_threshold), np.inf)
    return float(candidates[int(distance.argmin())])


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0
