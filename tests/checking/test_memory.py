"""What the bounds need, against what there is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from edge_agent.checking import Verdict
from edge_agent.checking.memory import check_memory, memory_need
from edge_agent.config import Config
from edge_agent.config.boards import boards
from edge_agent.contract.profiles import PROFILES
from edge_agent.flow.rows import ROW
from tests.checking.conftest import as_text, configured, only

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_agent.checking import Host
    from tests.checking.conftest import FakeProc

MB = 1_000_000


def test_the_need_follows_the_bounds() -> None:
    one = memory_need(configured("meter.max_flows=10000", "meter.max_context_keys=1000"))
    assert (one.flows, one.context, one.rings) == (5 * MB, 900_000, 8 * 2**20)
    assert one.queues == 8192 * 1024 + 1000 * 4096
    assert one.total == one.base + one.flows + one.context + one.rings + one.queues
    two = memory_need(
        configured(
            "capture.threads=2",
            "capture.interfaces=eth0,eth1,eth2",
            "meter.max_flows=10000",
            "meter.max_context_keys=1000",
        )
    )
    assert (two.flows, two.context, two.rings) == (2 * one.flows, 2 * one.context, 6 * one.rings)


def test_a_row_is_not_larger_than_is_reckoned() -> None:
    row = ROW.itemsize + 8 * len(PROFILES["gateway"].columns)
    assert 768 <= row <= 1024


@pytest.mark.parametrize("name", boards())
def test_a_boards_bounds_fit_its_own_budget(name: str) -> None:
    config = Config.load(board=name, flags={"--interface": ("eth0",)})
    assert config.budget.memory_bytes is not None
    assert 0.6 <= memory_need(config).total / config.budget.memory_bytes <= 0.9


def test_what_there_is_decides(host: Host, fake: FakeProc) -> None:
    config = configured()
    need = memory_need(config).total
    assert as_text(only(check_memory(config, host))) == (
        f"ok memory: The bounds add up to {need / 1e6:.0f} MB;"
        " what this machine has available 1,024 MB. "
    )
    fake.available(need // 1024 + 10_000)
    assert "close to what this machine has available" in only(check_memory(config, host)).sentence
    fake.available(need // 1024 - 10)
    found = only(check_memory(config, host))
    assert found.verdict is Verdict.FAIL
    assert "above what this machine has available" in found.sentence
    assert found.remedy == "lower meter.max_flows, which takes 33 MB"
    (fake.proc / "meminfo").unlink()
    assert "what there is is not known" in only(check_memory(config, host)).sentence


def test_the_budget_is_kept(host: Host) -> None:
    config = configured("budget.memory_bytes=100000000", "capture.ring_bytes=67108864")
    found = only(check_memory(config, host))
    assert found.verdict is Verdict.FAIL
    assert "above the budget of budget.memory_bytes, 100 MB" in found.sentence
    assert found.remedy == "lower capture.ring_bytes, which takes 67 MB"


V1 = "9:name=systemd:/\n4:cpu,memory:/a/b\n0::/\n"


@pytest.mark.parametrize(
    ("groups", "limits", "expected"),
    [
        ("0::/a/b\n", {}, None),
        ("0::/a/b\n", {"a/b/memory.max": "max"}, None),
        ("0::/a/b\n", {"a/b/memory.max": "5000000"}, 5 * MB),
        ("0::/a/b\n", {"a/b/memory.max": "max", "a/memory.max": "4000000"}, 4 * MB),
        ("0::/a/b\n", {"a/b/memory.max": "5000000", "a/memory.max": "9000000"}, 5 * MB),
        # A container that sees only its own part of the tree.
        ("0::/../x\n", {"memory.max": "6000000"}, 6 * MB),
        ("0::/\n", {"memory.max": "7000000"}, 7 * MB),
        (V1, {"memory/a/b/memory.limit_in_bytes": "9223372036854771712"}, None),
        (V1, {"memory/a/b/memory.limit_in_bytes": "8000000"}, 8 * MB),
        (V1, {"memory/memory.limit_in_bytes": "3000000"}, 3 * MB),
        (V1, {"cpu/a/b/memory.limit_in_bytes": "3000000"}, None),
        ("0::/a\n", {"unified/a/memory.max": "2000000"}, 2 * MB),
    ],
)
def test_limits_of_control_groups(
    host_with: Callable[..., Host],
    fake: FakeProc,
    groups: str,
    limits: dict[str, str],
    expected: int | None,
) -> None:
    fake.groups(groups)
    for path, text in limits.items():
        fake.limit(path, text)
    assert host_with().memory_limit_bytes() == expected


def test_a_limit_is_a_limit(host: Host, fake: FakeProc) -> None:
    fake.groups("0::/edge.service\n")
    fake.limit("edge.service/memory.max", str(96 * 2**20))
    found = only(check_memory(configured(), host))
    assert found.verdict is Verdict.FAIL
    assert "above the limit of the control group, 101 MB" in found.sentence
