"""Replays of captures that no training data resembles: another IP version, a clock that jumps."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from edge_agent.contract.alerts import Alert
from tests.agent.conftest import LAB_MODEL
from tests.agent.mixed_traffic import ipv6
from tests.agent.test_commands import scan
from tests.packets import pcap, write_capture

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.agent.conftest import Result

    EdgeAgent = Callable[..., Result]

YEAR_US = 365 * 86_400 * 1_000_000


def replayed(edge_agent: EdgeAgent, capture: Path) -> list[Alert]:
    done = edge_agent("replay", capture, "--model", LAB_MODEL)
    assert done.returncode == 0, done.stderr
    return [Alert.from_json(line) for line in done.stdout.splitlines()]


def test_alerts_over_ipv6_say_that_the_model_has_not_learned_it(
    edge_agent: EdgeAgent, tmp_path: Path
) -> None:
    path = tmp_path / "scan6.pcap"
    path.write_bytes(pcap((segment.time_us, ipv6(segment)) for segment in scan(300)))
    alerts = replayed(edge_agent, path)
    assert alerts
    assert {alert.source for alert in alerts} == {"fd00::42"}
    assert all("not been trained on" in alert.explanation for alert in alerts)


def test_a_clock_set_back_ends_what_is_known_and_begins_anew(
    edge_agent: EdgeAgent, tmp_path: Path
) -> None:
    first = scan(300)
    again = [replace(segment, time_us=segment.time_us - YEAR_US) for segment in first]
    alerts = replayed(edge_agent, write_capture(tmp_path / "twice.pcap", [*first, *again]))
    ended = [alert for alert in alerts if alert.event == "end"]
    assert len({alert.id for alert in alerts}) == 2
    assert [alert.time_us < first[0].time_us for alert in ended] == [False, True]
    assert ended[0].explanation.endswith("the clock was set back")


def test_a_stray_stamp_changes_no_alert(edge_agent: EdgeAgent, tmp_path: Path) -> None:
    calm = scan(300)
    stray = replace(calm[100], time_us=calm[100].time_us + 40 * YEAR_US, source="10.0.0.99")
    expected = replayed(edge_agent, write_capture(tmp_path / "calm.pcap", calm))
    spoiled = [*calm[:101], stray, *calm[101:]]
    assert replayed(edge_agent, write_capture(tmp_path / "stray.pcap", spoiled)) == expected
