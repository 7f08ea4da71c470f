"""The gate's verdict on a model file over all interpreters it was tried in."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from converters.operators import forbidden
from edge_agent.detect.detector import takes_bins

if TYPE_CHECKING:
    from converters.gate import Comparison
    from edge_agent.contract.bundle import Bundle
    from edge_agent.detect.trial import Trial

# A sigmoid and a softmax have 1/256 each. What joins them takes the range it saw, at most 0 to 1,
# in 255 steps: of 256 scores two neighbours fall together. The tolerance is for the converter's
# floats.
_COARSEST_SHARE: Final = 1 / 255 * (1 + 1e-6)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was found, and whether the file may be used.

    Attributes:
        comparisons: The file beside the full model, by interpreter; the threshold was chosen in
            the first.
        operators: How often the file uses each.
        size_bytes: Of the flatbuffer, raw and gzipped.
        failures: Interpreters that could not run the file, and why.
        faults: What else is wrong with it.
    """

    comparisons: dict[str, Comparison]
    operators: dict[str, int]
    size_bytes: dict[str, int]
    failures: dict[str, str] = field(default_factory=dict)
    faults: tuple[str, ...] = ()

    @property
    def first(self) -> Comparison | None:
        """The comparison in the first interpreter; None where no interpreter could run it."""
        return next(iter(self.comparisons.values()), None)

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why the file is refused, one clause each; empty when it passes."""
        named = len(self.comparisons) + len(self.failures) > 1
        reasons = [*self.faults]
        banned = forbidden(self.operators)
        if banned:
            reasons.append(f"it uses {', '.join(banned)}, which not every interpreter has")
        for place, why in self.failures.items():
            clause = why.rstrip(".")
            reasons.append(f"in {place}: {clause}" if named else clause)
        for place, comparison in self.comparisons.items():
            reasons += [f"in {place}: {why}" if named else why for why in comparison.reasons]
        return tuple(reasons)

    @property
    def passed(self) -> bool:
        """Whether the file may be used."""
        return not self.reasons

    @property
    def too_inaccurate(self) -> bool:
        """Whether a larger --max-f1-drop would have helped."""
        return any(
            comparison.f1_drop_points > comparison.max_f1_drop_points
            for comparison in self.comparisons.values()
        )

    def to_json(self) -> dict[str, Any]:
        """For `gate` of the model file and of `conversion.json`: the first interpreter's figures.

        And those of each, under "interpreters".
        """
        shared = {
            "passed": self.passed,
            "reasons": list(self.reasons),
            "operators": self.operators,
            "size_bytes": self.size_bytes,
            "interpreters": {
                place: {**comparison.to_json(), "metrics": comparison.metrics()["converted"]}
                for place, comparison in self.comparisons.items()
            },
        }
        first = self.first
        return {**first.to_json(), **shared} if first else shared


def int8_faults(bundle: Bundle, trial: Trial) -> tuple[str, ...]:
    """What is wrong with an int8 file's edges, one clause each.

    It must take integers, a quantile scaler's bins as they are; and where score and family shares
    share one table, its 256 codes must be for shares alone, or the score became coarser for their
    sake.
    """
    taken, given = trial.input, trial.output
    faults = []
    if bundle.scaler.kind == "quantile" and not takes_bins(taken):
        faults.append(
            f"its input is {taken.dtype} at scale {taken.scale:g} and zero point"
            f" {taken.zero_point} instead of int8 at 1/255 and -128"
        )
    if bundle.families and (given.scale > _COARSEST_SHARE or given.zero_point != -128):
        faults.append(
            f"its output is at scale {given.scale:g} and zero point {given.zero_point} instead of"
            " 1/256 or 1/255 and -128, so the score is coarser for the families' sake"
        )
    return tuple(faults)
