"""The wiring: frames → flow rows → scores → incidents → wherever alerts go.

No clock in here either: time is the packets', so a replay behaves as the live network did.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from edge_agent.alerting.incidents import IncidentTable, Verdict
from edge_agent.contract.frames import FrameBlock
from edge_agent.flow.rows import FlowRows
from edge_agent.flow.timeline import FAR_US

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from edge_agent.alerting.sinks import AlertSink
    from edge_agent.contract.alerts import Alert
    from edge_agent.detect.detector import Detector
    from edge_agent.flow.meter import Meter

# The interpreter's largest batch; waiting for more rows would only delay alerts.
_BATCH_ROWS: Final = 256
# A row waits no longer than this for its batch to fill: a quarter second is no delay to a person.
_BATCH_WAIT_US: Final = 250_000
_TICK_US: Final = 1_000_000
# The feature's number in `features`: its name differs from profile to profile.
_BACKWARD_PACKETS: Final = 4


@dataclass(slots=True)
class Tally:
    """What an agent did.

    Attributes:
        flows: Rows scored.
        flagged: Those the model calls attacks.
        unscored: Rows with a number that is not finite: no score.
        alerts: Messages given to the sink.
        incidents: Incidents begun.
    """

    flows: int = 0
    flagged: int = 0
    unscored: int = 0
    alerts: int = 0
    incidents: int = 0


class Agent:
    """Takes frames in capture order; alerts leave as soon as they are due.

    Args:
        meter: Meters the detector's profile.
        detector: Scores rows.
        incidents: Groups what is flagged.
        sink: Gets the alerts.
        tell_active: Called with the number of open incidents when it changes.
    """

    def __init__(
        self,
        meter: Meter,
        detector: Detector,
        incidents: IncidentTable,
        sink: AlertSink,
        tell_active: Callable[[int], None] | None = None,
    ) -> None:
        self._meter = meter
        self._detector = detector
        self._incidents = incidents
        self._sink = sink
        self._tell_active = tell_active
        self._told_active = -1
        self._rows: list[FlowRows] = []
        self._row_count = 0
        self._batch_since_us = 0
        self._next_tick_us = 0
        self._now_us = 0
        features = detector.bundle.profile.features
        self._backward_column = [feature.number for feature in features].index(_BACKWARD_PACKETS)
        self.tally = Tally()

    def take(self, block: FrameBlock) -> None:
        """Take the next frames in."""
        for part in _parts(block):
            for rows in self._meter.add(part):
                self._collect(rows)
            self._follow_clock()

    def finish(self) -> None:
        """Score what the meter still holds, end the incidents."""
        for rows in self._meter.flush():
            self._collect(rows)
        self._judge()
        self._send(self._incidents.close(self._now_us))

    def _follow_clock(self) -> None:
        now_us = self._meter.now_us
        if now_us < self._now_us:
            # Time has begun anew: what is known belongs to another.
            self._judge()
            self._send(self._incidents.close(self._now_us, "the clock was set back"))
            self._incidents = self._incidents.afresh()
            self._next_tick_us = 0
        self._now_us = now_us
        if self._rows and now_us - self._batch_since_us >= _BATCH_WAIT_US:
            self._judge()
        if now_us >= self._next_tick_us:
            self._send(self._incidents.tick(now_us))
            self._next_tick_us = now_us + _TICK_US

    def _collect(self, rows: FlowRows) -> None:
        while len(rows):
            if not self._rows:
                self._batch_since_us = self._now_us
            room = _BATCH_ROWS - self._row_count
            taken, rows = rows.split(room)
            self._rows.append(taken.copy())
            self._row_count += len(taken)
            if self._row_count == _BATCH_ROWS:
                self._judge()

    def _judge(self) -> None:
        if not self._rows:
            return
        rows = FlowRows.join(self._rows)
        self._rows, self._row_count = [], 0
        judged = self._detector.judge(
            self._detector.from_profile_rows(rows.values, rows.about["protocol"])
        )
        scores = judged.scores
        flagged = self._detector.is_attack(scores)
        verdicts = [
            Verdict(
                time_us=row.released_us,
                start_us=row.start_us,
                source=row.source_address,
                destination=row.destination_address,
                destination_port=row.destination_port,
                protocol=row.protocol,
                score=float(score),
                family=family,
                answered=row.values[self._backward_column] > 0,
            )
            for row, score, family in zip(
                rows.only(flagged), scores[flagged], judged.names(flagged), strict=True
            )
        ]
        self.tally.flows += len(rows)
        self.tally.flagged += len(verdicts)
        self.tally.unscored += int(np.isnan(scores).sum())
        self._send(self._incidents.add(verdicts, self._now_us, Counter(rows.sources())))

    def _send(self, alerts: Iterable[Alert]) -> None:
        for alert in alerts:
            self._sink.publish(alert)
            self.tally.alerts += 1
            self.tally.incidents += alert.event == "new"
        active = self._incidents.counts.active
        if self._tell_active is not None and active != self._told_active:
            self._tell_active(active)
            self._told_active = active


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
