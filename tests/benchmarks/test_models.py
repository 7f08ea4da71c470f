"""Tables of models over seeds and of recordings never seen; windows of flows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.models import unseen
from benchmarks.models.report import report
from benchmarks.time_dimension.flows import Attack, Flows, windows
from benchmarks.time_dimension.judging import FALSE_ALARM_RATE, judge, summed, threshold
from benchmarks.time_dimension.variants import Variant


def figures(f1: float, **more: float) -> dict[str, float]:
    return {"f1": f1, "false_alarm_rate": 0.001, "recall": 0.9, "accuracy": 0.99, **more}


def test_models_stand_by_mean_f1_with_every_seed() -> None:
    seeds = {
        str(seed): {
            "main": {
                "forest": figures(0.9),
                "cnn-lstm": figures(0.91 + seed / 100, family_named_right=0.5),
            }
        }
        for seed in (0, 1)
    }
    text = report(
        {"data": ["a.csv"], "date": "2026-01-01", "processor": "x", "seeds": seeds}, "dedup"
    )
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert lines[2].startswith("| cnn-lstm | 0.9150 | .9100 .9200 | 0.100% |")
    assert lines[2].endswith("| 50.00% |")
    assert lines[3].startswith("| forest | 0.9000 |")
    assert "## split dedup" in text


def test_a_campaign_is_found_by_most_of_its_flows() -> None:
    test = {
        "false_alarm_rate": 0.5,
        "recall": 0.5,
        "confusion": {"tn": 1, "fp": 1, "fn": 12, "tp": 8},
        "per_class": {
            "BENIGN": {"family": "benign", "rows": 2, "detected": 1},
            "a": {"family": "scan", "rows": 10, "detected": 6},
            "b": {"family": "scan", "rows": 4, "detected": 2},
            "c": {"family": "dos", "rows": 6, "detected": 0},
        },
    }
    found = unseen._found(test)
    assert found["campaigns"] == {"scan": 2, "dos": 1}
    assert found["found"] == {"scan": 1, "dos": 0}
    rows = [{"features": "f", "seed": 0, "left_out": "x", "models": {"forest": found}}] * 2
    text = unseen.report(rows, 0.001)
    assert "| f | forest | 0 | 50.000% (50.000%) | 40.0% | 2 of 6 | 2/4 | 0/2 |" in text


def flows(source: list[int], attack: list[int]) -> Flows:
    numbers: dict[str, Any] = {
        name: np.zeros(len(source), np.int64)
        for name in ("recording", "destination", "service", "start_us")
    }
    return Flows(
        recordings=("a",),
        attacks=(Attack("a01", "a", "scan", "nmap"), Attack("a02", "a", "dos", "hping3")),
        raw=np.zeros((len(source), 84), np.float32),
        attack=np.array(attack),
        source=np.array(source),
        **numbers,
    )


@given(st.lists(st.integers(0, 3), min_size=1, max_size=40), st.integers(2, 5))
def test_a_window_holds_the_last_flows_of_the_source(source: list[int], length: int) -> None:
    found = windows(flows(source, [-1] * len(source)), length)
    for index, own in enumerate(source):
        past = [i for i in range(index + 1) if source[i] == own][-length:]
        assert found[index].tolist() == [-1] * (length - len(past)) + past


@given(st.lists(st.floats(0, 1, width=32), min_size=1, max_size=3000))
def test_the_threshold_keeps_its_false_alarm_rate(scores: list[float]) -> None:
    benign = np.array(scores, np.float32)
    limit = threshold(benign)
    assert (benign >= limit).mean() <= FALSE_ALARM_RATE


def test_trials_are_summed() -> None:
    some = flows([0] * 6, [-1, -1, 0, 0, 0, 1])
    scores = np.array([0.9, 0.1, 0.9, 0.9, 0.1, 0.1], np.float32)
    one = judge(some, np.arange(6), scores, 0.5)
    whole = summed([one, one])
    assert (whole["found"], whole["campaigns"]) == (2, 4)
    assert whole["false_alarm_rate"] == 0.5
    assert whole["recall"] == 0.5
    assert whole["families"] == {"dos": [0, 2], "scan": [2, 2]}


@pytest.mark.parametrize("name", ["window-1", "window", "all", "window-8-own"])
def test_other_variants_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="no variant"):
        Variant.parse(name)
