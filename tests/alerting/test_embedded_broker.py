"""The demonstration's broker: alerts pass, and no process stays behind."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from edge_agent.alerting.address import BrokerAddress
from edge_agent.alerting.publisher import MqttPublisher
from edge_agent.alerting.subscriber import AlertSubscriber
from edge_agent.contract.errors import BrokerError
from tests.alerting.conftest import wait_until
from tests.alerting.test_link import numbered

pytest.importorskip("amqtt")

from benchmarks.demo.broker import EmbeddedBroker

ROOT = Path(__file__).resolve().parents[2]


def test_alerts_pass() -> None:
    arrived: list[int] = []
    statuses: list[str] = []
    with EmbeddedBroker() as broker:
        address = BrokerAddress.parse(broker.url)
        with AlertSubscriber(
            address, lambda _, alert: arrived.append(alert.flows), lambda _, s: statuses.append(s)
        ):
            with MqttPublisher(address, "gw", {"version": "1"}) as sink:
                for alert in numbered(50):
                    sink.publish(alert)
            wait_until(lambda: statuses == ["online", "stopped"])
            assert arrived == list(range(1, 51))
    with pytest.raises(BrokerError, match="nothing listens there"):
        MqttPublisher(address, "gw", {}).start()


PROGRAM = """
import os, signal
from benchmarks.demo.broker import EmbeddedBroker
broker = EmbeddedBroker().__enter__()
print(broker._process.pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_broker_goes_when_its_parent_is_killed() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False
    )
    pid = int(done.stdout)

    def gone() -> bool:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return True
        return state == "Z"

    wait_until(gone)
