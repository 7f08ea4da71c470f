"""The service: capture, metering threads, scoring, incidents, broker, and everybody who asks.

The main thread scores and looks after the rest; metering threads fill its queue; the broker's link
and the metrics server have threads of their own. Whatever ends a metering thread ends the service
with an error, and the service manager starts it again.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Final

import numpy as np

from edge_agent import __version__
from edge_agent.agent import Agent
from edge_agent.alerting.incidents import IncidentTable
from edge_agent.alerting.publisher import MqttPublisher, PublisherOptions
from edge_agent.alerting.sinks import JsonLinesSink
from edge_agent.capture.clock import SteadyClock
from edge_agent.contract.errors import CaptureError, EdgeIdsError
from edge_agent.flow.rows import address_bytes
from edge_agent.service import process
from edge_agent.service.broker import UnseenSession, broker_address, own_connections
from edge_agent.service.clocked import WallClockSink
from edge_agent.service.logs import open_log
from edge_agent.service.notify import Notifier
from edge_agent.service.offloads import look_at_offloads
from edge_agent.service.pool import MeteringPool
from edge_agent.service.privileges import become
from edge_agent.service.queue import RowQueue
from edge_agent.service.reload import Reloader, incident_limits, open_detector
from edge_agent.service.status import Delays, Status, metrics, resident_bytes, stats

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_agent.alerting.address import BrokerAddress
    from edge_agent.config import Config
    from edge_agent.detect.detector import Detector
    from edge_agent.flow.rows import FlowRows
    from edge_agent.service.metrics import Metric

_log = logging.getLogger(__name__)

# How soon a signal is seen and time passes for incidents, where no flow comes.
_TURN_S: Final = 0.25
_STATUS_EVERY_S: Final = 10.0
# Packets cannot wait, flows can: where both want a processor, metering gets three quarters of it.
_SCORING_NICENESS: Final = 5
# Long enough for a full flow table at the end.
_JOIN_S: Final = 8.0


class Service:
    """Runs until it is told to stop.

    Args:
        config: What to do.
        load: Reads the configuration again, for a reload; raises ConfigError.

    Raises:
        EdgeIdsError: It cannot start as configured; nothing is left open.
    """

    def __init__(self, config: Config, load: Callable[[], Config]) -> None:
        config.require_interfaces()
        process.map_large_blocks()
        self._config = config
        self._notifier = Notifier(os.environ)
        self._journal = "JOURNAL_STREAM" in os.environ
        self._open_log()
        self._started_s = time.monotonic()
        self._started_at_s = time.time()
        self._stopping = False
        self._reload_wanted = False
        self._ignored = 0
        self._told_skipped = 0
        self._next_stats_s = self._next_status_s = 0.0
        self._favoured: frozenset[str] = frozenset()
        self._delays = Delays()
        self._clock = SteadyClock()
        self._reloader = Reloader(config, load)
        detector = open_detector(config)
        profile = detector.bundle.profile
        address = broker_address(config.mqtt)
        self._publisher: MqttPublisher | None = None
        self._queue = RowQueue(config.detect.queue_rows, len(profile.features))
        look_at_offloads(config.capture)
        with ExitStack() as opened:
            unseen = own_connections(address) if address is not None else ()
            self._meters = MeteringPool(config, profile, self._queue, self._clock, unseen)
            opened.callback(self._meters.close)
            self._sink = self._open_sink(detector, address, opened)
            incidents = IncidentTable(
                incident_limits(config), config.agent.node, detector.bundle.name
            )
            tell = self._publisher.set_active if self._publisher else None
            self._agent = Agent(detector, incidents, self._sink, tell)
            if config.metrics.enabled:
                # Imported only where it runs: an HTTP server takes three megabytes.
                from edge_agent.service.exporter import MetricsServer  # noqa: PLC0415

                where = config.metrics
                server = MetricsServer(where.address, where.port, self._metrics)
                opened.callback(server.close)
            # All sockets are open: from here on nothing needs a privilege.
            if config.agent.capture_user:
                become(config.agent.capture_user)
            self._opened = opened.pop_all()
        process.give_back_memory()

    def run(self) -> None:
        """Serve until SIGTERM or SIGINT; SIGHUP reloads.

        Raises:
            CaptureError: Capturing or metering failed; what was metered is scored and told.
            BrokerError: Alerts were not acknowledged at the end.
        """
        former = {
            number: signal.signal(number, self._on_signal)
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
        }
        try:
            with self._opened:
                self._meters.start()
                if self._publisher is not None:
                    self._publisher.start(required=False)
                names = ", ".join(self._config.capture.interfaces)
                _log.info("capturing on %s with %s", names, self._agent.detector.bundle.name)
                self._notifier.ready(f"capturing on {names}")
                process.step_back(_SCORING_NICENESS)
                while not self._stopping:
                    self._turn()
                self._stop()
        finally:
            for number, handler in former.items():
                signal.signal(number, handler)

    def _turn(self) -> None:
        detect = self._config.detect
        rows = self._queue.take(detect.batch_rows, detect.batch_wait_ms / 1000, _TURN_S)
        if rows is not None:
            self._score(rows)
        self._agent.follow(self._clock.now_us())
        self._favour()
        self._tell_skipped()
        self._look_after_meters()
        if self._reload_wanted:
            self._reload_wanted = False
            self._reload()
        now_s = time.monotonic()
        if now_s >= self._next_stats_s:
            self._next_stats_s = now_s + self._config.stats.interval_s
            if self._publisher is not None:
                self._publisher.publish_stats(stats(self.status(), self._delays, self._started_s))
        if now_s >= self._next_status_s:
            self._next_status_s = now_s + _STATUS_EVERY_S
            self._notifier.status(self.status().line())
            self._compare_memory()
        self._notifier.alive()

    def _compare_memory(self) -> None:
        budget_bytes = self._config.budget.memory_bytes
        if budget_bytes is not None and (taken_bytes := resident_bytes()) > budget_bytes:
            _log.warning(
                "takes %d MB of memory, more than the %d MB of budget.memory_bytes; lower the"
                " bounds in [meter], [detect] and [capture], or raise the budget",
                taken_bytes // 1_000_000,
                budget_bytes // 1_000_000,
            )

    def _score(self, rows: FlowRows) -> None:
        if not self._config.detect.enabled:
            self._ignored += len(rows)
            return
        self._agent.judge(rows, self._clock.now_us())
        now_us = self._clock.now_us()
        self._delays.verdict.add((now_us - rows.about["end_us"]) / 1e6)
        self._delays.scoring.add((now_us - rows.about["released_us"]) / 1e6)

    def _favour(self) -> None:
        sources = self._agent.incidents.alerting_sources()
        if sources != self._favoured:
            self._favoured = sources
            packed = b"".join(address_bytes(source)[0] for source in sources)
            self._queue.favour(np.frombuffer(packed, np.uint8).reshape(-1, 16))

    def _tell_skipped(self) -> None:
        skipped = self._queue.skipped
        if skipped != self._told_skipped:
            _log.warning(
                "flows come faster than the model scores them: %d were left out, %d since the"
                " start; every source keeps its share",
                skipped - self._told_skipped,
                skipped,
            )
            self._told_skipped = skipped

    def _look_after_meters(self) -> None:
        problem = self._meters.failure()
        if problem is not None:
            self._stop()
            raise CaptureError(
                "capture", problem, remedy="look into the log; the service manager starts us again"
            )

    def _stop(self) -> None:
        """Score what is in the table, end the incidents, deliver, say `stopped`."""
        self._notifier.stopping("scoring what is left")
        deadline_s = time.monotonic() + _JOIN_S
        self._meters.stop()
        while self._meters.busy and time.monotonic() < deadline_s:
            if (rows := self._queue.take(self._config.detect.batch_rows, 0, _TURN_S)) is not None:
                self._score(rows)
            self._notifier.alive()
        self._queue.close()
        while (rows := self._queue.take(self._config.detect.batch_rows, 0, 0)) is not None:
            self._score(rows)
        self._agent.finish()
        if self._publisher is not None:
            self._publisher.publish_stats(stats(self.status(), self._delays, self._started_s))
        _log.info("stopped: %s", self.status().line())

    def _reload(self) -> None:
        self._notifier.reloading()
        try:
            taken = self._reloader.reload(self._agent, self._meters.set_filter)
        except EdgeIdsError as error:
            _log.error("nothing was reloaded: %s", error)
        else:
            self._config = taken
            self._open_log()
        self._notifier.ready(self.status().line())

    def _on_signal(self, number: int, _frame: object) -> None:
        if number == signal.SIGHUP:
            self._reload_wanted = True
        else:
            self._stopping = True

    # --- what is opened at the start -------------------------------------------------------------

    def _open_log(self) -> None:
        log = self._config.log
        open_log(log.level, log.format, log.repeats_per_minute, journal=self._journal)

    def _open_sink(
        self, detector: Detector, address: BrokerAddress | None, opened: ExitStack
    ) -> WallClockSink:
        if address is None:
            return WallClockSink(JsonLinesSink(sys.stdout), self._clock)
        info = {
            "version": __version__,
            "model": detector.bundle.name,
            "fingerprint": detector.bundle.fingerprint,
            "profile": detector.bundle.profile.name,
            "board": self._config.board,
        }
        self._publisher = MqttPublisher(
            address,
            self._config.agent.node,
            info,
            PublisherOptions(queue_limit=self._config.mqtt.queue_limit),
            UnseenSession(self._meters.exclude).connect,
        )
        opened.callback(self._publisher.close)
        return WallClockSink(self._publisher, self._clock)

    # --- what is told ----------------------------------------------------------------------------

    def status(self) -> Status:
        """The agent at this moment; from any thread."""
        agent, publisher = self._agent, self._publisher
        return Status(
            interfaces=self._meters.interfaces(),
            meter=self._meters.counts(),
            flows_open=self._meters.open_flows,
            queue_rows=self._queue.rows,
            flows=agent.tally.flows,
            flagged=agent.tally.flagged,
            skipped=self._queue.skipped,
            skipped_alerting=self._queue.skipped_alerting,
            ignored=self._ignored,
            incidents=agent.tally.incidents,
            incidents_open=agent.incidents.counts.active,
            alerts=agent.tally.alerts,
            alerts_pending=publisher.pending if publisher else 0,
            alerts_dropped=self._sink.failed + (publisher.dropped if publisher else 0),
            connected=publisher.connected if publisher else None,
            detecting=self._config.detect.enabled,
            reloads=self._reloader.results,
            model=agent.detector.bundle.name,
            fingerprint=agent.detector.bundle.fingerprint,
        )

    def _metrics(self) -> list[Metric]:
        return metrics(self.status(), self._delays, self._started_at_s)
