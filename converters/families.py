"""Does the converted model still name the same attack families? Pure: shares in, verdict out.

Only rows that are attacks and that the full model flags are asked: of the others nobody hears a
family. Compared are the largest shares, however small, which is stricter than what an agent says:
it names nothing below `detect.judgement.NAMED_FROM_SHARE`.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from edge_agent.detect.judgement import top_family

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# An incident has the family of most of its flows, so two in a hundred change no alert. Sound int8
# files keep more than 99 %.
MIN_AGREEMENT: Final = 0.98
# Of a rare family a conversion could lose every row within that. Nine in ten still are a clear
# majority in every incident.
MIN_FAMILY_AGREEMENT: Final = 0.9
# Rows that may differ, however few there are: one row between two families proves nothing.
_CHANCE_ROWS: Final = 1


@dataclass(frozen=True, slots=True)
class Named:
    """What two models say of the families of the same rows.

    Attributes:
        families: Names of the columns.
        full, converted: Shares, shape (n_rows, n_families).
        truth: k for families[k - 1], 0 where it is not known, shape (n_rows,).
    """

    families: tuple[str, ...]
    full: NDArray[np.float32]
    converted: NDArray[np.float32]
    truth: NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class FamilyComparison:
    """Families of a converted model beside those of the full one.

    Attributes:
        rows: Attacks that the full model flags.
        agreement: Share of them with the same family; 1 where there are none.
        by_family: The same by what the full model names, for families it names at all.
        full_accuracy, converted_accuracy: Share of those with a known family that are named right.
        reasons: Why the conversion is refused; empty when it passes.
    """

    rows: int
    agreement: float
    by_family: dict[str, float]
    full_accuracy: float
    converted_accuracy: float
    reasons: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """For `gate`, whose own reasons hold these."""
        facts = asdict(self)
        del facts["reasons"]
        return {**facts, "min_agreement": MIN_AGREEMENT, "min_by_family": MIN_FAMILY_AGREEMENT}


def compare_families(named: Named, rows: NDArray[np.bool_]) -> FamilyComparison:
    """Judge the families of a conversion.

    Args:
        named: What the models say.
        rows: Attacks that the full model flags, shape (n_rows,).
    """
    full, converted = top_family(named.full[rows]), top_family(named.converted[rows])
    truth = named.truth[rows]
    same = full == converted
    by_family = {}
    reasons = []
    if _lost(same, MIN_AGREEMENT):
        reasons.append(_reason(same, MIN_AGREEMENT, "attacks"))
    for number, family in enumerate(named.families, start=1):
        of_family = same[full == number]
        if len(of_family):
            by_family[family] = float(of_family.mean())
        if _lost(of_family, MIN_FAMILY_AGREEMENT):
            reasons.append(_reason(of_family, MIN_FAMILY_AGREEMENT, f"{family} attacks"))
    known = truth > 0
    return FamilyComparison(
        rows=len(same),
        agreement=float(same.mean()) if len(same) else 1.0,
        by_family=by_family,
        full_accuracy=_mean((full == truth)[known]),
        converted_accuracy=_mean((converted == truth)[known]),
        reasons=tuple(reasons),
    )


def _lost(same: NDArray[np.bool_], least: float) -> bool:
    return int((~same).sum()) > max(_CHANCE_ROWS, (1 - least) * len(same))


def _reason(same: NDArray[np.bool_], least: float, what: str) -> str:
    return (
        f"only {same.mean():.1%} of the {len(same):,} {what} keep their family,"
        f" {least:.0%} are needed"
    )


def _mean(right: NDArray[np.bool_]) -> float:
    return float(right.mean()) if len(right) else 0.0
