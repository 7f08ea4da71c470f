"""A machine on which all is well, to be spoiled fact by fact; and a real broker."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from edge_agent.checking import Finding, Host
from edge_agent.config import Config
from edge_agent.contract.errors import CaptureError
from tests.agent.conftest import LAB_MODEL
from tests.alerting.conftest import mosquitto_at
from tests.alerting.test_mosquitto import certificates, guarded
from tests.config.conftest import no_configuration_of_this_machine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

__all__ = [
    "certificates",
    "guarded",
    "mosquitto_at",
    "no_configuration_of_this_machine",
]  # fixtures, for this folder too

# 2026-07-01
NOW_S = 1_782_864_000.0


def configured(*sets: str) -> Config:
    return Config.load(None, {"--set": ("capture.interfaces=eth0", *sets)}, {}, None)


@pytest.fixture
def working(tmp_path: Path) -> Config:
    """A configuration with nothing to complain of."""
    state = tmp_path / "state"
    state.mkdir(exist_ok=True)
    return configured(f"agent.model={LAB_MODEL}", f"agent.state_dir={state}")


def _no_offloads(name: str) -> dict[str, bool]:
    if name not in ("lo", "eth0"):
        raise CaptureError(name, "there is no such interface", remedy="see `ip link`")
    return {"gro": False, "lro": False}


class FakeProc:
    """A /proc and a /sys/fs/cgroup of files."""

    def __init__(self, folder: Path) -> None:
        self.proc = folder / "proc"
        self.cgroups = folder / "cgroup"
        (self.proc / "self").mkdir(parents=True)
        self.cgroups.mkdir()
        self.capabilities(6, 7, 12, 13)
        self.available(1_000_000)
        self.groups("0::/\n")

    def capabilities(self, *numbers: int) -> None:
        mask = sum(1 << number for number in numbers)
        text = f"Name:\tpython\nCapInh:\t0\nCapEff:\t{mask:016x}\nCapBnd:\t{2**40 - 1:016x}\n"
        (self.proc / "self" / "status").write_text(text)

    def available(self, kilobytes: int) -> None:
        text = f"MemTotal: 4000000 kB\nMemFree: 5 kB\nMemAvailable: {kilobytes:>9} kB\n"
        (self.proc / "meminfo").write_text(text)

    def groups(self, text: str) -> None:
        (self.proc / "self" / "cgroup").write_text(text)

    def limit(self, path: str, text: str) -> None:
        file = self.cgroups / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text + "\n")


@pytest.fixture
def fake(tmp_path: Path) -> FakeProc:
    return FakeProc(tmp_path)


@pytest.fixture
def host_with(fake: FakeProc) -> Callable[..., Host]:
    """Makes hosts: `host_with(user_id=lambda: 0)`."""
    well = Host(
        proc=fake.proc,
        cgroups=fake.cgroups,
        environ={},
        user_id=lambda: 1000,
        may_capture=lambda: True,
        now_s=lambda: NOW_S,
        is_synchronised=lambda: True,
        interface_names=lambda: ["lo", "eth0"],
        interface_exists=lambda name: name in ("lo", "eth0"),
        interface_is_up=lambda _: True,
        offloads=_no_offloads,
        compile_filter=lambda *_: None,
        free_bytes=lambda _: 10**9,
    )

    def make(**facts: Any) -> Host:
        return replace(well, **facts)

    return make


@pytest.fixture
def host(host_with: Callable[..., Host]) -> Host:
    return host_with()


def only(findings: Iterable[Finding]) -> Finding:
    [finding] = findings
    return finding


def as_text(finding: Finding) -> str:
    return f"{finding.verdict.value} {finding.name}: {finding.sentence} {finding.remedy}"
