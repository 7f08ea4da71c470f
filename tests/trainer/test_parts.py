"""Dealing a split table out to models, and how much its rows count."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.balance import campaign_weights
from trainer.datasets.flows import NO_ENDPOINT, NO_TIME, FlowTable, SourceFile
from trainer.parts import Deal, deal, rows_of

LABELS = ("BENIGN", "Portscan", "DDoS", "Odd", "Heartbleed")
FAMILIES = {
    "BENIGN": "benign",
    "Portscan": "scan",
    "DDoS": "ddos",
    "Odd": "unknown",
    "Heartbleed": "exploit",
}


def table(counts: dict[str, int]) -> FlowTable:
    label = np.concatenate(
        [np.full(rows, LABELS.index(name)) for name, rows in counts.items()]
    ).astype(np.int16)
    n = len(label)
    return FlowTable(
        profile="cic2017",
        layout="MachineLearningCVE",
        names=("a", "b", "c"),
        raw=np.arange(3 * n, dtype=np.float32).reshape(n, 3),
        labels=LABELS,
        label=label,
        families=FAMILIES,
        file=np.zeros(n, np.int16),
        start_us=np.full(n, NO_TIME),
        connection=np.full(n, NO_ENDPOINT),
        host=np.full(n, NO_ENDPOINT),
        files=(SourceFile(Path("a.csv"), "0" * 64, n),),
    )


def dealt(counts: dict[str, int], seed: int = 0, **how: bool) -> tuple[FlowTable, Deal]:
    flows = table(counts)
    part = np.random.default_rng(seed).integers(0, 3, len(flows)).astype(np.int8)
    part[:3] = [0, 1, 2]
    return flows, deal(flows, part, "quantile", **how)


MANY = {"BENIGN": 90, "Portscan": 60, "DDoS": 60, "Odd": 40, "Heartbleed": 4}


@given(st.integers(0, 100))
def test_every_row_is_in_one_part_with_its_own_label(seed: int) -> None:
    flows, rows = dealt(MANY, seed)
    seen = np.concatenate([each.part.raw for each in rows.parts.values()])
    labels = np.concatenate([each.label for each in rows.parts.values()])
    order = np.argsort(seen[:, 0])
    assert np.array_equal(seen[order], flows.raw)
    assert np.array_equal(labels[order], flows.label)
    for each in rows.parts.values():
        assert np.array_equal(each.part.target, each.label > 0)
        assert np.array_equal(each.part.inputs, rows.scaler.bins(each.part.raw))


def test_families_are_those_with_enough_rows_and_a_name() -> None:
    _, rows = dealt(MANY)
    assert rows.families == ("scan", "ddos")
    for each in rows.parts.values():
        names = [("", *rows.families)[code] for code in each.part.family]
        wanted = [
            FAMILIES[LABELS[code]] if LABELS[code] in ("Portscan", "DDoS") else ""
            for code in each.label
        ]
        assert names == wanted


def test_one_family_is_not_named_for_all() -> None:
    assert dealt({"BENIGN": 90, "Portscan": 60})[1].families == ()
    assert dealt(MANY, families=False)[1].families == ()


def test_an_ablation_keeps_rows_and_scaling() -> None:
    _, rows = dealt(MANY)
    less = rows.without(["b"])
    assert less.names == ("a", "c")
    for name, each in less.parts.items():
        whole = rows.parts[name].part
        assert np.array_equal(each.part.raw, whole.raw[:, [0, 2]])
        assert np.array_equal(each.part.inputs, whole.inputs[:, [0, 2]])
        assert np.array_equal(less.scaled(each.part.raw), each.part.inputs)


def test_other_rows_are_scaled_alike() -> None:
    flows, rows = dealt(MANY)
    other = rows_of(flows, rows)
    assert np.array_equal(other.part.inputs, rows.scaler.bins(flows.raw))


def test_campaigns_count_by_the_root_of_their_size() -> None:
    label = np.array([0] * 1000 + [1] * 100 + [2] * 4 + [3] * 5000, np.int16)
    weight = campaign_weights(np.zeros(len(label), np.int16), label)
    assert weight.mean() == pytest.approx(1, rel=1e-5)
    total = [float(weight[label == number].sum()) for number in range(4)]
    assert sum(total[1:]) == pytest.approx(total[0], rel=1e-5)
    assert total[1] / total[2] == pytest.approx(5, rel=1e-5)
    # Beyond 400 flows a flood counts no more.
    assert total[3] / total[1] == pytest.approx(2, rel=1e-5)


def test_one_label_in_two_recordings_is_two_campaigns() -> None:
    label = np.array([0] * 10 + [1] * 20, np.int16)
    file = np.array([0] * 10 + [0] * 16 + [1] * 4, np.int16)
    weight = campaign_weights(file, label)
    assert weight[10:26].sum() / weight[26:].sum() == pytest.approx(2, rel=1e-5)
