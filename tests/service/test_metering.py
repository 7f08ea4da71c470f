"""The metering thread by itself."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, cast

import pytest

from edge_agent.capture.clock import SteadyClock
from edge_agent.contract.frames import FrameBlock
from edge_agent.contract.profiles import PROFILES
from edge_agent.flow.meter import open_meter
from edge_agent.service.metering import MeteringThread
from edge_agent.service.queue import RowQueue

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge_agent.capture.live import LiveCapture

GATEWAY = PROFILES["gateway"]


class Broken:
    """A capture that fails."""

    def blocks(self, timeout_s: float) -> Iterator[FrameBlock]:
        raise OSError("the ring is gone")

    def wake(self) -> None:
        """Nobody sleeps."""


def test_what_ends_it_is_kept_for_who_watches(caplog: pytest.LogCaptureFixture) -> None:
    thread = MeteringThread(
        cast("LiveCapture", Broken()),
        open_meter(GATEWAY),
        RowQueue(16, len(GATEWAY.features)),
        SteadyClock(),
        settle_us=0,
    )
    thread.start()
    thread.join(30)
    assert str(thread.error) == "the ring is gone"
    assert "The metering thread ended" in caplog.text


def test_a_quiet_network_moves_the_clock(caplog: pytest.LogCaptureFixture) -> None:
    class Quiet(Broken):
        def blocks(self, timeout_s: float) -> Iterator[FrameBlock]:
            time.sleep(0.01)
            return iter(())

    meter = open_meter(GATEWAY)
    clock = SteadyClock()
    queue = RowQueue(16, len(GATEWAY.features))
    thread = MeteringThread(cast("LiveCapture", Quiet()), meter, queue, clock, settle_us=50_000)
    thread.start()
    deadline = time.monotonic() + 30
    while not meter.now_us:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    thread.stop()
    thread.join(30)
    assert not thread.is_alive()
    assert thread.error is None
    assert 0 < meter.now_us <= clock.now_us() - 50_000
