"""Figures as text: how many digits, and when a share is no share yet."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

MIN_ROWS: Final = 50
"""Fewer rows than this make no percentage: one row would be more than two points of it."""

NONE: Final = "–"
# A percent sign never stands alone at the start of a line.
_PERCENT: Final = "\u00a0%"
# Shares below this need a digit more: false-alarm rates live here.
_SMALL: Final = 0.01


def percent(share: float) -> str:
    """A share: "93.41 %", "0.061 %"; never rounded to 0 or 100 when it is not."""
    return _points(share, _digits(share)) + _PERCENT


def percent_range(bounds: Sequence[float]) -> str:
    """An interval of shares: "92.59–94.93 %"."""
    digits = max(map(_digits, bounds))
    return "–".join(_points(bound, digits) for bound in bounds) + _PERCENT


def _digits(share: float) -> int:
    """Digits behind the point of a percentage."""
    if 0 < share < _SMALL:
        return min(6, max(3, 1 - math.floor(math.log10(100 * share))))
    # As many nines as it takes not to say 100.
    return _nines(100 * (1 - share), 2)


def _nines(rest: float, least: int) -> int:
    """Digits behind the point that keep a figure this far from its end apart from it."""
    if rest <= 0:
        return least
    # The little more is for 1 - 0.99999, which is a trifle less than 0.00001.
    return min(6, max(least, -math.floor(math.log10(rest) + 1e-9)))


def _points(share: float, digits: int) -> str:
    return {0.0: "0", 1.0: "100"}.get(share) or f"{100 * share:.{digits}f}"


def decimal(value: float | None) -> str:
    """A figure with four digits behind the point, or as many as it takes not to say 1: "0.9963"."""
    if value is None:
        return NONE
    return f"{value:.{_nines(1 - value, 4)}f}"


def decimal_range(bounds: Sequence[float]) -> str:
    """An interval of such figures: "0.9944–0.9977"."""
    return "–".join(map(decimal, bounds))


def count(value: float) -> str:
    """A number of things: "1,234", and below ten with a digit behind the point."""
    if value == 0 or value >= 10:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 0.1 else "below 0.1"


def share_of(facts: Mapping[str, Any]) -> str:
    """Share of flagged rows with its interval; of few rows only their number.

    Args:
        facts: An entry of `per_class` or `per_family`.
    """
    if facts["rows"] < MIN_ROWS:
        return f"{facts['detected']} of {facts['rows']}"
    bounds = facts.get("interval")
    return percent(facts["recall"]) + (f" ({percent_range(bounds)})" if bounds else "")


def one_in(share: float) -> str:
    """A small share in words: "one in 10,000"."""
    return f"one in {1 / share:,.0f}" if share > 0 else "none"


def listed(names: Iterable[str]) -> str:
    """Names in a sentence: "a, b and c"."""
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last


def model_title(name: str, facts: Mapping[str, Any]) -> str:
    """A model with its variant, said once: "cnn-lstm edge", "cnn-lstm:paper"."""
    size = facts.get("size", "")
    return name if not size or name.endswith(f":{size}") else f"{name} {size}"
