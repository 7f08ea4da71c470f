"""What the agent is meant to reach on live traffic."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from benchmarks.live.programs import AGENT, TCPDUMP
from benchmarks.throughput.peers import NFSTREAM
from benchmarks.throughput.targets import Target

if TYPE_CHECKING:
    from collections.abc import Mapping

TIMES_TCPDUMP: Final = 1.0
TIMES_NFSTREAM: Final = 5.0
IDLE_MB: Final = 64.0
FULL_MB: Final = 96.0
START_S: Final = 1.5
IDLE_CPU_PERCENT: Final = 1.0

_MB: Final = 1_000_000


def of_live(ratios: Mapping[str, float | None], alone: Mapping[str, Any] | None) -> list[Target]:
    """The targets of `live`.

    Args:
        ratios: Peer → the agent's highest rate without drops by the peer's, median of the rounds.
        alone: What `footprint.of_agent` found; None: not measured.
    """
    found = alone or {}
    full_bytes = found.get("full_bytes")
    if alone is not None and alone["full_flows"] < alone["max_flows"]:
        full_bytes = None
    return [
        Target(
            f"{AGENT}: highest rate without drops by {TCPDUMP}'s",
            TIMES_TCPDUMP,
            ratios.get(TCPDUMP),
        ),
        Target(
            f"{AGENT}: highest rate without drops by {NFSTREAM}'s",
            TIMES_NFSTREAM,
            ratios.get(NFSTREAM),
        ),
        Target("memory idle, MB", IDLE_MB, _scaled(found.get("idle_bytes"), 1 / _MB), at_most=True),
        Target(
            "memory with a full flow table, peak, MB",
            FULL_MB,
            _scaled(full_bytes, 1 / _MB),
            at_most=True,
        ),
        Target(
            "from start to capturing, s, median",
            START_S,
            found.get("start_median_s"),
            at_most=True,
        ),
        Target(
            "processor idle, % of one",
            IDLE_CPU_PERCENT,
            _scaled(found.get("idle_cpu_share"), 100),
            at_most=True,
        ),
    ]


def _scaled(value: float | None, factor: float) -> float | None:
    return None if value is None else value * factor
