"""Training, validation and test rows."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.contract.errors import TableError
from trainer.datasets import duplicates
from trainer.datasets.duplicates import find_duplicates, hashes
from trainer.datasets.flows import NO_ENDPOINT, NO_TIME, FlowTable, SourceFile, join
from trainer.datasets.labels import family_of
from trainer.datasets.splits import DUPLICATE, Split, split, stratified_sample

if TYPE_CHECKING:
    from numpy.typing import NDArray


DAY_US = 86_400_000_000


def table_of(
    names: list[str],
    *,
    values: list[float] | None = None,
    connection: list[int] | None = None,
    host: list[int] | None = None,
    start_us: list[int] | None = None,
) -> FlowTable:
    """One feature per row: `values`, or all different."""
    rows = len(names)
    raw = np.arange(rows) if values is None else np.array(values)
    labels = ("BENIGN", *sorted(set(names) - {"BENIGN"}))
    return FlowTable(
        profile="cic2017",
        layout="MachineLearningCVE",
        names=("Flow Duration",),
        raw=raw.reshape(-1, 1).astype(np.float32),
        labels=labels,
        label=np.array([labels.index(name) for name in names], dtype=np.int16),
        families={name: family_of(name) for name in labels},
        file=np.zeros(rows, np.int16),
        start_us=np.full(rows, NO_TIME) if start_us is None else np.array(start_us),
        connection=np.full(rows, NO_ENDPOINT) if connection is None else np.array(connection),
        host=np.full(rows, NO_ENDPOINT) if host is None else np.array(host),
        files=(SourceFile(Path("a.csv"), "0" * 64, rows),),
    )


def part_counts(dealt: Split, label: str | None = None) -> list[int]:
    part = dealt.part
    if label is not None:
        part = part[dealt.table.label == dealt.table.labels.index(label)]
    return [int((part == number).sum()) for number in range(3)]


def whole(dealt: Split, groups: NDArray[Any]) -> bool:
    """Whether no group is in two parts."""
    pairs = set(zip(groups.tolist(), dealt.part.tolist(), strict=True))
    return len(pairs) == len(set(groups.tolist()))


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


@given(
    values=st.lists(st.integers(0, 30), min_size=60, max_size=120),
    attacks=st.integers(10, 20),
    seed=st.integers(0, 2**31 - 1),
)
def test_dedup_keeps_the_first_of_every_vector(values: list[int], attacks: int, seed: int) -> None:
    # More vectors than are drawn, so that every part gets both classes.
    values = values + list(range(100, 200))
    labels = ["BENIGN" if value % 40 < attacks else "DDoS" for value in values]
    times = list(range(len(values)))
    table = table_of(labels, values=[float(value) for value in values], start_us=times)
    dealt = split(table, "dedup", seed)
    assert dealt.table.start_us.tolist() == sorted({values.index(value) for value in values})
    assert dealt.table.dropped[DUPLICATE] == dealt.duplicates == len(values) - len(set(values))
    assert len(dealt.part) == len(dealt.table)
    assert dealt.ambiguous == 0


def test_zeros_of_both_signs_are_duplicates() -> None:
    values = [0.0, -0.0, 5.0, 5.0, 6.0, 6.0, 7.0, 7.0, *range(10, 90)]
    labels = ["BENIGN" if index % 2 else "DDoS" for index in range(len(values))]
    labels[4:8] = ["DDoS", "DDoS", "DDoS", "Botnet"]
    dealt = split(table_of(labels, values=values), "random", 0)
    assert dealt.duplicates == 4
    # 0 and 5 as BENIGN and as an attack, 7 as two attacks; 6 is always the same one.
    assert dealt.ambiguous == 3


def test_ambiguous_vectors_count_once() -> None:
    values = [1.0] * 5 + [2.0] * 3 + list(range(10, 90))
    labels = ["BENIGN" if index % 2 else "DDoS" for index in range(len(values))]
    dealt = split(table_of(labels, values=values), "random", 0)
    assert (dealt.duplicates, dealt.ambiguous) == (6, 2)


@given(data=st.data())
def test_duplicates_are_the_rows_that_are_equal(data: st.DataObject) -> None:
    columns = data.draw(st.integers(1, 3))
    cell = st.sampled_from([0.0, -0.0, 1.0, -1.0, 2.0, 1e-45, 3e38])
    rows = data.draw(
        st.lists(st.lists(cell, min_size=columns, max_size=columns), min_size=1, max_size=30)
    )
    raw = np.array(rows, dtype=np.float32)
    assert find_duplicates(raw).first.tolist() == [rows.index(row) for row in rows]


def test_a_collision_of_hashes_makes_no_duplicate(monkeypatch: pytest.MonkeyPatch) -> None:
    def few_bits(raw: NDArray[np.float32]) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
        low, high = hashes(raw)
        return low & np.uint64(1), high & np.uint64(1)

    monkeypatch.setattr(duplicates, "hashes", few_bits)
    values = np.random.default_rng(0).integers(0, 300, (1000, 2)).astype(np.float32) // 20
    rows = values.tolist()
    assert find_duplicates(values).first.tolist() == [rows.index(row) for row in rows]


def test_rows_are_compared_chunk_by_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = np.random.default_rng(0).integers(0, 50, (999, 3)).astype(np.float32) // 10
    expected = find_duplicates(raw).first
    assert (expected != np.arange(999)).sum() == 999 - len(np.unique(raw, axis=0))
    monkeypatch.setattr(duplicates, "_CHUNK_ROWS", 7)
    assert np.array_equal(find_duplicates(raw).first, expected)


def test_hashes_are_of_64_bits_each() -> None:
    raw = np.zeros((4096, 2), dtype=np.float32)
    raw[:, 0] = np.arange(4096)
    low, high = hashes(raw)
    assert len(np.unique(low)) == len(np.unique(high)) == 4096
    for bits in (low, high, low ^ high):
        assert np.log2(bits.max()) > 63


def test_group_keeps_connections_whole() -> None:
    rng = np.random.default_rng(0)
    connection = np.sort(rng.integers(0, 120, 900)).tolist()
    labels = ["BENIGN" if number < 80 else "DDoS" for number in connection]
    dealt = split(table_of(labels, connection=connection), "group", 0)
    assert dealt.group_by == "connection"
    assert whole(dealt, np.array(connection))
    for label in (None, "BENIGN", "DDoS"):
        dealt_rows = np.array(part_counts(dealt, label))
        assert dealt_rows / dealt_rows.sum() == pytest.approx([0.7, 0.15, 0.15], abs=0.05)


@given(
    sizes=st.lists(st.integers(1, 40), min_size=6, max_size=40),
    labels=st.lists(st.sampled_from(["BENIGN", "DDoS", "Botnet"]), min_size=40, max_size=40),
    seed=st.integers(0, 99),
)
def test_groups_stay_whole_and_every_part_gets_some(
    sizes: list[int], labels: list[str], seed: int
) -> None:
    labels[:6] = ["BENIGN", "DDoS"] * 3
    group = np.repeat(np.arange(len(sizes)), sizes)
    table = table_of([labels[number] for number in group.tolist()], connection=group.tolist())
    dealt = split(table, "group", seed)
    assert whole(dealt, group)
    again = split(table, "group", seed)
    assert np.array_equal(dealt.part, again.part)
    # No part is off by more than the largest group of any stratum it could have got.
    rows, largest = sum(sizes), max(sizes)
    for found, share in zip(part_counts(dealt), (14, 3, 3), strict=True):
        assert abs(found - rows * share / 20) <= 3 * largest


def test_a_mixed_group_counts_as_its_rarest_attack() -> None:
    # Three connections have the rare attack, each beside many common rows.
    labels, connection = [], []
    for number in range(30):
        rare = number % 10 == 0
        labels += ["BENIGN"] * 5 + ["DDoS"] * 5 + ["Heartbleed"] * rare
        connection += [number] * (10 + rare)
    dealt = split(table_of(labels, connection=connection), "group", 0)
    assert part_counts(dealt, "Heartbleed") == [1, 1, 1]


def test_rare_attacks_are_dealt_together() -> None:
    # Six attacks of one connection each: by themselves they would all go to training.
    labels = ["BENIGN"] * 100 + [f"attack {number}" for number in range(6) for _ in range(5)]
    connection = [*range(100), *(100 + number for number in range(6) for _ in range(5))]
    dealt = split(table_of(labels, connection=connection), "group", 0)
    assert [rows > 0 for rows in part_counts(dealt)] == [True] * 3
    attacks = dealt.part[dealt.table.label > 0]
    assert set(attacks.tolist()) == {0, 1, 2}


def test_group_by_host() -> None:
    host = np.repeat(np.arange(40), 10)
    labels = ["BENIGN" if number < 30 else "DDoS" for number in host.tolist()]
    connection = list(range(400))
    table = table_of(labels, connection=connection, host=host.tolist())
    assert not whole(split(table, "group", 0), host)
    dealt = split(table, "group", 0, "host")
    assert dealt.group_by == "host"
    assert whole(dealt, host)


def test_group_by_day_where_there_are_no_addresses() -> None:
    times = [number * DAY_US // 20 for number in range(200)]
    dealt = split(table_of(["BENIGN", "DDoS"] * 100, start_us=times), "group", 0)
    assert dealt.group_by == "day"
    assert whole(dealt, np.array(times) // DAY_US)
    assert part_counts(dealt) == [140, 40, 20]
    with pytest.raises(TableError, match="no times, so the rows of a day"):
        split(table_of(["BENIGN", "DDoS"] * 10), "group", 0, "day")


def test_too_few_days_for_three_parts() -> None:
    times = [number * DAY_US // 100 for number in range(200)]
    with pytest.raises(TableError, match="group split by day without attacks"):
        split(table_of(["BENIGN", "DDoS"] * 100, start_us=times), "group", 0)


def test_group_falls_back_to_files() -> None:
    one = table_of(["BENIGN", "DDoS"] * 10)
    dealt = split(join([one] * 10), "group", 0)
    assert dealt.group_by == "file"
    assert whole(dealt, dealt.table.file)


def test_group_by_file_where_there_are_addresses() -> None:
    one = table_of(["BENIGN", "DDoS"] * 10, connection=list(range(20)), host=[1] * 20)
    table = join([one] * 4)
    assert not whole(split(table, "group", 0), table.file)
    assert whole(split(table, "group", 0, "file"), table.file)
    with pytest.raises(TableError, match=r"^a\.csv: is 1 of the three files"):
        split(one, "group", 0, "file")


def test_group_needs_addresses_or_files() -> None:
    for group_by in ("connection", "host"):
        with pytest.raises(TableError, match=f"no addresses, so the rows of a {group_by}"):
            split(table_of(["BENIGN", "DDoS"] * 10), "group", 0, group_by)
    with pytest.raises(TableError, match="no addresses and no times, and is 1 of the three"):
        split(table_of(["BENIGN", "DDoS"] * 10), "group", 0)


@pytest.mark.parametrize(("kind", "group_by"), [("groups", "auto"), ("group", "subnet")])
def test_what_is_no_split(kind: str, group_by: str) -> None:
    with pytest.raises(ValueError, match=f"'{kind}' by '{group_by}'"):
        split(table_of(["BENIGN", "DDoS"] * 10), kind, 0, group_by)


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
    label = np.repeat(np.arange(3, dtype=np.int16), (5000, 1000, 1))
    sample = stratified_sample(label, 300, np.random.default_rng(0))
    counts = Counter(label[sample].tolist())
    assert counts[2] == 1
    assert counts[0] == pytest.approx(250, abs=2)
    assert len(set(sample.tolist())) == len(sample) <= 303
    assert stratified_sample(label[:10], 300, np.random.default_rng(0)).tolist() == list(range(10))
