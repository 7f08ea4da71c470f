"""Checks against a real broker and real interfaces."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from edge_agent.alerting.address import PASSWORD_VARIABLE, BrokerAddress
from edge_agent.alerting.publisher import MqttPublisher
from edge_agent.checking import Host, Verdict
from edge_agent.checking.broker import check_broker
from tests.alerting.conftest import free_port
from tests.checking.conftest import as_text, configured, only
from tests.conftest import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from edge_agent.config import Config
    from tests.alerting.conftest import Mosquitto


def checked(config: Config, **environ: str) -> str:
    return as_text(only(check_broker(config, Host(environ=environ))))


@pytest.mark.mosquitto
def test_anonymous(mosquitto_at: Callable[..., Mosquitto]) -> None:
    broker = mosquitto_at()
    found = checked(configured(f"mqtt.broker={broker.url}"))
    assert found == f"ok broker: {broker.url} lets us in anonymously. "


@pytest.mark.mosquitto
def test_password(guarded: Mosquitto, tmp_path: Path) -> None:
    url = guarded.url.replace("//", "//gateway@")
    password = tmp_path / "password"
    password.touch(0o600)
    config = configured(f"mqtt.broker={url}", f"mqtt.password_file={password}")
    assert "holds no password" in checked(config)
    password.write_text("right\n")
    assert checked(config) == f"ok broker: {guarded.url} lets us in as gateway. "
    password.write_text("wrong\n")
    refused = checked(config)
    assert refused.startswith(f"fail broker: {guarded.url}: the broker refuses us")
    assert "check the user name and the password" in refused
    without = configured(f"mqtt.broker={url}")
    assert checked(without, **{PASSWORD_VARIABLE: "right"}).startswith("ok broker: ")
    assert checked(without).startswith("fail broker: ")
    password.write_text("right\n")
    password.chmod(0o644)
    first, second = check_broker(config, Host(environ={}))
    assert as_text(first).startswith("warn password file: ")
    assert first.remedy == f"chmod o= {password}"
    assert second.verdict is Verdict.OK
    password.unlink()
    assert "the password file cannot be read" in checked(config)


@pytest.mark.mosquitto
def test_tls(mosquitto_at: Callable[..., Mosquitto], certificates: Path) -> None:
    plain = mosquitto_at()
    asked = checked(configured(f"mqtt.broker=mqtts://localhost:{plain.port}"))
    assert asked.startswith(f"fail broker: mqtts://localhost:{plain.port}: ")
    assert "whether it speaks TLS (mqtts://) or not" in asked
    broker = mosquitto_at(
        "allow_anonymous true",
        f"certfile {certificates / 'server.pem'}",
        f"keyfile {certificates / 'server.key'}",
    )
    url = f"mqtts://localhost:{broker.port}"
    assert "its certificate is not trusted" in checked(configured(f"mqtt.broker={url}"))
    trusted = configured(f"mqtt.broker={url}", f"mqtt.ca_file={certificates / 'ca.pem'}")
    assert checked(trusted) == f"ok broker: {url} lets us in anonymously. "


def test_nobody_listens() -> None:
    url = f"mqtt://127.0.0.1:{free_port()}"
    assert checked(configured(f"mqtt.broker={url}")) == (
        f"fail broker: {url}: nothing listens there."
        " start the broker, or correct the host and the port"
    )


@pytest.mark.mosquitto
def test_a_check_leaves_the_running_service_alone(mosquitto_at: Callable[..., Mosquitto]) -> None:
    broker = mosquitto_at("allow_anonymous true", "log_type all")
    config = configured(f"mqtt.broker={broker.url}", "agent.node=gw")
    with MqttPublisher(BrokerAddress.parse(broker.url), "gw", {}) as service:
        assert checked(config).startswith("ok broker: ")
        assert service.connected
    log = (broker.folder / "mosquitto.log").read_text()
    assert "edge-ids-gw-check" in log
    assert "already connected" not in log


NAMESPACE = ("unshare", "--user", "--map-root-user", "--net")
SCRIPT = """
import subprocess, sys
from edge_agent.checking import Host
from edge_agent.checking.capture import check_interfaces, check_offloads, check_privileges
from edge_agent.config import Config
names = ("lo", "veth0", "gone0")
config = Config.load(flags={"--interface": names}, board=None)
checks = (check_privileges, check_interfaces, check_offloads)
ip = lambda *words: subprocess.run(["ip", *words], check=True)
ip("link", "add", "veth0", "type", "veth", "peer", "name", "veth1")
for up in (False, True):
    if up:
        ip("link", "set", "lo", "up")
        ip("link", "set", "veth0", "up")
    for check in checks:
        for finding in check(config, Host()):
            print(up, finding.verdict.value, finding.name, sep="|")
"""


def test_real_interfaces() -> None:
    if shutil.which("ip") is None or shutil.which("unshare") is None:
        pytest.skip("ip or unshare is not installed (apt install iproute2 util-linux)")
    if subprocess.run([*NAMESPACE, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this machine makes no network namespaces for us")
    done = subprocess.run(
        [*NAMESPACE, sys.executable, "-c", SCRIPT],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr
    found = [line.split("|") for line in done.stdout.splitlines()]
    verdicts = {(up, name): verdict for up, verdict, name in found}
    assert verdicts["False", "privileges"] == "ok"
    assert verdicts["False", "capture user"] == "warn"
    assert verdicts["False", "interface lo"] == "warn"
    assert verdicts["False", "interface veth0"] == "warn"
    assert verdicts["True", "interface lo"] == "ok"
    assert verdicts["True", "interface veth0"] == "ok"
    assert verdicts["True", "interface gone0"] == "fail"
    # The loopback merges by itself, and nothing is said of what is not there.
    assert verdicts["True", "offloads lo"] == "warn"
    assert ("True", "offloads veth0") in verdicts
    assert ("True", "offloads gone0") not in verdicts
