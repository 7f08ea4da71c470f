"""A capture of everything that a table of flows must be able to say."""

from __future__ import annotations

import random
import struct
from typing import TYPE_CHECKING, Final

from tests.packets import ETHERNET, Segment, pcap

if TYPE_CHECKING:
    from pathlib import Path

START_US: Final = 1_700_000_000_000_000


def ipv6(segment: Segment) -> bytes:
    """The frame of a segment, between hosts of the same last number in fd00::/64."""
    layer4 = segment.ip()[20:]
    hosts = (segment.source, segment.destination)
    addresses = [bytes([0xFD, *bytes(14), int(host.rsplit(".", 1)[1])]) for host in hosts]
    head = struct.pack("!IHBB16s16s", 6 << 28, len(layer4), segment.protocol, 64, *addresses)
    return ETHERNET + b"\x86\xdd" + head + layer4


def traffic() -> list[tuple[int, bytes]]:
    """Conversations with gaps that fill every column, some over IPv6, some within one µs."""
    draw = random.Random(5)
    time_us, frames = START_US, []
    # Flows that last no time: of no bytes and of some, each over no time.
    for payload in (0, 5):
        ends = ("10.0.0.1", 50001 + payload, "10.0.0.2", 80)
        instant = Segment(time_us, *ends, flags="PA", payload=payload).frame()
        frames += [(time_us, instant), (time_us, instant)]
    for number in range(896):
        hosts = draw.sample(range(1, 4), 2)
        ports = sorted(draw.sample((80, 40000, 40001), 2), reverse=True)
        time_us += draw.choice(
            (0, 0, 250, 250, 70_000, 70_000, 70_000, 70_000, 1_100_000, 5_500_000)
        )
        segment = Segment(
            time_us,
            f"10.0.0.{hosts[0]}",
            ports[0],
            f"10.0.0.{hosts[1]}",
            ports[1],
            flags=draw.choice(("S", "SA", "A", "PA", "PA", "FA", "R", "EC")),
            payload=draw.choice((0, 0, 1, 100, 1400)),
            protocol=draw.choice((6, 6, 17)),
        )
        frames.append((time_us, ipv6(segment) if number % 10 == 0 else segment.frame()))
    return frames


FRAMES: Final = traffic()


def whole_capture(folder: Path) -> Path:
    """All of it in one file."""
    path = folder / "traffic.pcap"
    path.write_bytes(pcap(FRAMES))
    return path


def rotated_captures(folder: Path) -> list[Path]:
    """The same in three files."""
    paths = [folder / f"rotated-{number}.pcap" for number in range(3)]
    for number, path in enumerate(paths):
        path.write_bytes(pcap(FRAMES[300 * number : 300 * (number + 1)]))
    return paths
