"""Bounded sets and running totals."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.alerting.tally import AddressSet, PortSet, Tally, Verdict, explain, severity
from edge_agent.contract.alerts import FAMILIES

PORTS = st.lists(st.integers(0, 65_535), max_size=400)


@given(PORTS, PORTS, st.integers(0, 50))
def test_port_set_is_a_set(first: list[int], second: list[int], count: int) -> None:
    ports, other = PortSet(), PortSet()
    for port in first:
        ports.add(port)
    for port in second:
        other.add(port)
    ports.merge(other)
    expected = sorted(set(first) | set(second))
    assert len(ports) == len(expected)
    assert ports.lowest(count) == tuple(expected[:count])
    assert ports.lowest(65_536) == tuple(expected)


@given(st.lists(st.text(max_size=2)), st.lists(st.text(max_size=2)))
def test_address_set_keeps_the_first_and_says_when_full(
    first: list[str], second: list[str]
) -> None:
    addresses, other = AddressSet(5), AddressSet(7)
    for text in first:
        addresses.add(text)
    for text in second:
        other.add(text)
    addresses.merge(other)
    distinct = list(dict.fromkeys(first + second))
    assert addresses.first(5) == tuple(distinct[:5])
    assert addresses.overflowed == (len(distinct) > 5)


VERDICTS = st.builds(
    Verdict,
    time_us=st.integers(1000, 2000),
    start_us=st.integers(0, 1000),
    source=st.sampled_from(["a", "b"]),
    destination=st.sampled_from(["c", "d", "e"]),
    destination_port=st.integers(0, 65_535),
    protocol=st.sampled_from([1, 6, 17]),
    score=st.sampled_from([0.5, 0.75, 1.0]),
    family=st.sampled_from(FAMILIES),
    answered=st.sampled_from([None, True, False]),
)


@given(st.lists(VERDICTS, min_size=1), st.integers(0, 20))
def test_merged_tallies_equal_one(verdicts: list[Verdict], cut: int) -> None:
    parts = []
    for chunk in (verdicts[:cut], verdicts[cut:]):
        part = Tally(9, 9)
        for verdict in chunk:
            part.add(verdict)
        parts.append(part)
    whole = Tally(9, 9)
    for verdict in verdicts:
        whole.add(verdict)
    merged = Tally.of(parts, 9, 9)
    assert explain(merged, None) == explain(whole, None)
    assert merged.flows == len(verdicts)
    assert merged.mean_score == whole.mean_score
    assert merged.first_seen_us == min(verdict.start_us for verdict in verdicts)
    assert merged.last_seen_us == max(verdict.time_us for verdict in verdicts)
    assert merged.protocol == whole.protocol
    assert merged.family == whole.family
    assert merged.families == whole.families


@given(st.lists(st.sampled_from(FAMILIES)))
def test_the_family_is_what_most_flows_look_like(families: list[str]) -> None:
    total = Tally(1, 1)
    for family in families:
        total.add(Verdict(0, 0, "a", "b", 80, 6, 1.0, family))
    votes = Counter(families)
    most = max(votes.values(), default=0)
    assert votes[total.family] == most
    # In a draw a name says more than none.
    if total.family == "unknown" and families:
        assert [family for family in votes if votes[family] == most] == ["unknown"]


@pytest.mark.parametrize("family", FAMILIES)
def test_explanations_name_the_family(family: str) -> None:
    total = Tally(1, 1)
    total.add(Verdict(0, 0, "a", "b", 80, 6, 1.0, family))
    assert explain(total, "a").startswith("looks like ") == (family != "unknown")


def tally(flows: int, seconds: float, score: float, hosts: int = 1) -> Tally:
    total = Tally(1, 100)
    for index in range(flows):
        time_us = int(seconds * 1e6 * index / max(flows - 1, 1))
        total.add(Verdict(time_us, time_us, "a", str(index % hosts), 80, 6, score))
    return total


def test_severity_rule() -> None:
    assert severity(tally(3, 30, 0.6), many_sources=False) == "low"
    assert severity(tally(3, 30, 0.95), many_sources=False) == "medium"
    assert severity(tally(300, 30, 0.95), many_sources=False) == "medium"
    assert severity(tally(300, 3, 0.95), many_sources=False) == "high"
    assert severity(tally(300, 3, 0.95, hosts=10), many_sources=False) == "critical"
    assert severity(tally(300, 3, 0.95), many_sources=True) == "critical"
    # Three flows at one moment are no flood.
    assert severity(tally(3, 0, 0.6), many_sources=False) == "low"
