"""The judge: flow rows → scores → incidents → wherever alerts go.

No clock in here: time is an argument, so a replay behaves as the live network did.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from edge_agent.alerting.incidents import IncidentLimits, IncidentTable, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from edge_agent.alerting.sinks import AlertSink
    from edge_agent.contract.alerts import Alert
    from edge_agent.detect.detector import Detector
    from edge_agent.flow.rows import FlowRows

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
    """Judges flow rows in the order they come; alerts leave as soon as they are due.

    Args:
        detector: Scores rows of its profile.
        incidents: Groups what is flagged.
        sink: Gets the alerts.
        tell_active: Called with the number of open incidents when it changes.
    """

    def __init__(
        self,
        detector: Detector,
        incidents: IncidentTable,
        sink: AlertSink,
        tell_active: Callable[[int], None] | None = None,
    ) -> None:
        self._use(detector)
        self._incidents = incidents
        self._sink = sink
        self._tell_active = tell_active
        self._told_active = -1
        self._next_tick_us = 0
        self._now_us = 0
        self.tally = Tally()

    @property
    def detector(self) -> Detector:
        """What judges."""
        return self._detector

    @property
    def incidents(self) -> IncidentTable:
        """What is known of attacks."""
        return self._incidents

    def judge(self, rows: FlowRows, now_us: int) -> None:
        """Score rows, at least one, and tell what they mean.

        Args:
            rows: Of the detector's profile.
            now_us: The present; not before that of the last call.

        Raises:
            InterpreterError: The interpreter fails.
        """
        self._now_us = now_us
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
        self._send(self._incidents.add(verdicts, now_us, Counter(rows.sources())))

    def follow(self, now_us: int) -> None:
        """Let time pass: incidents end, due updates leave."""
        if now_us < self._now_us:
            # Time has begun anew: what is known belongs to another.
            self._send(self._incidents.close(self._now_us, "the clock was set back"))
            self._incidents = self._incidents.afresh()
            self._next_tick_us = 0
        self._now_us = now_us
        if now_us >= self._next_tick_us:
            self._send(self._incidents.tick(now_us))
            self._next_tick_us = now_us + _TICK_US

    def finish(self) -> None:
        """End the incidents: the capture or the service ends."""
        self._send(self._incidents.close(self._now_us))

    def adjust(self, detector: Detector, limits: IncidentLimits) -> None:
        """Judge with another model of the same profile, other limits, from now on.

        Incidents that are open go on.

        Raises:
            ValueError: It is of another profile, whose rows do not come here.
        """
        if detector.bundle.profile != self._detector.bundle.profile:
            raise ValueError("a detector of another profile needs another meter")
        self._use(detector)
        self._incidents.adjust(limits, detector.bundle.name)

    def _use(self, detector: Detector) -> None:
        self._detector = detector
        features = detector.bundle.profile.features
        self._backward_column = [feature.number for feature in features].index(_BACKWARD_PACKETS)

    def _send(self, alerts: Iterable[Alert]) -> None:
        for alert in alerts:
            self._sink.publish(alert)
            self.tally.alerts += 1
            self.tally.incidents += alert.event == "new"
        active = self._incidents.counts.active
        if self._tell_active is not None and active != self._told_active:
            self._tell_active(active)
            self._told_active = active
