"""The link and its users over a session that fails on purpose; no broker."""

from __future__ import annotations

import io
import json
import logging
import random
import select
import threading
from typing import TYPE_CHECKING

import pytest

from edge_agent.alerting.address import BrokerAddress
from edge_agent.alerting.link import Backoff, Link, Received, SessionLost
from edge_agent.alerting.outbox import Message, Outbox
from edge_agent.alerting.publisher import MqttPublisher, PublisherOptions
from edge_agent.alerting.sinks import JsonLinesSink
from edge_agent.alerting.subscriber import AlertSubscriber
from edge_agent.contract.alerts import Alert
from edge_agent.contract.errors import BrokerError
from tests.alerting.conftest import wait_until
from tests.contract.test_alerts import EXAMPLE

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

ADDRESS = BrokerAddress.parse("mqtt://127.0.0.1:1883")
FAST = Backoff(first_s=0.001, longest_s=0.01)


class FakeBroker:
    """Hands out sessions; keeps what arrived. `loss` is the chance that a call breaks one."""

    def __init__(self, loss: float = 0.0, *, acknowledges: bool = True) -> None:
        self.chance = random.Random(1)
        self.loss = loss
        self.acknowledges = acknowledges
        self.refusing = False
        self.arrived: list[Message] = []
        self.outgoing: list[Received] = []
        self.sessions: list[FakeSession] = []
        self.failure: Exception | None = None
        self.lock = threading.Lock()

    def connect(self, *_: object) -> FakeSession:
        if self.refusing or self.chance.random() < self.loss:
            raise BrokerError("fake://: nothing listens there; start it.")
        session = FakeSession(self)
        self.sessions.append(session)
        return session

    def payloads(self, topic: str) -> list[bytes]:
        return [message.payload for message in list(self.arrived) if message.topic == topic]


class FakeSession:
    def __init__(self, broker: FakeBroker) -> None:
        self.broker = broker
        self.numbers: list[int] = []
        self.count = 0
        self.ended = ""

    def _may_break(self) -> None:
        if self.broker.refusing or self.broker.chance.random() < self.broker.loss:
            raise SessionLost("fake://: the connection was lost.")

    def publish(self, message: Message) -> int:
        self._may_break()
        self.broker.arrived.append(message)
        self.count += 1
        if message.qos and self.broker.acknowledges:
            self.numbers.append(self.count)
        return self.count

    def poll(self, wake: socket.socket, timeout_s: float) -> None:
        if not self.numbers and not self.broker.outgoing:
            select.select([wake], [], [], min(timeout_s, 0.02))
        self._may_break()

    def acknowledged(self) -> list[int]:
        numbers, self.numbers = self.numbers, []
        return numbers

    def received(self) -> list[Received]:
        received, self.broker.outgoing = self.broker.outgoing, []
        return received

    def disconnect(self, timeout_s: float) -> None:
        self.ended = "disconnected"

    def abandon(self) -> None:
        self.ended = "abandoned"


def publisher(broker: FakeBroker, **options: object) -> MqttPublisher:
    return MqttPublisher(
        ADDRESS,
        "gw",
        {"version": "1"},
        PublisherOptions(backoff=FAST, **options),  # type: ignore[arg-type]
        connect=broker.connect,
    )


def numbered(count: int) -> list[Alert]:
    facts = json.loads(EXAMPLE.to_json())
    return [Alert.from_json(json.dumps(facts | {"flows": index + 1})) for index in range(count)]


def flows(payloads: list[bytes]) -> list[int]:
    return [json.loads(payload)["flows"] for payload in payloads]


def test_publisher_says_online_and_stopped_around_its_alerts() -> None:
    broker = FakeBroker()
    with publisher(broker) as sink:
        sink.publish(EXAMPLE)
        sink.set_active(1)
        sink.publish_stats({"flows": 7})
        wait_until(lambda: len(broker.arrived) == 5)
    assert broker.payloads("edge-ids/gw/status") == [b"online", b"stopped"]
    assert broker.payloads("edge-ids/gw/info") == [b'{"version":"1"}']
    assert broker.payloads("edge-ids/gw/incident/active") == [b"1"]
    assert broker.payloads("edge-ids/gw/stats") == [b'{"flows":7}']
    (alert,) = (message for message in broker.arrived if message.topic == "edge-ids/gw/alert")
    assert (alert.qos, alert.retain) == (1, False)
    assert Alert.from_json(alert.payload) == EXAMPLE
    assert broker.arrived[-1].payload == b"stopped"
    assert broker.sessions[-1].ended == "disconnected"


def test_alerts_survive_a_connection_that_keeps_breaking() -> None:
    broker = FakeBroker(loss=0.1)
    alerts = numbered(300)
    sink = publisher(broker, close_timeout_s=60)
    broker.loss = 0
    sink.start()
    broker.loss = 0.1
    for alert in alerts:
        sink.publish(alert)
    sink.close()
    arrived = flows(broker.payloads("edge-ids/gw/alert"))
    assert list(dict.fromkeys(arrived)) == [alert.flows for alert in alerts]
    assert len(broker.sessions) > 5
    # Each session begins with the retained status.
    assert broker.payloads("edge-ids/gw/status").count(b"online") > 5
    assert broker.payloads("edge-ids/gw/status")[-1] == b"stopped"


def test_first_connect_that_fails_is_the_callers_error() -> None:
    broker = FakeBroker()
    broker.refusing = True
    sink = publisher(broker)
    with pytest.raises(BrokerError, match="nothing listens there"):
        sink.start()
    sink.close()


def test_outage_is_logged_once_per_cause(caplog: pytest.LogCaptureFixture) -> None:
    broker = FakeBroker()
    with caplog.at_level(logging.INFO), publisher(broker) as sink:
        broker.refusing = True
        wait_until(lambda: not sink.connected)
        tries = threading.Event()
        tries.wait(0.1)
        broker.refusing = False
        wait_until(lambda: sink.connected)
    lines = [record.getMessage() for record in caplog.records]
    assert lines == [
        "fake://: the connection was lost. Trying again.",
        "fake://: nothing listens there; start it.",
        "mqtt://127.0.0.1:1883: connected again.",
    ]


def test_full_queue_is_counted_and_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    broker = FakeBroker(acknowledges=False)
    sink = publisher(broker, queue_limit=5, close_timeout_s=0.2)
    sink.start()
    for alert in numbered(8):
        sink.publish(alert)
    assert (sink.pending, sink.dropped) == (5, 3)
    assert len(caplog.records) == 1
    assert "5 alerts wait for the broker" in caplog.text
    with pytest.raises(BrokerError, match=r"5 alerts not acknowledged within 0\.2 s and lost"):
        sink.close()


def test_closing_without_a_broker_does_not_wait() -> None:
    broker = FakeBroker()
    sink = publisher(broker, close_timeout_s=60)
    sink.start()
    broker.refusing = True
    wait_until(lambda: not sink.connected)
    sink.close()


def test_link_starts_once() -> None:
    link = Link("fake://", FakeBroker().connect, Outbox(1))
    link.start()
    with pytest.raises(RuntimeError, match="starts once"):
        link.start()
    assert link.close(1)
    assert link.close(1)


def subscribed(
    broker: FakeBroker, on_alert: Callable[[str, Alert], None], statuses: list[tuple[str, str]]
) -> AlertSubscriber:
    return AlertSubscriber(
        ADDRESS,
        on_alert,
        lambda node, status: statuses.append((node, status)),
        connect=broker.connect,
    )


def test_subscriber_counts_rubbish_and_goes_on() -> None:
    broker = FakeBroker()
    alerts: list[tuple[str, Alert]] = []
    statuses: list[tuple[str, str]] = []
    good = EXAMPLE.to_json().encode()
    with subscribed(broker, lambda node, alert: alerts.append((node, alert)), statuses) as view:
        broker.outgoing = [
            Received("edge-ids/gw/alert", b"\xff" * 50, retained=False),
            Received("edge-ids/gw/alert", b"[" * 4000, retained=False),
            Received("edge-ids/gw/alert", good + b"x" * 5000, retained=False),
            Received("edge-ids/gw/status", b"\x1b[2Jonline", retained=True),
            Received("edge-ids/g\x00w/alert", good, retained=False),
            Received("elsewhere", good, retained=False),
            Received("edge-ids/gw/status", b"offline", retained=True),
            Received("edge-ids/gw/alert", good, retained=False),
        ]
        wait_until(lambda: len(alerts) == 1)
    assert alerts == [("gw", EXAMPLE)]
    assert statuses == [("gw", "offline")]
    assert view.malformed == 6


def test_callback_that_fails_is_not_swallowed(caplog: pytest.LogCaptureFixture) -> None:
    broker = FakeBroker()
    calls: list[str] = []

    def fail(node: str, alert: Alert) -> None:
        calls.append(node)
        raise ZeroDivisionError("mine")

    view = subscribed(broker, fail, [])
    view.start()
    message = Received("edge-ids/gw/alert", EXAMPLE.to_json().encode(), retained=False)
    broker.outgoing = [message, message]
    wait_until(lambda: len(calls) == 2)
    with pytest.raises(ZeroDivisionError, match="mine"):
        view.close()
    assert caplog.text.count("A callback for messages of the broker failed.") == 2


def test_json_lines() -> None:
    stream = io.StringIO()
    sink = JsonLinesSink(stream)
    for alert in numbered(3):
        sink.publish(alert)
    sink.close()
    assert [Alert.from_json(line) for line in stream.getvalue().splitlines()] == numbered(3)
    assert not stream.closed
