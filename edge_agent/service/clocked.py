"""Alerts are made on the steady clock and told in wall time."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edge_agent.alerting.sinks import AlertSink
    from edge_agent.capture.clock import SteadyClock
    from edge_agent.contract.alerts import Alert

_log = logging.getLogger(__name__)


class WallClockSink:
    """An `AlertSink` that gives alerts the wall clock's times; one that fails costs no alert after.

    Args:
        sink: Where they go.
        clock: What their times are by.

    Attributes:
        failed: Alerts that could not be written.
    """

    def __init__(self, sink: AlertSink, clock: SteadyClock) -> None:
        self._sink = sink
        self._clock = clock
        self.failed = 0

    def publish(self, alert: Alert) -> None:
        """See `AlertSink`."""
        shift_us = self._clock.wall_us(0)
        told = replace(
            alert,
            time_us=alert.time_us + shift_us,
            first_seen_us=alert.first_seen_us + shift_us,
            last_seen_us=alert.last_seen_us + shift_us,
        )
        try:
            self._sink.publish(told)
        except BrokenPipeError:
            raise
        except OSError as error:
            # A full disk behind standard output: the network is watched all the same.
            self.failed += 1
            _log.error("alert %s cannot be written (%s)", told.id, error.strerror)

    def close(self) -> None:
        """See `AlertSink`."""
        self._sink.close()
