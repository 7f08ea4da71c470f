"""Blocks of a packet socket's ring made by hand, as `linux/if_packet.h` describes them."""

from __future__ import annotations

import struct
from dataclasses import dataclass

ETHERNET = 1
LOOPBACK = 772
TUNNEL = 0xFFFE  # ARPHRD_NONE: tun, WireGuard
RADIOTAP = 803
OUTGOING = 4
TAG_VALID = 1 << 4
TAG_TYPE_VALID = 1 << 6
LINK_AT = 86  # where the kernel puts an Ethernet frame, with room for a tag


@dataclass(frozen=True, slots=True)
class Held:
    """One frame as the kernel holds it in a block."""

    data: bytes
    wall_us: int = 0
    length: int | None = None
    status: int = 1
    tag: int = 0
    tag_type: int = 0
    device: int = ETHERNET
    direction: int = 0
    protocol: int = 0x0800
    link_at: int = LINK_AT
    network_at: int = LINK_AT + 14

    def record(self) -> bytes:
        """The frame with its heads, padded, its `next` filled in."""
        seconds, micros = divmod(self.wall_us, 1_000_000)
        length = len(self.data) if self.length is None else self.length
        address = struct.pack(
            "=H2siHBB8x", 17, struct.pack("!H", self.protocol), 2, self.device, self.direction, 6
        )
        record_bytes = (self.link_at + len(self.data) + 7) & ~7
        head = struct.pack(
            "=IIIIIIHHIIHH8x",
            record_bytes,
            seconds,
            micros * 1000 + 999,
            len(self.data),
            length,
            self.status,
            self.link_at,
            self.network_at,
            0,
            self.tag,
            self.tag_type,
            0,
        )
        body = (head + address).ljust(self.link_at, b"\0") + self.data
        return body.ljust(record_bytes, b"\0")


def ring_block(*frames: Held, block_bytes: int = 4096) -> bytearray:
    """A block that was handed over."""
    body = bytearray(b"".join(frame.record() for frame in frames))
    if frames:
        # Behind the last there is none.
        last = len(body) - len(frames[-1].record())
        body[last : last + 4] = bytes(4)
    head = struct.pack("=IIIIII", 1, 0, 1, len(frames), 48, 48 + len(body))
    block = bytearray(head.ljust(48, b"\0") + body)
    assert len(block) <= block_bytes
    return block.ljust(block_bytes, b"\0")
