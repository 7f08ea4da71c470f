"""How thresholds are chosen."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.evaluate import Confusion
from trainer.thresholds import (
    THRESHOLD_RULE,
    best_threshold,
    bounded_threshold,
    choose_threshold,
)

scored = st.lists(st.tuples(st.integers(0, 255), st.booleans()), min_size=1, max_size=60)


def arrays(rows: list[tuple[int, bool]]) -> tuple[np.ndarray, np.ndarray]:
    target = np.array([attack for _, attack in rows], np.uint8)
    return np.array([code / 256 for code, _ in rows], np.float32), target


@given(scored)
def test_no_threshold_is_better(rows: list[tuple[int, bool]]) -> None:
    scores, target = arrays(rows)
    chosen = best_threshold(scores, target)
    for code in range(1, 256):
        figures = Confusion.of(scores >= (code - 0.5) / 256, target).figures()
        assert figures["f1"] <= chosen.f1 + 0.0005 + 1e-12
    # Halfway between two int8 codes: rounding a score to its code never changes the verdict.
    assert chosen.value * 256 % 1 == 0.5
    assert 0 < chosen.value < 1


@given(scored, st.sampled_from([0.0, 0.001, 0.05, 0.2, 1.0]))
def test_the_rate_asked_for_is_kept_or_said_not_to_be(
    rows: list[tuple[int, bool]], max_far: float
) -> None:
    scores, target = arrays(rows)
    chosen = bounded_threshold(scores, target, max_far)
    figures = Confusion.of(scores >= chosen.value, target).figures()
    assert chosen.false_alarm_rate == figures["false_alarm_rate"]
    assert chosen.recall == figures["recall"]
    assert chosen.met == (figures["false_alarm_rate"] <= max_far) == ("NOT MET" not in chosen.rule)
    assert chosen.value * 256 % 1 == 0.5
    # No allowed candidate finds more; where none is allowed, the last one was taken.
    allowed = 0
    for code in range(1, 256):
        other = Confusion.of(scores >= (code - 0.5) / 256, target).figures()
        if other["false_alarm_rate"] <= max_far:
            allowed += 1
            assert other["recall"] <= chosen.recall
    assert chosen.met == bool(allowed)
    if not chosen.met:
        assert chosen.value == 254.5 / 256


def test_the_middle_of_equals() -> None:
    scores = np.array([0.1, 0.2, 0.8, 0.9], np.float32)
    target = np.array([0, 0, 1, 1], np.uint8)
    for chosen in (best_threshold(scores, target), bounded_threshold(scores, target, 0.01)):
        assert chosen.value == pytest.approx(0.5, abs=0.01)
        assert chosen.f1 == 1


def test_the_rule_is_told() -> None:
    scores = np.array([0.2, 1.0, 0.9], np.float32)
    target = np.array([0, 0, 1], np.uint8)
    assert choose_threshold(scores, target).rule == THRESHOLD_RULE
    assert "at most 50 %" in choose_threshold(scores, target, 0.5).rule
    refused = choose_threshold(scores, target, 0.001)
    assert "at most 0.1 %" in refused.rule
    assert "even this one gives 50 %" in refused.rule
