"""What is counted of one flow while its packets pass.

`Counters` holds everything the profiles need; `columns` turns it into a profile's numbers. What is
counted are integers (bytes, µs), so sums and sums of squares are exact, and nothing is rounded
before the one division that a mean or a variance ends in.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from edge_agent.flow.packets import ACK, CWR, ECE, FIN, PSH, RST, SYN, TCP, URG

if TYPE_CHECKING:
    from edge_agent.flow.packets import Packet

FLAG_BITS: Final = (FIN, SYN, RST, PSH, ACK, URG, CWR, ECE)

# A gap longer than this ends an active period and is idle time (strictly longer; spec A.9).
_IDLE_GAP_US: Final = 5_000_000
# A gap longer than this begins a new subflow (spec C.2).
_SUBFLOW_GAP_US: Final = 1_000_000
# A bulk: this many payload packets one way, no gap above one second (spec C.2).
_BULK_PACKETS: Final = 4
_BULK_GAP_US: Final = 1_000_000


def sample_variance(count: int, total: int, squares: int) -> float:
    """Variance with n - 1 from exact sums: (n Σx² - (Σx)²) / (n (n - 1)); 0 for n < 2."""
    if count < 2:
        return 0.0
    return (count * squares - total * total) / (count * (count - 1))


class Moments:
    """Count, total, extremes and spread of a stream of integers."""

    __slots__ = ("count", "largest", "smallest", "squares", "total")

    def __init__(self) -> None:
        self.count = 0
        self.total = 0
        self.squares = 0
        self.smallest = 0
        self.largest = 0

    def add(self, value: int) -> None:
        """Take one value in."""
        if not self.count or value < self.smallest:
            self.smallest = value
        if not self.count or value > self.largest:
            self.largest = value
        self.count += 1
        self.total += value
        self.squares += value * value

    @property
    def mean(self) -> float:
        """Arithmetic mean, 0 for none."""
        return self.total / self.count if self.count else 0.0

    @property
    def variance(self) -> float:
        """Sample variance, 0 for fewer than two values."""
        return sample_variance(self.count, self.total, self.squares)

    @property
    def std(self) -> float:
        """Sample standard deviation, 0 for fewer than two values."""
        return math.sqrt(self.variance)

    def summary(self) -> tuple[float, float, int, int]:
        """Mean, standard deviation, largest, smallest: the order the tools print them in."""
        return self.mean, self.std, self.largest, self.smallest


class Bulk:
    """Bulk transfers of one direction (spec C.2): four payload packets in a row or more."""

    __slots__ = (
        "_length_bytes",
        "_packets",
        "_start_us",
        "bulks",
        "bytes",
        "duration_us",
        "last_us",
        "packets",
    )

    def __init__(self) -> None:
        self.bulks = 0
        self.packets = 0
        self.bytes = 0
        self.duration_us = 0
        self.last_us = -1  # of the last payload packet this way; the other direction asks for it
        self._start_us = -1  # of the candidate, -1 for none
        self._packets = 0
        self._length_bytes = 0

    def add(self, time_us: int, length_bytes: int, other: Bulk) -> None:
        """Take a packet of this direction in; payload of the `other` one ends a candidate."""
        if other.last_us > self._start_us:
            self._start_us = -1
        if length_bytes <= 0:
            return
        if self._start_us < 0 or time_us - self.last_us > _BULK_GAP_US:
            self._start_us = time_us
            self._packets = 1
            self._length_bytes = length_bytes
        else:
            self._packets += 1
            self._length_bytes += length_bytes
            if self._packets == _BULK_PACKETS:
                self.bulks += 1
                self.packets += self._packets
                self.bytes += self._length_bytes
                self.duration_us += time_us - self._start_us
            elif self._packets > _BULK_PACKETS:
                self.packets += 1
                self.bytes += length_bytes
                self.duration_us += time_us - self.last_us
        self.last_us = time_us

    def averages(self) -> tuple[float, float, float]:
        """Bytes per bulk, packets per bulk, bytes per second of bulk."""
        if not self.bulks:
            return 0.0, 0.0, 0.0
        rate = self.bytes * 1e6 / self.duration_us if self.duration_us else 0.0
        return self.bytes / self.bulks, self.packets / self.bulks, rate


class Direction:
    """What is counted of the packets of one direction."""

    __slots__ = (
        "bulk",
        "data_packets",
        "first_nonzero_window",
        "gaps",
        "header_bytes",
        "last_us",
        "last_window",
        "lengths",
        "psh",
        "rst",
        "smallest_header_bytes",
        "urg",
    )

    def __init__(self) -> None:
        self.lengths = Moments()
        self.gaps = Moments()
        self.last_us = 0
        self.header_bytes = 0
        self.smallest_header_bytes = 0
        self.data_packets = 0
        self.last_window = -1  # -1: no TCP packet this way
        self.first_nonzero_window = 0
        self.psh = 0
        self.urg = 0
        self.rst = 0
        self.bulk = Bulk()

    @property
    def packets(self) -> int:
        """Number of packets."""
        return self.lengths.count

    def add(self, packet: Packet, other: Direction) -> None:
        """Take a packet of this direction in."""
        if self.packets:
            self.gaps.add(packet.time_us - self.last_us)
            self.smallest_header_bytes = min(self.smallest_header_bytes, packet.header_length_bytes)
        else:
            self.smallest_header_bytes = packet.header_length_bytes
        self.last_us = packet.time_us
        self.lengths.add(packet.payload_length_bytes)
        self.header_bytes += packet.header_length_bytes
        self.data_packets += packet.payload_length_bytes >= 1
        self.psh += bool(packet.flags & PSH)
        self.urg += bool(packet.flags & URG)
        self.rst += bool(packet.flags & RST)
        if packet.protocol == TCP:
            self.last_window = packet.window
            self.first_nonzero_window = self.first_nonzero_window or packet.window
        self.bulk.add(packet.time_us, packet.payload_length_bytes, other.bulk)


class Counters:
    """What is counted of one row.

    Attributes:
        first: The row's first packet; the original tool reads all its flags from it.
        first_forward: Whether that packet was booked forward.
    """

    __slots__ = (
        "_active_since_us",
        "_last_active_us",
        "active",
        "backward",
        "end_us",
        "first",
        "first_forward",
        "flags",
        "forward",
        "gaps",
        "idle",
        "lengths",
        "start_us",
        "subflow_gaps",
    )

    def __init__(self, packet: Packet, *, forward: bool) -> None:
        self.first = packet
        self.first_forward = forward
        self.start_us = self.end_us = packet.time_us
        self._active_since_us = self._last_active_us = packet.time_us
        self.forward = Direction()
        self.backward = Direction()
        self.lengths = Moments()
        self.gaps = Moments()
        self.active = Moments()
        self.idle = Moments()
        self.subflow_gaps = 0
        self.flags = [0] * len(FLAG_BITS)
        self._count(packet, forward=forward)

    @property
    def packets(self) -> int:
        """Packets of both directions."""
        return self.lengths.count

    @property
    def duration_us(self) -> int:
        """Last minus first packet time."""
        return self.end_us - self.start_us

    def add(self, packet: Packet, *, forward: bool, closes_activity: bool = True) -> None:
        """Take the next packet in.

        Args:
            packet: Not the first one.
            forward: Its direction.
            closes_activity: Whether a long gap before it counts as idle time. Not for the FIN that
                ends a row of the original tool (spec A.9).
        """
        gap_us = packet.time_us - self.end_us
        if closes_activity:
            self._note_activity(packet.time_us)
        self.gaps.add(gap_us)
        self.subflow_gaps += gap_us > _SUBFLOW_GAP_US
        self.end_us = packet.time_us
        self._count(packet, forward=forward)

    def _note_activity(self, time_us: int) -> None:
        silence_us = time_us - self._last_active_us
        if silence_us > _IDLE_GAP_US:
            active_us = self._last_active_us - self._active_since_us
            if active_us > 0:
                self.active.add(active_us)
            self.idle.add(silence_us)
            self._active_since_us = time_us
        self._last_active_us = time_us

    def _count(self, packet: Packet, *, forward: bool) -> None:
        self.lengths.add(packet.payload_length_bytes)
        if forward:
            self.forward.add(packet, self.backward)
        else:
            self.backward.add(packet, self.forward)
        if packet.flags:
            for index, bit in enumerate(FLAG_BITS):
                self.flags[index] += bool(packet.flags & bit)
