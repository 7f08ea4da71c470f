"""`edge-agent replay`: a capture through the whole agent, in the capture's own time."""

from __future__ import annotations

import contextlib
import sys
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from edge_agent import __version__
from edge_agent.agent import Agent
from edge_agent.alerting.incidents import IncidentLimits, IncidentTable
from edge_agent.alerting.publisher import MqttPublisher
from edge_agent.alerting.sinks import AlertSink, JsonLinesSink
from edge_agent.batching import BatchedMeter
from edge_agent.console import end_progress
from edge_agent.detect.detector import Detector
from edge_agent.metering import CaptureMeter
from edge_agent.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from edge_agent.alerting.address import BrokerAddress
    from edge_agent.contract.signature import Trust


@dataclass(frozen=True, slots=True)
class Replay:
    """What to replay, and where alerts go.

    Attributes:
        capture: Capture file; `-` is standard input.
        model: Model file.
        node: This gateway's name in topics and alerts.
        broker: Where alerts go; None: standard output, one JSON object a line.
        runtime: TFLite interpreter.
        allow_cut: Take a capture that is cut as far as it goes.
        trust: Who must have signed the model file; None: nobody need have.
    """

    capture: Path
    model: Path
    node: str
    broker: BrokerAddress | None = None
    runtime: str = "auto"
    allow_cut: bool = False
    trust: Trust | None = None

    def run(self) -> dict[str, int]:
        """Replay the capture front to back.

        Returns:
            Counts: packets metered and skipped, flows, flagged, alerts, incidents.

        Raises:
            CaptureError: The capture cannot be used.
            ModelFileError: The model file cannot be used, or is not signed by who is trusted.
            InterpreterError: No interpreter can run it.
            BrokerError: The broker cannot be reached, or alerts were not acknowledged.
        """
        detector = Detector.open(self.model, self.runtime, self.trust)
        profile = detector.bundle.profile
        source = CaptureMeter([self.capture], profile, allow_cut=self.allow_cut)
        incidents = IncidentTable(IncidentLimits(), self.node, detector.bundle.name)
        with self._outlet(detector) as (sink, tell_active):
            agent = Agent(detector, incidents, sink, tell_active)
            feed = BatchedMeter(source.meter, agent)
            progress = Progress(source.size_bytes)
            for block in source.blocks():
                feed.take(block)
                progress.show(
                    lambda: source.reached(agent.tally.flows),
                    lambda: f", {agent.tally.incidents:,} incidents",
                )
            feed.finish()
            end_progress()
        return {**source.counts(), **asdict(agent.tally)}

    @contextlib.contextmanager
    def _outlet(
        self, detector: Detector
    ) -> Iterator[tuple[AlertSink, Callable[[int], None] | None]]:
        if self.broker is None:
            yield JsonLinesSink(sys.stdout), None
            return
        info = {
            "version": __version__,
            "model": detector.bundle.name,
            "fingerprint": detector.bundle.fingerprint,
            "profile": detector.bundle.profile.name,
        }
        with MqttPublisher(self.broker, self.node, info) as publisher:
            yield publisher, publisher.set_active
