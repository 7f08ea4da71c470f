"""The service on a live network: it captures, detects, tells, reloads and ends."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from edge_agent.checking.checks import CHECKS
from edge_agent.contract.bundle import Bundle, ModelFeature
from edge_agent.contract.features import CONTEXT
from edge_agent.service_commands import CHECKS as CHECKS_BY_NAME
from tests.agent.conftest import LAB_MODEL
from tests.capture.network import awaited, datagram
from tests.service.conftest import ATTACKER, PYTHON_IN, scan, seconds_ago

if TYPE_CHECKING:
    from tests.service.conftest import Agents


TINY_MODEL = Path(__file__).parents[1] / "detect" / "data" / "tiny.tflite"

_FLOOD = """
import socket, sys, time
sender = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
sender.bind(("far", 0))
frames = [bytes.fromhex(line) for line in sys.stdin]
end = time.monotonic() + 20
while time.monotonic() < end:
    for frame in frames: sender.send(frame)
"""


def test_a_scan_is_told_in_wall_time_and_ends_with_the_service(agents: Agents) -> None:
    agent = agents.run()
    agent.scan()
    new = agent.tells("new")
    assert 0 <= seconds_ago(new["first_seen"]) < 60
    assert 0 <= seconds_ago(new["time"]) < 60
    assert agent.stop() == 0
    end = agent.tells("end")
    assert end["id"] == new["id"]
    assert end["port_count"] == 300
    assert "stopped: 600 packets (0 dropped), 300 flows (0 skipped)" in agent.log


def test_what_is_in_the_table_is_scored_at_the_end(agents: Agents) -> None:
    # More than the queue holds.
    agent = agents.watched("--set", "detect.queue_rows=256")
    # Unanswered, so that the flows are still open when the end comes.
    agents.space.send("far", *scan(range(1, 2001))[::2])
    awaited(lambda: agent.metric("edge_ids_packets_total") == 2000, "all packets metered")
    assert agent.stop() == 0
    assert "2,000 flows (0 skipped)" in agent.log


def test_one_interface_may_go_and_come_back(agents: Agents) -> None:
    agent = agents.watched()
    agents.space.ip("link delete near")
    up = 'edge_ids_interface_up{interface="near"}'
    awaited(lambda: agent.metric(up) == 0, "it is seen to be gone")
    agents.space.pair("near", "far")
    awaited(lambda: agent.metric(up) == 1, "it is seen to be back")
    agent.scan()
    assert agent.tells("new")["source"] == ATTACKER
    assert agent.metric('edge_ids_interface_outages_total{interface="near"}') == 1


def test_malformed_packets_are_counted_and_never_fatal(agents: Agents) -> None:
    agent = agents.watched()
    whole = datagram(1)
    rubbish = [whole[:14] + bytes([0x41]) + os.urandom(20) for _ in range(200)]
    rubbish += [whole[:length] for length in range(15, 34)]
    agents.space.send("far", *rubbish)

    def skipped() -> float:
        names = ("impossible IP header or length", "cut before its headers end")
        found = agent.metrics()
        return sum(found[f'edge_ids_frames_skipped_total{{reason="{name}"}}'] for name in names)

    awaited(lambda: skipped() >= 200, "all are counted")
    agent.scan()
    assert agent.tells("new")["source"] == ATTACKER


def test_another_model_takes_over_and_rubbish_does_not(agents: Agents, tmp_path: Path) -> None:
    model = tmp_path / "model.tflite"
    shutil.copy(LAB_MODEL, model)
    agent = agents.watched(model=model)
    model.write_bytes(b"no model at all")
    agent.process.send_signal(signal.SIGHUP)
    agent.saw("nothing was reloaded")
    agent.scan(source="10.0.0.67")
    agent.tells("new", "10.0.0.67")
    shutil.copy(LAB_MODEL, model)
    agent.process.send_signal(signal.SIGHUP)
    awaited(lambda: agent.metric('edge_ids_reloads_total{result="done"}') == 1, "a reload")
    assert agent.metric('edge_ids_reloads_total{result="failed"}') == 1
    agent.scan(source="10.0.0.68")
    agent.tells("new", "10.0.0.68")


def test_a_reload_takes_what_it_can_and_says_what_needs_a_restart(
    agents: Agents, tmp_path: Path
) -> None:
    file = tmp_path / "agent.toml"
    file.write_text("[detect]\nenabled = true\n[meter]\nmax_flows = 2048\n")
    agent = agents.watched("--config", str(file))
    file.write_text(
        "[detect]\nenabled = false\n[meter]\nmax_flows = 4096\n[capture]\nfilter = 'udp'\n"
    )
    agent.process.send_signal(signal.SIGHUP)
    agent.saw("meter.max_flows stays as it is: ")
    awaited(lambda: agent.metric("edge_ids_detection_enabled") == 0, "detection is off")
    agent.scan()
    agents.space.send("far", *[datagram(number) for number in range(20)])
    awaited(lambda: agent.metric("edge_ids_packets_total") == 20, "only UDP is captured")
    assert agent.alerts() == []
    assert agent.metric("edge_ids_flows_total") == 0


def test_a_killed_agent_starts_again(agents: Agents) -> None:
    first = agents.run()
    first.scan()
    first.process.kill()
    first.process.wait()
    second = agents.run()
    second.scan()
    second.tells("new")
    assert second.stop() == 0


def test_it_ends_in_time_under_full_load(agents: Agents) -> None:
    agent = agents.run()
    command = ["ip", "netns", "exec", agents.space.name, sys.executable, "-c", _FLOOD]
    flood = subprocess.Popen(command, stdin=subprocess.PIPE)
    try:
        assert flood.stdin is not None
        flood.stdin.write("\n".join(frame.hex() for frame in scan(range(1, 20_000))).encode())
        flood.stdin.close()
        agent.tells("new")
        assert flood.poll() is None
        assert agent.stop() == 0
    finally:
        flood.kill()
        flood.wait()
    assert agent.tells("end")["source"] == ATTACKER


def test_two_threads_share_the_flows_whole(agents: Agents, tmp_path: Path) -> None:
    # A model that does not look at neighbourhoods: what it says of flows is of no interest here.
    tiny = Bundle.open(TINY_MODEL)
    own = [feature for feature in tiny.profile.features if feature not in CONTEXT]
    features = tuple(ModelFeature(one.name, one.unit) for one in own[: len(tiny.features)])
    dataclasses.replace(tiny, features=features).save(tmp_path / "model.tflite")
    agent = agents.watched("--set", "capture.threads=2", model=tmp_path / "model.tflite")
    agent.scan(range(1, 501))
    awaited(lambda: agent.metric("edge_ids_packets_total") == 1000, "all packets metered")
    assert agent.stop() == 0
    # Torn in two, a flow would be counted twice.
    assert "1,000 packets (0 dropped), 500 flows (0 skipped)" in agent.log


def test_when_flows_come_too_fast_it_samples_and_says_so(agents: Agents) -> None:
    # Flows end in bursts, a second after their last packet, which a queue this small cannot hold.
    agent = agents.watched("--set", "detect.queue_rows=256")
    for begin in range(1, 10_001, 1000):
        agent.scan(range(begin, begin + 1000))
        awaited(lambda: agent.metric("edge_ids_packets_total") >= 2 * (begin + 999), "metered")  # noqa: B023
    agent.saw("flows come faster than the model scores them")
    agent.tells("new")
    assert agent.stop() == 0
    skipped = int(agent.log.split("flows (")[-1].split(" skipped")[0].replace(",", ""))
    scored = int(agent.log.split("dropped), ")[-1].split(" flows")[0].replace(",", ""))
    assert skipped > 0
    assert scored + skipped == 10_000


def test_it_becomes_somebody_without_privileges(agents: Agents) -> None:
    agent = agents.run("--set", "agent.capture_user=nobody")
    lines = Path("/proc", str(agent.process.pid), "status").read_text().splitlines()
    status = dict(line.split(":", 1) for line in lines)
    assert status["Uid"].split()[:3] == [str(65534)] * 3
    assert int(status["CapEff"], 16) == int(status["CapPrm"], 16) == 0
    assert status["NoNewPrivs"].strip() == "1"
    assert status["Groups"].split() == []
    agent.scan()
    agent.tells("new")
    # Not even then does it need any.
    agents.space.ip("link delete near")
    agents.space.pair("near", "far")
    time.sleep(1)
    agent.scan(source="10.0.0.67")
    agent.tells("new", "10.0.0.67")
    assert agent.stop() == 0


def test_without_permission_one_sentence_says_what_is_missing(agents: Agents) -> None:
    agent = agents.start(before=("setpriv", "--bounding-set", "-all", "--inh-caps", "-all"))
    assert agent.process.wait(60) == 1
    assert "CAP_NET_RAW" in agent.log
    assert "Traceback" not in agent.log


def test_without_an_interface_of_that_name_it_does_not_start(agents: Agents) -> None:
    agent = agents.start(interface="nothere")
    assert agent.process.wait(60) == 1
    assert "nothere" in agent.log
    assert "Traceback" not in agent.log


def test_a_full_disk_behind_its_output_does_not_end_it(agents: Agents) -> None:
    agent = agents.watched(stdout="/dev/full")
    agent.scan()
    awaited(lambda: agent.metric("edge_ids_alerts_dropped_total") >= 1, "the loss is counted")
    agent.saw("cannot be written")
    assert agent.process.poll() is None
    assert agent.stop() == 0


def test_more_memory_than_its_budget_is_said(agents: Agents) -> None:
    agent = agents.run(
        *("--set", "budget.memory_bytes=67108864", "--set", "capture.ring_bytes=67108864")
    )
    agent.saw("more than the 67 MB of budget.memory_bytes")


def test_systemd_is_told_when_it_is_ready_reloads_lives_and_stops(
    agents: Agents, tmp_path: Path
) -> None:
    path = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(path))
        manager.settimeout(30)
        agent = agents.start(environment={"NOTIFY_SOCKET": str(path), "WATCHDOG_USEC": "3000000"})

        def told(wanted: str) -> str:
            while True:
                message = manager.recv(4096).decode()
                if wanted in message.splitlines():
                    return message

        assert "STATUS=capturing on near" in told("READY=1")
        told("WATCHDOG=1")
        agent.process.send_signal(signal.SIGHUP)
        assert "MONOTONIC_USEC=" in told("RELOADING=1")
        told("READY=1")
        told("WATCHDOG=1")
        agent.process.terminate()
        told("STOPPING=1")
        assert agent.process.wait(30) == 0


def test_the_configuration_is_printed_with_its_origins(tmp_path: Path) -> None:
    file = tmp_path / "agent.toml"
    file.write_text("[log]\nlevel = 'debug'\n")
    done = subprocess.run(
        [*PYTHON_IN, "run", "--config", str(file), "--set", "stats.interval_s=7", "--print-config"],
        capture_output=True,
        check=True,
        text=True,
        env={**os.environ, "EDGE_AGENT_METER_MAX_FLOWS": "2000"},
    )
    lines = {line.split(" = ")[0]: line for line in done.stdout.splitlines() if " = " in line}
    assert f"{file}, line 2" in lines["level"]
    assert "EDGE_AGENT_METER_MAX_FLOWS" in lines["max_flows"]
    assert "--set" in lines["interval_s"]


@pytest.mark.parametrize("fault", ["unknown", "threads"])
def test_what_cannot_be_run_is_refused_at_the_start(agents: Agents, fault: str) -> None:
    setting, said = {
        "unknown": ("capture.sped=1", "capture.sped"),
        "threads": ("capture.threads=2", "neighbourhood"),
    }[fault]
    agent = agents.start("--set", setting)
    assert agent.process.wait(60) == 1
    assert said in agent.log
    assert "Traceback" not in agent.log


def test_check_says_whether_it_can_run_here(agents: Agents) -> None:
    def check(interface: str, *more: str) -> subprocess.CompletedProcess[str]:
        with agents.space.entered():
            return subprocess.run(
                [*PYTHON_IN, "check", "--interface", interface, "--model", str(LAB_MODEL), *more],
                capture_output=True,
                check=False,
                text=True,
            )

    good = check("near", "--json", "--without", "memory", "--without", "disk")
    assert good.returncode == 0, good.stdout
    found = {finding["name"]: finding for finding in json.loads(good.stdout)["findings"]}
    assert found["model"]["verdict"] == "ok"
    assert found["interface near"]["verdict"] == "ok"
    bad = check("nothere")
    assert bad.returncode == 1
    assert "There is no interface nothere" in bad.stdout


def test_every_check_can_be_left_out() -> None:
    assert tuple(CHECKS) == CHECKS_BY_NAME
