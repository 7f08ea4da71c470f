"""The parts of `soak` that decide, its traffic, and a few seconds of it."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from click.testing import CliRunner

from benchmarks.__main__ import main
from benchmarks.live.agent_process import MODEL
from benchmarks.live.network import missing, space
from benchmarks.soak import plan, report
from benchmarks.soak.judging import Heard, Slope, growth, heard, slope, targets
from benchmarks.soak.running import Load, lacking, messages, soak
from benchmarks.soak.sender import FLOOD_AT_S, SCAN_AT_S, scan_at_s

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from benchmarks.soak.plan import Stretch

NOISE = np.random.default_rng(6).normal(0, 100_000, 600)
TIMES = np.arange(600.0)


def slope_of(values: NDArray[np.float64]) -> Slope | None:
    return slope(TIMES.tolist(), values.tolist())


# --- memory ---


def test_the_slope_of_a_line() -> None:
    found = slope_of(5e7 + 2_000 * TIMES)
    assert found is not None
    assert found.per_s == pytest.approx(2_000)
    assert found.low == pytest.approx(2_000)


def test_noise_is_no_slope_and_a_leak_is_one() -> None:
    flat, leak = slope_of(5e7 + NOISE), slope_of(5e7 + NOISE + 1_000 * TIMES)
    assert flat is not None
    assert leak is not None
    assert flat.low < 0 < flat.high
    assert leak.low > 500
    assert leak.low < 1_000 < leak.high


def test_the_interval_holds_what_it_should() -> None:
    drawn = np.random.default_rng(7)
    held = 0
    for _ in range(400):
        found = slope_of(10 * TIMES + drawn.normal(0, 1_000, 600))
        assert found is not None
        held += found.low <= 10 <= found.high
    assert 0.92 < held / 400 < 0.98


def test_growth_is_of_the_last_tenth_against_the_second() -> None:
    values = [1.0] * 10 + [5.0] * 10 + [100.0] * 70 + [7.0] * 10
    assert growth(values) == 2.0


def test_few_readings_say_nothing() -> None:
    assert growth([1.0] * 9) is None
    assert slope(TIMES[:39].tolist(), NOISE[:39].tolist()) is None


# --- attacks ---


def attack(source: str, at: float, *, in_flood: bool = False) -> dict[str, Any]:
    return {"scan": source, "at": at, "in_flood": in_flood}


def test_the_first_message_about_a_source_counts() -> None:
    told = [
        (11.0, {"event": "update", "source": "10.66.0.2"}),
        (12.5, {"event": "new", "source": "10.66.0.2"}),
        (14.0, {"event": "new", "source": "10.66.0.2"}),
        (10.5, {"event": "new", "source": "10.1.0.1"}),
    ]
    found = heard([attack("10.66.0.2", 10.0), attack("10.66.0.3", 70.0, in_flood=True)], told)
    assert found == [Heard("10.66.0.2", False, 2.5), Heard("10.66.0.3", True, None)]


@pytest.mark.parametrize(
    ("late", "alive", "leak", "missed"),
    [
        ([2.0, 5.9], True, 0, []),
        ([2.0, 6.1], True, 0, [2]),
        ([2.0, None], True, 0, [1]),
        ([2.0], False, 0, [0]),
        ([2.0], True, 50_000, [3, 4]),
    ],
    ids=["all well", "late", "untold", "ended", "leak"],
)
def test_targets(late: list[float | None], alive: bool, leak: int, missed: list[int]) -> None:
    found = [Heard("10.66.0.2", False, one) for one in late]
    resident = (5e7 + NOISE + leak * TIMES).astype(int).tolist()
    held = targets(found, 1.0, TIMES.tolist(), resident, alive=alive)
    assert [number for number, one in enumerate(held) if one.verdict == "fail"] == missed


def test_messages_are_read_from_the_subscriber() -> None:
    text = (
        '12.5 edge-ids/a/incident/new {"event": "new", "source": "10.0.0.1"}\n'
        '13.0 edge-ids/a/stats {"uptime_s": 3}\n'
        "13.5 edge-ids/a/status online\n"
        '14.0 edge-ids/a/incident/new {"event": "new", "sou'
    )
    assert list(messages(text)) == [(12.5, {"event": "new", "source": "10.0.0.1"})]


# --- traffic ---


def flows_of(stretch: Stretch) -> Counter[bytes]:
    """Frames by their two ends, whichever way they go."""
    counts: Counter[bytes] = Counter()
    for offset in stretch.offsets:
        frame = stretch.data[offset : offset + 60].tobytes()
        ends = sorted([frame[26:30] + frame[34:36], frame[30:34] + frame[36:38]])
        counts[frame[23:24] + b"".join(ends)] += 1
    return counts


def test_everyday_conversations_are_flows_of_their_own() -> None:
    stretch = plan.everyday(5_000, 1_000, 1.0)
    assert Counter(flows_of(stretch).values()) == {7: 1_000}
    assert (np.diff(stretch.at_s) >= 0).all()
    assert stretch.at_s[-1] < 1.1
    more = flows_of(plan.everyday(6_000, 1_000, 1.0))
    assert not flows_of(stretch).keys() & more.keys()


def test_each_scan_has_a_source_of_its_own_and_asks_every_port_once() -> None:
    (first, stretch), (second, _) = plan.scan(1), plan.scan(2)
    assert first != second
    assert set(flows_of(stretch).values()) == {2}
    assert len(flows_of(stretch)) == plan.SCAN_PORTS


def test_every_second_scan_is_in_the_flood() -> None:
    assert [scan_at_s(minute) > FLOOD_AT_S + 10 for minute in range(4)] == [True, False] * 2
    assert scan_at_s(0) == SCAN_AT_S


# --- all of it ---


def test_a_few_seconds_of_it() -> None:
    reason = missing() or lacking()
    if reason:
        pytest.skip(reason)
    load = Load(minutes=0.05, flows_per_s=50, flood_per_s=100, flood_s=1.0)
    with space() as made:
        record = soak(made, MODEL, ("--board", "raspberry-pi-zero-2w"), load, lambda _: None)
    assert record.alive, record.log
    assert record.told[-1]["over"]
    assert record.told[-1]["sent"] > 500
    assert record.metrics["edge_ids_mqtt_connected"] == 1
    result = report.figures(record, [], load, 1.0)
    assert result["dropped"][-1] == 0
    assert "packets sent" in report.summary(result)


def test_help_has_an_example() -> None:
    said = CliRunner().invoke(main, ["soak", "--help"]).output
    assert "python -m benchmarks soak" in said
