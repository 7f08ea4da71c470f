"""What the meter is meant to reach, and whether a measurement says that it does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from benchmarks.tables import NOTHING, table
from benchmarks.throughput.contenders import CSV, TCPDUMP, meter_name
from edge_agent.contract.profiles import PROFILES

if TYPE_CHECKING:
    from collections.abc import Callable

METER_TIMES_TCPDUMP: Final = 0.7
EXTRACT_TIMES_TCPDUMP: Final = 0.25
METER_TIMES_NFSTREAM: Final = 25.0
FLOOD_TIMES_LARGE: Final = 1.0
PEAK_MB: Final = 64.0
IMPORT_MS: Final = 50.0

_MB: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Target:
    """A bound and what was measured.

    Attributes:
        what: In words, unit included.
        bound: What is to be reached.
        measured: The figure; None when it was not measured.
        at_most: Whether the bound is an upper one.
    """

    what: str
    bound: float
    measured: float | None
    at_most: bool = False

    @property
    def verdict(self) -> str:
        """`pass`, `fail` or `not measured`."""
        if self.measured is None:
            return "not measured"
        held = self.measured <= self.bound if self.at_most else self.measured >= self.bound
        return "pass" if held else "fail"

    def to_json(self) -> dict[str, Any]:
        """For the report."""
        return {
            "what": self.what,
            "bound": self.bound,
            "at_most": self.at_most,
            "measured": self.measured,
            "verdict": self.verdict,
        }


def of_meter(report: dict[str, Any]) -> list[Target]:
    """The targets of `meter`; `report` has "contenders" (`measure.figures`) and "import_ms"."""
    found: dict[str, dict[str, Any]] = report["contenders"]
    targets = []
    for profile in PROFILES:
        large, flood = found.get(meter_name(profile)), found.get(meter_name(profile, "flood"))
        targets += [
            Target(
                f"{meter_name(profile)}: its rate by tcpdump's, beyond start",
                METER_TIMES_TCPDUMP,
                _ratio_beyond_start(large, found.get(TCPDUMP)),
            ),
            # Beyond start here too: the flood is shorter, so its share of the start is larger.
            Target(
                f"{meter_name(profile)}: rate on flood by rate on large, beyond start",
                FLOOD_TIMES_LARGE,
                _ratio_beyond_start(flood, large),
            ),
            Target(
                f"{meter_name(profile)}: peak memory, MB, the higher of both traces",
                PEAK_MB,
                max(large["peak_bytes"], flood["peak_bytes"]) / _MB if large and flood else None,
                at_most=True,
            ),
        ]
    beyond = report.get("import_ms")
    return [
        *targets,
        Target(f"{CSV}: its rate by tcpdump's", EXTRACT_TIMES_TCPDUMP, _ratio(found.get(CSV))),
        Target(
            "import of the meter beyond numpy, ms",
            IMPORT_MS,
            beyond["beyond_numpy"]["median"] if beyond else None,
            at_most=True,
        ),
    ]


def of_peers(by_profile: dict[str, float | None]) -> list[Target]:
    """The targets of `peers`.

    Args:
        by_profile: Profile → our rate by NFStream's, median of the rounds' ratios.
    """
    return [
        Target(
            f"{meter_name(profile)}: its rate by NFStream's, beyond start",
            METER_TIMES_NFSTREAM,
            ratio,
        )
        for profile, ratio in by_profile.items()
    ]


def _ratio(found: dict[str, Any] | None) -> float | None:
    return found["times_baseline"]["median"] if found and found["times_baseline"] else None


def _beyond_start(found: dict[str, Any] | None) -> float | None:
    rate = found["packets_per_cpu_s_beyond_start"] if found else None
    return rate["median"] if rate else None


def _ratio_beyond_start(found: dict[str, Any] | None, other: dict[str, Any] | None) -> float | None:
    ours, theirs = _beyond_start(found), _beyond_start(other)
    return ours / theirs if ours and theirs else None


def summary(targets: list[Target]) -> str:
    """The targets as a table for people."""
    show: Callable[[float | None], str] = lambda x: NOTHING if x is None else f"{x:,.2f}"  # noqa: E731
    rows = [
        (
            target.what,
            f"{'at most' if target.at_most else 'at least'} {target.bound:g}",
            show(target.measured),
            target.verdict,
        )
        for target in targets
    ]
    return table(("target", "bound", "measured", "verdict"), rows)
