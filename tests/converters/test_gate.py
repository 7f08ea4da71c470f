"""The gate: figures as defined, and refusals that do come."""

from __future__ import annotations

import dataclasses
import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from converters.gate import (
    Comparison,
    Figures,
    Invariants,
    Scored,
    compare,
    figures,
    transferred_threshold,
)

SOUND = Invariants(0.0, 0.0, 0.0)
LABELS = np.array([0] * 900 + [1] * 100, np.uint8)
FULL = np.concatenate([np.full(900, 0.1), np.full(100, 0.9)]).astype(np.float32)


def judged(
    converted: np.ndarray,
    invariants: Invariants = SOUND,
    allowed: float = 0.1,
    threshold: float = 0.5,
) -> Comparison:
    scored = Scored(FULL, 0.5, np.asarray(converted, np.float32), threshold)
    return compare(scored, LABELS, invariants, allowed)


@given(st.lists(st.tuples(st.booleans(), st.booleans()), max_size=60))
def test_figures_follow_their_definitions(pairs: list[tuple[bool, bool]]) -> None:
    labels = np.array([label for label, _ in pairs], np.uint8)
    attacks = np.array([attack for _, attack in pairs], np.bool_)
    tp = sum(label and attack for label, attack in pairs)
    fp = sum(attack and not label for label, attack in pairs)
    fn = sum(label and not attack for label, attack in pairs)
    tn = len(pairs) - tp - fp - fn
    found = figures(labels, attacks)
    assert found.confusion == {"tn": tn, "fp": fp, "fn": fn, "tp": tp}
    assert found.rows == len(pairs)
    precision = tp / (tp + fp) if tp + fp else 0
    recall = tp / (tp + fn) if tp + fn else 0
    assert found.precision == precision
    assert found.recall == recall
    harmonic = 2 * precision * recall / (precision + recall) if tp else 0
    assert found.f1 == pytest.approx(harmonic)
    assert found.false_alarm_rate == (fp / (fp + tn) if fp + tn else 0)
    assert found.accuracy == ((tp + tn) / len(pairs) if pairs else 0)


def test_keys_are_those_of_metrics_json() -> None:
    keys = {"accuracy", "precision", "recall", "f1", "false_alarm_rate", "confusion", "rows"}
    assert set(figures(LABELS, FULL > 0.5).to_json()) == keys
    assert keys == {field.name for field in dataclasses.fields(Figures)}


def test_an_equal_model_passes() -> None:
    found = judged(FULL)
    assert found.passed
    assert found.f1_drop_points == 0.0
    assert found.label_agreement == 1.0
    assert found.full.f1 == 1.0


@pytest.mark.parametrize(("missed", "allowed", "passes"), [(1, 0.1, False), (1, 0.6, True)])
def test_a_drop_counts_in_points(missed: int, allowed: float, passes: bool) -> None:
    scores = FULL.copy()
    scores[-missed:] = 0.2
    found = judged(scores, allowed=allowed)
    assert found.f1_drop_points == pytest.approx(100 * (1 - 198 / 199))  # 0.50 points
    assert found.passed is passes
    assert found.largest_score_difference == pytest.approx(0.7)
    assert found.label_agreement == pytest.approx(0.999)


def test_exactly_the_allowed_drop_passes() -> None:
    scores = FULL.copy()
    scores[-1] = 0.2
    drop = judged(scores, allowed=1.0).f1_drop_points
    assert judged(scores, allowed=round(drop, 9)).passed


def test_false_alarms_count_too() -> None:
    scores = FULL.copy()
    scores[:9] = 0.8
    found = judged(scores)
    assert not found.passed
    assert found.false_alarm_rise_points == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("invariants", "said"),
    [
        (Invariants(0.2, 0.0), "scored alone"),
        (Invariants(0.0, 0.2), "after other flows"),
        (Invariants(0.0, 0.0, 0.002), "off by up to 0.0020 before the first layer"),
        (Invariants(0.0, 0.0, math.nan), "before the first layer"),
    ],
)
def test_a_broken_invariant_is_refused(invariants: Invariants, said: str) -> None:
    (reason,) = judged(FULL, invariants).reasons
    assert said in reason


def test_scores_shifted_together_are_refused_although_their_order_holds() -> None:
    found = judged(FULL + np.float32(0.05), threshold=0.55)
    assert found.f1_drop_points == 0.0
    assert found.reasons == ("scores differ by 0.050 on average",)


def test_scores_that_are_not_finite_are_refused_and_still_fit_json() -> None:
    scores = FULL.copy()
    scores[3] = math.nan
    found = judged(scores)
    assert found.reasons == ("some scores are not finite",)
    json.dumps(found.to_json(), allow_nan=False)


def test_nothing_can_be_judged_without_attacks() -> None:
    zeros = np.zeros(len(LABELS), np.float32)
    blind = compare(Scored(zeros, 0.5, zeros, 0.5), LABELS, SOUND)
    assert "nothing can be judged" in blind.reasons[0]
    nothing = np.empty(0, np.float32)
    empty = compare(Scored(nothing, 0.5, nothing, 0.5), np.empty(0, np.uint8), SOUND)
    assert not empty.passed


def test_the_threshold_stays_where_it_serves() -> None:
    assert transferred_threshold(FULL, 0.37, FULL) == 0.37
    assert transferred_threshold(np.empty(0, np.float32), 0.37, np.empty(0, np.float32)) == 0.37


def test_the_threshold_moves_with_the_scores() -> None:
    full = np.linspace(0, 1, 1001, dtype=np.float32)
    moved = full * np.float32(0.8)
    found = transferred_threshold(full, 0.5, moved)
    assert found == pytest.approx(0.4, abs=1 / 256)


def test_a_threshold_that_int8_cannot_reach_is_moved() -> None:
    full = np.array([0.5, 0.9, 0.9985, 0.9999, 0.9999], np.float32)
    converted = np.array([0.5, 0.9, 0.99, 255 / 256, 255 / 256], np.float32)
    found = transferred_threshold(full, 0.999, converted)
    assert (converted >= np.float32(found)).tolist() == [False, False, False, True, True]


def test_a_gate_of_numpy_numbers_is_plain_json() -> None:
    text: Any = json.dumps(judged(FULL).to_json())
    assert json.loads(text)["passed"] is True
