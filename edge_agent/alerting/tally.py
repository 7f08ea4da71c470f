"""What is counted of flagged flows: bounded, and mergeable.

Addresses and ports come from attackers. A set of addresses keeps its first few and says that it is
full; ports fit a bitmap of 8 KB, made only when there are many.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from edge_agent.contract.alerts import (
    FAMILIES,
    MAX_EXPLANATION,
    UNKNOWN_FAMILY,
    protocol_name,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

# Beyond so many ports a bitmap of 8 KB is smaller than a set.
_SPARSE_PORTS: Final = 128
_BITMAP_BYTES: Final = 65_536 // 8
# Protocols whose flows have ports.
_WITH_PORTS: Final = frozenset({6, 17})

# How an explanation speaks of what it does not know for certain.
_LOOKS: Final = {
    "scan": "a scan",
    "dos": "denial of service",
    "ddos": "distributed denial of service",
    "bruteforce": "password guessing",
    "web": "an attack on a web application",
    "botnet": "a botnet at work",
    "infiltration": "an infiltration",
    "exploit": "the use of a vulnerability",
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """A flow that the model flagged.

    Attributes:
        time_us: When the meter gave it out, µs since 1970.
        start_us: Time of its first packet.
        source: Address held responsible.
        destination: Address attacked.
        destination_port: 0 where the protocol has none.
        protocol: IP protocol number.
        score: 0 to 1; higher is worse.
        family: One of `contract.alerts.FAMILIES`.
        answered: Whether the other side sent a packet; None where that is not known.
    """

    time_us: int
    start_us: int
    source: str
    destination: str
    destination_port: int
    protocol: int
    score: float
    family: str = "unknown"
    answered: bool | None = None


class AddressSet:
    """The first `limit` distinct addresses, in order of appearance."""

    __slots__ = ("_addresses", "limit", "overflowed")

    def __init__(self, limit: int) -> None:
        self._addresses: dict[str, None] = {}
        self.limit = limit
        self.overflowed = False

    def __len__(self) -> int:
        return len(self._addresses)

    def add(self, address: str) -> None:
        """Count an address."""
        if address in self._addresses:
            return
        if len(self._addresses) < self.limit:
            self._addresses[address] = None
        else:
            self.overflowed = True

    def merge(self, other: AddressSet) -> None:
        """Count all of another set."""
        for address in other._addresses:
            self.add(address)
        self.overflowed |= other.overflowed

    def first(self, count: int) -> tuple[str, ...]:
        """The first few, in order of appearance."""
        return tuple(address for address, _ in zip(self._addresses, range(count), strict=False))


class PortSet:
    """Exact set of ports in at most 8 KB."""

    __slots__ = ("_bitmap", "_count", "_sparse")

    def __init__(self) -> None:
        self._sparse: set[int] = set()
        self._bitmap: bytearray | None = None
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, port: int) -> None:
        """Count a port, 0 to 65,535."""
        if self._bitmap is None:
            self._sparse.add(port)
            self._count = len(self._sparse)
            if self._count > _SPARSE_PORTS:
                self._bitmap = bytearray(_BITMAP_BYTES)
                for known in self._sparse:
                    self._bitmap[known >> 3] |= 1 << (known & 7)
                self._sparse = set()
            return
        mask = 1 << (port & 7)
        if not self._bitmap[port >> 3] & mask:
            self._bitmap[port >> 3] |= mask
            self._count += 1

    def merge(self, other: PortSet) -> None:
        """Count all of another set."""
        for port in other.lowest(65_536):
            self.add(port)

    def lowest(self, count: int) -> tuple[int, ...]:
        """The lowest few, ascending."""
        if self._bitmap is None:
            return tuple(sorted(self._sparse)[:count])
        found: list[int] = []
        for index, bits in enumerate(self._bitmap):
            if bits:
                found.extend(index * 8 + bit for bit in range(8) if bits >> bit & 1)
                if len(found) >= count:
                    break
        return tuple(found[:count])


class Tally:
    """Running totals over flagged flows."""

    __slots__ = (
        "answer_known",
        "answered",
        "families",
        "first_seen_us",
        "flows",
        "last_seen_us",
        "ports",
        "protocols",
        "score_sum",
        "sources",
        "targets",
        "top_score",
    )

    def __init__(self, max_sources: int, max_targets: int) -> None:
        self.flows = 0
        self.first_seen_us = 0
        self.last_seen_us = 0
        self.top_score = 0.0
        self.score_sum = 0.0
        self.answered = 0
        self.answer_known = 0
        # At most one entry for each of FAMILIES.
        self.families: dict[str, int] = {}
        self.protocols: set[str] = set()
        self.sources = AddressSet(max_sources)
        self.targets = AddressSet(max_targets)
        self.ports = PortSet()

    @classmethod
    def of(cls, parts: Iterable[Tally], max_sources: int, max_targets: int) -> Tally:
        """The sum of several."""
        total = cls(max_sources, max_targets)
        for part in parts:
            total.merge(part)
        return total

    def add(self, verdict: Verdict) -> None:
        """Count a flow."""
        self._span(verdict.start_us, verdict.time_us)
        self.flows += 1
        self.top_score = max(self.top_score, verdict.score)
        self.score_sum += verdict.score
        if verdict.answered is not None:
            self.answer_known += 1
            self.answered += verdict.answered
        self.families[verdict.family] = self.families.get(verdict.family, 0) + 1
        self.protocols.add(protocol_name(verdict.protocol))
        self.sources.add(verdict.source)
        self.targets.add(verdict.destination)
        if verdict.protocol in _WITH_PORTS:
            self.ports.add(verdict.destination_port)

    def merge(self, other: Tally) -> None:
        """Count all that another tally counted."""
        if not other.flows:
            return
        self._span(other.first_seen_us, other.last_seen_us)
        self.flows += other.flows
        self.top_score = max(self.top_score, other.top_score)
        self.score_sum += other.score_sum
        self.answered += other.answered
        self.answer_known += other.answer_known
        for family, flows in other.families.items():
            self.families[family] = self.families.get(family, 0) + flows
        self.protocols |= other.protocols
        self.sources.merge(other.sources)
        self.targets.merge(other.targets)
        self.ports.merge(other.ports)

    @property
    def mean_score(self) -> float:
        """Mean score of the flows, 0 to 1."""
        return min(self.score_sum / self.flows, 1.0) if self.flows else 0.0

    @property
    def family(self) -> str:
        """What most flows look like; see `leading_family`."""
        return leading_family(self.families)

    @property
    def duration_s(self) -> float:
        """From the first packet of the first flow to the last flow given out."""
        return max(self.last_seen_us - self.first_seen_us, 0) / 1e6

    @property
    def protocol(self) -> str:
        """The one protocol of all flows, or "mixed"."""
        return next(iter(self.protocols)) if len(self.protocols) == 1 else "mixed"

    @property
    def at_least(self) -> tuple[str, ...]:
        """Names of the counts that are lower bounds."""
        capped = (
            ("source_count", self.sources.overflowed),
            ("target_count", self.targets.overflowed),
        )
        return tuple(name for name, overflowed in capped if overflowed)

    def _span(self, first_us: int, last_us: int) -> None:
        self.first_seen_us = min(self.first_seen_us, first_us) if self.flows else first_us
        self.last_seen_us = max(self.last_seen_us, last_us) if self.flows else last_us


def leading_family(votes: Mapping[str, int]) -> str:
    """The family of most flows; "unknown" is a vote like any other, but yields in a draw.

    Args:
        votes: Family → flows.
    """
    seen = (family for family in FAMILIES if family in votes)
    return max(seen, key=votes.__getitem__, default=UNKNOWN_FAMILY)


def explain(tally: Tally, source: str | None, ending: str = "") -> str:
    """One sentence with the family and the counts: only facts the tally has.

    Args:
        tally: Totals of the incident.
        source: The address held responsible; None when there are many.
        ending: A clause about how it ended.
    """
    origin = source or _counted(tally.sources, "source", "sources")
    looks = _LOOKS.get(tally.family)
    text = f"looks like {looks}: " if looks else ""
    text += (
        f"{_number(tally.flows, 'flow', 'flows')} {_duration(tally.duration_s)} from {origin}"
        f" to {_counted(tally.targets, 'host', 'hosts')}"
    )
    if ports := len(tally.ports):
        listed = ", ".join(str(port) for port in tally.ports.lowest(3))
        text += f", {_number(ports, 'port', 'ports')} ({listed}{', …' if ports > 3 else ''})"
    # Said only where it is known of every flow.
    if tally.answer_known == tally.flows:
        text += f", {tally.answered:,} answered" if tally.answered else ", none answered"
    text += f"; highest score {tally.top_score:.3f}"
    if any(":" in target for target in tally.targets.first(1)):
        text += "; over IPv6, which the model has not been trained on"
    return f"{text}; {ending}"[:MAX_EXPLANATION] if ending else text[:MAX_EXPLANATION]


def _number(count: int, one: str, many: str) -> str:
    return f"{count:,} {one if count == 1 else many}"


def _counted(addresses: AddressSet, one: str, many: str) -> str:
    text = _number(len(addresses), one, many)
    return f"at least {text}" if addresses.overflowed else text


def _duration(seconds: float) -> str:
    if seconds < 1:
        return "within 1 s"
    if seconds < 120:
        return f"in {seconds:.0f} s"
    if seconds < 7200:
        return f"in {seconds / 60:.0f} min"
    return f"in {seconds / 3600:,.0f} h"


# How many points each severity starts at; see `severity`.
_SEVERITY_POINTS: Final = ((4, "critical"), (3, "high"), (1, "medium"), (0, "low"))


def severity(tally: Tally, many_sources: bool) -> str:
    """How much an incident matters, from certainty, rate and breadth.

    One point each: a mean score of 0.9 or more; 10 flows a second, and another at 100; 10 hosts or
    100 ports; many sources. No point is low, one or two medium, three high, four or more critical.
    """
    # Over at least a second: three flows in a millisecond are no thousand a second.
    flows_per_s = tally.flows / max(tally.duration_s, 1.0)
    points = (
        (tally.mean_score >= 0.9)
        + (flows_per_s >= 10)
        + (flows_per_s >= 100)
        + (len(tally.targets) >= 10 or len(tally.ports) >= 100)
        + many_sources
    )
    return next(name for least, name in _SEVERITY_POINTS if points >= least)
