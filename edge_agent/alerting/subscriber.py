"""MQTT → alerts: for live views and demonstrations. What arrives may come from anyone."""

from __future__ import annotations

import logging
import secrets
from typing import TYPE_CHECKING

from edge_agent.alerting.link import Backoff, Link, Received, Session
from edge_agent.alerting.mqtt import PahoSession, SessionOptions
from edge_agent.alerting.outbox import Outbox
from edge_agent.alerting.topics import STATUSES, Topics, split
from edge_agent.contract.alerts import Alert, printable

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from edge_agent.alerting.address import BrokerAddress

_log = logging.getLogger(__name__)


class AlertSubscriber:
    """Calls back for every alert and every change of status, on a thread of its own.

    A callback that raises is logged, and `close` raises its error again: the first one.

    Args:
        address: The broker.
        on_alert: Called with the node (of the topic) and its alert.
        on_status: Called with a node and one of `topics.STATUSES`.
        node: Which gateway; "+" for all.
        connect: Opens sessions; tests hand in their own.

    Raises:
        ValueError: The node's name does not fit into a topic.
    """

    def __init__(
        self,
        address: BrokerAddress,
        on_alert: Callable[[str, Alert], None],
        on_status: Callable[[str, str], None] | None = None,
        node: str = "+",
        connect: Callable[[BrokerAddress, SessionOptions], Session] = PahoSession.connect,
    ) -> None:
        topics = Topics(node)
        self._on_alert = on_alert
        self._on_status = on_status
        self._malformed = 0
        self._failure: Exception | None = None
        options = SessionOptions(
            # Two views on one machine must not end each other's sessions.
            client_id=f"edge-ids-watch-{secrets.token_hex(4)}",
            filters=(topics.alert, topics.status),
        )
        self._link = Link(
            address.url,
            lambda: connect(address, options),
            Outbox(limit=1),
            self._receive,
            Backoff(longest_s=10.0),
        )

    def start(self) -> None:
        """Connect and subscribe; from then on the connection is kept up.

        Raises:
            BrokerError: The broker cannot be reached or refuses us.
        """
        self._link.start()

    def close(self) -> None:
        """Disconnect.

        Raises:
            Exception: What a callback raised.
        """
        self._link.close(timeout_s=1.0)
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

    @property
    def malformed(self) -> int:
        """Messages that were no alert, or no status."""
        return self._malformed

    @property
    def connected(self) -> bool:
        """Whether there is a connection now."""
        return self._link.connected

    def __enter__(self) -> AlertSubscriber:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _receive(self, received: Received) -> None:
        where = split(received.topic)
        if where is None:
            self._reject(received, "foreign topic")
            return
        node, name = where
        try:
            if name == "alert":
                self._receive_alert(node, received)
            else:
                self._receive_status(node, received)
        # Whatever the callback raises must not end the link; `close` raises it again.
        except Exception as error:  # noqa: BLE001
            _log.exception("A callback for messages of the broker failed.")
            self._failure = self._failure or error

    def _receive_alert(self, node: str, received: Received) -> None:
        try:
            alert = Alert.from_json(received.payload)
        except ValueError as error:
            self._reject(received, str(error))
            return
        self._on_alert(node, alert)

    def _receive_status(self, node: str, received: Received) -> None:
        status = received.payload[:16].decode("ascii", "replace")
        if status not in STATUSES:
            self._reject(received, "not a status")
        elif self._on_status is not None:
            self._on_status(node, status)

    def _reject(self, received: Received, reason: str) -> None:
        # Counted; one line each would let a stranger fill the log.
        self._malformed += 1
        _log.debug("%s: %s", printable(received.topic, 80), printable(reason, 120))
