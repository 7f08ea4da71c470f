"""What each check says of a machine that is spoiled in one fact."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from edge_agent.capture import bpf
from edge_agent.checking import Finding, Host, Verdict, as_json, as_table, exit_code, run_checks
from edge_agent.checking.capture import (
    check_filter,
    check_interfaces,
    check_offloads,
    check_privileges,
)
from edge_agent.checking.host import is_synchronised
from edge_agent.checking.machine import check_clock, check_disk
from edge_agent.checking.model import check_model
from edge_agent.config import Config
from edge_agent.contract.errors import BrokerError, CaptureError
from edge_agent.signing import PrivateKey
from tests.agent.conftest import LAB_MODEL
from tests.checking.conftest import as_text, configured, only
from tests.conftest import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.checking.conftest import FakeProc


def test_all_is_well(working: Config, host: Host) -> None:
    findings = run_checks(working, host)
    assert {finding.verdict for finding in findings} == {Verdict.OK}
    assert [finding.name for finding in findings] == [
        "privileges",
        "interface eth0",
        "offloads eth0",
        "signature",
        "model",
        "broker",
        "clock",
        "disk",
        "memory",
    ]
    assert exit_code(findings) == 0


def test_one_failure_hides_no_other(host_with: Callable[..., Host]) -> None:
    config = configured("agent.model=/none", "agent.state_dir=/none", "agent.public_key=/none")
    host = host_with(may_capture=lambda: False, interface_exists=lambda _: False)
    findings = run_checks(config, host)
    failed = [finding.name for finding in findings if finding.verdict is Verdict.FAIL]
    assert failed == ["privileges", "interface eth0", "signature", "disk"]
    assert exit_code(findings) == 1


def test_checks_can_be_left_out(working: Config, host: Host) -> None:
    names = [finding.name for finding in run_checks(working, host, without=("broker", "model"))]
    assert names == ["privileges", "interface eth0", "offloads eth0", "clock", "disk", "memory"]


def test_privileges(host_with: Callable[..., Host], fake: FakeProc) -> None:
    config = configured()
    denied = only(check_privileges(config, host_with(may_capture=lambda: False)))
    assert denied.verdict is Verdict.FAIL
    assert "CAP_NET_RAW is missing" in denied.sentence
    _, root = check_privileges(config, host_with(user_id=lambda: 0))
    assert as_text(root).startswith("warn capture user: The agent stays root")


def test_capture_user(host_with: Callable[..., Host], fake: FakeProc) -> None:
    host = host_with()
    _, found = check_privileges(configured("agent.capture_user=nobody"), host)
    assert as_text(found).startswith("ok capture user: The agent runs as nobody")
    _, found = check_privileges(configured("agent.capture_user=none-such"), host)
    assert as_text(found).startswith("fail capture user: There is no user none-such.")
    fake.capabilities(13, 7)
    _, found = check_privileges(configured("agent.capture_user=nobody"), host)
    assert as_text(found).startswith("fail capture user: The agent cannot become nobody: CAP_SETUI")
    # Who is that user already needs no capability.
    own = host.user("nobody")
    assert own is not None
    same = host_with(user_id=lambda: own.pw_uid)
    _, found = check_privileges(configured("agent.capture_user=nobody"), same)
    assert found.verdict is Verdict.OK


def test_interfaces(host_with: Callable[..., Host]) -> None:
    host = host_with()
    config = Config.load(board=None)
    assert as_text(only(check_interfaces(config, host))) == (
        "fail interface: No interface is named to listen on."
        " set capture.interfaces; there are lo, eth0"
    )
    found = list(check_interfaces(configured("capture.interfaces=eth0,wlan9"), host))
    assert [finding.verdict for finding in found] == [Verdict.OK, Verdict.FAIL]
    assert found[1].sentence == "There is no interface wlan9."
    found = list(check_interfaces(configured("capture.interfaces=any"), host))
    assert as_text(only(found)) == "ok interface any: All interfaces: now lo, eth0. "
    down = only(check_interfaces(configured(), host_with(interface_is_up=lambda _: False)))
    assert as_text(down).startswith("warn interface eth0: eth0 is down")
    assert down.remedy == "ip link set eth0 up"


def test_offloads(host_with: Callable[..., Host], fake: FakeProc) -> None:
    host = host_with(offloads=lambda _: {"gro": True, "lro": False, "tso": True})
    found = only(check_offloads(configured(), host))
    assert as_text(found).startswith("warn offloads eth0: eth0 has gro, tso on")
    assert found.remedy.startswith("ethtool -K eth0 gro off tso off, or")
    off = configured("capture.offloads=off")
    assert only(check_offloads(off, host)).verdict is Verdict.OK
    fake.capabilities(13)
    found = only(check_offloads(off, host))
    assert as_text(found).startswith("fail offloads eth0: eth0 has gro, tso on, and without CAP_NE")
    everywhere = list(check_offloads(configured("capture.interfaces=any"), host))
    assert [finding.name for finding in everywhere] == ["offloads eth0"]


def test_offloads_that_nobody_can_read(host_with: Callable[..., Host]) -> None:
    def refused(name: str) -> dict[str, bool]:
        raise CaptureError(name, "its offloads cannot be read", remedy="have them reported only")

    found = only(check_offloads(configured(), host_with(offloads=refused)))
    assert as_text(found) == "warn offloads eth0: eth0: its offloads cannot be read. "


def test_filters(host: Host) -> None:
    try:
        bpf.load_libpcap()
    except OSError:
        pytest.skip("libpcap is not installed")
    real = Host()
    assert list(check_filter(configured(), real)) == []
    assert only(check_filter(configured("capture.filter=not port 1"), real)).verdict is Verdict.OK
    wrong = only(check_filter(configured("capture.filter=not a filter"), real))
    assert (wrong.verdict, wrong.name) == (Verdict.FAIL, "filter")
    assert wrong.remedy


def test_model_files(working: Config, host: Host, tmp_path: Path) -> None:
    signature, model = check_model(working, host)
    assert as_text(signature) == "ok signature: Not asked for: agent.public_key is not set. "
    assert model.sentence.startswith(f"{LAB_MODEL}: ")
    assert "scored 256 flows; threshold 0." in model.sentence
    assert model.sentence.endswith("(the model's own).")
    own = configured(f"agent.model={LAB_MODEL}", "detect.threshold=0.25")
    assert list(check_model(own, host))[1].sentence.endswith("threshold 0.250 (configured).")
    cut = tmp_path / "cut.tflite"
    cut.write_bytes(LAB_MODEL.read_bytes()[:-100])
    for path in (cut, tmp_path / "none.tflite", tmp_path):
        found = only(check_model(configured(f"agent.model={path}"), host))
        assert as_text(found).startswith(f"fail model: {path}")
        assert found.remedy


def test_signatures(host: Host, tmp_path: Path) -> None:
    pytest.importorskip("cryptography", reason="cryptography is not installed: edge-ids[signing]")
    key = PrivateKey.generate()
    public = key.save(tmp_path / "fleet.key")
    stranger = PrivateKey.generate().save(tmp_path / "stranger.key")
    signed = tmp_path / "signed.tflite"
    signed.write_bytes(key.signed(LAB_MODEL.read_bytes(), LAB_MODEL))

    def checked(model: Path, public_key: Path) -> list[str]:
        sets = (f"agent.model={model}", f"agent.public_key={public_key}")
        return [as_text(finding) for finding in check_model(configured(*sets), host)]

    first, second = checked(signed, public)
    assert first == f"ok signature: Signed by a key of {public}. "
    assert second.startswith("ok model: ")
    [unsigned] = checked(LAB_MODEL, public)
    assert unsigned.startswith(f"fail signature: {LAB_MODEL}: is not signed")
    [strange] = checked(signed, stranger)
    assert "is signed by the key" in strange
    [no_key] = checked(signed, tmp_path / "none.pub")
    assert no_key.startswith(f"fail signature: {tmp_path}/none.pub: cannot be read")


def test_clocks(host_with: Callable[..., Host]) -> None:
    config = configured()
    for now_s, year in ((0.0, "1970"), (-5.0, "1970"), (1.6e9, "2020"), (1e10, "2286")):
        found = only(check_clock(config, host_with(now_s=lambda now_s=now_s: now_s)))
        assert as_text(found).startswith(f"warn clock: It says {year}-")
    loose = only(check_clock(config, host_with(is_synchronised=lambda: False)))
    assert as_text(loose).startswith("warn clock: It says 2026-07-01 00:00 UTC, and no time servi")
    unknown = only(check_clock(config, host_with(is_synchronised=lambda: None)))
    assert as_text(unknown) == "ok clock: 2026-07-01 00:00 UTC. "


def test_the_kernel_says_whether_the_clock_is_kept() -> None:
    assert is_synchronised() in (True, False)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may be both")
def test_root_may_capture_and_nobody_may_not() -> None:
    # In a process of its own: privileges cannot be had back.
    script = (
        "import os; from edge_agent.checking.host import Host, may_capture\n"
        "for _ in range(2):\n"
        "    print(may_capture(), Host().has_capability(13)); os.setuid(65534)\n"
    )
    command = [sys.executable, "-c", script]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=env)
    assert done.stdout.split() == ["True", "True", "False", "False"]


def test_disks(working: Config, host_with: Callable[..., Host]) -> None:
    state = working.agent.state_dir
    full = only(check_disk(working, host_with(free_bytes=lambda _: 4_000_000)))
    assert as_text(full) == (
        f"fail disk: {state}: has 4 MB free, and alerts that wait need 4 MB."
        " make room, or lower mqtt.queue_limit"
    )
    scarce = only(check_disk(working, host_with(free_bytes=lambda _: 30_000_000)))
    assert as_text(scarce) == f"warn disk: {state}: has 30 MB free. make room"
    for path in (state / "none", LAB_MODEL):
        found = only(check_disk(configured(f"agent.state_dir={path}"), host_with()))
        assert as_text(found).startswith(f"fail disk: {path}: cannot be written (No")
    assert list(state.iterdir()) == []
    # Of the real file system there is something to say.
    assert Host().free_bytes(state) > 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root sets whose folder it is")
def test_the_disk_must_be_open_to_who_the_agent_becomes(working: Config, host: Host) -> None:
    state = working.agent.state_dir
    config = configured(f"agent.state_dir={state}", "agent.capture_user=nobody")
    nobody = host.user("nobody")
    assert nobody is not None
    state.chmod(0o750)
    os.chown(state, 0, 0)
    found = only(check_disk(config, host))
    assert "cannot be written (Permission denied to nobody)" in found.sentence
    os.chown(state, nobody.pw_uid, 0)
    assert only(check_disk(config, host)).verdict is Verdict.OK
    os.chown(state, 0, nobody.pw_gid)
    assert only(check_disk(config, host)).verdict is Verdict.FAIL
    state.chmod(0o770)
    assert only(check_disk(config, host)).verdict is Verdict.OK


FINDINGS = [
    Finding("clock", Verdict.OK, "2026-07-01 00:00 UTC."),
    Finding("interface eth0", Verdict.WARN, "eth0 is down: " + "word " * 30, "ip link set eth0 up"),
]


def test_the_report_for_people() -> None:
    lines = as_table(FINDINGS).splitlines()
    assert lines[0] == "ok    clock           2026-07-01 00:00 UTC."
    assert lines[1].startswith("warn  interface eth0  eth0 is down: word word")
    assert lines[2].startswith(" " * 22 + "word")
    assert lines[-1] == " " * 22 + "→ ip link set eth0 up"
    assert max(map(len, lines)) <= 100
    assert as_table([]) == ""


def test_the_report_for_programs() -> None:
    facts = json.loads(as_json(FINDINGS))
    assert facts["ok"] is True
    assert facts["findings"][1] == {
        "name": "interface eth0",
        "verdict": "warn",
        "sentence": FINDINGS[1].sentence,
        "remedy": "ip link set eth0 up",
    }
    failed = [*FINDINGS, Finding("disk", Verdict.FAIL, "Full.")]
    assert json.loads(as_json(failed))["ok"] is False
    assert (exit_code(FINDINGS), exit_code(failed)) == (0, 1)


def test_errors_become_findings() -> None:
    error = BrokerError("mqtt://x: nothing listens there; start the broker, or correct it.")
    finding = Finding.of_error("broker", error)
    assert finding.sentence == "mqtt://x: nothing listens there."
    assert finding.remedy == "start the broker, or correct it"
    assert as_text(Finding.of_error("broker", BrokerError("Odd."))) == "fail broker: Odd. "
