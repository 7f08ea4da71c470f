"""Intervals of differences: as wide as chance, and no wider where both models agree."""

from __future__ import annotations

import numpy as np
import pytest

from converters.confidence import intervals

LABELS = np.array([0] * 9000 + [1] * 1000, np.uint8)
SURE = LABELS == 1


def changed(benign: int, attacks: int) -> np.ndarray:
    """Verdicts that are wrong in so many rows."""
    verdicts = SURE.copy()
    verdicts[:benign] = True
    verdicts[len(verdicts) - attacks :] = False
    return np.asarray(verdicts)


def test_models_that_agree_differ_by_nothing() -> None:
    wrong = changed(70, 30)
    found = intervals(LABELS, wrong, wrong)
    assert found.f1_drop == found.false_alarm_rise == (0.0, 0.0)


def test_the_interval_holds_the_difference_and_is_as_wide_as_theory_says() -> None:
    found = intervals(LABELS, SURE, changed(0, 40))
    # 40 misses more: recall falls by 4 points, F1 from 1 to 2 * 960 / (2 * 960 + 40).
    drop = 100 * (1 - 1920 / 1960)
    low, high = found.f1_drop
    assert low < drop < high
    # A count of 40 has a standard deviation of 6.3; half of a missed share is lost of F1.
    assert (high - low) / 2 == pytest.approx(1.96 * 6.3 / 1000 * 100 / 2, rel=0.15)
    assert found.false_alarm_rise == (0.0, 0.0)


def test_false_alarms_by_sign() -> None:
    low, high = intervals(LABELS, SURE, changed(45, 0)).false_alarm_rise
    assert 0 < low < 0.5 < high < 1
    gained = intervals(LABELS, changed(45, 0), SURE).false_alarm_rise
    assert gained == pytest.approx((-high, -low), abs=0.03)


def test_no_rows_are_no_difference() -> None:
    nothing = np.zeros(0, np.bool_)
    assert intervals(LABELS[:0], nothing, nothing).f1_drop == (0.0, 0.0)


def test_the_same_rows_give_the_same_interval() -> None:
    first = intervals(LABELS, SURE, changed(5, 5))
    assert intervals(LABELS, SURE, changed(5, 5)) == first
