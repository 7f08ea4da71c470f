"""Training, validation and test rows."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.contract.errors import TableError
from trainer.datasets.flows import NO_TIME, FlowTable, SourceFile, join
from trainer.datasets.splits import DUPLICATE, Split, split, stratified_sample


def table_of(
    labels: list[str],
    *,
    values: list[float] | None = None,
    connection: list[int] | None = None,
    start_us: list[int] | None = None,
) -> FlowTable:
    """One feature per row: `values`, or all different."""
    rows = len(labels)
    raw = np.arange(rows, dtype=float) if values is None else np.array(values)
    return FlowTable(
        profile="cic2017",
        layout="MachineLearningCVE",
        names=("Flow Duration",),
        raw=raw.reshape(-1, 1),
        label=np.array(labels),
        file=np.zeros(rows, np.int32),
        start_us=np.full(rows, NO_TIME) if start_us is None else np.array(start_us),
        connection=np.full(rows, -1) if connection is None else np.array(connection),
        files=(SourceFile(Path("a.csv"), "0" * 64, rows),),
    )


def part_counts(dealt: Split, label: str | None = None) -> list[int]:
    part = dealt.part if label is None else dealt.part[dealt.table.label == label]
    return [int((part == number).sum()) for number in range(3)]


def test_random_is_70_15_15_in_every_label() -> None:
    labels = ["BENIGN"] * 1000 + ["DDoS"] * 200 + ["Botnet"] * 100
    dealt = split(table_of(labels), "random", seed=0)
    assert part_counts(dealt) == [910, 195, 195]
    assert part_counts(dealt, "DDoS") == [140, 30, 30]
    assert part_counts(dealt, "Botnet") == [70, 15, 15]


@given(counts=st.lists(st.integers(20, 90), min_size=2, max_size=4), seed=st.integers(0, 2**31 - 1))
def test_no_label_is_dealt_worse_than_by_a_hand(counts: list[int], seed: int) -> None:
    names = ["BENIGN", "DDoS", "Botnet", "Portscan"]
    labels = [name for name, count in zip(names, counts, strict=False) for _ in range(count)]
    dealt = split(table_of(labels), "random", seed)
    for name, count in zip(names, counts, strict=False):
        for rows, share in zip(part_counts(dealt, name), (14, 3, 3), strict=True):
            assert abs(rows - count * share / 20) <= 2 * share


def test_equal_seeds_deal_equally() -> None:
    table = table_of(["BENIGN"] * 100 + ["DDoS"] * 60)
    first, second, other = (split(table, "random", seed).part for seed in (3, 3, 4))
    assert np.array_equal(first, second)
    assert not np.array_equal(first, other)


def test_dedup_leaves_no_vector_in_two_parts() -> None:
    values = [float(value % 70) for value in range(400)]
    labels = ["BENIGN" if value < 40 else "DDoS" for value in values]
    table = table_of(labels, values=values)
    assert split(table, "random", 0).duplicates == 330
    dealt = split(table, "dedup", 0)
    assert len(dealt.table) == 70
    assert dealt.table.dropped[DUPLICATE] == 330
    assert len(np.unique(dealt.table.raw)) == 70


def test_vectors_that_float32_cannot_tell_apart_are_duplicates() -> None:
    values = [1.0, 1.0 + 1e-12, 0.0, -0.0, *range(2, 80)]
    labels = ["BENIGN" if index % 2 else "DDoS" for index in range(len(values))]
    dealt = split(table_of(labels, values=[float(value) for value in values]), "random", 0)
    assert dealt.duplicates == 2
    assert dealt.ambiguous == 2


def test_group_keeps_connections_whole() -> None:
    rng = np.random.default_rng(0)
    connection = np.sort(rng.integers(0, 120, 900)).tolist()
    labels = ["BENIGN" if number < 80 else "DDoS" for number in connection]
    dealt = split(table_of(labels, connection=connection), "group", 0)
    for number in set(connection):
        assert len(set(dealt.part[np.array(connection) == number].tolist())) == 1
    shares = np.array(part_counts(dealt)) / 900
    assert shares == pytest.approx([0.7, 0.15, 0.15], abs=0.03)


def test_group_falls_back_to_files() -> None:
    one = table_of(["BENIGN", "DDoS"] * 10)
    dealt = split(join([one] * 10), "group", 0)
    for number in range(10):
        assert len(set(dealt.part[dealt.table.file == number].tolist())) == 1


def test_group_needs_addresses_or_files() -> None:
    with pytest.raises(TableError, match="no addresses"):
        split(table_of(["BENIGN", "DDoS"] * 10), "group", 0)


def test_time_trains_on_the_past() -> None:
    start = np.random.default_rng(0).permutation(200).tolist()
    labels = ["BENIGN", "DDoS"] * 100
    dealt = split(table_of(labels, start_us=start), "time", 0)
    assert part_counts(dealt) == [140, 30, 30]
    times = [np.array(start)[dealt.part == number] for number in range(3)]
    assert times[0].max() < times[1].min()
    assert times[1].max() < times[2].min()


def test_time_needs_times() -> None:
    with pytest.raises(TableError, match="no time"):
        split(table_of(["BENIGN", "DDoS"] * 10), "time", 0)


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (["BENIGN"] * 30, "holds only BENIGN rows (30 rows)"),
        (["DDoS"] * 30, "holds only attacks"),
        (["BENIGN"] * 30 + ["DDoS"], "split without attacks (1 in all)"),
        ([], "no row to learn from"),
    ],
)
def test_too_little_to_learn_from(labels: list[str], words: str) -> None:
    with pytest.raises(TableError) as caught:
        split(table_of(labels), "random", 0)
    assert words in str(caught.value)
    assert str(caught.value).startswith("a.csv: ")


def test_why_nothing_is_left_is_said() -> None:
    table = replace(table_of([]), dropped=Counter({"negative duration": 7}))
    with pytest.raises(TableError, match="negative duration: 7"):
        split(table, "random", 0)


def test_a_sample_holds_every_label() -> None:
    label = np.array(["BENIGN"] * 5000 + ["DDoS"] * 1000 + ["Heartbleed"])
    sample = stratified_sample(label, 300, np.random.default_rng(0))
    counts = Counter(label[sample].tolist())
    assert counts["Heartbleed"] == 1
    assert counts["BENIGN"] == pytest.approx(250, abs=2)
    assert len(set(sample.tolist())) == len(sample) <= 303
    assert stratified_sample(label[:10], 300, np.random.default_rng(0)).tolist() == list(range(10))
