"""OpenWrt and containers: what can be held against agent and unit without running them."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from edge_agent.config import Config
from tests.packaging.test_systemd import settings

_CONFIGS = Path(__file__).resolve().parents[2] / "firmware_configs"


def test_the_router_s_configuration_is_one() -> None:
    config = Config.load(_CONFIGS / "openwrt" / "agent.toml", environ={}, board=None)
    assert config.capture.interfaces == ("br-lan",)
    assert config.mqtt.broker == "mqtts://router@broker.lan"


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is missing")
def test_the_router_s_script_is_sound() -> None:
    # Its variables are read by rc.common, and $initscript comes from there.
    done = subprocess.run(
        [
            "shellcheck",
            "--shell=sh",
            "--exclude=SC2034,SC2154",
            str(_CONFIGS / "openwrt" / "edge-agent.init"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "")


def test_router_and_container_start_what_the_unit_starts() -> None:
    unit = dict(settings(_CONFIGS / "systemd" / "edge-agent.service"))
    check, run = (unit[name].removeprefix("/usr/bin/") for name in ("ExecStartPre", "ExecStart"))
    router = (_CONFIGS / "openwrt" / "edge-agent.init").read_text("utf-8")
    config = re.search(r"^CONFIG=(.+)$", router, re.MULTILINE)
    assert config is not None
    assert f"{check} && exec {run}" in router.replace("$CONFIG", config[1])
    dockerfile = (_CONFIGS / "container" / "Dockerfile").read_text("utf-8")
    program, *arguments = unit["ExecStart"].split()
    assert f'ENTRYPOINT ["{program}"]' in dockerfile
    assert "CMD [" + ", ".join(f'"{one}"' for one in arguments) + "]" in dockerfile
    assert f"USER {unit['User']}\n" in dockerfile


def test_the_container_has_the_unit_s_capability_and_nothing_writable_but_its_state() -> None:
    unit = dict(settings(_CONFIGS / "systemd" / "edge-agent.service"))
    pairs = settings(_CONFIGS / "container" / "edge-ids.container")
    quadlet = dict(pairs)
    assert quadlet["DropCapability"] == "all"
    assert quadlet["AddCapability"] == unit["CapabilityBoundingSet"]
    assert quadlet["Network"] == "host"
    assert quadlet["ReadOnly"] == quadlet["NoNewPrivileges"] == quadlet["Notify"] == "true"
    assert [value for name, value in pairs if name == "Volume" and not value.endswith(":ro")] == [
        f"edge-ids-state:/var/lib/{unit['StateDirectory']}"
    ]
