"""`truth.json`: what happened when in a recording, and which flows that makes attacks.

A flow is part of a campaign if it begins between the campaign's start and end, one of its endpoints
is an attacker and the other one a victim, and protocol and the victim's port match. The first
campaign in file order that matches decides; a flow that none matches is BENIGN.

The `gateway` profile cuts a long flow into rows, and a connection that an attack opened outlives
the attack by its teardown. So a row that begins up to `TAIL_S` after the end is still the
campaign's if an earlier row of the same connection was.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime, timezone
from ipaddress import AddressValueError, IPv4Address, IPv4Network, NetmaskValueError
from typing import TYPE_CHECKING, Any, Final

from edge_agent.contract.errors import TableError
from trainer.datasets.labels import BENIGN

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from edge_agent.flow.rows import FlowRow

SCHEMA_VERSION: Final = 1

# Closing FINs and RSTs come within a second of the tool's end, their retransmissions within five.
TAIL_S: Final = 5.0

_RECORD_AGAIN: Final = "use the truth.json that was written with the capture"

Span = tuple[int, int]
"""Lowest and highest value of a range, both included: addresses as integers, or ports."""

Endpoint = tuple[int, int]
"""Address as an integer, and port."""


@dataclass(frozen=True, slots=True)
class Flow:
    """What labelling needs to know of a flow. Addresses as integers, time in µs since 1970."""

    source: Endpoint
    destination: Endpoint
    protocol: int
    start_us: int

    @classmethod
    def of(cls, row: FlowRow) -> Flow:
        """Take it from a metered row."""
        return cls(
            source=(int(IPv4Address(row.source_address)), row.source_port),
            destination=(int(IPv4Address(row.destination_address)), row.destination_port),
            protocol=row.protocol,
            start_us=row.start_us,
        )

    @property
    def connection(self) -> tuple[Endpoint, Endpoint, int]:
        """The same for both directions."""
        low, high = sorted((self.source, self.destination))
        return low, high, self.protocol


@dataclass(frozen=True, slots=True)
class Campaign:
    """One attack: when, who, whom, and which service.

    Attributes:
        id: Unique in its file.
        family, label: Class of its flows, coarse and fine.
        start_us, end_us: Both included.
        attackers, victims: Spans of addresses.
        protocol: 6, 17, or None for any.
        ports: Spans of ports on the victim's side; None for any.
    """

    id: str
    family: str
    label: str
    start_us: int
    end_us: int
    attackers: tuple[Span, ...]
    victims: tuple[Span, ...]
    protocol: int | None
    ports: tuple[Span, ...] | None

    def concerns(self, flow: Flow) -> bool:
        """Whether endpoints, protocol and victim's port match; time is asked separately."""
        if self.protocol not in (None, flow.protocol):
            return False
        return self._aimed(flow.source, flow.destination) or self._aimed(
            flow.destination, flow.source
        )

    def _aimed(self, attacker: Endpoint, victim: Endpoint) -> bool:
        return (
            _inside(attacker[0], self.attackers)
            and _inside(victim[0], self.victims)
            and (self.ports is None or _inside(victim[1], self.ports))
        )


@dataclass(frozen=True, slots=True)
class Truth:
    """A whole truth file.

    Attributes:
        path: Where it was read, for messages.
        start_us, end_us: The recording's first and last moment.
        campaigns: In file order.
    """

    path: Path
    start_us: int
    end_us: int
    campaigns: tuple[Campaign, ...]

    @classmethod
    def load(cls, path: Path) -> Truth:
        """Read a truth file.

        Raises:
            TableError: It cannot be read, is of an unknown version, or lacks or garbles a value.
        """
        try:
            facts = json.loads(path.read_bytes())
        except OSError as error:
            raise TableError(
                path, f"cannot be read ({error.strerror})", remedy="name it with --labels"
            ) from error
        except ValueError as error:
            raise TableError(path, f"is not JSON ({error})", remedy=_RECORD_AGAIN) from error
        version = facts.get("schema_version") if isinstance(facts, dict) else None
        if version != SCHEMA_VERSION:
            raise TableError(
                path,
                f"has schema_version {version!r}, but {SCHEMA_VERSION} is what is known here",
                remedy="update edge-ids, or record again with this version",
            )
        place = "the head"
        try:
            campaigns = []
            start_us, end_us = int(facts["start_us"]), int(facts["end_us"])
            for number, item in enumerate(facts["campaigns"], start=1):
                place = f"campaign {number}"
                campaigns.append(_campaign(item))
        except (KeyError, TypeError, ValueError) as error:
            what = f"lacks {error}" if isinstance(error, KeyError) else f"is garbled ({error})"
            raise TableError(path, what, remedy=_RECORD_AGAIN, where=place) from error
        return cls(path, start_us, end_us, tuple(campaigns))

    @property
    def families(self) -> dict[str, str]:
        """Label → family of every campaign."""
        return {campaign.label: campaign.family for campaign in self.campaigns}

    def check_overlap(self, first_us: int, last_us: int, capture: Path) -> None:
        """Make sure that the file describes the time in which a capture was taken.

        Raises:
            TableError: It does not.
        """
        if last_us < self.start_us or first_us > self.end_us:
            raise TableError(
                self.path,
                f"describes {_clock(self.start_us)} to {_clock(self.end_us)}, but {capture} holds"
                f" {_clock(first_us)} to {_clock(last_us)}",
                remedy=_RECORD_AGAIN,
            )

    def match(self, flows: Sequence[Flow]) -> list[Campaign | None]:
        """The campaign of every flow, in the order given; None: benign.

        Args:
            flows: All of a capture, in any order.
        """
        concerned: dict[tuple[Endpoint, Endpoint, int], tuple[Campaign, ...]] = {}
        labelled: dict[tuple[Endpoint, Endpoint, int], set[str]] = {}
        result: list[Campaign | None] = [None] * len(flows)
        # In order of time, so that "an earlier row" has been decided when it is asked for.
        for index in sorted(range(len(flows)), key=lambda i: flows[i].start_us):
            flow = flows[index]
            key = flow.connection
            if key not in concerned:
                concerned[key] = tuple(c for c in self.campaigns if c.concerns(flow))
            earlier = labelled.get(key, set())
            result[index] = _decide(concerned[key], flow.start_us, earlier)
            decided = result[index]
            if decided is not None:
                labelled.setdefault(key, set()).add(decided.id)
        return result

    def labels(self, rows: Iterable[FlowRow]) -> list[str]:
        """Labels of metered rows, in their order."""
        matches = self.match([Flow.of(row) for row in rows])
        return [campaign.label if campaign else BENIGN for campaign in matches]


def _decide(candidates: tuple[Campaign, ...], start_us: int, earlier: set[str]) -> Campaign | None:
    for campaign in candidates:
        if campaign.start_us <= start_us <= campaign.end_us:
            return campaign
    tail_us = int(TAIL_S * 1e6)
    for campaign in candidates:
        if campaign.id in earlier and campaign.end_us < start_us <= campaign.end_us + tail_us:
            return campaign
    return None


def _campaign(item: dict[str, Any]) -> Campaign:
    start_us, end_us = int(item["start_us"]), int(item["end_us"])
    if end_us < start_us:
        raise ValueError("it ends before it starts")
    protocol, ports = item["protocol"], item["ports"]
    return Campaign(
        id=str(item["id"]),
        family=str(item["family"]),
        label=str(item["label"]),
        start_us=start_us,
        end_us=end_us,
        attackers=tuple(_addresses(text) for text in item["attackers"]),
        victims=tuple(_addresses(text) for text in item["victims"]),
        protocol=None if protocol is None else int(protocol),
        ports=None if ports is None else tuple(_ports(entry) for entry in ports),
    )


def _addresses(text: str) -> Span:
    try:
        network = IPv4Network(text, strict=False)
    except (AddressValueError, NetmaskValueError) as error:
        raise ValueError(f"{text!r} is no IPv4 address or network") from error
    return int(network.network_address), int(network.broadcast_address)


def _ports(entry: int | list[int]) -> Span:
    low, high = (entry, entry) if isinstance(entry, int) else entry
    if not 0 <= low <= high <= 65_535:
        raise ValueError(f"{entry!r} is no port or range of ports")
    return low, high


def _inside(value: int, spans: tuple[Span, ...]) -> bool:
    return any(low <= value <= high for low, high in spans)


def _clock(time_us: int) -> str:
    return datetime.fromtimestamp(time_us / 1e6, tz=timezone.utc).strftime("%Y-%m-%d %H:%M:%S UTC")
