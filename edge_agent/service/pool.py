"""The metering threads together, each with its rings: what the service starts, asks and stops."""

from __future__ import annotations

import os
import time
from collections import Counter
from contextlib import ExitStack
from typing import TYPE_CHECKING, Final

from edge_agent.capture.live import CaptureOptions, Fanout, InterfaceCounts, LiveCapture
from edge_agent.flow.limits import Limits
from edge_agent.flow.meter import open_meter
from edge_agent.service.metering import MeteringThread

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge_agent.capture.clock import SteadyClock
    from edge_agent.capture.live import Connection
    from edge_agent.config import Config
    from edge_agent.contract.profiles import Profile
    from edge_agent.service.queue import RowQueue

# A metering thread that stands still this long is dead: it wakes four times a second.
_STUCK_S: Final = 10.0
# From the kernel's stamp to us, beside the block time-out.
_SETTLE_MS: Final = 100


class MeteringPool:
    """Opens all rings at once, so that privileges can be dropped afterwards.

    Args:
        config: Interfaces, rings, tables, number of threads.
        profile: What the threads meter.
        queue: Gets the rows of all.
        clock: Puts frames on steady time.
        excluded: Our own connections, which are not captured.

    Raises:
        CaptureError: Some interface cannot be captured on.
        MemoryError: The tables are more than this machine has.
    """

    def __init__(
        self,
        config: Config,
        profile: Profile,
        queue: RowQueue,
        clock: SteadyClock,
        excluded: Sequence[Connection],
    ) -> None:
        self._expression = config.capture.filter
        self._excluded = tuple(excluded)
        options = CaptureOptions(
            promiscuous=config.capture.promiscuous,
            filter=self._expression,
            excluded=self._excluded,
            ring_bytes=config.capture.ring_bytes,
            block_bytes=config.capture.block_bytes,
            block_timeout_ms=config.capture.block_timeout_ms,
            snap_length_bytes=config.capture.snap_length_bytes,
        )
        limits = Limits(config.meter.max_flows, config.meter.max_context_keys)
        settle_us = (2 * options.block_timeout_ms + _SETTLE_MS) * 1000
        count = config.capture.threads
        fanout = Fanout(os.getpid() & 0xFFFF) if count > 1 else None
        self._threads: list[MeteringThread] = []
        with ExitStack() as opened:
            for number in range(count):
                capture = LiveCapture(config.capture.interfaces, options, clock, fanout)
                opened.callback(capture.close)
                # Secret, so that nobody can aim at the bits of a distinct count.
                meter = open_meter(
                    profile, limits, context_seed=int.from_bytes(os.urandom(8), "little")
                )
                self._threads.append(
                    MeteringThread(capture, meter, queue, clock, settle_us=settle_us, number=number)
                )
            self._opened = opened.pop_all()

    def start(self) -> None:
        """Begin to capture."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End soon: every thread gives out its table first."""
        for thread in self._threads:
            thread.stop()

    def close(self) -> None:
        """Close the rings; once no thread is `busy`."""
        self._opened.close()

    @property
    def busy(self) -> bool:
        """Whether a thread still works."""
        return any(thread.is_alive() for thread in self._threads)

    def failure(self) -> str | None:
        """What is wrong with a thread, as a clause."""
        for thread in self._threads:
            if thread.error is not None:
                return f"metering ended ({thread.error})"
            if thread.is_alive() and time.monotonic() - thread.beat_s > _STUCK_S:
                return f"metering has not moved for {_STUCK_S:.0f} s"
        return None

    def set_filter(self, expression: str) -> None:
        """Capture what another expression says.

        Raises:
            CaptureError: It is wrong; the former stays.
        """
        self._attach(expression, self._excluded)
        self._expression = expression

    def exclude(self, connections: Sequence[Connection]) -> None:
        """Leave other connections of ours out; from any thread.

        Raises:
            CaptureError: The kernel refuses it; the former stay out.
        """
        if tuple(connections) != self._excluded:
            self._attach(self._expression, connections)
            self._excluded = tuple(connections)

    def _attach(self, expression: str, excluded: Sequence[Connection]) -> None:
        for thread in self._threads:
            thread.capture.set_filter(expression, excluded)

    @property
    def open_flows(self) -> int:
        """Flows in the tables."""
        return sum(thread.open_flows for thread in self._threads)

    def counts(self) -> dict[str, int]:
        """What the meters counted, by the names in `edge_agent.flow.meter.COUNTS`."""
        total: Counter[str] = Counter()
        for thread in self._threads:
            total.update(thread.counts)
        return dict(total)

    def interfaces(self) -> dict[str, InterfaceCounts]:
        """What became of each interface's frames."""
        counts = [thread.capture.counts() for thread in self._threads]
        return {
            name: InterfaceCounts(
                frames=sum(one[name].frames for one in counts),
                dropped=sum(one[name].dropped for one in counts),
                freezes=sum(one[name].freezes for one in counts),
                # Each capture sees the same interface go.
                outages=max(one[name].outages for one in counts),
                up=all(one[name].up for one in counts),
                unsupported=sum(one[name].unsupported for one in counts),
                broken_blocks=sum(one[name].broken_blocks for one in counts),
            )
            for name in counts[0]
        }
