"""The `gateway` profile: rows in seconds, the same however packets come, in bounded memory."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.contract.features import CONTEXT, IMPROVED
from edge_agent.contract.profiles import PROFILES
from edge_agent.flow.packets import Packet, PacketReader
from edge_agent.flow.reference import meter
from tests.packets import Segment

if TYPE_CHECKING:
    from collections.abc import Iterable

    from edge_agent.flow.rows import FlowRow

GATEWAY = PROFILES["gateway"]
S = 1_000_000

SYN = Segment(0, "10.0.0.2", 40000, "10.0.0.1", 22, "S")


def decode(segment: Segment) -> Packet:
    frame = segment.frame()
    packet = PacketReader().decode(segment.time_us, 1, frame, len(frame))
    assert packet is not None
    return packet


def back(segment: Segment, time_us: int, flags: str, payload: int = 0) -> Segment:
    return replace(
        segment,
        time_us=time_us,
        source=segment.destination,
        source_port=segment.destination_port,
        destination=segment.source,
        destination_port=segment.source_port,
        flags=flags,
        payload=payload,
    )


def forth(segment: Segment, time_us: int, flags: str, payload: int = 0) -> Segment:
    return replace(segment, time_us=time_us, flags=flags, payload=payload)


def handshake(segment: Segment = SYN) -> list[Segment]:
    t = segment.time_us
    return [segment, back(segment, t + 10, "SA"), forth(segment, t + 20, "A")]


def run(segments: Iterable[Segment], until_us: int | None = None) -> list[FlowRow]:
    engine = meter(GATEWAY)
    rows: list[FlowRow] = []
    for segment in segments:
        rows += engine.add(decode(segment))
    return rows + (engine.advance(until_us) if until_us is not None else [])


def column(row: FlowRow, name: str) -> float:
    return row.values[GATEWAY.columns.index(name)]


def test_has_the_columns_of_improved_and_then_context() -> None:
    assert GATEWAY.features == (*IMPROVED, *CONTEXT)
    (row,) = run([SYN], until_us=60 * S)
    assert len(row.values) == len(GATEWAY.features)


def test_counters_equal_the_improved_profile_where_a_flow_is_not_cut() -> None:
    segments = [
        *handshake(),
        forth(SYN, 1000, "PA", 100),
        back(SYN, 2000, "PA", 50),
        forth(SYN, 3000, "FA"),
        back(SYN, 4000, "FA"),
        forth(SYN, 5000, "A"),
    ]
    improved = meter(PROFILES["improved"])
    for segment in segments:
        improved.add(decode(segment))
    (expected,) = improved.flush()
    (found,) = run(segments, until_us=10 * S)
    assert found.values[: len(IMPROVED)] == expected.values


@pytest.mark.parametrize(
    ("segments", "released_us"),
    [
        pytest.param([SYN], 3 * S, id="no answer: 3 s"),
        pytest.param(handshake(), 15 * S + 20, id="silence: 15 s"),
        pytest.param([SYN, back(SYN, 50, "RA")], 1 * S + 50, id="RST: 1 s"),
        pytest.param(
            [*handshake(), forth(SYN, 30, "FA"), back(SYN, 40, "FA"), forth(SYN, 50, "A")],
            1 * S + 50,
            id="teardown: 1 s",
        ),
    ],
)
def test_a_row_is_given_out_as_soon_as_it_can_be(segments: list[Segment], released_us: int) -> None:
    assert run(segments, until_us=released_us) == []
    (row,) = run(segments, until_us=released_us + 1)
    assert row.released_us == released_us


def test_a_retransmitted_syn_stays_in_its_flow() -> None:
    (row,) = run([SYN, forth(SYN, 1 * S, "S"), forth(SYN, 3 * S, "S")], until_us=20 * S)
    assert column(row, "SYN Flag Count") == 3


def test_a_closed_flow_absorbs_late_packets_and_a_syn_opens_the_next() -> None:
    reset = [SYN, back(SYN, 50, "RA")]
    late = forth(SYN, 60, "A")
    again = forth(SYN, 70, "S")
    rows = run([*reset, late, again], until_us=30 * S)
    assert [column(row, "Total Fwd Packet") for row in rows] == [2, 1]
    assert rows[0].released_us == 70


def test_a_long_life_is_cut_every_minute_and_keeps_its_direction() -> None:
    pings = [back(SYN, t * S, "PA", 10) for t in range(10, 130, 10)]
    rows = run([*handshake(), *pings], until_us=300 * S)
    assert [row.released_us for row in rows] == [60 * S, 130 * S]
    assert {row.source_address for row in rows} == {SYN.source}
    assert sum(column(row, "Total Bwd packets") for row in rows) == 1 + len(pings)


def test_a_cut_flow_is_one_flow_in_the_context() -> None:
    pings = [back(SYN, t * S, "PA", 10) for t in range(10, 130, 10)]
    rows = run([*handshake(), *pings], until_us=300 * S)
    begun = [column(row, "Src Flows 60s") for row in rows]
    assert begun == sorted(begun, reverse=True)  # it only fades: nothing new has begun
    assert begun[0] < 1


def test_a_flow_seen_midway_has_its_lower_port_as_service() -> None:
    (row,) = run([back(SYN, 0, "PA", 10)], until_us=60 * S)
    assert (row.destination_address, row.destination_port) == ("10.0.0.1", 22)
    assert column(row, "Total Bwd packets") == 1


def test_context_sees_a_scan_and_not_its_quiet_neighbour() -> None:
    scan = [replace(SYN, time_us=i * 10_000, destination_port=1000 + i) for i in range(100)]
    quiet = replace(SYN, time_us=1_000_000, source="10.0.0.9", destination="10.0.0.8")
    rows = run([*scan, quiet], until_us=10 * S)
    last, other = rows[-2], rows[-1]
    assert column(last, "Src Flows 10s") > 60
    assert column(last, "Src Ports") == pytest.approx(100, rel=0.1)
    assert column(last, "Src Peers") == 1
    assert column(last, "Src Unanswered") == 1
    assert column(last, "Src Eighth Ago") < 4 * S
    assert column(last, "Service Flows 10s") < 1
    assert column(other, "Src Flows 10s") < 1
    assert column(other, "Src Eighth Ago") == 600 * S


def test_the_table_is_bounded_and_says_what_it_evicted() -> None:
    engine = meter(GATEWAY, max_flows=100, max_context_keys=50)
    rows: list[FlowRow] = []
    for i in range(1000):
        rows += engine.add(decode(replace(SYN, time_us=i, source=f"10.1.{i // 250}.{i % 250}")))
    assert engine.flows == 100
    assert engine.evicted == {"single": 900}
    assert engine.context is not None
    assert all(len(table) <= 50 for table in engine.context._tables)
    rows += engine.flush()
    assert len(rows) == 1000
    assert not any(engine._waiting.values())


def test_what_loses_least_is_evicted_first() -> None:
    other = replace(SYN, source_port=1)
    answered = [replace(other, time_us=1), back(other, 2, "SA")]
    closed = [replace(SYN, time_us=3, source_port=2), back(replace(SYN, source_port=2), 4, "RA")]
    one_way = [replace(SYN, time_us=t, source_port=3) for t in (5, 6)]
    single = [replace(SYN, time_us=7, source_port=4)]
    pushing = [replace(SYN, time_us=8 + i, source_port=100 + i, flags="SA") for i in range(4)]
    engine = meter(GATEWAY, max_flows=4)
    rows: list[FlowRow] = []
    for segment in (*answered, *closed, *one_way, *single, *pushing):
        rows += engine.add(decode(segment))
    assert [row.source_port for row in rows] == [2, 4, 3, 1]
    assert list(engine.evicted) == ["closed", "single", "unanswered", "answered"]


@pytest.mark.parametrize("name", ["cic2017", "improved"])
def test_a_complete_row_is_evicted_before_a_running_one(name: str) -> None:
    first = [SYN, back(SYN, 10, "SA")]
    later = replace(SYN, time_us=121 * S, source_port=1)
    last = replace(SYN, time_us=122 * S, source_port=2)
    engine = meter(PROFILES[name], max_flows=2)
    rows = [row for segment in (*first, later, last) for row in engine.add(decode(segment))]
    assert [row.source_port for row in rows] == [40000]
    assert engine.evicted == {"complete": 1}


segments = st.builds(
    Segment,
    time_us=st.integers(0, 200 * S),
    source=st.sampled_from(["10.0.0.1", "10.0.0.2", "10.0.0.3"]),
    source_port=st.sampled_from([22, 80, 40000]),
    destination=st.sampled_from(["10.0.0.1", "10.0.0.2", "10.0.0.3"]),
    destination_port=st.sampled_from([22, 80, 40000]),
    flags=st.sampled_from(["S", "SA", "A", "PA", "FA", "R", "RA", "", "FPU"]),
    payload=st.integers(0, 100),
    protocol=st.sampled_from([6, 17]),
)


@given(st.lists(segments, max_size=60), st.lists(st.integers(0, 250 * S), max_size=20))
def test_ticks_between_packets_change_nothing_and_no_packet_is_lost(
    drawn: list[Segment], ticks: list[int]
) -> None:
    drawn.sort(key=lambda segment: segment.time_us)
    plain = meter(GATEWAY)
    ticked = meter(GATEWAY)
    expected: list[FlowRow] = []
    found: list[FlowRow] = []
    times = sorted(ticks)
    for segment in drawn:
        expected += plain.add(decode(segment))
        while times and times[0] <= segment.time_us:
            found += ticked.advance(times.pop(0))
        found += ticked.add(decode(segment))
    expected += plain.flush()
    found += ticked.flush()
    assert found == expected
    packets = sum(
        column(row, "Total Fwd Packet") + column(row, "Total Bwd packets") for row in found
    )
    assert packets == len(drawn)
