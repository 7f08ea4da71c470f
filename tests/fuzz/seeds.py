"""Writes inputs for the fuzzers to begin with: `python -m tests.fuzz.seeds FOLDER`.

Frames of the random traffic of the tests and the beginnings of the lab's attacks, in the forms that
`packets.c`, `captures.c` and `rings.c` read. Nothing in them was recorded outside this project.
"""

from __future__ import annotations

import gzip
import itertools
import random
import struct
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tests.capture.captures import (
    TSOFFSET,
    TSRESOL,
    enhanced,
    interface,
    old_packet,
    option,
    section,
    simple,
)
from tests.capture.ring_blocks import (
    LINK_AT,
    LOOPBACK,
    OUTGOING,
    TAG_TYPE_VALID,
    TAG_VALID,
    TUNNEL,
    Held,
    ring_block,
)
from tests.conftest import ROOT
from tests.flow.traffic import Traffic
from tests.packets import pcap

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge_agent.contract.frames import FrameBlock

SEED_BYTES: Final = 1500
# A frame byte by byte, stamped absolutely, with its own length and link type: see `read_frame`.
_VERBATIM: Final = 7 | 3 << 3 | 1 << 5 | 1 << 6
_FRAME_BYTES: Final = 120

Entry = tuple[int, int, int, int, int]


def write_seeds(folder: Path) -> None:
    """Write the inputs of each harness into a folder of its name."""
    seeds = {
        "packets/seed": _packet_seeds(),
        "packets/cut": _cut_seeds(),
        "captures/seed": _capture_seeds(),
        "rings/seed": _ring_seeds(),
        "rings/cut": _cut_ring_seeds(),
    }
    for name, contents in seeds.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        for number, content in enumerate(contents):
            (folder / f"{name}-{number:03}").write_bytes(content)


def _packet_seeds() -> Iterator[bytes]:
    draw = random.Random(1)
    for seed, (hosts, rate) in enumerate(itertools.product((2, 5, 40), (1.0, 30.0, 1000.0))):
        block = Traffic(seed, hosts, rate).block(60)
        for profile in range(3):
            options = bytes((profile + 3 * draw.randrange(3), draw.randrange(256), 16 * profile))
            frames = (_verbatim(block, entry) for entry in _entries(block))
            yield options + _first(frames)
    for seed in range(20):
        yield random.Random(seed).randbytes(600)


def _cut_seeds() -> Iterator[bytes]:
    """One packet each, captured to every length.

    A fuzzer sees no difference between headers that miss one byte and those that miss two, so
    `run.sh merge` keeps these whatever it thinks of them.
    """
    draw = random.Random(2)
    ports = struct.pack("!HH", 40000, 80)
    tcp = ports + struct.pack("!IIBBHHH", 0, 0, 5 << 4, 0x18, 502, 0, 0) + b"!"
    udp = ports + struct.pack("!HH", 9, 0) + b"!"
    options = struct.pack("!BBxxxxxx", 6, 0), struct.pack("!BBHI", 6, 0, 1, 7)
    inner = [
        (0x0800, _ipv4(tcp, 6)),
        (0x0800, _ipv4(udp, 17)),
        (0x86DD, _ipv6(tcp, 6)),
        (0x86DD, _ipv6(options[0] + tcp, 60)),
        (0x86DD, _ipv6(options[1] + tcp, 44)),
        (0x86DD, _ipv6(struct.pack("!BBxxxxxxxxxx", 6, 1) + tcp, 51)),
    ]
    for number, (ether_type, datagram) in enumerate(inner):
        two = struct.pack("!H", ether_type)
        tag = struct.pack("!HH", 0x8100, 7)
        session = struct.pack(
            "!HBBHHH", 0x8864, 0x11, 0, 7, 99, 0x21 if ether_type == 0x0800 else 0x57
        )
        for head, link in (
            (bytes(12) + two, 0),
            (bytes(12) + tag + two, 0),
            (bytes(12) + session, 0),
            (bytes(14) + two, 1),
            (two + bytes(18), 2),
            (b"", 3),
            (bytes(4), 7),
        )[: 7 if number == 0 else 1]:
            frame = head + datagram
            pieces = (
                bytes((3 << 3 | 1 << 6, link, cut)) + frame[:cut] for cut in range(len(frame) + 1)
            )
            yield bytes((draw.randrange(9), 0, 0)) + b"".join(pieces)


def _ring_seeds() -> Iterator[bytes]:
    draw = random.Random(3)
    block = Traffic(1, 3, 100.0).block(40)
    packets = [
        block.data[offset : offset + min(captured, _FRAME_BYTES)].tobytes()
        for _, offset, captured, _, _ in _entries(block)
    ]
    links: tuple[dict[str, int], ...] = (
        {},
        {"tag": 7},
        {"tag": 9, "tag_type": 0x88A8, "status": 1 | TAG_VALID | TAG_TYPE_VALID},
        {"tag": 7, "link_at": 69},
        {"device": LOOPBACK},
        {"device": LOOPBACK, "direction": OUTGOING},
        {"device": TUNNEL},
        {"device": TUNNEL, "protocol": 0x8863},
    )
    for number in range(24):
        held = [
            Held(draw.choice(packets), 1_600_000_000_000_000 + i, **draw.choice(links))
            for i in range(draw.randrange(1, 7))
        ]
        taken = sum(len(frame.record()) for frame in held)
        options = (number % 9, draw.randrange(256), draw.randrange(64), draw.choice((0, 0, 40)))
        yield bytes(options) + ring_block(*held, block_bytes=48 + taken)


def _cut_ring_seeds() -> Iterator[bytes]:
    """Blocks that end inside their last frame, by a little and by more."""
    packet = bytes(12) + b"\x08\x00" + _ipv4(bytes(80), 17)
    whole = ring_block(Held(packet), Held(packet), block_bytes=48 + 2 * len(Held(packet).record()))
    for missing in (1, 9, 30, 80):
        padding = len(Held(packet).record()) - LINK_AT - len(packet)
        yield bytes(4) + whole[: len(whole) - padding - missing]


def _ipv4(rest: bytes, protocol: int) -> bytes:
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(rest), 0, 0, 64, protocol, 0)
    return head + bytes((10, 0, 0, 1, 10, 0, 0, 2)) + rest


def _ipv6(rest: bytes, following: int) -> bytes:
    head = struct.pack("!IHBB", 6 << 28, len(rest), following, 64)
    return head + bytes(15) + b"\1" + bytes(15) + b"\2" + rest


def _verbatim(block: FrameBlock, entry: Entry) -> bytes:
    time_us, offset, captured, wire, link_type = entry
    kept = block.data[offset : offset + min(captured, _FRAME_BYTES)].tobytes()
    # What draws a link type or a wire length reads a byte of 128 and more as "four bytes follow".
    numbers = struct.pack(">qBI", time_us, 255, link_type)
    return (
        bytes((_VERBATIM,)) + numbers + bytes((len(kept),)) + kept + struct.pack(">BI", 255, wire)
    )


def _entries(block: FrameBlock) -> list[Any]:
    entries: list[Any] = block.frames.tolist()
    return entries


def _first(pieces: Iterator[bytes]) -> bytes:
    """As many pieces as fit."""
    out = b""
    for piece in pieces:
        if len(out) + len(piece) > SEED_BYTES:
            break
        out += piece
    return out


def _capture_seeds() -> Iterator[bytes]:
    files = [*_lab_pieces(), *_pcapngs()]
    for number, file in enumerate(files):
        # A third of them arrives byte by byte.
        pieces = number % 4 if number % 3 == 0 else number * 5 % 256
        yield bytes((number % 9, 8 * number % 256, pieces)) + file


def _lab_pieces() -> Iterator[bytes]:
    """Some packets from here and there of the recordings, cut short."""
    for path in sorted((ROOT / "benchmarks" / "lab" / "sessions").glob("*/capture.pcap.gz")):
        with gzip.open(path) as stream:
            data = stream.read(8_000_000)
        packets = list(_packets(data))
        for part in range(6):
            begin = part * len(packets) // 6
            content = pcap(packets[begin : begin + 14], nanoseconds=part % 2 == 1, snap=80)
            yield content[:SEED_BYTES]


def _packets(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 24
    while at + 16 <= len(data):
        seconds, micros, captured, _ = struct.unpack_from("<IIII", data, at)
        yield seconds * 1_000_000 + micros, data[at + 16 : at + 16 + captured]
        at += 16 + captured


def _pcapngs() -> Iterator[bytes]:
    block = Traffic(9, 5, 30.0).block(200)
    frames = [
        (time_us, block.data[offset : offset + min(captured, 80)].tobytes(), wire)
        for time_us, offset, captured, wire, _ in _entries(block)
    ]
    for order in "<>":
        for resolution, offset in ((6, 0), (9, 0), (0x94, 5), (0, -3), (12, 1 << 40)):
            options = option(TSRESOL, bytes((resolution,)), order)
            options += option(TSOFFSET, struct.pack(order + "q", offset), order)
            out = section(order) + interface(order, 1, 96, options) + interface(order, 101)
            for number, (time_us, data, wire) in enumerate(frames[:12]):
                stamp = max(time_us, 0)
                out += (
                    enhanced(stamp, data, order, number % 2, wire),
                    old_packet(stamp, data, order),
                    simple(data, len(data), order),
                )[number % 3]
            yield out[:SEED_BYTES]
    for order in "<>":
        yield pcap(
            [(time_us, data) for time_us, data, _ in frames[:10] if time_us > 0], order=order
        )


if __name__ == "__main__":
    write_seeds(Path(sys.argv[1]))
