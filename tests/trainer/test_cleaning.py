"""Every rule by which rows are dropped or altered, with its count."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from edge_agent.contract.features import FEATURE_SETS
from tests.trainer.flowfiles import cse, cve, extract, improved, labels_of, traffic
from trainer.datasets import cleaning
from trainer.datasets.cleaning import (
    ATTEMPTED,
    ATTEMPTED_AS_BENIGN,
    ATTEMPTED_AS_CLASS,
    ATTEMPTED_CHOICES,
    NOT_FINITE,
    NOT_TCP_UDP,
    OVER_IPV6,
    RATES_RECOMPUTED,
    TOO_LARGE,
    CleaningSettings,
    clean_chunk,
    settle_attempted,
)
from trainer.datasets.labels import BENIGN, is_attempted
from trainer.datasets.tables import read_table

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from tests.trainer.flowfiles import Csv
    from trainer.datasets.flows import FlowTable

PAPER78 = FEATURE_SETS["paper78"][1]
EDGE40 = FEATURE_SETS["edge40"][1]
EDGE_IMPROVED = FEATURE_SETS["edge-improved"][1]
NAMES = ("Flow Duration", "Total Fwd Packets", "Total Backward Packets", "Flow Packets/s")


def read(folder: Path, changes: dict[tuple[int, str], str], names: tuple[str, ...]) -> FlowTable:
    """Four benign rows with some cells changed."""
    made = cve(labels_of(BENIGN=4))
    for (row, name), text in changes.items():
        made.set(row, name, text)
    return read_table(made.write(folder / "a.csv"), names)


def test_clean_rows_stay(tmp_path: Path) -> None:
    table = read(tmp_path, {}, PAPER78)
    assert len(table) == 4
    assert not +table.dropped
    assert not +table.changed


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-1", ""])
def test_rates_of_an_instant_are_recomputed(tmp_path: Path, text: str) -> None:
    changes = {
        (1, "Flow Duration"): "0",
        (1, "Flow Bytes/s"): text,
        (1, "Flow Packets/s"): text,
        (1, "Total Fwd Packets"): "2",
        (1, "Total Backward Packets"): "1",
    }
    table = read(tmp_path, changes, PAPER78)
    assert len(table) == 4
    assert table.raw[1, PAPER78.index("Flow Packets/s")] == 3e6
    assert np.isfinite(table.raw).all()
    assert dict(+table.changed) == {RATES_RECOMPUTED: 1}


@pytest.mark.parametrize(
    ("name", "text", "rule"),
    [
        ("Flow Bytes/s", "Infinity", NOT_FINITE),
        ("Flow Bytes/s", "NaN", NOT_FINITE),
        ("Idle Mean", "NaN", NOT_FINITE),
        ("Idle Mean", "-inf", NOT_FINITE),
        ("Idle Mean", "", NOT_FINITE),
        ("Idle Mean", "1e39", TOO_LARGE),
        ("Idle Mean", "-1e39", TOO_LARGE),
        # Beyond the largest float32 by less than half a step: the nearest float32 is infinite.
        ("Idle Mean", "3.4028235677973366e38", TOO_LARGE),
        ("Flow Duration", "-1", "negative duration"),
        ("Flow IAT Min", "-12", "negative inter-arrival time"),
        ("Bwd IAT Total", "-1", "negative inter-arrival time"),
        ("Fwd Header Length", "-1073741320", "negative header length"),
        ("Fwd Header Length.1", "-1", "negative header length"),
        ("min_seg_size_forward", "-83885313", "negative header length"),
    ],
)
def test_each_rule_drops_and_counts(tmp_path: Path, name: str, text: str, rule: str) -> None:
    table = read(tmp_path, {(2, name): text}, PAPER78)
    assert len(table) == 3
    assert dict(+table.dropped) == {rule: 1}


def test_the_largest_float32_stays(tmp_path: Path) -> None:
    table = read(tmp_path, {(2, "Idle Mean"): "3.4028234e38"}, PAPER78)
    assert len(table) == 4


def test_a_row_is_counted_once(tmp_path: Path) -> None:
    changes = {(2, "Flow Duration"): "-1", (2, "Idle Mean"): "NaN", (2, "Flow IAT Min"): "-1"}
    table = read(tmp_path, changes, PAPER78)
    assert dict(+table.dropped) == {NOT_FINITE: 1}


@pytest.mark.parametrize("name", ["Fwd Seg Size Min", "Fwd Header Length"])
def test_overflowed_header_lengths_of_the_improved_files(tmp_path: Path, name: str) -> None:
    made = improved(labels_of(BENIGN=3))
    made.set(1, name, "-32768")
    table = read_table(made.write(tmp_path / "a.csv"), ("Flow Duration", name))
    assert dict(+table.dropped) == {"negative header length": 1}


def test_no_window_is_no_fault(tmp_path: Path) -> None:
    assert len(read(tmp_path, {(2, "Init_Win_bytes_backward"): "-1"}, PAPER78)) == 4


def test_columns_outside_the_feature_set_are_not_looked_at(tmp_path: Path) -> None:
    assert len(read(tmp_path, {(2, "Fwd Header Length"): "-5"}, EDGE40)) == 4


@pytest.mark.parametrize(
    ("made", "names"),
    [
        (traffic(labels_of(BENIGN=4)), PAPER78),
        (cse(labels_of(BENIGN=4)), PAPER78),
        (improved(labels_of(BENIGN=4)), EDGE_IMPROVED),
        (extract("cic2017", labels_of(BENIGN=4)), PAPER78),
    ],
)
@pytest.mark.parametrize("protocol", ["0", "1", "2", "132", "58", ""])
def test_what_is_neither_tcp_nor_udp_is_dropped(
    tmp_path: Path, made: Csv, names: tuple[str, ...], protocol: str
) -> None:
    before = made.rows[2][made.column("Protocol")]
    made.set(2, "Protocol", protocol)
    table = read_table(made.write(tmp_path / "a.csv"), names)
    made.set(2, "Protocol", before)
    assert len(table) == 3
    assert dict(+table.dropped) == {NOT_TCP_UDP: 1}


@pytest.mark.parametrize(("profile", "marked"), [("improved", True), ("gateway", True)])
def test_ipv6_is_dropped_by_its_column(tmp_path: Path, profile: str, marked: bool) -> None:
    made = extract(profile, labels_of(BENIGN=3))
    made.set(1, "IP Version", "6")
    names = FEATURE_SETS[f"edge-{profile}"][1]
    assert dict(+read_table(made.write(tmp_path / "a.csv"), names).dropped) == {OVER_IPV6: 1}


def test_ipv6_is_dropped_by_its_address(tmp_path: Path) -> None:
    made = improved(labels_of(BENIGN=3))
    made.set(1, "Src IP", "fd00::1")
    table = read_table(made.write(tmp_path / "a.csv"), EDGE_IMPROVED)
    assert dict(+table.dropped) == {OVER_IPV6: 1}


def attempted(folder: Path, choice: str) -> FlowTable:
    made = cve(["BENIGN", "DoS Hulk", "DoS Hulk - Attempted", "Botnet – Attempted"])
    return read_table(made.write(folder / "a.csv"), PAPER78, CleaningSettings(choice))


def labels(table: FlowTable) -> list[str]:
    return [table.labels[code] for code in table.label]


@pytest.mark.parametrize(
    ("choice", "kept", "dropped", "changed"),
    [
        ("drop", ["BENIGN", "DoS Hulk"], {ATTEMPTED: 2}, {}),
        ("benign", ["BENIGN", "DoS Hulk", "BENIGN", "BENIGN"], {}, {ATTEMPTED_AS_BENIGN: 2}),
        (
            "class",
            ["BENIGN", "DoS Hulk", "DoS Hulk - Attempted", "Botnet - Attempted"],
            {},
            {ATTEMPTED_AS_CLASS: 2},
        ),
    ],
)
def test_attempted(
    tmp_path: Path,
    choice: str,
    kept: list[str],
    dropped: dict[str, int],
    changed: dict[str, int],
) -> None:
    table = attempted(tmp_path, choice)
    assert labels(table) == kept
    assert dict(+table.dropped) == dropped
    assert dict(+table.changed) == changed


def test_attempted_as_a_class_is_an_attack_of_its_family(tmp_path: Path) -> None:
    table = attempted(tmp_path, "class")
    assert (table.label != 0).tolist() == [False, True, True, True]
    assert table.families["DoS Hulk - Attempted"] == "dos"
    assert table.families["Botnet - Attempted"] == "botnet"


def test_an_attempted_row_is_dropped_as_such_only(tmp_path: Path) -> None:
    made = cve(["BENIGN", "DoS Hulk - Attempted"])
    made.set(1, "Idle Mean", "NaN")
    table = read_table(made.write(tmp_path / "a.csv"), PAPER78)
    assert dict(+table.dropped) == {ATTEMPTED: 1}


def test_choices_are_checked() -> None:
    with pytest.raises(ValueError, match="attempted is one of"):
        CleaningSettings("attack")


CELLS = st.one_of(
    st.floats(width=64),
    st.sampled_from([0.0, -1.0, 1.0, math.inf, -math.inf, math.nan, 3.5e38, 1e300]),
)
CHUNKS = hnp.arrays(np.float64, st.tuples(st.integers(0, 12), st.just(4)), elements=CELLS)


@given(CHUNKS, st.data())
def test_every_row_is_kept_clean_or_counted(raw: NDArray[np.float64], data: st.DataObject) -> None:
    before = raw.copy()
    keep = np.array(data.draw(st.lists(st.booleans(), min_size=len(raw), max_size=len(raw))))
    keep = keep.astype(bool)
    rows = clean_chunk(raw, NAMES, keep)
    assert np.array_equal(raw, before, equal_nan=True)
    assert rows.raw.dtype == np.float32
    assert np.isfinite(rows.raw).all()
    assert (rows.raw[:, 0] >= 0).all()
    assert len(rows.raw) == rows.keep.sum()
    assert not (rows.keep & ~keep).any()
    assert rows.dropped.total() + len(rows.raw) == keep.sum()
    assert rows.changed.total() <= len(rows.raw)


@given(CHUNKS, st.integers(0, 12))
def test_cleaning_by_parts_is_cleaning_the_whole(raw: NDArray[np.float64], cut: int) -> None:
    whole = clean_chunk(raw, NAMES)
    parts = [clean_chunk(part, NAMES) for part in (raw[:cut], raw[cut:])]
    assert np.array_equal(np.concatenate([part.raw for part in parts]), whole.raw)
    assert np.array_equal(np.concatenate([part.keep for part in parts]), whole.keep)
    assert sum((part.dropped for part in parts), Counter()) == whole.dropped
    assert sum((part.changed for part in parts), Counter()) == whole.changed


LABELS = ("DoS Hulk", "BENIGN", "DoS Hulk - Attempted", "Botnet - Attempted", "mine")


@given(
    st.permutations(LABELS),
    st.lists(st.integers(0, len(LABELS) - 1), max_size=30),
    st.sampled_from(ATTEMPTED_CHOICES),
)
def test_settling(names: list[str], codes: list[int], choice: str) -> None:
    label = np.array(codes, dtype=np.int16)
    settled = settle_attempted(names, label, choice)
    assert settled.labels[0] == BENIGN
    assert len(settled.label) == len(settled.keep) == len(codes)
    for code, new, stays in zip(codes, settled.label.tolist(), settled.keep.tolist(), strict=True):
        before, after = names[code], settled.labels[new]
        if not is_attempted(before) or choice == "class":
            assert (after, stays) == (before, True)
        else:
            assert stays == (choice == "benign")
            assert choice == "drop" or after == BENIGN
    concerned = sum(is_attempted(names[code]) for code in codes)
    assert settled.dropped.total() == (concerned if choice == "drop" else 0)
    assert settled.changed.total() == (0 if choice == "drop" else concerned)


def test_benign_is_added_where_it_is_missing() -> None:
    settled = settle_attempted(("DDoS",), np.zeros(2, dtype=np.int16), "drop")
    assert settled.labels == (BENIGN, "DDoS")
    assert settled.label.tolist() == [1, 1]


def test_no_labels_at_all() -> None:
    settled = settle_attempted((), np.zeros(0, dtype=np.int16), "drop")
    assert settled.labels == (BENIGN,)
    assert not len(settled.label)


def test_rules_have_names_of_their_own() -> None:
    rules = [value for name, value in vars(cleaning).items() if name.isupper() and name[0] != "_"]
    texts = [rule for rule in rules if isinstance(rule, str)]
    assert len(set(texts)) == len(texts) >= 11
