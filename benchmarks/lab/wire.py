"""Delay lines between hosts and the bridge, in user space.

The kernel's own delay queue (netem) is a module that small kernels leave out, so a recording must
not depend on it. One process per session holds both ends of every delayed link as packet sockets
and hands each frame on when its time has come. Frames of one direction never overtake each other.

Started in the `wire` namespace as ``python -m benchmarks.lab.wire SEED LINK...`` with a LINK as
``near,far,delay_ms,jitter_ms,loss,rate_mbit``.
"""

from __future__ import annotations

import contextlib
import random
import select
import socket
import sys
import time
from collections import deque
from dataclasses import dataclass, field

from benchmarks.lab.plan import Link

ETH_P_ALL = 0x0003
SOL_PACKET = 263
PACKET_IGNORE_OUTGOING = 23
# A home router queues some hundred packets; more would only turn a flood into minutes of delay.
QUEUE_LIMIT_PACKETS = 1000
# Frames taken from one socket in a row, so that a flood on one link cannot starve the others.
BATCH_FRAMES = 64


@dataclass(slots=True)
class Direction:
    """One way of one link."""

    source: socket.socket
    sink: socket.socket
    link: Link
    queue: deque[tuple[float, bytes]] = field(default_factory=deque)
    free_at_s: float = 0.0

    def take(self, frame: bytes, now_s: float, rng: random.Random) -> None:
        """Queue a frame, or lose it."""
        if len(self.queue) >= QUEUE_LIMIT_PACKETS or rng.random() < self.link.loss:
            return
        delay_ms = self.link.delay_ms + abs(rng.gauss(0.0, self.link.jitter_ms))
        sent_s = len(frame) * 8 / (self.link.rate_mbit * 1e6)
        self.free_at_s = max(self.free_at_s, now_s + delay_ms / 1e3) + sent_s
        self.queue.append((self.free_at_s, frame))

    def give(self, now_s: float) -> None:
        """Send every frame whose time has come."""
        queue = self.queue
        while queue and queue[0][0] <= now_s:
            frame = queue.popleft()[1]
            # A full or vanished device loses frames, as a real one does.
            with contextlib.suppress(OSError):
                self.sink.send(frame)


def open_interface(name: str) -> socket.socket:
    """Open a packet socket that sees only what arrives at the interface."""
    handle = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
    handle.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
    handle.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    handle.bind((name, ETH_P_ALL))
    handle.setblocking(False)
    return handle


def carry(directions: list[Direction], rng: random.Random) -> None:
    """Move frames until the process is ended."""
    by_source = {direction.source: direction for direction in directions}
    sources = list(by_source)
    while True:
        dues = [direction.queue[0][0] for direction in directions if direction.queue]
        timeout_s = max(0.0, min(dues) - time.monotonic()) if dues else None
        for source in select.select(sources, (), (), timeout_s)[0]:
            direction = by_source[source]
            for _ in range(BATCH_FRAMES):
                try:
                    frame = source.recv(2048)
                except OSError:
                    break
                direction.take(frame, time.monotonic(), rng)
        now_s = time.monotonic()
        for direction in directions:
            direction.give(now_s)


def main(arguments: list[str]) -> None:
    """Open every link named on the command line and carry its frames."""
    directions = []
    for text in arguments[1:]:
        near, far, *numbers = text.split(",")
        near_end, far_end = open_interface(near), open_interface(far)
        link = Link(*map(float, numbers))
        directions.append(Direction(near_end, far_end, link))
        directions.append(Direction(far_end, near_end, link))
    carry(directions, random.Random(int(arguments[0])))


if __name__ == "__main__":
    main(sys.argv[1:])
