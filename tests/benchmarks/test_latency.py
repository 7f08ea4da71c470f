"""Turns, medians and ratios; a stopwatch that is handed in stands for time."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pytest

from benchmarks.latency import (
    BATCHES,
    Burst,
    aggregate,
    filled,
    interleaved,
    measure,
    prepared_calls,
    summary,
)
from benchmarks.subjects import FULL
from edge_agent.contract.errors import RunError
from edge_agent.contract.runs import Rows
from tests.benchmarks.subjects import RUNTIME, tiny_subjects
from tests.detect.synthetic import problem

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def burst(p50: float, p99: float) -> Burst:
    return {"p50": p50, "p99": p99}


def rows(count: int) -> Rows:
    return Rows(*problem(count, seed=4))


def test_models_take_turns_and_every_second_round_goes_the_other_way() -> None:
    names: dict[str, Callable[[], object]] = {name: partial(str, name) for name in "abc"}
    order: list[object] = []

    def stopwatch(call: Callable[[], object], count: int) -> Burst:
        order.append(call())
        assert count == 16
        return burst(len(order), 0)

    timed = interleaved(names, 16, 3, stopwatch)
    assert order == list("abccbaabc")
    assert [[result["p50"] for result in turn.values()] for turn in timed] == [
        [1, 2, 3],
        [6, 5, 4],
        [7, 8, 9],
    ]
    assert [list(turn) for turn in timed] == [list("abc")] * 3


def test_ratios_are_formed_within_a_round() -> None:
    # The machine was four times slower in the second round: the ratio does not care.
    rounds = [
        {FULL: burst(100, 200), RUNTIME: burst(10, 40)},
        {FULL: burst(400, 800), RUNTIME: burst(40, 160)},
        {FULL: burst(110, 240), RUNTIME: burst(10, 40)},
    ]
    result = aggregate(rounds)
    assert result[FULL] == {"p50": 110, "p99": 240, "times_faster": None}
    assert (result[RUNTIME]["p50"], result[RUNTIME]["p99"]) == (10, 40)
    assert result[RUNTIME]["times_faster"] == {
        "p50": 10,
        "p99": 5,
        "lowest_p50": 10,
        "highest_p50": 11,
    }


def test_without_the_full_model_there_are_no_ratios() -> None:
    assert aggregate([{RUNTIME: burst(1, 2)}])[RUNTIME]["times_faster"] is None


@pytest.mark.parametrize("batch", BATCHES)
def test_a_batch_is_filled_from_few_rows_and_spread_over_many(batch: int) -> None:
    few, many = rows(10), rows(300)
    assert filled(few, batch).shape == filled(many, batch).shape == (batch, few.raw.shape[1])
    assert {tuple(row) for row in filled(few, batch)} <= {tuple(row) for row in few.raw}
    assert len(np.unique(filled(many, batch), axis=0)) == batch


def test_calls_run_the_models_on_the_same_flows(tmp_path: Path) -> None:
    subjects = tiny_subjects(tmp_path)
    raw = rows(64).raw
    answers = {name: call() for name, call in prepared_calls(subjects, raw).items()}
    assert list(answers) == [FULL, RUNTIME]
    full, installed = subjects.full, subjects.installed[RUNTIME]
    assert full is not None
    np.testing.assert_array_equal(np.asarray(answers[FULL])[:, 0], full.score(raw))
    np.testing.assert_array_equal(
        installed.model.output.dequantize(np.asarray(answers[RUNTIME]))[:, 0],
        installed.detector.score(raw),
    )


def test_every_batch_size_is_in_the_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Half a second a burst would be paid eight times, for figures that nobody looks at.
    monkeypatch.setattr("edge_agent.detect.timing._BUDGET_S", 0.01)
    report = measure(tiny_subjects(tmp_path), rows(20), rounds=2)
    assert list(report["latency_us_per_flow"]) == [str(batch) for batch in BATCHES]
    timing = report["latency_us_per_flow"]["64"][RUNTIME]
    assert 0 < timing["p50"] <= timing["p99"]
    faster = timing["times_faster"]
    assert faster["lowest_p50"] <= faster["p50"] <= faster["highest_p50"]
    lines = summary(report).splitlines()
    assert len(lines) == 1 + 2 * len(BATCHES) + 2
    assert f"{timing['p50']:,.2f}" in lines[6]


def test_a_run_without_held_out_rows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no held-out rows"):
        measure(tiny_subjects(tmp_path), rows(0), rounds=1)
