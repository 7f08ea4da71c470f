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
from collections import Counter
from contextlib import ExitStack
from typing import TYPE_CHECKING, Final

import numpy as np

from edge_agent import __version__
from edge_agent.agent import Agent
from edge_agent.alerting.address import BrokerAddress, read_password
from edge_agent.alerting.incidents import IncidentTable
from edge_agent.alerting.publisher import MqttPublisher, PublisherOptions
from edge_agent.alerting.sinks import JsonLinesSink
from edge_agent.capture.clock import SteadyClock
from edge_agent.capture.live import CaptureOptions, Fanout, InterfaceCounts, LiveCapture
from edge_agent.contract.errors import CaptureError, ConfigError, EdgeIdsError
from edge_agent.contract.features import CONTEXT
from edge_agent.flow.limits import Limits
from edge_agent.flow.meter import open_meter
from edge_agent.flow.rows import address_bytes
from edge_agent.service import process
from edge_agent.service.broker import UnseenSession, own_connections
from edge_agent.service.clocked import WallClockSink
from edge_agent.service.logs import open_log
from edge_agent.service.metering import MeteringThread
from edge_agent.service.notify import Notifier
from edge_agent.service.offloads import look_at_offloads
from edge_agent.service.privileges import become
from edge_agent.service.queue import RowQueue
from edge_agent.service.reload import Reloader, incident_limits, open_detector
from edge_agent.service.status import Delays, Status, metrics, stats

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from edge_agent.capture.live import Connection
    from edge_agent.config import Config
    from edge_agent.detect.detector import Detector
    from edge_agent.flow.rows import FlowRows
    from edge_agent.service.metrics import Metric

_log = logging.getLogger(__name__)

# How soon a signal is seen and time passes for incidents, where no flow comes.
_TURN_S: Final = 0.25
# A metering thread that stands still this long is dead: it wakes four times a second.
_STUCK_S: Final = 10.0
_STATUS_EVERY_S: Final = 10.0
# From the kernel's stamp to us, beside the block time-out.
_SETTLE_MS: Final = 100
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
        self._publisher: MqttPublisher | None = None
        with ExitStack() as opened:
            self._threads = self._open_meters(detector, opened)
            self._sink = self._open_sink(detector, opened)
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
                for thread in self._threads:
                    thread.start()
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
        self._look_after_threads()
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
        self._notifier.alive()

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

    def _look_after_threads(self) -> None:
        now_s = time.monotonic()
        for thread in self._threads:
            if thread.error is not None:
                self._fail(f"metering ended ({thread.error})")
            if thread.is_alive() and now_s - thread.beat_s > _STUCK_S:
                self._fail(f"metering has not moved for {_STUCK_S:.0f} s")

    def _fail(self, problem: str) -> None:
        self._stop()
        raise CaptureError(
            "capture", problem, remedy="look into the log; the service manager starts us again"
        )

    def _stop(self) -> None:
        """Score what is in the table, end the incidents, deliver, say `stopped`."""
        self._notifier.stopping("scoring what is left")
        deadline_s = time.monotonic() + _JOIN_S
        for thread in self._threads:
            thread.stop()
        for thread in self._threads:
            # The queue never makes a thread wait, so nobody needs to empty it meanwhile.
            while thread.is_alive() and time.monotonic() < deadline_s:
                thread.join(_TURN_S)
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
            taken = self._reloader.reload(self._agent, self._set_filter)
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

    def _open_meters(self, detector: Detector, opened: ExitStack) -> list[MeteringThread]:
        config, profile = self._config, detector.bundle.profile
        count = config.capture.threads
        of_context = {feature.name for feature in CONTEXT} & set(detector.bundle.feature_names)
        if count > 1 and of_context:
            raise ConfigError(
                "capture.threads",
                "this model looks at a flow's neighbourhood, which one thread must see whole",
                remedy="set it to 1, or use a model without context columns",
            )
        self._queue = RowQueue(config.detect.queue_rows, len(profile.features))
        look_at_offloads(config.capture)
        limits = Limits(config.meter.max_flows, config.meter.max_context_keys)
        fanout = Fanout(os.getpid() & 0xFFFF) if count > 1 else None
        options = CaptureOptions(
            promiscuous=config.capture.promiscuous,
            filter=config.capture.filter,
            excluded=self._own_connections(),
            ring_bytes=config.capture.ring_bytes,
            block_bytes=config.capture.block_bytes,
            block_timeout_ms=config.capture.block_timeout_ms,
            snap_length_bytes=config.capture.snap_length_bytes,
        )
        threads = []
        for number in range(count):
            capture = LiveCapture(config.capture.interfaces, options, self._clock, fanout)
            opened.callback(capture.close)
            meter = open_meter(
                profile, limits, context_seed=int.from_bytes(os.urandom(8), "little")
            )
            settle_us = (2 * options.block_timeout_ms + _SETTLE_MS) * 1000
            threads.append(
                MeteringThread(
                    capture, meter, self._queue, self._clock, settle_us=settle_us, number=number
                )
            )
        return threads

    def _open_sink(self, detector: Detector, opened: ExitStack) -> WallClockSink:
        address = self._broker()
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
            UnseenSession(self._exclude).connect,
        )
        opened.callback(self._publisher.close)
        return WallClockSink(self._publisher, self._clock)

    def _broker(self) -> BrokerAddress | None:
        mqtt = self._config.mqtt
        if mqtt.broker is None:
            return None
        return BrokerAddress.parse(
            mqtt.broker,
            password=read_password(mqtt.password_file, os.environ),
            ca_file=mqtt.ca_file,
            allow_plaintext=mqtt.allow_plaintext,
        )

    def _own_connections(self) -> tuple[Connection, ...]:
        address = self._broker()
        self._excluded = own_connections(address) if address is not None else ()
        return self._excluded

    def _exclude(self, connections: Sequence[Connection]) -> None:
        """Leave other connections of ours out: called on the link's thread, before it connects."""
        if tuple(connections) != self._excluded:
            self._excluded = tuple(connections)
            self._set_filter(self._config.capture.filter)

    def _set_filter(self, expression: str) -> None:
        for thread in self._threads:
            thread.capture.set_filter(expression, self._excluded)

    # --- what is told ----------------------------------------------------------------------------

    def status(self) -> Status:
        """The agent at this moment; from any thread."""
        agent, publisher = self._agent, self._publisher
        return Status(
            interfaces=_added([thread.capture.counts() for thread in self._threads]),
            meter=_summed([thread.counts for thread in self._threads]),
            flows_open=sum(thread.open_flows for thread in self._threads),
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


def _summed(counts: Sequence[Mapping[str, int]]) -> dict[str, int]:
    """Counts of several meters as one's."""
    total: Counter[str] = Counter()
    for one in counts:
        total.update(one)
    return dict(total)


def _added(counts: Sequence[Mapping[str, InterfaceCounts]]) -> dict[str, InterfaceCounts]:
    """Counts of several captures on the same interfaces as one's."""
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
