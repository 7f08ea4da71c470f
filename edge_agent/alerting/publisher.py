"""Alerts → MQTT: QoS 1, a last will, retained status."""

from __future__ import annotations

import json
import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge_agent.alerting.link import Backoff, Link, Session
from edge_agent.alerting.mqtt import PahoSession, SessionOptions
from edge_agent.alerting.outbox import Message, Outbox
from edge_agent.alerting.topics import OFFLINE, ONLINE, STOPPED, Topics
from edge_agent.contract.errors import BrokerError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType

    from edge_agent.alerting.address import BrokerAddress
    from edge_agent.contract.alerts import Alert

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PublisherOptions:
    """Time and room the publisher may take.

    Attributes:
        connect_timeout_s: For the TCP connection, and again for the broker's answer.
        close_timeout_s: For the acknowledgement of what waits when closing.
        queue_limit: Alerts held while the broker is away, below 4 MB of memory; with the incident
            table's message rate, a quarter of an hour of the worst case.
        backoff: Waits between attempts to connect again.
    """

    connect_timeout_s: float = 5.0
    close_timeout_s: float = 5.0
    queue_limit: int = 1000
    backoff: Backoff = Backoff()  # noqa: RUF009 - frozen


class MqttPublisher:
    """An `AlertSink` that publishes below `edge-ids/<node>`.

    Args:
        address: The broker.
        node: This gateway's name.
        info: Facts for the retained `info` topic: version, model, board.
        options: Time and room.
        connect: Opens sessions; tests hand in their own.

    Raises:
        ValueError: The node's name does not fit into a topic.
    """

    def __init__(
        self,
        address: BrokerAddress,
        node: str,
        info: Mapping[str, object],
        options: PublisherOptions | None = None,
        connect: Callable[[BrokerAddress, SessionOptions], Session] = PahoSession.connect,
    ) -> None:
        self._address = address
        self._topics = Topics(node)
        self._options = options or PublisherOptions()
        self._outbox = Outbox(self._options.queue_limit)
        session = SessionOptions(
            client_id=f"edge-ids-{node}",
            will=self._status(OFFLINE),
            connect_timeout_s=self._options.connect_timeout_s,
        )
        self._link = Link(
            address.url,
            lambda: connect(address, session),
            self._outbox,
            backoff=self._options.backoff,
        )
        self._told_full = False
        self._outbox.set_state(self._status(ONLINE))
        self._outbox.set_state(self._state(self._topics.info, _json(info)))

    def start(self, required: bool = True) -> None:
        """Connect; from then on the connection is kept up.

        Args:
            required: Whether the first attempt must succeed; else the broker may come later.

        Raises:
            BrokerError: The broker cannot be reached or refuses us.
        """
        self._link.start(required)

    def publish(self, alert: Alert) -> None:
        """Queue an alert. When the queue is full it is counted in `dropped`, and logged once."""
        if self._outbox.put(Message(self._topics.alert, alert.to_json().encode())):
            self._told_full = False
        elif not self._told_full:
            self._told_full = True
            _log.error(
                "%s: %d alerts wait for the broker, newer ones are dropped; look after the broker.",
                self._address.url,
                self._outbox.pending,
            )
        self._link.wake()

    def set_active(self, incidents: int) -> None:
        """Publish how many incidents are open, retained."""
        self._outbox.set_state(self._state(self._topics.active, str(incidents)))
        self._link.wake()

    def publish_stats(self, stats: Mapping[str, object]) -> None:
        """Publish counters: QoS 0, not retained; the next ones replace what could not leave.

        Raises:
            ValueError: A number is not finite, which JSON cannot write.
        """
        self._outbox.set_state(Message(self._topics.stats, _json(stats).encode(), qos=0))
        self._link.wake()

    def close(self) -> None:
        """Deliver what waits, say `stopped`, disconnect. Bounded in time.

        Raises:
            BrokerError: Alerts were not acknowledged in time.
        """
        # Without alerts to deliver, a broker that is away is not worth a wait: its last will has
        # spoken for us.
        worthwhile = self.connected or self.pending > 0
        deadline = time.monotonic() + (self._options.close_timeout_s if worthwhile else 0)
        self._outbox.wait_empty(deadline - time.monotonic())
        # After the last alert: subscribers take "stopped" as the end.
        self._outbox.set_state(self._status(STOPPED))
        delivered = self._link.close(max(deadline - time.monotonic(), 0))
        if not delivered and (lost := self._outbox.pending):
            raise BrokerError(
                f"{self._address.url}: {lost:,} alert{'s' * (lost != 1)} not acknowledged within"
                f" {self._options.close_timeout_s:g} s and lost; look after the broker."
            )

    @property
    def connected(self) -> bool:
        """Whether there is a connection now."""
        return self._link.connected

    @property
    def pending(self) -> int:
        """Alerts not acknowledged yet."""
        return self._outbox.pending

    @property
    def dropped(self) -> int:
        """Alerts refused because too many waited."""
        return self._outbox.dropped

    def __enter__(self) -> MqttPublisher:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _status(self, status: str) -> Message:
        return self._state(self._topics.status, status)

    def _state(self, topic: str, text: str) -> Message:
        return Message(topic, text.encode(), qos=1, retain=True)


def _json(facts: Mapping[str, object]) -> str:
    return json.dumps(facts, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
