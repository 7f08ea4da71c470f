"""Publisher and subscriber against a real Mosquitto."""

from __future__ import annotations

import json
import logging
import random
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from edge_agent.alerting.address import PASSWORD_VARIABLE, BrokerAddress
from edge_agent.alerting.link import Backoff, Link, Received, SessionLost
from edge_agent.alerting.mqtt import PahoSession, SessionOptions
from edge_agent.alerting.outbox import Message, Outbox
from edge_agent.alerting.publisher import MqttPublisher, PublisherOptions
from edge_agent.alerting.subscriber import AlertSubscriber
from edge_agent.contract.errors import BrokerError
from tests.alerting.conftest import Mosquitto, free_port, wait_until
from tests.alerting.test_link import flows, numbered

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from edge_agent.contract.alerts import Alert

pytestmark = pytest.mark.mosquitto

OPTIONS = PublisherOptions(
    connect_timeout_s=5, close_timeout_s=20, backoff=Backoff(first_s=0.1, longest_s=0.2)
)
ROOT = Path(__file__).resolve().parents[2]


def publisher(url: str, node: str = "gw") -> MqttPublisher:
    return MqttPublisher(BrokerAddress.parse(url), node, {"version": "1"}, OPTIONS)


class View:
    """What a subscriber to everything got."""

    def __init__(self) -> None:
        self.messages: list[Received] = []

    def payloads(self, topic: str) -> list[bytes]:
        return [one.payload for one in list(self.messages) if one.topic == f"edge-ids/gw/{topic}"]

    def retained(self) -> dict[str, bytes]:
        return {one.topic: one.payload for one in list(self.messages) if one.retained}


@contextmanager
def everything(url: str) -> Iterator[View]:
    """Subscribe to all topics, across restarts of the broker."""
    view = View()
    address = BrokerAddress.parse(url)
    options = SessionOptions("everything", filters=("#",))
    link = Link(
        url,
        lambda: PahoSession.connect(address, options),
        Outbox(1),
        view.messages.append,
        Backoff(first_s=0.02, longest_s=0.02),
    )
    link.start()
    try:
        yield view
    finally:
        link.close(5)


def retained(url: str) -> dict[str, bytes]:
    """What a newcomer is told at once."""
    with everything(url) as view:
        time.sleep(0.3)
    return view.retained()


def test_life_of_a_publisher(mosquitto: Mosquitto) -> None:
    alerts = numbered(100)
    with everything(mosquitto.url) as view:
        with publisher(mosquitto.url) as sink:
            sink.set_active(3)
            sink.publish_stats({"flows": 7})
            for alert in alerts:
                sink.publish(alert)
        assert (sink.pending, sink.dropped) == (0, 0)
        wait_until(lambda: view.payloads("status") == [b"online", b"stopped"])
        assert flows(view.payloads("alert")) == list(range(1, 101))
        assert view.messages[-1].payload == b"stopped"
    # Alerts and statistics are not retained.
    assert retained(mosquitto.url) == {
        "edge-ids/gw/status": b"stopped",
        "edge-ids/gw/info": b'{"version":"1"}',
        "edge-ids/gw/incident/active": b"3",
    }


PROGRAM = """
import sys, time
from edge_agent.alerting.address import BrokerAddress
from edge_agent.alerting.publisher import MqttPublisher
MqttPublisher(BrokerAddress.parse(sys.argv[1]), "gw", {}).start()
print("up", flush=True)
time.sleep(60)
"""


def test_last_will_when_the_agent_is_killed(mosquitto: Mosquitto) -> None:
    with everything(mosquitto.url) as view:
        command = [sys.executable, "-c", PROGRAM, mosquitto.url]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as agent:
            wait_until(lambda: view.payloads("status") == [b"online"], 60)
            agent.send_signal(signal.SIGKILL)
        wait_until(lambda: view.payloads("status") == [b"online", b"offline"])
    assert retained(mosquitto.url)["edge-ids/gw/status"] == b"offline"


def test_a_restarted_broker_knows_the_present_again(mosquitto: Mosquitto) -> None:
    with publisher(mosquitto.url) as sink:
        sink.set_active(2)
        wait_until(lambda: len(retained(mosquitto.url)) == 3)
        mosquitto.stop()
        wait_until(lambda: not sink.connected)
        mosquitto.start()
        wait_until(lambda: sink.connected)
        wait_until(lambda: len(retained(mosquitto.url)) == 3)
        assert retained(mosquitto.url) == {
            "edge-ids/gw/status": b"online",
            "edge-ids/gw/info": b'{"version":"1"}',
            "edge-ids/gw/incident/active": b"2",
        }


def test_alerts_of_an_outage_arrive_afterwards_in_order(mosquitto: Mosquitto) -> None:
    reachable = threading.Event()
    reachable.set()

    def connect(address: BrokerAddress, options: SessionOptions) -> PahoSession:
        if not reachable.is_set():
            raise BrokerError("not yet.")
        return PahoSession.connect(address, options)

    alerts = numbered(120)
    address = BrokerAddress.parse(mosquitto.url)
    with MqttPublisher(address, "gw", {}, OPTIONS, connect) as sink:
        for alert in alerts[:20]:
            sink.publish(alert)
        wait_until(lambda: sink.pending == 0)
        reachable.clear()
        mosquitto.stop()
        for alert in alerts[20:]:
            sink.publish(alert)
        assert sink.pending == 100
        mosquitto.start()
        with everything(mosquitto.url) as view:
            # The broker forgets what nobody subscribes to, so the subscriber comes first.
            reachable.set()
            wait_until(lambda: len(view.payloads("alert")) >= 100)
            assert list(dict.fromkeys(flows(view.payloads("alert")))) == list(range(21, 121))
    assert (sink.pending, sink.dropped) == (0, 0)


def test_qos_1_through_restarts_while_publishing(mosquitto: Mosquitto) -> None:
    broker = mosquitto
    alerts = numbered(400)
    arrived: list[int] = []
    address = BrokerAddress.parse(broker.url)
    view = AlertSubscriber(address, lambda _, alert: arrived.append(alert.flows))
    view.start()
    with publisher(broker.url) as sink:
        for index, alert in enumerate(alerts):
            sink.publish(alert)
            if index in (100, 250):
                # All that was acknowledged has been handed on; then the power fails.
                wait_until(lambda: sink.pending == 0)
                wait_until(lambda: len(set(arrived)) == index + 1)  # noqa: B023
                broker.stop()
                wait_until(lambda: not view.connected and not sink.connected)
                broker.start()
                wait_until(lambda: view.connected)
    wait_until(lambda: len(set(arrived)) == len(alerts))
    view.close()
    assert list(dict.fromkeys(arrived)) == [alert.flows for alert in alerts]
    assert sink.dropped == 0


def test_two_agents_of_one_name_do_not_go_unnoticed(
    mosquitto: Mosquitto, caplog: pytest.LogCaptureFixture
) -> None:
    with publisher(mosquitto.url) as first:
        wait_until(lambda: first.connected)
        with publisher(mosquitto.url):
            wait_until(lambda: "the connection was lost" in caplog.text)


@pytest.fixture
def guarded(mosquitto_at: Callable[..., Mosquitto], tmp_path: Path) -> Mosquitto:
    """A broker with the user `gateway`, password `right`."""
    program = shutil.which("mosquitto_passwd")
    if program is None:
        pytest.skip("mosquitto_passwd is not installed")
    passwords = tmp_path / "passwords"
    subprocess.run([program, "-b", "-c", str(passwords), "gateway", "right"], check=True)
    return mosquitto_at("allow_anonymous false", f"password_file {passwords}")


def test_password(guarded: Mosquitto) -> None:
    url = guarded.url.replace("//", "//gateway@")
    right = BrokerAddress.parse(url, password="right")
    with MqttPublisher(right, "gw", {}, OPTIONS) as sink:
        sink.publish(numbered(1)[0])
    wrong = BrokerAddress.parse(url, password="wrong")
    for address in (wrong, BrokerAddress.parse(guarded.url)):
        with pytest.raises(BrokerError) as caught:
            MqttPublisher(address, "gw", {}, OPTIONS).start()
        assert str(caught.value) == (
            f"{guarded.url}: the broker refuses us (Not authorized); check the user name and the"
            f" password ({PASSWORD_VARIABLE} or the password file)."
        )
    with pytest.raises(BrokerError, match="refuses us"):
        AlertSubscriber(wrong, lambda node, alert: None).start()


@pytest.fixture
def certificates(tmp_path: Path) -> Path:
    """ca.pem, and server.pem with server.key for localhost."""
    program = shutil.which("openssl")
    if program is None:
        pytest.skip("openssl is not installed")

    def openssl(*arguments: str) -> None:
        subprocess.run([program, *arguments], cwd=tmp_path, check=True, capture_output=True)

    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    openssl("req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.pem", "-days", "2",
            "-subj", "/CN=test CA", "-addext", "keyUsage=critical,keyCertSign")  # fmt: skip
    openssl("req", *key, "-keyout", "server.key", "-out", "server.csr", "-subj", "/CN=localhost")
    (tmp_path / "names").write_text("subjectAltName=DNS:localhost\n")
    openssl("x509", "-req", "-in", "server.csr", "-CA", "ca.pem", "-CAkey", "ca.key",
            "-CAcreateserial", "-out", "server.pem", "-days", "2", "-extfile", "names")  # fmt: skip
    return tmp_path


def test_tls(mosquitto_at: Callable[..., Mosquitto], certificates: Path) -> None:
    broker = mosquitto_at(
        "allow_anonymous true",
        f"certfile {certificates / 'server.pem'}",
        f"keyfile {certificates / 'server.key'}",
    )
    url = f"mqtts://localhost:{broker.port}"
    address = BrokerAddress.parse(url, ca_file=certificates / "ca.pem")
    alerts: list[Alert] = []
    with (
        AlertSubscriber(address, lambda _, alert: alerts.append(alert)),
        MqttPublisher(address, "gw", {}, OPTIONS) as sink,
    ):
        # Enough that several messages lie in one TLS record.
        for alert in numbered(300):
            sink.publish(alert)
        wait_until(lambda: len(alerts) == 300)

    def refusal(text: str, ca_file: Path | None) -> str:
        with pytest.raises(BrokerError) as caught:
            MqttPublisher(BrokerAddress.parse(text, ca_file=ca_file), "gw", {}, OPTIONS).start()
        return str(caught.value)

    assert "its certificate is not trusted" in refusal(url, None)
    wrong_name = refusal(url.replace("localhost", "127.0.0.1"), certificates / "ca.pem")
    assert "its certificate is not trusted" in wrong_name
    assert "does not answer in MQTT" in refusal(broker.url, None)
    assert "the CA file cannot be used" in refusal(url, certificates / "none.pem")
    assert "the CA file cannot be used" in refusal(url, certificates / "ca.key")


def test_plain_broker_asked_for_tls(mosquitto: Mosquitto) -> None:
    with pytest.raises(BrokerError, match="whether it speaks TLS"):
        publisher(mosquitto.url.replace("mqtt://", "mqtts://")).start()


def test_nobody_there() -> None:
    url = f"mqtt://127.0.0.1:{free_port()}"
    with pytest.raises(BrokerError) as caught:
        publisher(url).start()
    assert str(caught.value) == (
        f"{url}: nothing listens there; start the broker, or correct the host and the port."
    )
    assert caught.value.exit_code == 1


@contextmanager
def impostor(*answers: bytes) -> Iterator[BrokerAddress]:
    """A server that gives these answers to the client's first messages, and then stays silent."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        over = threading.Event()

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                for answer in answers:
                    connection.recv(1000)
                    connection.sendall(answer)
                over.wait(10)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield BrokerAddress.parse(f"mqtt://127.0.0.1:{server.getsockname()[1]}")
        finally:
            over.set()
            thread.join()


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"", r"no answer within 0\.5 s"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "does not answer in MQTT|no answer"),
        (random.Random(7).randbytes(512), "does not answer in MQTT|no answer"),
        (b"\x20\x02\x00", "no answer within"),
        (b"\x20\x00", "does not answer in MQTT"),
        (b"\x20\x02\x00\x63", "refuses us"),
        (b"\x20\x02\x00\x03", r"refuses us \(.*\); look into the broker's log"),
        (b"\x30\xff\xff\xff\x7f", "no answer within"),
    ],
)
def test_port_of_something_else(answer: bytes, words: str) -> None:
    options = PublisherOptions(connect_timeout_s=0.5)
    with impostor(answer) as address, pytest.raises(BrokerError, match=words) as caught:
        MqttPublisher(address, "gw", {}, options).start()
    assert str(caught.value).isprintable()


def test_subscription_that_is_not_granted() -> None:
    with (
        impostor(b"\x20\x02\x00\x00", b"\x90\x04\x00\x01\x80\x80") as address,
        pytest.raises(BrokerError, match="does not let us read edge-ids/"),
    ):
        AlertSubscriber(address, lambda node, alert: None).start()


def test_rubbish_from_the_broker_ends_the_session() -> None:
    welcome_and_rubbish = b"\x20\x02\x00\x00" + b"\x30\x01\x05" + b"\xff" * 50
    with impostor(welcome_and_rubbish) as address:
        session = PahoSession.connect(address, SessionOptions("gw"))

        def listen() -> None:
            for _ in range(200):
                session.poll(None, 0.05)

        with pytest.raises(SessionLost):
            listen()
        session.abandon()


def test_subscriber_through_a_stranger_on_the_broker(
    mosquitto: Mosquitto, caplog: pytest.LogCaptureFixture
) -> None:
    alerts: list[Alert] = []
    statuses: list[tuple[str, str]] = []
    address = BrokerAddress.parse(mosquitto.url)
    stranger = PahoSession.connect(address, SessionOptions("stranger"))
    with (
        caplog.at_level(logging.INFO),
        AlertSubscriber(
            address,
            lambda _, alert: alerts.append(alert),
            lambda node, status: statuses.append((node, status)),
            node="gw",
        ) as view,
        publisher(mosquitto.url) as sink,
    ):
        for payload in (b"", b"\xff" * 5000, b"{}", b"[" * 4000, json.dumps([1]).encode()):
            stranger.publish(Message("edge-ids/gw/alert", payload))
            stranger.publish(Message("edge-ids/gw/status", payload))
        wait_until(lambda: view.malformed == 10)
        sink.publish(numbered(1)[0])
        wait_until(lambda: len(alerts) == 1)
        wait_until(lambda: ("gw", "online") in statuses)
    stranger.disconnect(1)
    assert caplog.text == ""
