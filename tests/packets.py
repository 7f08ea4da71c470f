"""Packets made by hand: frames byte by byte, and capture files around them."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import TYPE_CHECKING

import numpy as np
import pytest

from edge_agent.contract.frames import FRAME, FrameBlock
from edge_agent.flow.packets import ACK, CWR, ECE, FIN, PSH, RST, SYN, URG

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

from edge_agent.native import library, why_missing

FLAGS = {"F": FIN, "S": SYN, "R": RST, "P": PSH, "A": ACK, "U": URG, "E": ECE, "C": CWR}
ETHERNET = bytes(12)

needs_library = pytest.mark.skipif(library is None, reason=f"no compiled library: {why_missing}")


both_forms = pytest.mark.parametrize(
    "compiled", [pytest.param(True, marks=needs_library, id="compiled"), False]
)


@dataclass(frozen=True, slots=True)
class Segment:
    """A TCP segment or UDP datagram to be put on a wire."""

    time_us: int
    source: str
    source_port: int
    destination: str
    destination_port: int
    flags: str = ""
    payload: int = 0
    protocol: int = 6
    header: int = 20
    window: int = 1000
    padding: int = 0

    def ip(self) -> bytes:
        """The IPv4 datagram."""
        ports = struct.pack("!HH", self.source_port, self.destination_port)
        if self.protocol == 6:
            bits = sum(FLAGS[flag] for flag in self.flags)
            rest = struct.pack("!IIBBHHH", 0, 0, (self.header // 4) << 4, bits, self.window, 0, 0)
            layer4 = ports + rest + bytes(self.header - 20)
        else:
            layer4 = ports + struct.pack("!HH", 8 + self.payload, 0)
        total = 20 + len(layer4) + self.payload
        header = struct.pack(
            "!BBHHHBBH4s4s",
            0x45,
            0,
            total,
            0,
            0,
            64,
            self.protocol,
            0,
            IPv4Address(self.source).packed,
            IPv4Address(self.destination).packed,
        )
        return header + layer4 + bytes(self.payload)

    def frame(self) -> bytes:
        """The Ethernet frame with its padding."""
        return ETHERNET + b"\x08\x00" + self.ip() + bytes(self.padding)


def frame_block(frames: Iterable[tuple[int, bytes]], link_type: int = 1) -> FrameBlock:
    """A block of (time in µs, frame) pairs."""
    data, index = bytearray(), []
    for time_us, frame in frames:
        index.append((time_us, len(data), len(frame), len(frame), link_type))
        data += frame
    return FrameBlock(np.frombuffer(bytes(data), dtype=np.uint8), np.array(index, dtype=FRAME))


def pcap(
    frames: Iterable[tuple[int, bytes]],
    *,
    order: str = "<",
    nanoseconds: bool = False,
    link_type: int = 1,
    snap: int = 65_535,
) -> bytes:
    """A capture file of (time in µs, frame) pairs."""
    magic = 0xA1B23C4D if nanoseconds else 0xA1B2C3D4
    out = [struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, snap, link_type)]
    for time_us, frame in frames:
        seconds, fraction = divmod(time_us, 1_000_000)
        # The odd nanoseconds must be cut off, not rounded.
        fraction = fraction * 1000 + 999 if nanoseconds else fraction
        kept = frame[:snap]
        out.append(struct.pack(order + "IIII", seconds, fraction, len(kept), len(frame)) + kept)
    return b"".join(out)


def write_capture(path: Path, segments: Iterable[Segment]) -> Path:
    """A pcap of segments."""
    path.write_bytes(pcap((segment.time_us, segment.frame()) for segment in segments))
    return path
