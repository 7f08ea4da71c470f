"""Whether memory stayed flat, and how late alerts came."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any, Final

from benchmarks.throughput.targets import Target

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ALERT_S: Final = 5.0
GROWTH_MB: Final = 2.0
SLOPE_MB_PER_H: Final = 1.0

_MB: Final = 1_000_000
# Readings of neighbouring seconds hang together; means of so many blocks hardly do.
_BLOCKS: Final = 20
# Of the normal distribution, for 95 % in the middle.
_NORMAL: Final = 1.959964
_TENTHS: Final = 10


@dataclass(frozen=True, slots=True)
class Slope:
    """A straight line's slope, and the interval that holds it with 95 % confidence."""

    per_s: float
    low: float
    high: float


def slope(times_s: Sequence[float], values: Sequence[float]) -> Slope | None:
    """The slope of readings over time, from the means of twenty blocks; None: too few readings.

    Args:
        times_s: When, ascending.
        values: What was read.
    """
    if len(values) < 2 * _BLOCKS:
        return None
    cuts = [round(i * len(values) / _BLOCKS) for i in range(_BLOCKS + 1)]
    spans = [slice(a, b) for a, b in itertools.pairwise(cuts)]
    x = [math.fsum(times_s[span]) / len(times_s[span]) for span in spans]
    y = [math.fsum(values[span]) / len(values[span]) for span in spans]
    middle_x, middle_y = math.fsum(x) / _BLOCKS, math.fsum(y) / _BLOCKS
    spread = math.fsum((a - middle_x) ** 2 for a in x)
    per_s = math.fsum((a - middle_x) * (b - middle_y) for a, b in zip(x, y, strict=True)) / spread
    left = math.fsum(
        (b - middle_y - per_s * (a - middle_x)) ** 2 for a, b in zip(x, y, strict=True)
    )
    freedom = _BLOCKS - 2
    error = math.sqrt(left / freedom / spread)
    # Student's quantile from the normal one, to the second order (Cornish and Fisher).
    z = _NORMAL
    wide = z + (z**3 + z) / (4 * freedom) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)
    return Slope(per_s, per_s - wide * error, per_s + wide * error)


def growth(values: Sequence[float]) -> float | None:
    """Median of the last tenth less that of the second tenth; None: too few readings."""
    tenth = len(values) // _TENTHS
    if not tenth:
        return None
    return median(values[-tenth:]) - median(values[tenth : 2 * tenth])


@dataclass(frozen=True, slots=True)
class Heard:
    """An attack, and whether it was told.

    Attributes:
        source: Who attacked.
        in_flood: Whether a flood was on.
        late_s: From its first packet to the message; None: no message came.
    """

    source: str
    in_flood: bool
    late_s: float | None


def heard(
    attacks: Sequence[Mapping[str, Any]], messages: Sequence[tuple[float, Mapping[str, Any]]]
) -> list[Heard]:
    """What became of each attack.

    Args:
        attacks: Of the sender: "scan" (the source), "at" (Unix time), "in_flood".
        messages: When each alert came, Unix time, and the alert.
    """
    first: dict[str, float] = {}
    for at, alert in messages:
        if alert.get("event") == "new":
            source = str(alert.get("source"))
            first[source] = min(at, first.get(source, at))
    return [
        Heard(
            str(attack["scan"]),
            bool(attack["in_flood"]),
            first[attack["scan"]] - attack["at"] if attack["scan"] in first else None,
        )
        for attack in attacks
    ]


def targets(
    found: Sequence[Heard],
    linger_s: float,
    times_s: Sequence[float],
    resident: Sequence[int],
    *,
    alive: bool,
) -> list[Target]:
    """The targets of `soak`.

    Args:
        found: Of the attacks.
        linger_s: How long the meter waits before it gives out a flow that has ended.
        times_s: When memory was read.
        resident: Memory in RAM, in bytes.
        alive: Whether the agent ran to the end.
    """
    told = [one.late_s for one in found if one.late_s is not None]
    grown, line = growth(resident), slope(times_s, resident)
    return [
        Target("the agent runs to the end", 1, float(alive)),
        Target("attacks told, share", 1, len(told) / len(found) if found else None),
        Target(
            "latest alert, s after the attack's first packet, less the meter's linger",
            ALERT_S,
            max(told) - linger_s if told else None,
            at_most=True,
        ),
        Target(
            "memory, last tenth less second tenth, MB",
            GROWTH_MB,
            None if grown is None else grown / _MB,
            at_most=True,
        ),
        Target(
            "memory, slope in MB an hour, lower end of 95 % confidence",
            SLOPE_MB_PER_H,
            None if line is None else line.low * 3600 / _MB,
            at_most=True,
        ),
    ]
