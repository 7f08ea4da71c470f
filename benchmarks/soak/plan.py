"""What is sent: everyday conversations, floods and scans, as frames and when they leave."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import TYPE_CHECKING, Final

import numpy as np

from benchmarks.live.frames import ACK, FIN, PSH, RST, SYN, TCP, Ends, frames, length_bytes
from benchmarks.throughput import flood
from benchmarks.throughput.records import RECORD_BYTES

if TYPE_CHECKING:
    from numpy.typing import NDArray

CLIENTS: Final = 4_000
"""Addresses that everyday conversations come from."""
SERVERS: Final = 200

SCAN_PORTS: Final = 300
SCAN_PER_S: Final = 50.0

_CLIENT: Final = int(IPv4Address("10.1.0.1"))
_SERVER: Final = int(IPv4Address("10.2.0.1"))
_SCANNER: Final = int(IPv4Address("10.66.0.1"))
_LONGEST: Final = 600
# One conversation: milliseconds after its beginning, whether the client speaks, flags, payload.
_STEPS: Final = (
    (0, True, SYN, 0),
    (5, False, SYN | ACK, 0),
    (6, True, ACK, 0),
    (8, True, PSH | ACK, 200),
    (20, False, PSH | ACK, 500),
    (30, True, FIN | ACK, 0),
    (35, False, FIN | ACK, 0),
)
_PORT: Final = 443
_FLOOD_FRAMES: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Stretch:
    """Frames, and when each is to leave.

    Attributes:
        data: Their bytes.
        offsets: Where each begins.
        lengths: How long each is.
        at_s: Seconds after the stretch's beginning, ascending.
    """

    data: NDArray[np.uint8]
    offsets: NDArray[np.int64]
    lengths: NDArray[np.int64]
    at_s: NDArray[np.float64]


def everyday(first: int, count: int, seconds: float) -> Stretch:
    """Short TCP conversations that begin evenly over a time.

    Args:
        first: Number of the first; each number is another flow, for 200 million of them.
        count: How many.
        seconds: Over how long.
    """
    number = np.arange(first, first + count)
    begin_s = np.arange(count) * seconds / count
    parts = [
        _between(number, flags, payload, of_client=of_client)
        for _, of_client, flags, payload in _STEPS
    ]
    times = [begin_s + after_ms / 1000 for after_ms, *_ in _STEPS]
    return _ordered(np.concatenate(parts), np.concatenate(times))


def scan(number: int) -> tuple[str, Stretch]:
    """A scan of closed ports by a source of its own: the source, and the frames."""
    ports = np.arange(1, SCAN_PORTS + 1)
    source = np.full(SCAN_PORTS, _SCANNER + number, np.uint32)
    victim = np.full(SCAN_PORTS, _SERVER, np.uint32)
    own = 40_000 + ports
    asked = frames(Ends(source, victim, own, ports), TCP, flags=SYN, width=_LONGEST)
    refused = frames(Ends(victim, source, ports, own), TCP, flags=RST | ACK, width=_LONGEST)
    at_s = (ports - 1) / SCAN_PER_S
    stretch = _ordered(np.concatenate([asked, refused]), np.concatenate([at_s, at_s + 0.001]))
    return str(IPv4Address(_SCANNER + number)), stretch


def flood_frames() -> Stretch:
    """A million SYNs with forged sources; for whoever sends them as fast as it likes."""
    data = np.concatenate([block for block, _ in flood.blocks(_FLOOD_FRAMES, 0)])
    record = len(data) // _FLOOD_FRAMES
    offsets = np.arange(_FLOOD_FRAMES) * record + RECORD_BYTES
    lengths = np.full(_FLOOD_FRAMES, record - RECORD_BYTES)
    return Stretch(data, offsets, lengths, np.zeros(_FLOOD_FRAMES))


def _between(
    number: NDArray[np.int64], flags: int, payload: int, *, of_client: bool
) -> NDArray[np.uint8]:
    # Spread over the clients, and a new port once each has had its turn.
    client = (_CLIENT + number * 1_237 % CLIENTS).astype(np.uint32)
    server = (_SERVER + number * 31 % SERVERS).astype(np.uint32)
    own = 1_024 + number // CLIENTS % 64_000
    port = np.full(len(number), _PORT)
    ends = Ends(client, server, own, port)
    if not of_client:
        ends = Ends(server, client, port, own)
    return frames(ends, TCP, flags=flags, payload=payload, width=_LONGEST)


def _ordered(made: NDArray[np.uint8], at_s: NDArray[np.float64]) -> Stretch:
    order = np.argsort(at_s, kind="stable")
    offsets = order * made.shape[1]
    return Stretch(made.reshape(-1), offsets, length_bytes(made)[order], at_s[order])
