"""The tools run nowhere but in the lab, and the machine is asked before anything is built."""

from __future__ import annotations

import os
import subprocess
import sys
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest
from click.testing import CliRunner

from benchmarks.lab import preflight, session
from benchmarks.lab.campaigns import OWN_TOOLS
from benchmarks.lab.cli import lab
from benchmarks.lab.errors import LabError, PlanError, PreflightError
from benchmarks.lab.jail import Jail, password_hash
from benchmarks.lab.namespaces import hardware_address, namespace
from benchmarks.lab.tools import guard
from tests.lab.house import house_plan

ROOT = Path(__file__).resolve().parents[2]
# Arguments with which each tool would start its work at once.
TOOL_ARGUMENTS = {
    "tools.mqtt_guess": ["127.0.0.1", "--users", "u", "--passwords", "p", "--count", "1"],
    "tools.mqtt_flood": ["127.0.0.1", "--count", "1"],
    "tools.telnet_guess": ["127.0.0.1", "--users", "u", "--passwords", "p", "--count", "1"],
    "tools.mirai_scan": ["127.0.0.0/24", "--own", "127.0.0.1", "--count", "1"],
    "tools.spoofed_flood": ["127.0.0.1", "--sources", "127.0.0.0/24", "--count", "1"],
    "tools.chatter": ["video", "127.0.0.1", "9", "0.1"],
}


def start(module: str, arguments: list[str], **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a module of the lab outside of it."""
    return subprocess.run(
        (sys.executable, "-m", f"benchmarks.lab.{module}", *arguments),
        cwd=ROOT,
        env=os.environ | variables,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_every_tool_is_tried() -> None:
    assert set(OWN_TOOLS.values()) <= set(TOOL_ARGUMENTS)
    helpers = {"tools.guard", "tools.mqtt", "tools.telnet", "tools.__init__"}
    found = {f"tools.{path.stem}" for path in (ROOT / "benchmarks/lab/tools").glob("*.py")}
    assert found - helpers == set(TOOL_ARGUMENTS)


@pytest.mark.parametrize("module", sorted(TOOL_ARGUMENTS))
def test_a_tool_refuses_to_run_outside_the_lab(module: str) -> None:
    done = start(module, TOOL_ARGUMENTS[module])
    assert done.returncode == 1
    assert done.stderr == (
        "refused: this program runs only inside a network namespace of the lab\n"
    )


@pytest.mark.parametrize("name", ["", "other", "ids-no-such-space", "ids-", "../self"])
def test_a_variable_alone_opens_nothing(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(guard.NAMESPACE_VARIABLE, name)
    monkeypatch.setenv(guard.NETWORKS_VARIABLE, "0.0.0.0/0")
    with pytest.raises(SystemExit, match="refused: this program runs only inside"):
        guard.require_lab([])


class Folder:
    """Stands for pathlib.Path, with /run/netns in a folder of the test's own."""

    def __init__(self, spaces: Path) -> None:
        self.spaces = spaces

    def __call__(self, text: str) -> Path:
        """The path itself, but for that one folder."""
        return self.spaces if text == "/run/netns" else Path(text)


@pytest.fixture
def spaces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(guard, "Path", Folder(tmp_path))
    monkeypatch.setenv(guard.NAMESPACE_VARIABLE, "ids-house-camera")
    monkeypatch.setenv(guard.NETWORKS_VARIABLE, "10.1.0.0/24,198.18.0.0/16")
    return tmp_path


def test_another_namespace_is_not_enough(spaces: Path) -> None:
    (spaces / "ids-house-camera").touch()
    with pytest.raises(SystemExit, match="not in the lab's namespace ids-house-camera"):
        guard.require_lab([])


@pytest.mark.parametrize(
    ("target", "fine"),
    [
        (IPv4Address("10.1.0.9"), True),
        (IPv4Network("198.18.0.0/16"), True),
        (IPv4Network("198.18.3.0/24"), True),
        (IPv4Address("10.1.1.0"), False),
        (IPv4Network("198.18.0.0/15"), False),
        (IPv4Network("0.0.0.0/0"), False),
        (IPv4Address("8.8.8.8"), False),
    ],
)
def test_targets_must_be_the_labs(
    spaces: Path, target: IPv4Address | IPv4Network, fine: bool
) -> None:
    (spaces / "ids-house-camera").symlink_to("/proc/self/ns/net")
    if fine:
        guard.require_lab([target])
        return
    with pytest.raises(SystemExit, match="is not an address of the lab"):
        guard.require_lab([IPv4Address("10.1.0.9"), target])


def test_missing_programs_are_named_with_their_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name, path: None if name == "dig" else "/bin/x")
    with pytest.raises(PreflightError) as caught:
        preflight.check()
    assert str(caught.value) == (
        "these programs are missing: dig; "
        "run: apt-get install --no-install-recommends bind9-dnsutils"
    )


def test_an_ordinary_user_is_told_to_use_sudo(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name, path: "/bin/x")
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(PreflightError, match="need root: run the same command with sudo"):
        preflight.check()


@pytest.mark.parametrize("code", [0, 1])
def test_a_kernel_without_namespaces_is_told_of(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    asked: list[tuple[str, ...]] = []

    def answer(command: tuple[str, ...], **_: object) -> subprocess.CompletedProcess[str]:
        asked.append(command[:3])
        return subprocess.CompletedProcess(command, code, "", "Operation not permitted\n")

    monkeypatch.setattr("shutil.which", lambda name, path: "/bin/x")
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr("subprocess.run", answer)
    if code:
        with pytest.raises(PreflightError, match=r"\(Operation not permitted\); use a machine"):
            preflight.check()
        assert asked == [("ip", "netns", "add")]
    else:
        preflight.check()
        assert asked == [("ip", "netns", "add"), ("ip", "netns", "delete")]


def test_the_readme_installs_every_program() -> None:
    readme = (ROOT / "benchmarks" / "lab" / "README.md").read_text()
    line = readme.partition(preflight.REMEDY)[2].partition("```")[0]
    assert set(line.replace("\\", "").split()) == set(preflight.PROGRAMS.values())


@pytest.mark.parametrize("unsafe", [True, False])
def test_nothing_is_built_when_the_plan_or_the_machine_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unsafe: bool
) -> None:
    monkeypatch.setattr(session, "Network", None)
    monkeypatch.setattr("shutil.which", lambda name, path: None)
    house_plan(tmp_path, ("-c 100", "-c 99999" if unsafe else "-c 99"))
    kind = PlanError if unsafe else PreflightError
    with pytest.raises(kind):
        session.record(tmp_path / "plan.toml", tmp_path / "out", None, print)
    assert issubclass(kind, LabError)
    command = ["record", str(tmp_path / "plan.toml"), "--output", str(tmp_path / "out")]
    done = CliRunner().invoke(lab, command)
    assert done.exit_code == 1
    assert done.output.startswith("Error: ")
    assert not (tmp_path / "out").exists()


def test_programs_start_inside_their_namespace_and_jail(tmp_path: Path) -> None:
    plan = house_plan(tmp_path)
    jail = Jail(plan, tmp_path)
    space = namespace("house", "camera")
    assert jail.command("camera", "nmap")[:5] == ["ip", "netns", "exec", space, "sh"]
    environment = jail.environment("camera")
    assert environment[guard.NAMESPACE_VARIABLE] == space
    assert environment[guard.NETWORKS_VARIABLE] == "10.1.0.0/24,192.0.2.0/24,198.18.0.0/16"
    assert space.startswith(guard.NAMESPACE_PREFIX)


def test_hardware_addresses_are_stable_local_and_different(tmp_path: Path) -> None:
    plan = house_plan(tmp_path)
    found = [hardware_address(plan, name) for name in plan.addresses]
    assert len(set(found)) == len(found)
    assert all(len(mac) == 17 and mac.startswith("02:") for mac in found)
    assert found == [hardware_address(plan, name) for name in plan.addresses]


@pytest.fixture
def real_space() -> str:
    """A network namespace of this test's own; skips where none can be made."""
    if os.geteuid() != 0:
        pytest.skip("network namespaces need root")
    name = f"{guard.NAMESPACE_PREFIX}test-{os.getpid()}"
    try:
        made = subprocess.run(
            ("ip", "netns", "add", name), capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        pytest.skip("the program `ip` of iproute2 is missing")
    if made.returncode:
        pytest.skip(f"this machine allows no network namespaces: {made.stderr.strip()}")
    return name


def test_in_a_namespace_a_tool_asks_for_its_target(real_space: str) -> None:
    try:
        variables = {
            guard.NAMESPACE_VARIABLE: real_space,
            guard.NETWORKS_VARIABLE: "10.1.0.0/24",
        }
        outside = start("tools.mqtt_flood", ["10.1.0.2", "--count", "1"], **variables)
        assert "this process is not in the lab's namespace" in outside.stderr
        inside = subprocess.run(
            ("ip", "netns", "exec", real_space, sys.executable, "-m",
             "benchmarks.lab.tools.mqtt_flood", "8.8.8.8", "--count", "1"),
            cwd=ROOT, env=os.environ | variables, capture_output=True, text=True, timeout=60,
            check=False,
        )  # fmt: skip
        assert inside.stderr == "refused: 8.8.8.8 is not an address of the lab\n"
    finally:
        subprocess.run(("ip", "netns", "delete", real_space), check=True)


def test_passwords_are_hashed_as_login_programs_read_them() -> None:
    if not any((Path(folder) / "openssl").exists() for folder in os.get_exec_path()):
        pytest.skip("the program `openssl` is missing")
    hashed = password_hash("secret")
    assert hashed.startswith("$6$")
    assert hashed != password_hash("secret")  # salted
