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
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from edge_agent.contract.errors import TableError
from trainer.datasets.endpoints import (
    address_span,
    clock,
    connections,
    inside,
    port_span,
    turned,
)

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from trainer.datasets.endpoints import Span

SCHEMA_VERSION: Final = 1

# Closing FINs and RSTs come within a second of the tool's end, their retransmissions within five.
TAIL_S: Final = 5.0

_RECORD_AGAIN: Final = "use the truth.json that was written with the capture"


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

    def concerns(self, ends: NDArray[Any]) -> NDArray[np.bool_]:
        """Whether endpoints, protocol and victim's port match; time is asked separately.

        Args:
            ends: dtype `endpoints.ENDS`, shape (n_flows,).
        """
        found = self._aimed(ends) | self._aimed(turned(ends))
        return found if self.protocol is None else found & (ends["protocol"] == self.protocol)

    def _aimed(self, ends: NDArray[Any]) -> NDArray[np.bool_]:
        found = inside(ends["source"], self.attackers) & inside(ends["destination"], self.victims)
        return found if self.ports is None else found & inside(ends["destination_port"], self.ports)


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
                f"describes {clock(self.start_us)} to {clock(self.end_us)}, but {capture} holds"
                f" {clock(first_us)} to {clock(last_us)}",
                remedy=_RECORD_AGAIN,
            )

    def match(self, ends: NDArray[Any]) -> NDArray[np.int32]:
        """The campaign of every flow, shape (n_flows,): index into `campaigns`; -1: benign.

        Args:
            ends: All flows of a capture, in any order; dtype `endpoints.ENDS`, shape (n_flows,).
        """
        result = np.full(len(ends), -1, dtype=np.int32)
        start_us = ends["start_us"]
        for number, campaign in enumerate(self.campaigns):
            during = (start_us >= campaign.start_us) & (start_us <= campaign.end_us)
            index = np.flatnonzero((result < 0) & during)
            result[index[campaign.concerns(ends[index])]] = number
        # A tail begins after its campaign's end, so every row that can vouch for it is decided.
        connection = connections(ends)
        tail_us = int(TAIL_S * 1e6)
        for number, campaign in enumerate(self.campaigns):
            after = (start_us > campaign.end_us) & (start_us <= campaign.end_us + tail_us)
            index = np.flatnonzero((result < 0) & after)
            index = index[campaign.concerns(ends[index])]
            known = np.isin(connection[index], connection[result == number])
            result[index[known]] = number
        return result


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
        attackers=tuple(address_span(text) for text in item["attackers"]),
        victims=tuple(address_span(text) for text in item["victims"]),
        protocol=None if protocol is None else int(protocol),
        ports=None if ports is None else tuple(port_span(entry) for entry in ports),
    )
