"""`edge-agent selftest`: does it detect, here and now, with this model and this interpreter?

A short recording of our own lab comes with the package: ordinary traffic of a house, then the
beginnings of attacks by real tools. It goes through the whole agent, and every attack must be told.
`benchmarks/lab/excerpt.py` made it.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from edge_agent.agent import Agent
from edge_agent.alerting.incidents import IncidentLimits, IncidentTable
from edge_agent.batching import BatchedMeter
from edge_agent.metering import CaptureMeter

if TYPE_CHECKING:
    from edge_agent.contract.alerts import Alert
    from edge_agent.detect.detector import Detector

_FOLDER: Final = Path(__file__).parent
# Flows are given out up to this long after their last packet (`LiveTimeouts.idle_timeout_s`).
_LATE_US: Final = 30_000_000


@dataclass(frozen=True, slots=True)
class Detection:
    """One attack of the recording.

    Attributes:
        attack: What it was.
        source: The address it came from.
        fired: Whether it was told.
        delay_s: From its first packet to its first alert; None: it was not.
    """

    attack: str
    source: str
    fired: bool
    delay_s: float | None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of the recording.

    Attributes:
        detections: The attacks, in their order.
        false_incidents: Incidents whose source attacked nobody.
        flows: Flows scored.
    """

    detections: tuple[Detection, ...]
    false_incidents: int
    flows: int

    @property
    def fired(self) -> int:
        """How many attacks were told."""
        return sum(detection.fired for detection in self.detections)

    @property
    def passed(self) -> bool:
        """Whether all were, and nobody else was accused."""
        return self.fired == len(self.detections) and not self.false_incidents

    def line(self) -> str:
        """In one line."""
        line = f"{self.fired} of {len(self.detections)} detections fired"
        if self.false_incidents:
            line += f", {self.false_incidents} false incidents"
        return line

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        return {"passed": self.passed, **asdict(self)}


class _Collected:
    """An `AlertSink` that keeps alerts."""

    def __init__(self) -> None:
        self.alerts: list[Alert] = []

    def publish(self, alert: Alert) -> None:
        self.alerts.append(alert)

    def close(self) -> None:
        """Nothing is open."""


def run_selftest(detector: Detector) -> Outcome:
    """Send the recording through the agent.

    Args:
        detector: The model to be tried.

    Raises:
        InterpreterError: The interpreter fails.
    """
    expected = json.loads((_FOLDER / "expected.json").read_text(encoding="utf-8"))
    source = CaptureMeter([_FOLDER / "capture.pcap.gz"], detector.bundle.profile)
    sink = _Collected()
    incidents = IncidentTable(IncidentLimits(), "selftest", detector.bundle.name)
    agent = Agent(detector, incidents, sink)
    feed = BatchedMeter(source.meter, agent)
    for block in source.blocks():
        feed.take(block)
    feed.finish()
    begun = [alert for alert in sink.alerts if alert.event == "new"]
    return Outcome(
        detections=tuple(_judged(attack, begun) for attack in expected),
        false_incidents=sum(
            alert.source not in {attack["source"] for attack in expected} for alert in begun
        ),
        flows=agent.tally.flows,
    )


def _judged(attack: dict[str, Any], begun: list[Alert]) -> Detection:
    told_us = [
        alert.time_us
        for alert in begun
        if alert.source == attack["source"]
        and attack["begin_us"] <= alert.time_us <= attack["end_us"] + _LATE_US
    ]
    delay_s = (min(told_us) - attack["begin_us"]) / 1e6 if told_us else None
    return Detection(attack["attack"], attack["source"], bool(told_us), delay_s)
