"""The wiring: packets → flow rows → scores → incidents → wherever alerts go.

No clock in here either: time is the packets', so a replay behaves as the live network did.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from edge_agent.alerting.incidents import IncidentTable, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from edge_agent.alerting.sinks import AlertSink
    from edge_agent.contract.alerts import Alert
    from edge_agent.detect.detector import Detector
    from edge_agent.flow.packets import Packet
    from edge_agent.flow.reference import ReferenceMeter
    from edge_agent.flow.rows import FlowRow

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
    """Takes packets in capture order; alerts leave as soon as they are due.

    Args:
        engine: Meters the detector's profile.
        detector: Scores rows.
        incidents: Groups what is flagged.
        sink: Gets the alerts.
        tell_active: Called with the number of open incidents when it changes.
    """

    def __init__(
        self,
        engine: ReferenceMeter,
        detector: Detector,
        incidents: IncidentTable,
        sink: AlertSink,
        tell_active: Callable[[int], None] | None = None,
    ) -> None:
        self._engine = engine
        self._detector = detector
        self._incidents = incidents
        self._sink = sink
        self._tell_active = tell_active
        self._told_active = -1
        self._rows: list[FlowRow] = []
        self._batch_since_us = 0
        self._next_tick_us = 0
        self._now_us = 0
        features = detector.bundle.profile.features
        self._backward_column = [feature.number for feature in features].index(_BACKWARD_PACKETS)
        self.tally = Tally()

    def take(self, packet: Packet) -> None:
        """Take the next packet in."""
        self._now_us = max(self._now_us, packet.time_us)
        self._collect(self._engine.add(packet))
        if self._rows and self._now_us - self._batch_since_us >= _BATCH_WAIT_US:
            self._judge()
        if self._now_us >= self._next_tick_us:
            self._send(self._incidents.tick(self._now_us))
            self._next_tick_us = self._now_us + _TICK_US

    def finish(self) -> None:
        """Score what the meter still holds, end the incidents."""
        self._collect(self._engine.flush())
        self._judge()
        self._send(self._incidents.close(self._now_us))

    def _collect(self, rows: Iterable[FlowRow]) -> None:
        for row in rows:
            if not self._rows:
                self._batch_since_us = self._now_us
            self._rows.append(row)
            if len(self._rows) >= _BATCH_ROWS:
                self._judge()

    def _judge(self) -> None:
        rows, self._rows = self._rows, []
        if not rows:
            return
        values = np.array([row.values for row in rows], dtype=np.float64)
        scores = self._detector.score(self._detector.from_profile_rows(values))
        flagged = self._detector.is_attack(scores)
        verdicts = [
            self._verdict(row, float(score))
            for row, score, attack in zip(rows, scores, flagged, strict=True)
            if attack
        ]
        self.tally.flows += len(rows)
        self.tally.flagged += len(verdicts)
        self.tally.unscored += int(np.isnan(scores).sum())
        seen = Counter(row.source_address for row in rows)
        self._send(self._incidents.add(verdicts, self._now_us, seen))

    def _verdict(self, row: FlowRow, score: float) -> Verdict:
        return Verdict(
            time_us=row.released_us,
            start_us=row.start_us,
            source=row.source_address,
            destination=row.destination_address,
            destination_port=row.destination_port,
            protocol=row.protocol,
            score=score,
            answered=row.values[self._backward_column] > 0,
        )

    def _send(self, alerts: Iterable[Alert]) -> None:
        for alert in alerts:
            self._sink.publish(alert)
            self.tally.alerts += 1
            self.tally.incidents += alert.event == "new"
        active = self._incidents.counts.active
        if self._tell_active is not None and active != self._told_active:
            self._tell_active(active)
            self._told_active = active
