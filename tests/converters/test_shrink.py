"""Structured pruning: what goes, what must stay, and that the rest computes the same."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from converters.gate import figures
from edge_agent.contract.runs import load_rows
from edge_agent.contract.scaling import rate_inputs
from edge_agent.detect.interpreter import load
from edge_agent.detect.judgement import top_family

if TYPE_CHECKING:
    from pathlib import Path

NETWORKS = ("perceptron", "sequence", "residual", "autoencoder", "sequential")
SEEDS = range(2)
EACH = pytest.mark.parametrize("case", [f"{name}-{seed}" for name in NETWORKS for seed in SEEDS])
# The problem is an easy one: rows between the classes are few.
MIN_AGREEMENT = 0.99


def facts(folder: Path, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / f"{name}.json").read_bytes())
    return found


@EACH
def test_without_units_that_nothing_reads_a_network_computes_the_same(
    shrinking: Path, case: str
) -> None:
    with np.load(shrinking / "exact.npz") as outputs:
        before, after, spoiled = (outputs[f"{case}-{of}"] for of in ("before", "after", "spoiled"))
    # The same sums in another order.
    assert np.abs(after - before).max() < 1e-6
    assert np.abs(spoiled - before).max() > 1e-5, "units that are read went unnoticed"
    assert before.std(axis=0).min() > 1e-5, "an output that is constant proves nothing"


@EACH
def test_the_units_that_nothing_reads_are_gone_and_no_other(shrinking: Path, case: str) -> None:
    found = facts(shrinking, "exact")[case]
    lost = {name: found["before"][name] - width for name, width in found["after"].items()}
    for maker, count in found["removed"].items():
        assert count > 0
        assert lost[maker] == count
    untouched = {"score", "family", "copy", "ramps"} & set(lost)
    assert all(lost[name] == 0 for name in untouched)


@pytest.mark.parametrize("name", NETWORKS)
def test_units_that_nothing_reads_are_worth_least(shrinking: Path, name: str) -> None:
    assert facts(shrinking, "exact")[f"{name}-0"]["least"]


def test_outputs_reconstructions_and_inputs_are_not_removable(shrinking: Path) -> None:
    found = facts(shrinking, "exact")
    removable = {name: found[f"{name}-0"]["removable"] for name in NETWORKS}
    assert removable["perceptron"] == {"a": 9, "b": 7}
    # The frozen layer goes by steps of four.
    assert removable["sequence"] == {"ramps": 8, "a": 6, "b": 5, "c": 7, "d": 4, "e": 8}
    # What is summed goes together.
    assert removable["residual"] == {"a": 8}
    assert removable["autoencoder"] == {"a": 8}
    assert removable["sequential"] == {"a": 6, "b": 5}


def test_the_least_steps_go_and_the_features_that_only_they_read(shrinking: Path) -> None:
    alone = facts(shrinking, "ramps")["alone"]
    assert alone["columns"] == [0, 2, 3, 4, 8, 10]
    assert alone["input"] == 6
    assert alone["steps"] == [6, 4]
    assert alone["widths"] == {"ramps": 24, "a": 5, "b": 4, "d": 3, "score": 1}


def test_a_frozen_layer_stays_exact_and_frozen(shrinking: Path) -> None:
    for found in facts(shrinking, "ramps").values():
        assert found["exact"]
        assert found["one_feature_each"]
        assert found["frozen"]


def test_what_a_feature_needs_stays_beside_it(shrinking: Path) -> None:
    needy = facts(shrinking, "ramps")["needy"]
    assert needy["columns"] == [0, 2, 3, 4, 8, 9, 10, 11]
    assert needy["input"] == 8


def test_rates_need_duration_and_counts() -> None:
    names = ("Protocol", "Bwd Packets/s", "Flow Duration", "Total Bwd packets", "Total Fwd Packet")
    assert rate_inputs(names) == {1: (2, 3)}
    assert rate_inputs((*names, "Flow Packets/s")) == {1: (2, 3), 5: (2, 4, 3)}
    assert rate_inputs(names[2:]) == {}


def test_half_of_the_units_go(shrinking: Path) -> None:
    found = facts(shrinking, "toy")
    full, shrunk = found["widths"]["full"], found["widths"]["shrunk"]
    assert shrunk == {name: 4 if width == 8 else width for name, width in full.items()}
    assert sorted(shrunk.values()) == [1, 2, 4, 4, 4]
    assert found["parameters"]["shrunk"] < 0.5 * found["parameters"]["full"]
    sizes = {name: (shrinking / f"{name}.tflite").stat().st_size for name in ("full", "shrunk")}
    assert sizes["shrunk"] < sizes["full"]
    assert load((shrinking / "shrunk.tflite").read_bytes()).output.width == 3


def test_a_shrunk_network_keeps_verdicts_and_families(shrinking: Path) -> None:
    full, shrunk = (np.load(shrinking / f"{name}.npy") for name in ("full", "shrunk"))
    rows = load_rows(shrinking / "run", "test")
    attacks = full[:, 0] >= 0.5
    assert ((shrunk[:, 0] >= 0.5) == attacks).mean() >= MIN_AGREEMENT
    before, after = (figures(rows.label, each[:, 0] >= 0.5).f1 for each in (full, shrunk))
    assert after > max(0.95, before - 0.01)
    same = top_family(shrunk[:, 1:]) == top_family(full[:, 1:])
    assert same[attacks].mean() >= MIN_AGREEMENT


def test_shrinking_leaves_the_full_network_alone_and_repeats_itself(shrinking: Path) -> None:
    found = facts(shrinking, "toy")
    assert found["untouched"]
    assert found["repeatable"]


def test_fine_tuning_tells_how_far_it_is(shrinking: Path) -> None:
    told = facts(shrinking, "toy")["told"]
    epochs = len(told) // 2
    assert told[:epochs] == [f"fine-tuning: epoch {n} of {epochs}" for n in range(1, epochs + 1)]


def test_small_runs_get_more_epochs_and_large_ones_fewer(shrinking: Path) -> None:
    # 2, 80 and 20,000 steps an epoch; at least 600 steps, at most 5,000 where an epoch is fewer.
    assert facts(shrinking, "toy")["epochs"] == [300, 60, 1]


def test_layers_without_a_rule_need_all_that_feeds_them(shrinking: Path) -> None:
    # a: a foreign layer reads it; b: a softmax; shared: called twice, and it reads c whole.
    assert facts(shrinking, "refusals")["foreign"] == []


def test_where_nothing_can_go_a_sentence_says_so(shrinking: Path) -> None:
    told = facts(shrinking, "refusals")["sentences"]
    assert told["two"] == (
        "ConversionError: no unit of the model 'two' can be removed at a share of 0.3 (pair has 2);"
        " convert it without shrinking."
    )
    assert "all of its layers stand next to its output" in told["line"]
