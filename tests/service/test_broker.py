"""The service and its broker: it comes late, it goes away, and its packets are not ours."""

from __future__ import annotations

import signal
import socket
from typing import TYPE_CHECKING

import pytest

from edge_agent.alerting.address import BrokerAddress
from edge_agent.alerting.subscriber import AlertSubscriber
from tests.agent.conftest import mosquitto_at
from tests.capture.network import awaited
from tests.service.conftest import ATTACKER

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_agent.contract.alerts import Alert
    from tests.alerting.conftest import Mosquitto
    from tests.service.conftest import Agents

__all__ = ["mosquitto_at"]

pytestmark = pytest.mark.mosquitto


@pytest.fixture
def broker(mosquitto_at: Callable[..., Mosquitto], agents: Agents) -> Mosquitto:
    """A broker on the gateway itself."""
    with agents.space.entered():
        return mosquitto_at()


class Subscriber:
    """Everything a subscriber on the gateway hears."""

    def __init__(self, url: str) -> None:
        self.alerts: list[Alert] = []
        self.statuses: list[str] = []
        self._subscriber = AlertSubscriber(
            BrokerAddress.parse(url),
            lambda _node, alert: self.alerts.append(alert),
            lambda _node, status: self.statuses.append(status),
        )

    def __enter__(self) -> Subscriber:
        self._subscriber.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._subscriber.close()

    def heard(self, event: str) -> bool:
        return any((a.event, a.source) == (event, ATTACKER) for a in self.alerts)


def test_alerts_and_states_reach_subscribers(agents: Agents, broker: Mosquitto) -> None:
    with agents.space.entered(), Subscriber(broker.url) as subscriber:
        agent = agents.run("--broker", broker.url, "--set", "agent.node=house")
        awaited(lambda: subscriber.statuses == ["online"], "it is online")
        agent.scan()
        awaited(lambda: subscriber.heard("new"), "the scan is told")
        assert agent.stop() == 0
        awaited(lambda: subscriber.heard("end"), "its end is told")
        awaited(lambda: subscriber.statuses == ["online", "stopped"], "it has stopped")


def test_a_broker_may_come_after_the_agent(agents: Agents, broker: Mosquitto) -> None:
    with agents.space.entered():
        broker.stop()
    agent = agents.watched("--broker", broker.url)
    agent.scan()
    awaited(lambda: agent.metric("edge_ids_alerts_pending") >= 1, "an alert waits")
    with agents.space.entered():
        broker.start()
        with Subscriber(broker.url) as subscriber:
            awaited(lambda: agent.metric("edge_ids_alerts_pending") == 0, "it was taken")
            assert agent.stop() == 0
            awaited(lambda: subscriber.heard("end"), "its end is told")


def test_alerts_that_nobody_took_are_a_failure_that_is_said(
    agents: Agents, broker: Mosquitto
) -> None:
    with agents.space.entered():
        broker.stop()
    agent = agents.watched("--broker", broker.url)
    agent.scan()
    awaited(lambda: agent.metric("edge_ids_alerts_pending") >= 1, "an alert waits")
    assert agent.stop() == 1
    assert "not acknowledged" in agent.log
    assert "Traceback" not in agent.log


def test_its_own_packets_are_not_captured(agents: Agents, broker: Mosquitto) -> None:
    # Nothing but what goes to the broker and comes from it, with statistics every second.
    agent = agents.watched(
        *("--broker", broker.url, "--set", "stats.interval_s=1"),
        *("--set", f"capture.filter=tcp port {broker.port}"),
        interface="lo",
    )
    awaited(lambda: agent.metric("edge_ids_mqtt_connected") == 1, "connected")
    agent.process.send_signal(signal.SIGHUP)
    awaited(lambda: agent.metric('edge_ids_reloads_total{result="done"}') == 1, "a reload")
    with agents.space.entered(), Subscriber(broker.url) as subscriber:
        agent.stop()
        awaited(lambda: "stopped" in subscriber.statuses, "it has spoken")
    assert "stopped: 0 packets" in agent.log


def test_what_others_tell_the_broker_is_captured(agents: Agents, broker: Mosquitto) -> None:
    agent = agents.watched(
        *("--broker", broker.url, "--set", f"capture.filter=tcp port {broker.port}"),
        interface="lo",
    )
    with agents.space.entered():
        other = ("127.0.0.2", 0)
        socket.create_connection(("127.0.0.1", broker.port), source_address=other).close()
    awaited(lambda: agent.metric("edge_ids_packets_total") >= 3, "a connection is seen")
