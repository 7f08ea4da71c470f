"""One packet socket with its ring: the frames of one interface, in memory shared with the kernel.

Everything that needs privileges (CAP_NET_RAW) is done when it is opened; what comes later (another
filter, an interface that comes back under another number) works on the same socket without any.

A socket of a fanout group cannot be bound anew. Such a one listens to all interfaces from the
beginning, and its filter lets only the frames of its own through.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import mmap
import os
import socket
import struct
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from edge_agent.capture import bpf, interfaces
from edge_agent.capture.ring import MAX_SNAP_BYTES, TAG_BYTES, CompiledBlocks, PlainBlocks, RingWalk
from edge_agent.contract.errors import CaptureError
from edge_agent.contract.frames import FrameBlock

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from edge_agent.capture.bpf import Connection, Instruction
    from edge_agent.capture.clock import SteadyClock

MIN_BLOCK_BYTES: Final = 64 * 1024
# What the kernel counts in an int.
_MAX_RING_BYTES: Final = 2**30

# linux/if_packet.h, linux/if_ether.h, linux/socket.h, asm-generic/socket.h
_SOL_PACKET: Final = 263
_ADD_MEMBERSHIP: Final = 1
_RX_RING: Final = 5
_STATISTICS: Final = 6
_VERSION: Final = 10
_RESERVE: Final = 12
_FANOUT: Final = 18
_TPACKET_V3: Final = 2
_PROMISCUOUS: Final = 1
_FANOUT_HASH: Final = 0
_ALL_PROTOCOLS: Final = 0x0003
_ALL_INTERFACES: Final = 0
_ATTACH_FILTER: Final = 26
_ADDRESS: Final = struct.Struct("=H2siHBB8x")
_MEMBERSHIP: Final = struct.Struct("=iHH8x")
_COUNTERS: Final = struct.Struct("=III")

_NOTHING: Final = [bpf.Instruction(0x06, 0, 0, 0)]
# A stamp is taken on another processor than the one that compares it, and the distance of the
# clocks is known to half a millisecond.
_SLACK_US: Final = 10_000
# Frames of several processors stand in a block nearly in order.
_DISORDER_US: Final = 1_000_000
_LONG_AGO_US: Final = -(2**62)


@dataclass(frozen=True, slots=True)
class CaptureOptions:
    """How to capture; the same for every interface.

    Attributes:
        promiscuous: See what is addressed to others too; not with `any`.
        filter: What to capture, as tcpdump takes it, about IP and above; empty: everything.
        excluded: Our own connections, never captured.
        ring_bytes: Memory shared with the kernel, per interface and thread.
        block_bytes: Of which the kernel hands over so much at a time; a power of two.
        block_timeout_ms: A block that is not full is handed over after this.
        snap_length_bytes: To how much frames are cut; 0: not at all.
    """

    promiscuous: bool = True
    filter: str = ""
    excluded: tuple[Connection, ...] = ()
    ring_bytes: int = 8 * 1024 * 1024
    block_bytes: int = 256 * 1024
    block_timeout_ms: int = 50
    snap_length_bytes: int = 0


@dataclass(frozen=True, slots=True)
class InterfaceCounts:
    """What became of the frames of an interface since it was opened.

    Attributes:
        frames: Handed on.
        dropped: Lost in the kernel, because the ring was full.
        freezes: Times that the ring was full.
        outages: Times that the interface went down or away.
        up: Whether it is there and switched on.
        unsupported: Frames of a link that is neither Ethernet nor carries plain IP; not handed on.
        broken_blocks: Blocks that lied about a length; what followed in them was lost.
    """

    frames: int = 0
    dropped: int = 0
    freezes: int = 0
    outages: int = 0
    up: bool = False
    unsupported: int = 0
    broken_blocks: int = 0


class PacketSocket:
    """Captures on one interface, block by block.

    Args:
        interface: Its name; `any` for all of them.
        options: How.
        clock: Puts the kernel's stamps on steady time.
        fanout_group: Number of the group whose sockets share the frames; None: it has them all.
        compiled: Whether the compiled index is used.

    Raises:
        CaptureError: There is no such interface, we may not, or there is no memory for the ring.
    """

    def __init__(
        self,
        interface: str,
        options: CaptureOptions,
        clock: SteadyClock,
        fanout_group: int | None,
        *,
        compiled: bool,
    ) -> None:
        self.interface = interface
        self._options = options
        self._clock = clock
        self._shares = fanout_group is not None
        self._any = interface == interfaces.ANY
        self._program: Sequence[Instruction] = _NOTHING
        self._index: int | None = None
        self._walk = RingWalk(snap_bytes=options.snap_length_bytes or MAX_SNAP_BYTES)
        self._shift_us = self._former_shift_us = clock.shift_us()
        self._last_us = _LONG_AGO_US
        self._next_block = 0
        self._frames = self._unsupported = self._broken = self._outages = 0
        self._dropped = self._freezes = 0
        # A filter may be changed, and counts asked for, from other threads.
        self._lock = threading.Lock()
        _check_sizes(interface, options)
        self.blocks: Final = options.ring_bytes // options.block_bytes
        self._socket = _opened_socket(interface)
        try:
            self._open(fanout_group, compiled=compiled)
        except BaseException:
            self._socket.close()
            raise
        self._up = self._is_up()

    def _open(self, fanout_group: int | None, *, compiled: bool) -> None:
        # Protocol 0 until here: nothing has come in. From now on the filter lets nothing through.
        self._attach(_NOTHING)
        index = interfaces.index(self.interface, self._socket)
        if index is None and not self._any:
            there = ", ".join([*interfaces.names(), interfaces.ANY])
            raise CaptureError(
                self.interface, "there is no such interface", remedy=f"give one of {there}"
            )
        with _explained(self.interface):
            self._map_ring()
            if self._shares or self._any:
                _bind(self._socket, _ALL_INTERFACES)
            if fanout_group is not None:
                group = fanout_group | _FANOUT_HASH << 16
                self._socket.setsockopt(_SOL_PACKET, _FANOUT, group)
            if not self._any:
                self._listen(index)
        blocks = CompiledBlocks if compiled else PlainBlocks
        self._blocks: CompiledBlocks | PlainBlocks = blocks(self._ring, self._options.block_bytes)

    def _map_ring(self) -> None:
        options = self._options
        self._socket.setsockopt(_SOL_PACKET, _VERSION, _TPACKET_V3)
        self._socket.setsockopt(_SOL_PACKET, _RESERVE, TAG_BYTES)
        request = struct.pack(
            "=7I",
            options.block_bytes,
            self.blocks,
            options.block_bytes,  # of a frame: with TPACKET_V3 the kernel only checks that it fits
            self.blocks,
            options.block_timeout_ms,
            0,
            0,
        )
        self._socket.setsockopt(_SOL_PACKET, _RX_RING, request)
        ring_bytes = self.blocks * options.block_bytes
        self._map = mmap.mmap(self._socket.fileno(), ring_bytes, mmap.MAP_SHARED)
        self._ring: NDArray[np.uint8] = np.frombuffer(self._map, np.uint8)

    def fileno(self) -> int:
        """What to wait on."""
        return self._socket.fileno()

    # --- the interface -----------------------------------------------------------------------

    def _listen(self, index: int | None) -> None:
        """Listen to an interface from now on; None: there is none, and the next is waited for."""
        if self._shares:
            self._attach(self._fitted(self._program, index))
        elif index is not None:
            _bind(self._socket, index)
        if index is not None and self._options.promiscuous:
            membership = _MEMBERSHIP.pack(index, _PROMISCUOUS, 0)
            with contextlib.suppress(OSError):  # gone again, or a link that knows no such thing
                self._socket.setsockopt(_SOL_PACKET, _ADD_MEMBERSHIP, membership)
        self._index = index
        # Of an interface that is down this says so; it is no news.
        self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)

    def look(self) -> None:
        """See whether the interface went away or came back, and follow it."""
        went_down = bool(self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))
        if self._any:
            return
        index = interfaces.index(self.interface, self._socket)
        if index != self._index or (went_down and index is not None):
            # Gone meanwhile: the next look sees it.
            with self._lock, contextlib.suppress(OSError):
                self._listen(index)
        up = self._is_up()
        if self._up and (went_down or not up):
            self._outages += 1
        self._up = up

    def _is_up(self) -> bool:
        return self._any or interfaces.is_up(self.interface, self._socket)

    # --- the filter --------------------------------------------------------------------------

    def set_program(self, program: Sequence[Instruction]) -> None:
        """Let other frames through from now on; in between none is missed and none slips through.

        Raises:
            CaptureError: The kernel refuses it; the one before stays.
        """
        with self._lock:
            try:
                self._attach(self._fitted(program, self._index))
            except OSError as error:
                raise CaptureError(
                    self.interface,
                    f"the kernel refuses the filter ({os.strerror(error.errno or 0)})",
                    remedy="write a shorter one",
                ) from error
            self._program = program

    def _fitted(self, program: Sequence[Instruction], index: int | None) -> Sequence[Instruction]:
        return bpf.only_from(index, program) if self._shares and not self._any else program

    def _attach(self, program: Sequence[Instruction]) -> None:
        code = ctypes.create_string_buffer(bpf.packed(program))
        request = struct.pack("HP", len(program), ctypes.addressof(code))
        self._socket.setsockopt(socket.SOL_SOCKET, _ATTACH_FILTER, request)

    # --- frames ------------------------------------------------------------------------------

    def next_block(self, frames: NDArray[Any]) -> FrameBlock | None:
        """The next block that the kernel has handed over, if there is one.

        Args:
            frames: Room for the index, dtype `FRAME`.

        Returns:
            A view of the ring, valid until `give_back`, which has to be called; None: nothing yet.
        """
        block = self._next_block
        if not self._blocks.ready(block):
            return None
        walk = self._walk
        shift_us = self._clock.shift_us()
        if shift_us != self._shift_us:
            self._shift_us, self._former_shift_us = shift_us, self._shift_us
        walk.shift_us, walk.former_shift_us = self._shift_us, self._former_shift_us
        walk.earliest_us = self._last_us - _DISORDER_US
        walk.latest_us = self._clock.now_us() + _SLACK_US
        self._blocks.index(block, frames, walk)
        self._last_us = max(self._last_us, walk.last_us)
        self._frames += walk.frames
        self._unsupported += walk.unsupported
        self._broken += walk.broken
        begin = block * self._options.block_bytes
        data = self._ring[begin : begin + self._options.block_bytes]
        return FrameBlock(data, frames[: walk.frames])

    def give_back(self) -> None:
        """Give the block of `next_block` back to the kernel."""
        self._blocks.release(self._next_block)
        self._next_block = (self._next_block + 1) % self.blocks

    def counts(self) -> InterfaceCounts:
        """What has become of the frames so far; from any thread."""
        with self._lock:
            # The kernel forgets what it tells.
            answer = self._socket.getsockopt(_SOL_PACKET, _STATISTICS, _COUNTERS.size)
            _, dropped, freezes = _COUNTERS.unpack(answer)
            self._dropped += dropped
            self._freezes += freezes
            return InterfaceCounts(
                frames=self._frames,
                dropped=self._dropped,
                freezes=self._freezes,
                outages=self._outages,
                up=self._up,
                unsupported=self._unsupported,
                broken_blocks=self._broken,
            )

    def close(self) -> None:
        """Stop capturing; a block that somebody still looks at stays in memory until then."""
        with contextlib.suppress(OSError):
            # The mapping keeps the socket alive as long as a block is looked at.
            self._attach(_NOTHING)
        del self._blocks, self._ring
        with contextlib.suppress(BufferError):
            self._map.close()
        self._socket.close()


def _check_sizes(interface: str, options: CaptureOptions) -> None:
    block_bytes = options.block_bytes
    if block_bytes < MIN_BLOCK_BYTES or block_bytes & (block_bytes - 1):
        raise CaptureError(
            interface,
            f"its ring cannot have blocks of {block_bytes:,} bytes",
            remedy=f"give a power of two from {MIN_BLOCK_BYTES:,} on as block_bytes",
        )
    if options.ring_bytes < 2 * block_bytes:
        raise CaptureError(
            interface,
            f"a ring of {options.ring_bytes:,} bytes has no two blocks of {block_bytes:,}",
            remedy="give more ring_bytes, or fewer block_bytes",
        )
    if options.ring_bytes > _MAX_RING_BYTES:
        raise CaptureError(
            interface,
            f"the kernel makes no ring of {options.ring_bytes:,} bytes",
            remedy=f"give fewer ring_bytes, at most {_MAX_RING_BYTES:,}",
        )


def _opened_socket(interface: str) -> socket.socket:
    try:
        return socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    except PermissionError as error:
        raise CaptureError(
            interface,
            "capturing needs the capability CAP_NET_RAW, which this process does not have",
            remedy="run it as root, or give it the capability (AmbientCapabilities= in its unit)",
        ) from error
    except OSError as error:
        raise CaptureError(
            interface,
            f"this system lets nobody capture ({os.strerror(error.errno or 0)})",
            remedy="run on a Linux kernel with packet sockets, outside of what forbids them",
        ) from error


@contextlib.contextmanager
def _explained(interface: str) -> Iterator[None]:
    """What the kernel may refuse while a ring is made, as sentences."""
    try:
        yield
    except (OSError, MemoryError) as error:
        number = error.errno if isinstance(error, OSError) else errno.ENOMEM
        if number in (errno.ENOMEM, errno.EAGAIN, errno.ENOBUFS):
            raise CaptureError(
                interface,
                "there is not enough memory for its ring",
                remedy="give a smaller ring_bytes",
            ) from error
        raise CaptureError(
            interface,
            f"the kernel refuses to capture there ({os.strerror(number or 0)})",
            remedy="check the interface, and ring_bytes and block_bytes",
        ) from error


def _bind(packets: socket.socket, index: int) -> None:
    # Python's own bind wants a name, and knows none for "all".
    address = _ADDRESS.pack(socket.AF_PACKET, struct.pack("!H", _ALL_PROTOCOLS), index, 0, 0, 0)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.bind(packets.fileno(), address, len(address)):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
