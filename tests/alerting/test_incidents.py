"""Grouping: one attack, a few messages, nothing lost, everything bounded."""

from __future__ import annotations

import itertools
import sys
from collections import defaultdict
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.alerting.evidence import RecentTable
from edge_agent.alerting.incidents import IncidentLimits, IncidentTable, Verdict
from edge_agent.contract.alerts import MAX_JSON_BYTES, SEVERITIES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from edge_agent.contract.alerts import Alert

SECOND = 1_000_000
# Any time of day, and not on a bucket's edge.
START = 1_700_000_000 * SECOND


def flow(
    at_s: float,
    source: str = "10.44.0.66",
    destination: str = "10.44.0.2",
    port: int = 80,
    *,
    protocol: int = 6,
    score: float = 0.95,
    family: str = "unknown",
    answered: bool | None = None,
) -> Verdict:
    time_us = START + int(at_s * SECOND)
    return Verdict(
        time_us, time_us - 1000, source, destination, port, protocol, score, family, answered
    )


def table(**changes: object) -> IncidentTable:
    return IncidentTable(IncidentLimits(**changes), "gw", "model")  # type: ignore[arg-type]


def now(at_s: float) -> int:
    return START + int(at_s * SECOND)


def events(alerts: Iterable[Alert]) -> list[str]:
    return [alert.event for alert in alerts]


def test_one_or_two_false_alarms_are_no_incident() -> None:
    incidents = table()
    assert incidents.add([flow(0), flow(1)], now(1)) == []
    assert incidents.tick(now(500)) == []
    assert incidents.close(now(501)) == []
    counts = incidents.counts
    assert (counts.flagged_flows, counts.expired_flows, counts.pending_flows) == (2, 2, 0)


def test_three_flows_in_a_minute_are_an_incident() -> None:
    incidents = table()
    assert incidents.add([flow(0), flow(20)], now(20)) == []
    (alert,) = incidents.add([flow(59)], now(59))
    assert (alert.event, alert.flows, alert.source) == ("new", 3, "10.44.0.66")
    assert alert.first_seen_us == START - 1000
    assert alert.last_seen_us == now(59)
    assert alert.time_us == now(59)


def test_any_burst_within_the_window_is_seen_whole() -> None:
    for offset in range(0, 120, 7):
        incidents = table()
        alerts = [incidents.add([flow(offset + step)], now(offset + step)) for step in (0, 30, 59)]
        assert events(itertools.chain(*alerts)) == ["new"], offset


def test_flows_minutes_apart_never_add_up() -> None:
    incidents = table()
    for minute in range(0, 60, 3):
        assert incidents.add([flow(minute * 60)], now(minute * 60)) == []


def test_a_scan_of_every_port_is_one_incident() -> None:
    incidents = table()
    alerts = incidents.add(
        [flow(port / 1000, port=port, answered=False) for port in range(65_536)],
        now(66),
        {"10.44.0.66": 65_536},
    )
    (new,) = alerts
    assert (new.flows, new.port_count, new.at_least) == (65_536, 65_536, ())
    assert new.target_ports == tuple(range(32))
    assert new.explanation == (
        "65,536 flows in 66 s from 10.44.0.66 to 1 host, 65,536 ports (0, 1, 2, …), none answered;"
        " highest score 0.950"
    )
    assert new.severity == "critical"
    (end,) = incidents.tick(now(66 + 61))
    assert (end.event, end.id, end.flows) == ("end", new.id, 65_536)
    assert end.explanation.endswith("; over, no more evidence for 60 s")


def test_a_scan_of_many_hosts_is_one_incident() -> None:
    incidents = table()
    hosts = [f"10.44.{high}.{low}" for high in range(4) for low in range(256)]
    (new,) = incidents.add([flow(1, destination=host) for host in hosts], now(1))
    assert len(new.targets) == 16
    assert (new.target_count, new.at_least) == (256, ("target_count",))
    assert "at least 256 hosts" in new.explanation


def test_explanation_states_only_what_it_knows() -> None:
    incidents = table()
    (new,) = incidents.add(
        [flow(0, answered=True), flow(0, answered=None), flow(0, protocol=1)], now(1)
    )
    assert "answered" not in new.explanation
    assert "1 port (80)" in new.explanation
    assert new.protocol == "mixed"
    (new,) = incidents.add(
        [flow(2, "10.44.0.9", answered=answered) for answered in (True, False, True)], now(2)
    )
    assert "2 answered" in new.explanation


def test_false_alarms_of_a_busy_source_are_noise() -> None:
    incidents = table()
    # Six hours at 1 % false alarms, 500 flows a minute, five of them flagged.
    for minute in range(360):
        at = minute * 60
        verdicts = [flow(at + step) for step in range(5)]
        assert incidents.add(verdicts, now(at + 5), {"10.44.0.66": 500}) == []
    assert incidents.counts.incident_flows == 0


def test_an_attack_among_much_benign_traffic_is_found() -> None:
    incidents = table()
    incidents.add([], now(0), {"10.44.0.66": 500})
    (new,) = incidents.add([flow(1)] * 30, now(1), {"10.44.0.66": 30})
    assert new.flows == 30


def test_lone_flow_rule_is_off_unless_asked_for() -> None:
    assert table().add([flow(0, score=1.0)], now(0)) == []
    assert events(table(lone_score=0.99).add([flow(0, score=0.995)], now(0))) == ["new"]
    assert table(lone_score=0.99).add([flow(0, score=0.985)], now(0)) == []


def test_single_false_alarms_after_an_attack_keep_nothing_alive() -> None:
    incidents = table()
    incidents.add([flow(0)] * 10, now(0), {"10.44.0.66": 10})
    alerts = []
    for at in range(30, 1200, 30):
        alerts += incidents.add([flow(at)], now(at), {"10.44.0.66": 100})
    assert "end" in events(alerts)
    assert events(alerts).count("new") == 0


def test_a_patient_attack_stays_one_incident() -> None:
    incidents = table()
    alerts = []
    for at in range(0, 3600, 15):
        alerts += incidents.add([flow(at, port=22)], now(at), {"10.44.0.66": 1})
    assert len({alert.id for alert in alerts}) == 1
    assert "end" not in events(alerts)


def test_updates_come_at_growing_distance() -> None:
    incidents = table()
    alerts = []
    for at in range(3600):
        alerts += incidents.add([flow(at)] * 2, now(at))
    times = [(alert.time_us - START) // SECOND for alert in alerts if alert.event == "update"]
    # The tenfold and the severity rules add a few early ones.
    regular = [at for at in times if at > 300]
    assert regular[0] < 420
    assert all(later - earlier <= 900 for earlier, later in itertools.pairwise(regular))
    assert len(alerts) < 20


def test_growth_and_severity_are_told_at_once() -> None:
    incidents = table()
    (new,) = incidents.add([flow(0, score=0.6)] * 3, now(0))
    assert new.severity == "low"
    (update,) = incidents.add([flow(0.5, score=0.6)] * 27, now(0.5))
    assert (update.event, update.flows, update.severity) == ("update", 30, "medium")
    assert incidents.add([flow(1, score=0.6)], now(1)) == []
    # The rate falls, the severity does not.
    (end,) = incidents.tick(now(100))
    assert end.severity == "medium"


def test_a_wavering_family_does_not_split_an_attack() -> None:
    incidents = table()
    alerts: list[Alert] = []
    # A flood, every third flow of which looks like one of a distributed flood, and some like none.
    wavering = ("dos", "ddos", "dos", "dos", "ddos", "unknown")
    for second in range(120):
        flows = [flow(second, family=family, port=80) for family in wavering]
        alerts += incidents.add(flows, now(second), {"10.44.0.66": 6})
    alerts += incidents.tick(now(500))
    assert len({alert.id for alert in alerts}) == 1
    assert {alert.family for alert in alerts} == {"dos"}
    assert alerts[-1].flows == 120 * len(wavering), "none of them is lost to another group"
    assert len(alerts) < 10


def test_flows_of_different_families_are_evidence_together() -> None:
    families = ("scan", "web", "unknown")
    (new,) = table().add([flow(0, family=family) for family in families], now(0))
    assert (new.flows, new.family) == (3, "scan")


def test_the_family_follows_the_evidence() -> None:
    incidents = table()
    (new,) = incidents.add([flow(0, family="unknown")] * 3, now(0))
    assert (new.family, new.explanation[:8]) == ("unknown", "3 flows ")
    alerts = incidents.add([flow(1, family="bruteforce")] * 30, now(1))
    (end,) = incidents.tick(now(100))
    assert {alert.family for alert in [*alerts, end]} == {"bruteforce"}
    assert end.id == new.id
    assert end.explanation.startswith("looks like password guessing: 33 flows ")


def test_sources_of_different_families_are_one_distributed_incident() -> None:
    flows = [
        flow(0, f"203.0.113.{i}", family="dos" if i % 3 == 0 else "ddos", answered=False)
        for i in range(60)
    ]
    (new,) = table().add(flows, now(0))
    assert (new.source, new.flows, new.family) == ("many", 60, "ddos")


def test_a_spoofed_flood_is_one_distributed_incident() -> None:
    incidents = table()
    alerts: list[Alert] = []
    # Ten thousand invented sources in a minute, one flow each.
    for second in range(60):
        sources = [f"203.{second}.{i // 256}.{i % 256}" for i in range(167)]
        alerts += incidents.add(
            [flow(second, source, answered=False) for source in sources],
            now(second),
            dict.fromkeys(sources, 1),
        )
    alerts += incidents.tick(now(200))
    assert len({alert.id for alert in alerts}) == 1
    assert events(alerts)[0] == "new"
    assert events(alerts)[-1] == "end"
    end = alerts[-1]
    assert (end.source, end.flows) == ("many", 60 * 167)
    assert (end.source_count, end.at_least) == (1024, ("source_count",))
    assert end.targets == ("10.44.0.2",)
    assert len(alerts) < 10
    assert "from at least 1,024 sources to 1 host" in end.explanation


def test_a_flood_on_random_ports_is_distributed_too() -> None:
    incidents = table()
    verdicts = [flow(0, f"203.0.113.{i}", port=i * 13, protocol=17) for i in range(200)]
    (new,) = incidents.add(verdicts, now(0))
    assert (new.source, new.flows, new.port_count) == ("many", 200, 200)


def _flooded(incidents: IncidentTable, seconds: range, each: int = 200) -> list[Alert]:
    """Some seconds of invented sources against the usual victim."""
    alerts: list[Alert] = []
    for second in seconds:
        sources = [f"203.{second}.{i // 256}.{i % 256}" for i in range(each)]
        alerts += incidents.add(
            [flow(second, source) for source in sources], now(second), dict.fromkeys(sources, 1)
        )
    return alerts


def test_a_scanner_of_a_flooded_host_is_told_by_its_own_name() -> None:
    incidents = table()
    assert {alert.source for alert in _flooded(incidents, range(3))} == {"many"}
    scan = [flow(3, "10.44.0.66", port=port) for port in range(1, 101)]
    alerts = incidents.add(scan, now(3), {"10.44.0.66": 100})
    assert [(alert.event, alert.source) for alert in alerts] == [("new", "10.44.0.66")]
    # What the other one had taken in before stays there: every flow counts once.
    ended = {alert.source: alert.flows for alert in incidents.close(now(4))}
    assert ended["10.44.0.66"] == 81
    assert ended["many"] == 600 + 19


def test_members_of_a_botnet_are_one_incident_however_much_each_does() -> None:
    incidents = table()
    alerts = []
    for second in range(10):
        flows = [flow(second, f"203.0.113.{i}") for i in range(50) for _ in range(20)]
        alerts += incidents.add(flows, now(second))
    assert {alert.source for alert in alerts} == {"many"}


def test_a_flood_makes_no_attack_of_false_alarms_elsewhere() -> None:
    incidents = table()
    _flooded(incidents, range(5), each=2000)
    clients = [f"198.51.100.{i}" for i in range(100)]
    alerts = incidents.add(
        [flow(5, client, "10.44.0.9") for client in clients], now(5), dict.fromkeys(clients, 200)
    )
    assert [alert for alert in alerts if "10.44.0.9" in alert.targets] == []


def test_announced_incidents_of_one_source_end_in_the_distributed_one() -> None:
    incidents = table()
    first = incidents.add([flow(0, "10.0.0.1")] * 3 + [flow(0, "10.0.0.2")] * 3, now(0))
    assert events(first) == ["new", "new"]
    # The third one also attacks elsewhere: it stays an incident of its own.
    (third,) = incidents.add([flow(1, "10.0.0.3")] * 3 + [flow(1, "10.0.0.3", "10.44.0.9")], now(1))
    alerts = incidents.add([flow(2, f"203.0.113.{i}") for i in range(40)], now(2))
    assert events(alerts) == ["new", "end", "end"]
    distributed = alerts[0]
    assert distributed.source == "many"
    assert {end.id for end in alerts[1:]} == {alert.id for alert in first}
    assert all(end.explanation.endswith(f"continues as {distributed.id}") for end in alerts[1:])
    ended = incidents.close(now(3))
    assert {alert.id for alert in ended} == {distributed.id, third.id}
    total = sum(alert.flows for alert in [*alerts[1:], *ended])
    assert total == 6 + 4 + 40


def test_incidents_nobody_heard_of_are_taken_into_the_distributed_one() -> None:
    incidents = table()
    loud = [flow(0, "10.0.0.1")] * 5
    (new,) = incidents.add(loud + [flow(0, f"203.0.113.{i}") for i in range(40)], now(0))
    assert (new.source, new.flows) == ("many", 45)


def test_a_busy_server_with_a_false_alarm_from_each_client_is_noise() -> None:
    incidents = table()
    clients = [f"198.51.100.{i}" for i in range(100)]
    alerts = incidents.add(
        [flow(1, client) for client in clients], now(1), dict.fromkeys(clients, 200)
    )
    assert alerts == []


def test_a_full_table_hides_nothing() -> None:
    incidents = table(max_open=4)
    alerts = incidents.add(
        [flow(0, f"10.0.0.{i}", f"10.44.0.{i}") for i in range(10) for _ in range(3)], now(0)
    )
    assert events(alerts) == ["new"] * 4
    assert [alert.source for alert in alerts].count("many") == 1
    assert sum(alert.flows for alert in alerts) == 30
    assert incidents.counts.active == 4


def test_incidents_whose_end_waits_for_the_budget_keep_their_place() -> None:
    incidents = table(max_open=3, burst_messages=1, messages_per_s=0.001)
    for at in range(0, 1000, 100):
        verdicts = [flow(at, f"10.{at}.0.{i}", f"10.44.0.{i}") for i in range(4)]
        incidents.add(verdicts * 3, now(at))
        assert incidents.counts.active <= 3
    alerts = incidents.close(now(1000))
    assert sum(alert.flows for alert in alerts if alert.event == "end") == 120


def test_pending_sources_pushed_out_by_a_flood_are_told_together() -> None:
    incidents = table(max_pending=100)
    # One flow per source and victim: no source, no victim has evidence.
    verdicts = [flow(1, f"10.{i // 256}.{i % 256}.1", f"172.16.{i % 256}.1") for i in range(1000)]
    alerts = incidents.add(verdicts, now(1))
    assert [alert.source for alert in alerts] == ["many"]
    counts = incidents.counts
    assert counts.pending_sources == 100
    assert counts.incident_flows == alerts[0].flows == 900


def test_messages_beyond_the_budget_wait_and_nothing_is_lost() -> None:
    incidents = table(burst_messages=5, messages_per_s=1.0)
    sources = [f"10.0.0.{i}" for i in range(12)]
    alerts = incidents.add(
        [flow(0, source, f"10.44.1.{i}") for i, source in enumerate(sources) for _ in range(3)],
        now(0),
    )
    assert len(alerts) == 5
    for second in range(1, 120):
        alerts += incidents.tick(now(second))
        assert len(alerts) <= 5 + second
    by_id = defaultdict(list)
    for alert in alerts:
        by_id[alert.id].append(alert.event)
    assert len(by_id) == 12
    assert all(life == ["new", "end"] for life in by_id.values())


def test_worst_is_told_first() -> None:
    incidents = table(burst_messages=1)
    (first,) = incidents.add(
        [flow(0, "10.0.0.1", score=0.6)] * 3 + [flow(0, "10.0.0.2", port=p) for p in range(500)],
        now(0),
    )
    assert first.source == "10.0.0.2"


def test_a_clock_that_runs_backwards_does_no_harm() -> None:
    incidents = table()
    (new,) = incidents.add([flow(100)] * 3, now(100))
    assert incidents.add([flow(0)], now(0)) == []
    (end,) = incidents.tick(now(161))
    assert end.id == new.id
    assert end.flows == 4
    assert end.first_seen_us == START - 1000


def test_times_no_calendar_has_do_no_harm() -> None:
    incidents = table()
    wild = Verdict(2**63, -5, "10.0.0.1", "10.0.0.2", 1, 6, 0.9)
    (new,) = incidents.add([wild] * 3, 2**63)
    assert len(new.to_json()) < MAX_JSON_BYTES


def test_identifiers_repeat_in_a_replay_and_differ_between_nodes() -> None:
    def first(node: str) -> str:
        incidents = IncidentTable(IncidentLimits(), node, "model")
        return incidents.add([flow(0)] * 3, now(0))[0].id

    assert first("a") == first("a") != first("b")


@pytest.mark.parametrize("node", ["", "a/b", "+", "#", "a b", "x" * 65, "ä"])
def test_node_name_is_checked(node: str) -> None:
    with pytest.raises(ValueError, match="not a node name"):
        IncidentTable(IncidentLimits(), node, "model")


@pytest.mark.parametrize(
    "wrong",
    [
        {"min_flows": 0},
        {"max_open": 1},
        {"window_s": 0},
        {"false_alarm_share": 1.0},
        {"noise_sigmas": -1.0},
        {"max_update_after_s": 1.0},
    ],
)
def test_senseless_limits_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"."):
        IncidentLimits(**wrong)  # type: ignore[arg-type]


def test_model_name_is_made_fit_for_alerts() -> None:
    incidents = IncidentTable(IncidentLimits(), "gw", "evil\n" * 100)
    (new,) = incidents.add([flow(0)] * 3, now(0))
    assert new.model.startswith("evil?evil?")


SMALL = IncidentLimits(
    window_s=5,
    quiet_s=8,
    distributed_sources=4,
    max_open=5,
    max_pending=6,
    max_victims=3,
    max_seen=4,
    max_targets=3,
    max_sources=5,
    burst_messages=6,
    messages_per_s=0.5,
    update_after_s=3,
    max_update_after_s=9,
)


@st.composite
def histories(draw: st.DrawFn) -> list[tuple[float, list[Verdict], dict[str, int] | None]]:
    """Steps of time with flagged flows of few and of many sources."""
    steps: list[tuple[float, list[Verdict], dict[str, int] | None]] = []
    at = 0.0
    for _ in range(draw(st.integers(1, 15))):
        at += draw(st.sampled_from([0.0, 0.5, 1.0, 4.0, 20.0]))
        width = draw(st.sampled_from([1, 3, 40]))
        picks = st.tuples(
            st.integers(0, width - 1),
            st.integers(0, 4),
            st.integers(0, 65_535),
            st.sampled_from(["unknown", "scan", "dos"]),
            st.sampled_from([0.5, 0.95, 1.0]),
        )
        verdicts = [
            flow(at, f"10.0.0.{source}", f"10.1.0.{victim}", port, score=score, family=family)
            for source, victim, port, family, score in draw(st.lists(picks, max_size=15))
        ]
        counts = st.dictionaries(
            st.integers(0, 40).map(lambda i: f"10.0.0.{i}"), st.integers(1, 200), max_size=6
        )
        steps.append((at, verdicts, draw(st.none() | counts)))
    return steps


@given(histories())
def test_any_history(steps: list[tuple[float, list[Verdict], dict[str, int] | None]]) -> None:
    incidents = IncidentTable(SMALL, "gw", "model")
    alerts: list[Alert] = []
    flagged = 0
    for at, verdicts, seen in steps:
        alerts += incidents.add(verdicts, now(at), seen)
        flagged += len(verdicts)
        counts = incidents.counts
        # Bounds hold at every step.
        assert counts.active <= SMALL.max_open
        assert counts.pending_sources <= SMALL.max_pending
        assert min(counts.pending_flows, counts.incident_flows, counts.expired_flows) >= 0
        assert counts.flagged_flows == flagged
        budget = SMALL.burst_messages + at * SMALL.messages_per_s
        assert counts.messages == len(alerts) <= budget
        for value in vars_of(incidents):
            if isinstance(value, RecentTable):
                assert len(value) <= value.limit
    closing = incidents.close(now(steps[-1][0] + 1))
    assert len(closing) <= 2 * SMALL.max_open
    alerts += closing

    lives = defaultdict(list)
    for alert in alerts:
        lives[alert.id].append(alert)
    for life in lives.values():
        names = events(life)
        assert names[0] == "new"
        assert names[-1] == "end"
        assert names[1:-1] == ["update"] * (len(names) - 2)
        for earlier, later in itertools.pairwise(life):
            assert later.flows >= earlier.flows
            assert later.source_count >= earlier.source_count
            assert later.target_count >= earlier.target_count
            assert later.port_count >= earlier.port_count
            assert later.time_us >= earlier.time_us
            assert later.score >= earlier.score
            assert later.source == earlier.source
            assert SEVERITIES.index(later.severity) >= SEVERITIES.index(earlier.severity)
            assert later.event != "update" or later.flows > earlier.flows
        assert {alert.family for alert in life} <= {"unknown", "scan", "dos"}
    # Every flagged flow is in exactly one incident, or expired.
    counts = incidents.counts
    assert (counts.active, counts.pending_flows, counts.pending_sources) == (0, 0, 0)
    ended = sum(alert.flows for alert in alerts if alert.event == "end")
    assert ended == counts.incident_flows
    assert ended + counts.expired_flows == flagged


def vars_of(incidents: IncidentTable) -> list[object]:
    return list(vars(incidents).values())


def size_of(thing: object, known: set[int] | None = None) -> int:
    """Bytes of an object and all it holds."""
    known = set() if known is None else known
    if id(thing) in known:
        return 0
    known.add(id(thing))
    size = sys.getsizeof(thing)
    if isinstance(thing, dict):
        return size + sum(size_of(one, known) for pair in thing.items() for one in pair)
    if isinstance(thing, list | tuple | set | frozenset):
        return size + sum(size_of(one, known) for one in thing)
    names = [name for kind in type(thing).__mro__ for name in getattr(kind, "__slots__", ())]
    names += list(getattr(thing, "__dict__", ()))
    return size + sum(
        size_of(getattr(thing, name), known) for name in names if hasattr(thing, name)
    )


def test_memory_of_the_worst_flood_is_bounded() -> None:
    incidents = table()
    sizes = []
    alerts = 0
    for second in range(20):
        verdicts = [
            flow(
                second,
                f"10.{second}.{i // 256}.{i % 256}",
                f"172.{16 + i % 16}.{second}.{i // 16 % 256}",
                i * 31 % 65_536,
            )
            for i in range(4000)
        ]
        seen = {verdict.source: 1 for verdict in verdicts}
        alerts += len(incidents.add(verdicts, now(second), seen))
        if second in (4, 19):
            sizes.append(size_of(incidents))
    # 80,000 sources against 80,000 victims, and the tables have long been full.
    assert sizes[0] < 16 * 2**20
    assert sizes[1] < sizes[0] * 1.2
    assert alerts <= 50 + 20
