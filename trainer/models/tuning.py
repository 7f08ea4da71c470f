"""Hyper-parameters by name, as `FitSettings.tuning` has them, with their types."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def number(tuning: Mapping[str, object], name: str, default: float) -> float:
    """A number.

    Raises:
        ValueError: It is something else.
    """
    value = tuning.get(name, default)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError(f"{name} must be a number, not {value!r}")  # noqa: TRY004  # as documented
    return float(value)


def integer(tuning: Mapping[str, object], name: str, default: int) -> int:
    """A whole number above 0.

    Raises:
        ValueError: It is something else.
    """
    value = tuning.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"{name} must be a whole number above 0, not {value!r}")
    return value


def integers(tuning: Mapping[str, object], name: str, default: Sequence[int]) -> tuple[int, ...]:
    """Whole numbers above 0, at least one.

    Raises:
        ValueError: They are something else.
    """
    value = tuning.get(name, default)
    if not isinstance(value, (list, tuple)) or not value:
        raise ValueError(f"{name} must be a list of whole numbers, not {value!r}")
    return tuple(integer({name: each}, name, 1) for each in value)
