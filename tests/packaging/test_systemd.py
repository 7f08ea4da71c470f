"""The units: accepted by systemd, hardened, and no harder than the interpreter can bear."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

_CHECKOUT = Path(__file__).resolve().parents[2]
_UNITS = _CHECKOUT / "firmware_configs" / "systemd"
_MODEL = _CHECKOUT / "tests" / "agent" / "data" / "lab-a.tflite"
_CAPTURE = _CHECKOUT / "benchmarks" / "lab" / "sessions" / "session-c" / "capture.pcap.gz"
# What the project promises; systemd-analyze takes tenths.
_LARGEST_EXPOSURE = 2.5

needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is missing (Debian: systemd)"
)

# PR_SET_MDWE, what MemoryDenyWriteExecute= asks of Linux 6.3 and later; 77 where it is older.
_WITHOUT_WRITABLE_CODE = """\
import ctypes, mmap, sys
if ctypes.CDLL(None).prctl(65, 1, 0, 0, 0):
    sys.exit(77)
try:
    mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
except PermissionError:
    pass
else:
    sys.exit("memory can still be writable and executable")
from edge_agent.cli import main
main()
"""


def settings(unit: Path) -> list[tuple[str, str]]:
    """Every NAME=VALUE of a unit, in order."""
    lines = (line for line in unit.read_text(encoding="utf-8").splitlines() if "=" in line)
    pairs = (line.partition("=") for line in lines if not line.startswith("#"))
    return [(name, value) for name, _, value in pairs]


@needs_systemd
def test_systemd_accepts_the_units(tmp_path: Path) -> None:
    # The agent is not installed here; a program that is takes its place.
    for unit in _UNITS.iterdir():
        text = unit.read_text(encoding="utf-8").replace("/usr/bin/edge-agent", "/bin/true")
        (tmp_path / unit.name).write_text(text, encoding="utf-8")
    units = sorted(path for path in tmp_path.iterdir() if path.suffix in {".service", ".timer"})
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *map(str, units)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert len(units) == 2


@needs_systemd
def test_the_service_is_hardened() -> None:
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", str(_UNITS / "edge-agent.service")],
        capture_output=True,
        text=True,
        env={"SYSTEMD_COLORS": "0", "LC_ALL": "C.UTF-8", "PATH": "/usr/bin:/bin"},
        check=True,
    )
    exposure = re.search(r"Overall exposure level for edge-agent.service: ([0-9.]+)", done.stdout)
    assert exposure is not None
    assert float(exposure[1]) <= _LARGEST_EXPOSURE


def test_one_capability_and_no_more() -> None:
    found = settings(_UNITS / "edge-agent.service")
    capabilities = {name: value for name, value in found if "Capabilit" in name}
    assert capabilities == {
        "AmbientCapabilities": "CAP_NET_RAW",
        "CapabilityBoundingSet": "CAP_NET_RAW",
    }


def test_the_service_and_its_timer_name_each_other() -> None:
    service = dict(settings(_UNITS / "edge-agent.service"))
    timer = dict(settings(_UNITS / "edge-agent-retry.timer"))
    assert service["OnFailure"] == "edge-agent-retry.timer"
    assert timer["Unit"] == timer["PartOf"] == "edge-agent.service"
    # A try while the limit still counts would be refused, and nobody would try again.
    assert timer["OnActiveSec"] == "5min"
    assert int(service["StartLimitIntervalSec"]) < 5 * 60


def test_quick_restarts_reach_the_limit() -> None:
    """Otherwise a configuration that fails at once would be tried every two seconds, for ever."""
    service = dict(settings(_UNITS / "edge-agent.service"))
    longest_check_s = 20
    tries_s = int(service["StartLimitBurst"]) * (int(service["RestartSec"]) + longest_check_s)
    assert tries_s <= int(service["StartLimitIntervalSec"])


def test_user_and_folders_are_those_of_the_unit() -> None:
    service = dict(settings(_UNITS / "edge-agent.service"))
    user = service["User"]
    assert service["Group"] == user
    sysusers = (_CHECKOUT / "firmware_configs/sysusers.d/edge-ids.conf").read_text("utf-8")
    assert re.search(rf"^u {user} - ", sysusers, re.MULTILINE)
    tmpfiles = (_CHECKOUT / "firmware_configs/tmpfiles.d/edge-ids.conf").read_text("utf-8")
    state = f"/var/lib/{service['StateDirectory']}"
    assert re.search(rf"^d {state} 0750 {user} {user} -$", tmpfiles, re.MULTILINE)
    assert state in sysusers


def test_a_capture_is_replayed_without_writable_code() -> None:
    """MemoryDenyWriteExecute=: numpy, ctypes and the interpreter's kernels get along with it."""
    replay = ("replay", str(_CAPTURE), "--model", str(_MODEL))
    done = subprocess.run(
        [sys.executable, "-c", _WITHOUT_WRITABLE_CODE, *replay],
        capture_output=True,
        text=True,
        cwd=_CHECKOUT,
        check=False,
    )
    if done.returncode == 77:
        pytest.skip("this kernel has no PR_SET_MDWE (Linux 6.3)")
    assert done.returncode == 0, done.stderr
    assert " 0 unscored" in done.stderr
