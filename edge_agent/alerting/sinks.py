"""Where alerts go."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TextIO

if TYPE_CHECKING:
    from edge_agent.contract.alerts import Alert


class AlertSink(Protocol):
    """Takes alerts in order."""

    def publish(self, alert: Alert) -> None:
        """Take an alert; returns at once."""

    def close(self) -> None:
        """Deliver what waits, and release all resources."""


class JsonLinesSink:
    """One JSON object a line.

    Args:
        stream: Text stream; stays open, its owner closes it.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def publish(self, alert: Alert) -> None:
        """Write an alert and flush: a reader behind a pipe sees it now."""
        self._stream.write(alert.to_json() + "\n")
        self._stream.flush()

    def close(self) -> None:
        """Flush."""
        self._stream.flush()
