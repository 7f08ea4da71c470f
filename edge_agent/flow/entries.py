"""Entries of the flow table: who speaks with whom, and how far a connection has come."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

from edge_agent.flow.packets import ACK, FIN, RST

if TYPE_CHECKING:
    from edge_agent.flow.counters import Counters
    from edge_agent.flow.packets import Packet

STATES: Final = ("closed", "single", "unanswered", "answered")
"""What a flow waits in the table as; the first is the least loss."""

Key: TypeAlias = tuple[bytes, int, bytes, int, int]


class Flow:
    """An entry of the flow table: who speaks with whom, and the row being counted.

    `counters` is None between two rows of a long flow.
    """

    __slots__ = (
        "closed",
        "counters",
        "destination",
        "destination_port",
        "fins",
        "protocol",
        "source",
        "source_port",
    )

    def __init__(self, packet: Packet, *, turned: bool = False) -> None:
        ends = (packet.source, packet.source_port), (packet.destination, packet.destination_port)
        (self.source, self.source_port), (self.destination, self.destination_port) = (
            reversed(ends) if turned else ends
        )
        self.protocol = packet.protocol
        self.fins: set[bool] = set()  # the directions (forward?) that sent FIN
        self.closed = False
        self.counters: Counters | None = None

    @property
    def state(self) -> str:
        """One of `STATES`: what its silence would mean."""
        counters = self.counters
        if self.closed:
            return "closed"
        if counters is None or counters.backward.packets:
            return "answered"
        return "single" if counters.packets == 1 else "unanswered"

    def is_forward(self, packet: Packet) -> bool:
        """Direction is decided by the address alone, as the tools do."""
        return packet.source == self.source

    def note_teardown(self, packet: Packet) -> None:
        """Follow FIN, ACK and RST of a TCP connection (spec C.2)."""
        if packet.flags & RST or (
            len(self.fins) == 2 and packet.flags & ACK and not packet.flags & FIN
        ):
            self.closed = True
        if packet.flags & FIN:
            self.fins.add(self.is_forward(packet))


def directed_key(packet: Packet) -> Key:
    """The 5-tuple, one for each direction."""
    return (
        packet.source,
        packet.source_port,
        packet.destination,
        packet.destination_port,
        packet.protocol,
    )


def undirected_key(packet: Packet) -> Key:
    """The 5-tuple, the same for both directions."""
    source = packet.source, packet.source_port
    destination = packet.destination, packet.destination_port
    low, high = sorted((source, destination))
    return (*low, *high, packet.protocol)
