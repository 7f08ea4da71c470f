"""Scores of fitted models to the entries of `metrics.json`."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from trainer.evaluate import Outputs, Truth, evaluate
from trainer.thresholds import Threshold, choose_threshold
from trainer.traffic import Traffic, expected

if TYPE_CHECKING:
    from trainer.experiment import Fitted
    from trainer.parts import Deal, Labelled


@dataclass(frozen=True, slots=True)
class Judged:
    """A fitted model with its threshold.

    Attributes:
        fitted: The model.
        threshold: Chosen on the validation rows.
        families: What its family shares are of.
    """

    fitted: Fitted
    threshold: Threshold
    families: tuple[str, ...]

    @classmethod
    def of(cls, fitted: Fitted, deal: Deal, max_far: float | None) -> Judged:
        """Choose the threshold: the best F1, or the best recall at a false-alarm rate."""
        target = deal.parts["validation"].part.target
        threshold = choose_threshold(fitted.scores["validation"], target, max_far)
        return cls(fitted, threshold, deal.families)

    @property
    def name(self) -> str:
        """What its figures are filed under."""
        return self.fitted.choice.name

    def outputs(self, part: str) -> Outputs:
        """What it said of the rows of a part."""
        return Outputs(
            scores=self.fitted.scores[part],
            family_shares=self.fitted.shares.get(part),
            families=self.families,
        )

    def figures(self, part: str, truth: Truth, seed: int) -> dict[str, Any]:
        """Figures of a part; see `evaluate`."""
        return evaluate(self.outputs(part), truth, self.threshold.value, seed)

    def summary(self, part: str, truth: Truth, seed: int) -> dict[str, Any]:
        """An entry of the experiments beside the main one."""
        return {
            "size": self.fitted.choice.size,
            "test": self.figures(part, truth, seed),
            "threshold": self.threshold.value,
            "threshold_rule": self.threshold.rule,
        }

    def entry(self, deal: Deal, seed: int, traffic: Traffic) -> dict[str, Any]:
        """An entry of `models`."""
        validation = truth_of(deal.parts["validation"], deal)
        entry = self.summary("test", truth_of(deal.parts["test"], deal), seed)
        return entry | {
            "validation": self.figures("validation", validation, seed),
            "threshold_met": self.threshold.met,
            "at_work": expected(entry["test"], traffic),
            "parameters": self.fitted.parameters,
            "training_s": self.fitted.training_s,
            "history": asdict(self.fitted.history),
            "importance": [asdict(item) for item in self.fitted.importance],
            "saved": bool(self.fitted.file),
        }


def truth_of(labelled: Labelled, deal: Deal) -> Truth:
    """What is known about a part's rows."""
    return Truth(labelled.part.target, labelled.label, deal.labels, deal.label_families)
