"""The index of a block of a packet socket's ring: the compiled one, and the same in plain Python.

`native/ring.c` says what is done and why; here stands its oracle, which takes its place where no C
compiler was. The constants are those of `linux/if_packet.h`.
"""

from __future__ import annotations

import ctypes
import struct
from typing import TYPE_CHECKING, Any, Final

from edge_agent.native import library, why_missing

if TYPE_CHECKING:
    from numpy.typing import NDArray

# A frame's head and the address behind it: what the shortest record of a block takes.
FRAME_HEAD_BYTES: Final = 68
# What PACKET_RESERVE has to ask for, that a VLAN tag fits in before the frame.
TAG_BYTES: Final = 4
MAX_SNAP_BYTES: Final = 0xFFFF_FFFF

_BLOCK_HEAD_BYTES: Final = 48
_STATUS: Final = 8
_OWNED_BY_USER: Final = 1
_COUNT_AND_FIRST: Final = struct.Struct("=12xII")
_FRAME_HEAD: Final = struct.Struct("=IIIIIIHH4xIH10x2xH4xHB9x")
_TAG: Final = struct.Struct("!HH")
_TAG_VALID: Final = 1 << 4
_TAG_TYPE_VALID: Final = 1 << 6
_VLAN: Final = 0x8100
_IP: Final = (0x0800, 0x86DD)
_ETHERNET_DEVICE: Final = 1
_LOOPBACK_DEVICE: Final = 772
_OUTGOING: Final = 4
_LINK_ETHERNET: Final = 1
_LINK_RAW: Final = 101
_ADDRESSES_BYTES: Final = 12


class RingWalk(ctypes.Structure):
    """What a walk over a block is told, and what it found: `struct ring_walk`.

    Attributes:
        shift_us: Added to a stamp of the wall clock makes it steady.
        former_shift_us: The same before the wall clock stepped last.
        earliest_us: Steady time before which no frame of this block can be.
        latest_us: Steady time after which none can be.
        snap_bytes: Frames are cut to so much.
        frames: Entries filled.
        unsupported: Frames of a link that is neither Ethernet nor carries plain IP.
        broken: 1 where the block lies about a length; the frames before that are good.
        last_us: The latest time among the frames, or `earliest_us`.
    """

    shift_us: int
    former_shift_us: int
    earliest_us: int
    latest_us: int
    snap_bytes: int
    frames: int
    unsupported: int
    broken: int
    last_us: int

    _fields_ = [
        ("shift_us", ctypes.c_int64),
        ("former_shift_us", ctypes.c_int64),
        ("earliest_us", ctypes.c_int64),
        ("latest_us", ctypes.c_int64),
        ("snap_bytes", ctypes.c_uint32),
        ("frames", ctypes.c_uint32),
        ("unsupported", ctypes.c_uint32),
        ("broken", ctypes.c_uint32),
        ("last_us", ctypes.c_int64),
    ]


class CompiledBlocks:
    """The blocks of a ring, through `native/ring.c`.

    Args:
        ring: The mapped memory, dtype uint8.
        block_bytes: Length of a block.

    Raises:
        RuntimeError: The compiled library is not there.
    """

    def __init__(self, ring: NDArray[Any], block_bytes: int) -> None:
        if library is None:
            raise RuntimeError(f"no compiled ring: {why_missing}")
        pointer, u32 = ctypes.c_void_p, ctypes.c_uint32
        library.edge_ring_ready.argtypes = [pointer]
        library.edge_ring_ready.restype = ctypes.c_bool
        library.edge_ring_release.argtypes = [pointer]
        library.edge_ring_release.restype = None
        library.edge_ring_index.argtypes = [pointer, u32, pointer, u32, pointer]
        library.edge_ring_index.restype = None
        self._native = library
        self._block_bytes = block_bytes
        self._address: int = ring.ctypes.data

    def ready(self, block: int) -> bool:
        """Whether the kernel has handed a block over."""
        return bool(self._native.edge_ring_ready(self._address + block * self._block_bytes))

    def index(self, block: int, frames: NDArray[Any], walk: RingWalk) -> None:
        """Fill in the frames of a block that was handed over, dtype `FRAME`."""
        address = self._address + block * self._block_bytes
        self._native.edge_ring_index(
            address, self._block_bytes, frames.ctypes.data, len(frames), ctypes.addressof(walk)
        )

    def release(self, block: int) -> None:
        """Give a block back to the kernel."""
        self._native.edge_ring_release(self._address + block * self._block_bytes)


class PlainBlocks:
    """As `CompiledBlocks`, slowly.

    Python has no fences. The calls into the system and the locks that it takes between looking at
    a status and at what it guards serve as such.
    """

    def __init__(self, ring: NDArray[Any], block_bytes: int) -> None:
        self._memory = memoryview(ring.data)
        self._block_bytes = block_bytes
        self._status = self._memory[: len(self._memory) & ~3].cast("I")

    def ready(self, block: int) -> bool:
        """See `CompiledBlocks.ready`."""
        return bool(self._status[(block * self._block_bytes + _STATUS) // 4] & _OWNED_BY_USER)

    def index(self, block: int, frames: NDArray[Any], walk: RingWalk) -> None:
        """See `CompiledBlocks.index`."""
        begin = block * self._block_bytes
        index_plain(self._memory[begin : begin + self._block_bytes], frames, walk)

    def release(self, block: int) -> None:
        """See `CompiledBlocks.release`."""
        self._status[(block * self._block_bytes + _STATUS) // 4] = 0


def index_plain(block: memoryview, frames: NDArray[Any], walk: RingWalk) -> None:
    """Fill in the frames of a block, as `edge_ring_index` does.

    Args:
        block: The block; VLAN tags are put back into it.
        frames: Where the entries go, dtype `FRAME`.
        walk: What to go by; the findings are filled in.
    """
    walk.frames = walk.unsupported = walk.broken = 0
    walk.last_us = walk.earliest_us
    if len(block) < _BLOCK_HEAD_BYTES:
        walk.broken = 1
        return
    count, at = _COUNT_AND_FIRST.unpack_from(block)
    if count and at < _BLOCK_HEAD_BYTES:
        walk.broken = 1
        return
    for number in range(count):
        left = len(block) - at
        if walk.frames == len(frames) or left < FRAME_HEAD_BYTES:
            walk.broken = 1
            return
        head = _FRAME_HEAD.unpack_from(block, at)
        following, captured, length, link_at = head[0], head[3], head[4], head[6]
        record = left if number + 1 == count else following
        if not (
            FRAME_HEAD_BYTES <= link_at <= record <= left
            and captured <= record - link_at
            and captured <= length
        ):
            walk.broken = 1
            return
        entry = _entry(block, at, head, walk)
        if entry is None:
            walk.unsupported += 1
        elif entry:
            frames[walk.frames] = entry
            walk.last_us = max(walk.last_us, entry[0])
            walk.frames += 1
        at += following


def _entry(
    block: memoryview, at: int, head: tuple[int, ...], walk: RingWalk
) -> tuple[int, ...] | None:
    """What a `FRAME` holds, () for one that is left out, None where the link is not supported."""
    _, seconds, nanoseconds, captured, length, status, link_at, network_at = head[:8]
    tag, tag_type, protocol, device_type, direction = head[8:]
    if device_type == _LOOPBACK_DEVICE and direction == _OUTGOING:
        return ()
    offset = at + link_at
    if device_type in (_ETHERNET_DEVICE, _LOOPBACK_DEVICE):
        link_type = _LINK_ETHERNET
        tagged = tag != 0 or bool(status & _TAG_VALID)
        fits = captured >= _ADDRESSES_BYTES and link_at >= FRAME_HEAD_BYTES + TAG_BYTES
        if tagged and fits:
            if tag_type == 0 and not status & _TAG_TYPE_VALID:
                tag_type = _VLAN
            addresses = bytes(block[offset : offset + _ADDRESSES_BYTES])
            offset, captured, length = offset - TAG_BYTES, captured + TAG_BYTES, length + TAG_BYTES
            restored = addresses + _TAG.pack(tag_type, tag & 0xFFFF)
            block[offset : offset + len(restored)] = restored
    else:
        if _swapped(protocol) not in _IP:
            return None
        link_type = _LINK_RAW
        stripped = min(max(network_at - link_at, 0), captured)
        offset, captured, length = offset + stripped, captured - stripped, length - stripped
    time_us = _steady_us(seconds * 1_000_000 + nanoseconds // 1000, walk)
    return time_us, offset, min(captured, walk.snap_bytes), length & 0xFFFF_FFFF, link_type


def _swapped(protocol: int) -> int:
    """A number in network byte order."""
    return int.from_bytes(struct.pack("=H", protocol), "big")


def _steady_us(wall_us: int, walk: RingWalk) -> int:
    for shift_us in (walk.shift_us, walk.former_shift_us):
        if walk.earliest_us <= wall_us + shift_us <= walk.latest_us:
            return wall_us + shift_us
    return walk.latest_us
