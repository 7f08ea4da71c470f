"""Live capture: blocks of frames from the rings of one or several interfaces.

A block goes to the meter as it lies in memory shared with the kernel, and back to the kernel when
the next one is asked for. Nothing an interface does ends a capture: it may go down, vanish, and
come back as another.
"""

from __future__ import annotations

import contextlib
import os
import select
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from edge_agent.capture import bpf
from edge_agent.capture.bpf import Connection
from edge_agent.capture.interfaces import ANY
from edge_agent.capture.packet_socket import CaptureOptions, InterfaceCounts, PacketSocket
from edge_agent.capture.ring import FRAME_HEAD_BYTES
from edge_agent.contract.errors import CaptureError
from edge_agent.contract.frames import FRAME
from edge_agent.native import library

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from edge_agent.capture.bpf import Instruction
    from edge_agent.capture.clock import SteadyClock
    from edge_agent.contract.frames import FrameBlock

__all__ = ["ANY", "CaptureOptions", "Connection", "Fanout", "InterfaceCounts", "LiveCapture"]

# How long an interface that came back under another number may go unnoticed: it needs longer to get
# an address. Going down and up again is noticed by the kernel at once.
_LOOK_S: Final = 0.25
_FANOUT_GROUPS: Final = 0x10000


@dataclass(frozen=True, slots=True)
class Fanout:
    """Several captures, in threads or processes, share the frames of the same interfaces.

    Both directions of a flow come to the same capture. All of a group name the same interfaces in
    the same order.

    Attributes:
        group: A number that no other program on this machine uses, 0 to 65535; each interface takes
            one from there on.
    """

    group: int


class LiveCapture:
    """Captures on interfaces, for one thread; a context manager.

    All sockets and rings are open when it is made, so that privileges can be dropped afterwards.

    Args:
        interfaces: Their names, or `any` for all.
        options: How to capture.
        clock: Puts the kernel's stamps on steady time.
        fanout: With which others the frames are shared.
        compiled: Whether the compiled index is used; None: where it is there.

    Raises:
        CaptureError: There is no such interface, we may not, the filter is wrong, or there is no
            memory for a ring.

    Attributes:
        compiled: Whether the compiled index is used.
    """

    def __init__(
        self,
        interfaces: Sequence[str],
        options: CaptureOptions,
        clock: SteadyClock,
        fanout: Fanout | None = None,
        *,
        compiled: bool | None = None,
    ) -> None:
        self.compiled = library is not None if compiled is None else compiled
        self._options = options
        program = _program(options.filter, options)
        self._frames = np.empty(options.block_bytes // FRAME_HEAD_BYTES + 1, FRAME)
        self._next_look_s = 0.0
        self._first = 0
        self._sockets: list[PacketSocket] = []
        self._wake_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        try:
            for number, name in enumerate(_checked(interfaces)):
                group = None if fanout is None else (fanout.group + number) % _FANOUT_GROUPS
                made = PacketSocket(name, options, clock, group, compiled=self.compiled)
                self._sockets.append(made)
            self._attach(program)
        except BaseException:
            self.close()
            raise
        self._poll = select.poll()
        self._poll.register(self._wake_fd, select.POLLIN)
        for made in self._sockets:
            self._poll.register(made.fileno(), select.POLLIN | select.POLLERR)

    def __enter__(self) -> LiveCapture:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def blocks(self, timeout_s: float) -> Iterator[FrameBlock]:
        """What has been captured, of all interfaces in turn.

        At most one round of every ring, so that it ends under any load.

        Args:
            timeout_s: How long to wait for the first block where there is none.

        Yields:
            A view of the ring, valid until the next is asked for; its frames may be none.
        """
        deadline_s = time.monotonic() + timeout_s
        while True:
            self._look_now_and_then()
            given = False
            for block in self._round():
                given = True
                yield block
            left_s = deadline_s - time.monotonic()
            if given or left_s <= 0 or self._wait(min(left_s, _LOOK_S)):
                return

    def _round(self) -> Iterator[FrameBlock]:
        """One block of each in turn, until none has one or all rings have gone round."""
        turns = sum(packets.blocks for packets in self._sockets)
        idle = 0
        while idle < len(self._sockets) and turns:
            packets = self._sockets[self._first]
            # The next call goes on with whoever is next, so that none is always last.
            self._first = (self._first + 1) % len(self._sockets)
            block = packets.next_block(self._frames)
            if block is None:
                idle += 1
                continue
            idle = 0
            turns -= 1
            try:
                yield block
            finally:
                packets.give_back()

    def _wait(self, timeout_s: float) -> bool:
        """Until something happens; whether we were woken."""
        woken = False
        for fd, events in self._poll.poll(timeout_s * 1000):
            if fd == self._wake_fd:
                with contextlib.suppress(BlockingIOError):
                    os.eventfd_read(fd)
                woken = True
            elif events & ~select.POLLIN:
                self._next_look_s = 0.0
        return woken

    def _look_now_and_then(self) -> None:
        now_s = time.monotonic()
        if now_s >= self._next_look_s:
            self._next_look_s = now_s + _LOOK_S
            for packets in self._sockets:
                packets.look()

    def wake(self) -> None:
        """End a `blocks()` that waits, or the next that would; from any thread, or a handler."""
        with contextlib.suppress(BlockingIOError):
            os.eventfd_write(self._wake_fd, 1)

    def set_filter(self, expression: str, excluded: Sequence[Connection]) -> None:
        """Capture other frames from now on; those already in the rings stay.

        Args:
            expression: As in `CaptureOptions.filter`.
            excluded: As in `CaptureOptions.excluded`.

        Raises:
            CaptureError: It is wrong, or the kernel refuses it; the one before stays.
        """
        former = self._program
        program = _program(expression, self._options, excluded)
        try:
            self._attach(program)
        except CaptureError:
            self._attach(former)
            raise

    def _attach(self, program: list[Instruction]) -> None:
        for packets in self._sockets:
            packets.set_program(program)
        self._program = program

    def counts(self) -> dict[str, InterfaceCounts]:
        """What has become of each interface's frames; from any thread."""
        return {packets.interface: packets.counts() for packets in self._sockets}

    def close(self) -> None:
        """Stop capturing; not while another thread is in `blocks()`."""
        while self._sockets:
            self._sockets.pop().close()
        if self._wake_fd >= 0:
            os.close(self._wake_fd)
            self._wake_fd = -1


def _program(
    expression: str, options: CaptureOptions, excluded: Sequence[Connection] | None = None
) -> list[Instruction]:
    connections = options.excluded if excluded is None else excluded
    return bpf.compiled(expression, options.snap_length_bytes, connections, load=bpf.load_libpcap)


def _checked(interfaces: Sequence[str]) -> list[str]:
    names = list(dict.fromkeys(interfaces))
    if not names:
        raise CaptureError("capture", "no interface is named", remedy=f"name one, or {ANY}")
    if ANY in names and len(names) > 1:
        raise CaptureError(
            ANY, "means every interface, and others are named beside it", remedy="name one or all"
        )
    return names
