"""Alerts held against the truth: nothing is detected that was not told in time and by name."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.demo.cli import report
from benchmarks.demo.outcome import Outcome, judge
from edge_agent.contract.alerts import MANY_SOURCES, Alert
from trainer.datasets.truth import Campaign, Truth

S = 1_000_000
HOUSE, ATTACKER = 0x0A000000, 0x0A000042  # 10.0.0.0, 10.0.0.66

CAMPAIGN = Campaign(
    id="a1",
    family="scan",
    label="syn-scan",
    start_us=100 * S,
    end_us=120 * S,
    attackers=((ATTACKER, ATTACKER),),
    victims=((HOUSE, HOUSE + 15),),
    protocol=6,
    ports=None,
)
TRUTH = Truth(Path("truth.json"), 0, 1800 * S, (CAMPAIGN,))

ALERT = Alert(
    id="0" * 24,
    event="new",
    time_us=104 * S,
    first_seen_us=101 * S,
    last_seen_us=103 * S,
    node="attic",
    source="10.0.0.66",
    source_count=1,
    targets=("10.0.0.1",),
    target_count=1,
    target_ports=(22,),
    port_count=1,
    at_least=(),
    protocol="tcp",
    family="unknown",
    severity="low",
    score=0.9,
    mean_score=0.8,
    flows=3,
    explanation="3 flows",
    model="m",
)


def test_the_first_alert_counts() -> None:
    later = replace(ALERT, event="update", time_us=110 * S, last_seen_us=109 * S)
    outcome = judge([later, ALERT], TRUTH)
    assert outcome.detected == 1
    assert outcome.detections[0].delay_s == 4.0
    assert outcome.false_incidents == ()
    assert outcome.hours == 0.5


@pytest.mark.parametrize(
    "alert",
    [
        pytest.param(replace(ALERT, source="10.0.0.67"), id="another source"),
        pytest.param(replace(ALERT, targets=("10.0.0.77",)), id="another target"),
        pytest.param(replace(ALERT, first_seen_us=126 * S, last_seen_us=127 * S), id="too late"),
        pytest.param(replace(ALERT, first_seen_us=50 * S, last_seen_us=99 * S), id="too early"),
        pytest.param(replace(ALERT, source=MANY_SOURCES, targets=("10.1.0.1",)), id="many, apart"),
    ],
)
def test_what_no_campaign_explains_is_false(alert: Alert) -> None:
    outcome = judge([alert], TRUTH)
    assert outcome.detected == 0
    assert outcome.false_incidents == (alert.id,)
    assert outcome.false_alerts_per_hour == 2.0


def test_an_incident_explained_once_is_not_false_later() -> None:
    end = replace(ALERT, event="end", time_us=300 * S)
    assert judge([ALERT, end], TRUTH).false_incidents == ()


def test_the_first_incidents_last_word_names_the_family() -> None:
    named = replace(ALERT, event="update", time_us=110 * S, last_seen_us=109 * S, family="scan")
    other = replace(named, id="1" * 24, time_us=111 * S, family="dos")
    outcome = judge([other, named, ALERT], TRUTH)
    assert outcome.detections[0].named == "scan"
    assert outcome.named_right == 1
    assert judge([ALERT], TRUTH).named_right == 0
    assert judge([], TRUTH).detections[0].named is None


def shown(outcome: Outcome, **conversion: object) -> str:
    figures = {"accuracy": 0.5, "f1": 0.5, "false_alarm_rate": 0.5}
    latency = {"1": {"p50": 1.0}, "64": {"p50": 1.0}}
    return report(
        outcome,
        {
            **conversion,
            "full": figures,
            "converted": figures,
            "latency_us_per_flow": {"full": latency, "converted": latency},
            "size_bytes": {"keras": 1, "file": 1},
        },
        "here",
        "there",
    )


def test_families_are_shown_where_the_model_names_them() -> None:
    outcome = judge([replace(ALERT, family="scan")], TRUTH)
    text = shown(outcome, families=["scan", "dos"])
    assert "families named right           1 of 1" in text
    assert [line.split() for line in text.splitlines()[:2]] == [
        ["campaign", "family", "named", "first", "alert", "after"],
        ["syn-scan", "scan", "scan", "4.0", "s"],
    ]
    assert "named" not in shown(outcome, families=[])


def test_silence_is_zero_of_one_and_said_so() -> None:
    text = shown(judge([], TRUTH), families=["scan"])
    assert "not detected" in text
    assert "0 of 1" in text
