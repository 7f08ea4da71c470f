"""Frames → flow rows → batches for the judge, by the packets' own clock.

So a capture is judged at the moments at which the live network would have been.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from edge_agent.contract.frames import FrameBlock
from edge_agent.flow.rows import FlowRows
from edge_agent.flow.timeline import FAR_US

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge_agent.agent import Agent
    from edge_agent.flow.meter import Meter

BATCH_ROWS: Final = 256
"""The interpreter's largest batch; waiting for more rows would only delay alerts."""
BATCH_WAIT_MS: Final = 250
"""A row waits no longer than this for its batch to fill: no delay to a person."""

_BATCH_WAIT_US: Final = BATCH_WAIT_MS * 1000


class BatchedMeter:
    """Takes frames in capture order, and hands their rows to an agent.

    Args:
        meter: Meters the profile of the agent's model.
        agent: Gets batches of rows, and the clock.
    """

    def __init__(self, meter: Meter, agent: Agent) -> None:
        self._meter = meter
        self._agent = agent
        self._rows: list[FlowRows] = []
        self._row_count = 0
        self._batch_since_us = 0
        self._now_us = 0

    def take(self, block: FrameBlock) -> None:
        """Take the next frames in."""
        for part in _parts(block):
            for rows in self._meter.add(part):
                self._collect(rows)
            self._follow_clock()

    def finish(self) -> None:
        """Hand over what the meter still holds, and end the agent's incidents."""
        for rows in self._meter.flush():
            self._collect(rows)
        self._judge()
        self._agent.finish()

    def _follow_clock(self) -> None:
        now_us = self._meter.now_us
        begins_anew = now_us < self._now_us
        if begins_anew or (self._rows and now_us - self._batch_since_us >= _BATCH_WAIT_US):
            self._judge(self._now_us if begins_anew else now_us)
        self._now_us = now_us
        self._agent.follow(now_us)

    def _collect(self, rows: FlowRows) -> None:
        while len(rows):
            if not self._rows:
                self._batch_since_us = self._now_us
            room = BATCH_ROWS - self._row_count
            taken, rows = rows.split(room)
            self._rows.append(taken.copy())
            self._row_count += len(taken)
            if self._row_count == BATCH_ROWS:
                self._judge()

    def _judge(self, now_us: int | None = None) -> None:
        if not self._rows:
            return
        rows = FlowRows.join(self._rows)
        self._rows, self._row_count = [], 0
        self._agent.judge(rows, self._now_us if now_us is None else now_us)


def _parts(block: FrameBlock) -> Iterator[FrameBlock]:
    """A block cut where batches end, so that a long one delays no alert."""
    times_us = block.frames["time_us"].copy()
    gaps_us = np.diff(times_us)
    # A stray stamp, which the meter leaves out, must not make one part of all that follows.
    strays = np.flatnonzero((gaps_us[:-1] > FAR_US) & (gaps_us[1:] < -FAR_US)) + 1
    times_us[strays] = times_us[strays - 1]
    slots = np.maximum.accumulate(times_us) // _BATCH_WAIT_US
    ends = [*(np.flatnonzero(np.diff(slots)) + 1).tolist(), len(slots)]
    start = 0
    for end in ends:
        yield FrameBlock(block.data, block.frames[start:end])
        start = end
