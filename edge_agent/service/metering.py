"""The thread that meters: ring → meter → queue.

The compiled meter runs outside the interpreter's lock, so scoring goes on meanwhile on another
core.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from edge_agent.capture.clock import SteadyClock
    from edge_agent.capture.live import LiveCapture
    from edge_agent.flow.meter import Meter
    from edge_agent.service.queue import RowQueue

_log = logging.getLogger(__name__)

# A quiet network's flows are given out this late at most, besides the block time-out.
_WAIT_S: Final = 0.25
_COUNT_EVERY_S: Final = 0.5
# At the end the table's flows wait for the model, this long for each batch.
_PATIENCE_S: Final = 5.0


class MeteringThread(threading.Thread):
    """Meters what one capture gives until it is stopped, then gives out what is left.

    Args:
        capture: Where frames come from; closed by its owner.
        meter: For this thread alone.
        queue: Gets the rows.
        clock: The time that frames are stamped with.
        settle_us: How long a frame may be on its way from the wire to us: the meter's clock stays
            so far behind where no frame moves it.
        number: Tells threads apart in names.
    """

    def __init__(
        self,
        capture: LiveCapture,
        meter: Meter,
        queue: RowQueue,
        clock: SteadyClock,
        *,
        settle_us: int,
        number: int = 0,
    ) -> None:
        super().__init__(name=f"edge-ids meter {number}", daemon=True)
        self.capture = capture
        self._meter = meter
        self._queue = queue
        self._clock = clock
        self._settle_us = settle_us
        self._stopping = threading.Event()
        self._next_count_s = 0.0
        self.error: Exception | None = None
        """What ended the thread against our will."""
        self.beat_s = time.monotonic()
        """When it was last seen alive, by the monotonic clock."""
        self.counts: dict[str, int] = {}
        """The meter's, half a second old at most."""
        self.open_flows = 0
        """Flows in its table."""

    def run(self) -> None:
        """See `threading.Thread`."""
        try:
            while not self._stopping.is_set():
                self._turn()
            for rows in self._meter.flush():
                self._queue.put(rows, patience_s=_PATIENCE_S)
            self._count()
        except Exception as error:  # noqa: BLE001 - whatever it is, it is told
            # Told by the thread that watches us, which ends the service with it.
            _log.exception("The metering thread ended")
            self.error = error

    def stop(self) -> None:
        """End soon; `join` waits for it."""
        self._stopping.set()
        self.capture.wake()

    def _turn(self) -> None:
        idle = True
        for block in self.capture.blocks(_WAIT_S):
            idle = False
            for rows in self._meter.add(block):
                self._queue.put(rows)
        if idle:
            # Only an empty ring: otherwise frames that wait in it would come too late.
            for rows in self._meter.advance(self._clock.now_us() - self._settle_us):
                self._queue.put(rows)
        self.beat_s = time.monotonic()
        if self.beat_s >= self._next_count_s:
            self._next_count_s = self.beat_s + _COUNT_EVERY_S
            self._count()

    def _count(self) -> None:
        self.counts = self._meter.counts()
        self.open_flows = self._meter.flows
