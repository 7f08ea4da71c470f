"""Alerts through a real Mosquitto, seen by Mosquitto's own client."""

from __future__ import annotations

import json
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from edge_agent.contract.alerts import Alert
from tests.agent.conftest import LAB_MODEL
from tests.agent.test_commands import scan
from tests.conftest import ROOT
from tests.packets import write_capture

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.agent.conftest import Result
    from tests.alerting.conftest import Mosquitto

pytestmark = pytest.mark.mosquitto


def test_replay_publishes_what_it_would_print(
    edge_agent: Callable[..., Result], mosquitto_at: Callable[..., Mosquitto], tmp_path: Path
) -> None:
    if shutil.which("mosquitto_sub") is None:
        pytest.skip("mosquitto_sub is not installed (apt install mosquitto-clients)")
    capture = write_capture(tmp_path / "scan.pcap", scan(300))
    printed = edge_agent("replay", capture, "-m", LAB_MODEL, "--node", "attic").stdout.splitlines()
    settings = (ROOT / "firmware_configs" / "mosquitto" / "loopback.conf").read_text()
    broker = mosquitto_at(
        *(line for line in settings.splitlines() if not line.startswith(("#", "listener")))
    )
    subscribe = [
        # Into a pipe it would hold its lines back until it ends.
        "stdbuf",
        "--output=L",
        "mosquitto_sub",
        "-p",
        str(broker.port),
        "-q",
        "1",
        "-v",
        "-W",
        "20",
        "-t",
        "edge-ids/#",
    ]
    with subprocess.Popen([*subscribe, "-d"], stdout=subprocess.PIPE, text=True) as view:
        assert view.stdout is not None
        lines = iter(view.stdout.readline, "")
        while "SUBACK" not in next(lines):
            pass
        done = edge_agent(
            "replay", capture, "-m", LAB_MODEL, "--node", "attic", "--broker", broker.url, "--json"
        )
        messages = []
        for line in lines:
            if line.startswith("edge-ids/attic/"):
                messages.append(tuple(line.removeprefix("edge-ids/attic/").rstrip().split(" ", 1)))
                if messages[-1] == ("status", "stopped"):
                    break
        view.terminate()
    assert done.returncode == 0, done.stderr
    alerts = [payload for topic, payload in messages if topic == "alert"]
    assert [Alert.from_json(alert) for alert in alerts] == [
        Alert.from_json(line) for line in printed
    ]
    assert json.loads(done.stdout)["alerts"] == len(alerts)
    assert ("status", "online") in messages
    assert ("incident/active", "0") in messages

    retained = subprocess.run(
        ["mosquitto_sub", "-p", str(broker.port), "-v", "-W", "1", "-t", "edge-ids/#"],
        capture_output=True,
        check=False,
        text=True,
    ).stdout.splitlines()
    topics = {line.split(" ", 1)[0]: line.split(" ", 1)[1] for line in retained}
    assert topics["edge-ids/attic/status"] == "stopped"
    assert topics["edge-ids/attic/incident/active"] == "0"
    assert json.loads(topics["edge-ids/attic/info"])["profile"] == "gateway"
    assert "edge-ids/attic/alert" not in topics
