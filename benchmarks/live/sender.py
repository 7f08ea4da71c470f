"""Sends a trace at a wanted rate, as often as asked: ``python -m benchmarks.live.sender CAPTURE``.

A process of its own, on a processor of its own where there are several. Each line on its standard
input asks for one stretch: packets a second, seconds; each answer tells on one line what was sent.
It sends on `far`, of the namespace it was started in, until its input closes.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from benchmarks.live.batches import BATCH, Frames, Sender
from benchmarks.live.network import FAR, MeasuringError
from benchmarks.throughput.measure import ROOT
from benchmarks.throughput.records import RECORD_BYTES, parse

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from benchmarks.live.network import Space

# A sender that cannot keep the rate ends this much after its time.
_LATE: Final = 1.05
# Waits shorter than this are not worth a system call.
_NAP_S: Final = 0.0002


@dataclass(frozen=True, slots=True)
class Sent:
    """What went out: frames, and in how many seconds."""

    packets: int
    seconds: float

    @property
    def rate(self) -> float:
        """Packets a second."""
        return self.packets / self.seconds if self.seconds else 0.0


def paced(
    send: Callable[[int, int], int],
    count: int,
    rate: float,
    seconds: float,
    *,
    now_s: Callable[[], float] = time.perf_counter,
    sleep: Callable[[float], None] = time.sleep,
) -> Sent:
    """Send frames at an even rate, from the first on, and from there again after the last.

    Args:
        send: Sends so many frames from one on, or fewer; how many it did.
        count: Frames there are.
        rate: Packets a second.
        seconds: How long; a little longer where the rate cannot be kept.
        now_s: The clock.
        sleep: Waits.
    """
    wanted = round(rate * seconds)
    sent = place = 0
    begun_s = now_s()
    while sent < wanted:
        gone_s = now_s() - begun_s
        if gone_s > seconds * _LATE:
            break
        due = min(wanted, int(gone_s * rate) + 1)
        if sent >= due:
            sleep(_NAP_S)
            continue
        done = send(place, min(due - sent, BATCH))
        sent += done
        place = (place + done) % count
    return Sent(sent, now_s() - begun_s)


def processors() -> tuple[set[int], set[int]]:
    """Where the sender runs, and where programs do: the last processor is the sender's alone."""
    allowed = os.sched_getaffinity(0)
    own = {max(allowed)}
    return own, (allowed - own) or own


class Traffic:
    """The sender's process; a context manager.

    Args:
        space: In which namespace.
        capture: What to send: little-endian µs Ethernet pcap.
    """

    def __init__(self, space: Space, capture: Path) -> None:
        own, _ = processors()
        command = [sys.executable, "-m", "benchmarks.live.sender", str(capture.resolve())]
        with space.entered():
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
            )
        os.sched_setaffinity(self._process.pid, own)
        if self._answer() != "ready":
            raise MeasuringError("the sender did not start; it has said why.")

    def send(self, rate: float, seconds: float) -> Sent:
        """Send for so long, and wait for the end.

        Raises:
            MeasuringError: The sender ended.
        """
        assert self._process.stdin is not None
        self._process.stdin.write(f"{rate} {seconds}\n")
        self._process.stdin.flush()
        packets, took_s = self._answer().split()
        return Sent(int(packets), float(took_s))

    def _answer(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise MeasuringError("the sender ended; it has said why.")
        return line.strip()

    def __enter__(self) -> Traffic:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()
        self._process.kill()
        self._process.wait()


def main() -> None:
    """Serve until standard input closes."""
    path = Path(sys.argv[1])
    records = parse(path.read_bytes(), path)
    frames = Frames(records.data, records.at + RECORD_BYTES, records.record_bytes - RECORD_BYTES)
    # Touched once: the first stretch is no slower than the others.
    np.add.reduce(records.data)
    with Sender(FAR) as sender:
        print("ready", flush=True)
        for line in sys.stdin:
            rate, seconds = map(float, line.split())
            done = paced(
                lambda first, count: frames.send(sender, first, count),
                frames.count,
                rate,
                seconds,
            )
            print(done.packets, done.seconds, flush=True)


if __name__ == "__main__":
    main()
