"""Thresholds and metrics."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import f1_score, precision_score, recall_score

from trainer.evaluate import Confusion, best_threshold, evaluate

scored = st.lists(st.tuples(st.integers(0, 255), st.booleans()), min_size=1, max_size=60)


@given(scored)
def test_figures_agree_with_scikit_learn(rows: list[tuple[int, bool]]) -> None:
    target = np.array([attack for _, attack in rows], np.uint8)
    flagged = np.array([code >= 128 for code, _ in rows])
    figures = Confusion.of(flagged, target).figures()
    for name, ours in (("f1", f1_score), ("precision", precision_score), ("recall", recall_score)):
        assert figures[name] == pytest.approx(ours(target, flagged, zero_division=0))
    assert sum(figures["confusion"].values()) == figures["rows"] == len(rows)


@given(scored)
def test_no_threshold_is_better(rows: list[tuple[int, bool]]) -> None:
    target = np.array([attack for _, attack in rows], np.uint8)
    scores = np.array([code / 256 for code, _ in rows], np.float32)
    chosen = best_threshold(scores, target)
    for code in range(1, 256):
        figures = Confusion.of(scores >= (code - 0.5) / 256, target).figures()
        assert figures["f1"] <= chosen.f1 + 0.0005 + 1e-12
    # Halfway between two int8 codes: rounding a score to its code never changes the verdict.
    assert chosen.value * 256 % 1 == 0.5
    assert 0 < chosen.value < 1


def test_the_middle_of_equals() -> None:
    scores = np.array([0.1, 0.2, 0.8, 0.9], np.float32)
    chosen = best_threshold(scores, np.array([0, 0, 1, 1], np.uint8))
    assert chosen.value == pytest.approx(0.5, abs=0.01)
    assert chosen.f1 == 1


def test_per_class() -> None:
    figures = evaluate(
        scores=np.array([0.9, 0.1, 0.9, 0.2], np.float32),
        label=np.array(["BENIGN", "BENIGN", "DDoS", "DDoS"]),
        target=np.array([0, 0, 1, 1], np.uint8),
        threshold=0.5,
        families={"BENIGN": "benign", "DDoS": "ddos"},
    )
    assert figures["per_class"]["DDoS"] == {
        "family": "ddos",
        "rows": 2,
        "detected": 1,
        "recall": 0.5,
    }
    assert figures["false_alarm_rate"] == 0.5
    assert figures["confusion"] == {"tn": 1, "fp": 1, "fn": 1, "tp": 1}
