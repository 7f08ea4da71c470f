"""Metrics."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import (
    average_precision_score,
    f1_score,
    matthews_corrcoef,
    precision_score,
    recall_score,
    roc_auc_score,
)

from tests.trainer.runfigures import outputs, truth
from trainer.evaluate import Confusion, Outputs, Truth, evaluate
from trainer.traffic import Traffic, expected, precision

scored = st.lists(st.tuples(st.integers(0, 255), st.booleans()), min_size=1, max_size=60)


@given(scored)
def test_figures_agree_with_scikit_learn(rows: list[tuple[int, bool]]) -> None:
    target = np.array([attack for _, attack in rows], np.uint8)
    flagged = np.array([code >= 128 for code, _ in rows])
    figures = Confusion.of(flagged, target).figures()
    for name, ours in (("f1", f1_score), ("precision", precision_score), ("recall", recall_score)):
        assert figures[name] == pytest.approx(ours(target, flagged, zero_division=0))
    if 0 < target.sum() < len(target):
        assert figures["mcc"] == pytest.approx(matthews_corrcoef(target, flagged))
    assert sum(figures["confusion"].values()) == figures["rows"] == len(rows)


@settings(max_examples=25)
@given(scored)
def test_every_figure_lies_in_its_interval(rows: list[tuple[int, bool]]) -> None:
    target = np.array([attack for _, attack in rows], np.uint8)
    scores = np.array([code / 256 for code, _ in rows], np.float32)
    known = Truth(target, target.astype(np.int16), ("BENIGN", "Own"), {"BENIGN": "benign"})
    figures = evaluate(Outputs(scores), known, 0.5)
    for name, (low, high) in figures["intervals"].items():
        assert low <= figures[name] <= high, name
        assert -1 <= low < high <= 1, name
    # No row of a class: nothing is known of its share.
    assert ("recall" in figures["intervals"]) == bool(target.any())
    assert ("false_alarm_rate" in figures["intervals"]) == bool((target == 0).any())


def test_areas_agree_with_scikit_learn() -> None:
    known, said = truth(), outputs(5)
    figures = evaluate(said, known, 0.5)
    assert figures["roc_auc"] == pytest.approx(roc_auc_score(known.target, said.scores))
    expected_area = average_precision_score(known.target, said.scores)
    assert figures["average_precision"] == pytest.approx(expected_area)


def test_one_class_alone_has_no_areas() -> None:
    known = Truth(np.zeros(5, np.uint8), np.zeros(5, np.int16), ("BENIGN",), {})
    figures = evaluate(Outputs(np.linspace(0, 1, 5, dtype=np.float32)), known, 0.5)
    assert "roc_auc" not in figures
    assert figures["false_alarm_rate"] == 0.6


def test_per_class_and_family() -> None:
    known = Truth(
        np.array([0, 0, 1, 1, 1], np.uint8),
        np.array([0, 0, 1, 1, 3], np.int16),
        ("BENIGN", "DoS Hulk", "Absent", "DoS GoldenEye"),
        {"BENIGN": "benign", "DoS Hulk": "dos", "DoS GoldenEye": "dos"},
    )
    figures = evaluate(Outputs(np.array([0.9, 0.1, 0.9, 0.2, 0.8], np.float32)), known, 0.5)
    hulk = figures["per_class"]["DoS Hulk"]
    low, high = hulk.pop("interval")
    assert hulk == {"family": "dos", "rows": 2, "detected": 1, "recall": 0.5}
    assert 0 < low < 0.5 < high < 1
    assert set(figures["per_class"]) == {"BENIGN", "DoS Hulk", "DoS GoldenEye"}
    dos = figures["per_family"]["dos"]
    assert (dos["rows"], dos["detected"]) == (3, 2)
    assert figures["false_alarm_rate"] == 0.5
    assert figures["confusion"] == {"tn": 1, "fp": 1, "fn": 1, "tp": 2}


def test_naming_counts_flagged_attacks_only() -> None:
    known = Truth(
        np.array([0, 1, 1, 1, 1], np.uint8),
        np.array([0, 1, 1, 2, 3], np.int16),
        ("BENIGN", "DDoS", "Portscan", "Own attack"),
        {"BENIGN": "benign", "DDoS": "ddos", "Portscan": "scan"},
    )
    scores = np.array([0.9, 0.9, 0.1, 0.9, 0.9], np.float32)
    shares = np.array([[1, 0], [1, 0], [1, 0], [1, 0], [0, 1]], np.float32)
    naming = evaluate(Outputs(scores, shares, ("ddos", "scan")), known, 0.5)["naming"]
    # A benign row and a missed attack do not count; a scan called ddos and a family that cannot be
    # named are wrong.
    assert (naming["right"], naming["rows"]) == (1, 3)
    assert naming["confusion"] == {
        "ddos": {"ddos": 1, "scan": 0},
        "scan": {"ddos": 1, "scan": 0},
        "unknown": {"ddos": 0, "scan": 1},
    }


def test_naming_adds_up() -> None:
    figures = evaluate(outputs(3, named=True), truth(), 0.5)
    naming = figures["naming"]
    assert naming["rows"] == figures["confusion"]["tp"]
    assert sum(sum(row.values()) for row in naming["confusion"].values()) == naming["rows"]
    assert 0.5 < naming["share"] < 1


def test_equal_seeds_give_equal_figures_that_json_can_hold() -> None:
    first, again = (evaluate(outputs(3, named=True), truth(), 0.5, seed=4) for _ in range(2))
    assert json.loads(json.dumps(first)) == again
    assert evaluate(outputs(3), truth(), 0.5, seed=5)["intervals"] != first["intervals"]


def test_scores_of_a_diverged_model_are_refused() -> None:
    known = truth()
    scores = np.full(len(known.target), np.nan, np.float32)
    with pytest.raises(ValueError, match="diverged"):
        evaluate(Outputs(scores), known, 0.5)


def test_alarms_of_a_day() -> None:
    test = {
        "false_alarm_rate": 0.001,
        "recall": 0.99,
        "intervals": {"false_alarm_rate": [0.0005, 0.002], "recall": [0.98, 0.995]},
    }
    there = expected(test, Traffic(flows_per_hour=1000, attack_share=1e-4))
    assert there["false_alarms_per_day"] == pytest.approx(24)
    assert there["false_alarms_interval"] == pytest.approx([12, 48])
    # 0.99 of one attack in 10,000 flows, beside 0.001 of 9,999 benign ones.
    assert there["precision"] == pytest.approx(0.99 / (0.99 + 9.999))
    low, high = there["precision_interval"]
    assert low == pytest.approx(0.98 / (0.98 + 2 * 9.999))
    assert low < there["precision"] < high


def test_a_part_without_benign_rows_says_nothing_of_a_day() -> None:
    test = {"false_alarm_rate": 0.0, "recall": 0.9, "intervals": {"recall": [0.8, 0.95]}}
    there = expected(test, Traffic())
    assert there["false_alarms_per_day"] is None
    assert there["precision"] is None


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1))
def test_precision_is_a_share(recall: float, rate: float, share: float) -> None:
    assert 0 <= precision(recall, rate, share) <= 1
