"""Stamps that lie: counted, never fatal, and never to the harm of another flow."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from edge_agent.contract.profiles import PROFILES
from edge_agent.flow.reference import ReferenceMeter, meter
from edge_agent.flow.timeline import FAR_US
from tests.flow.test_gateway import SYN, back, decode, forth

if TYPE_CHECKING:
    from edge_agent.flow.rows import FlowRow
    from tests.packets import Segment

S = 1_000_000
NOW = 1_700_000_000 * S
YEAR = 365 * 86_400 * S

CALM = [
    replace(SYN, time_us=NOW),
    back(SYN, NOW + 1 * S, "SA"),
    forth(SYN, NOW + 2 * S, "PA", 10),
    back(SYN, NOW + 3 * S, "PA", 10),
]
OTHER = replace(SYN, source="10.0.0.77", time_us=NOW)


def run(engine: ReferenceMeter, segments: list[Segment]) -> list[FlowRow]:
    rows = [row for segment in segments for row in engine.add(decode(segment))]
    return [*rows, *engine.flush()]


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("off_us", [-10 * YEAR, -FAR_US - 4 * S, FAR_US + 2 * S, 50 * YEAR])
def test_a_stray_is_left_out_and_harms_nobody(profile: str, off_us: int) -> None:
    expected = run(meter(PROFILES[profile]), CALM)
    engine = meter(PROFILES[profile])
    stray = replace(OTHER, time_us=max(NOW + off_us, 0))
    assert run(engine, [*CALM[:2], stray, *CALM[2:]]) == expected
    assert (engine.timeline.strays, engine.timeline.jumps) == (1, 0)


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("off_us", [-10 * YEAR, 50 * YEAR])
def test_a_jump_that_stays_is_followed(profile: str, off_us: int) -> None:
    engine = meter(PROFILES[profile])
    moved = [replace(segment, time_us=segment.time_us + off_us) for segment in CALM]
    rows = run(engine, [*CALM, *moved])
    assert engine.timeline.jumps == 1
    assert engine.timeline.strays == 0
    assert [row.start_us for row in rows] == [CALM[0].time_us, moved[0].time_us]
    assert rows[0].values[:40] == rows[1].values[:40]
    assert engine.now_us == moved[-1].time_us


def test_after_a_jump_back_the_neighbourhood_is_forgotten() -> None:
    engine = meter(PROFILES["gateway"])
    busy = [replace(SYN, time_us=NOW + i, source_port=1000 + i) for i in range(100)]
    moved = [replace(segment, time_us=segment.time_us - YEAR) for segment in CALM]
    rows = run(engine, [*busy, *moved])
    flows_60s = PROFILES["gateway"].columns.index("Src Flows 60s")
    assert rows[-1].values[flows_60s] < 1.1


@pytest.mark.parametrize("profile", PROFILES)
def test_a_silent_network_loses_no_packet(profile: str) -> None:
    engine = meter(PROFILES[profile])
    hourly = [replace(segment, time_us=NOW + i * 3600 * S) for i, segment in enumerate(CALM * 3)]
    packets = PROFILES[profile].columns.index(PROFILES[profile].features[2].name)
    rows = run(engine, hourly)
    assert engine.timeline.strays == 0
    if profile != "cic2017":  # which writes no rows of one packet
        assert sum(row.values[packets] + row.values[packets + 1] for row in rows) == len(hourly)


def test_packets_that_overtake_each_other_are_counted() -> None:
    engine = meter(PROFILES["improved"])
    run(engine, [*CALM, replace(OTHER, time_us=NOW + 1)])
    assert (engine.timeline.disorder, engine.timeline.strays) == (1, 0)
