"""Every rule by which rows are dropped, with its count."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from edge_agent.contract.features import FEATURE_SETS
from tests.trainer.flowfiles import cve, labels_of
from trainer.datasets.cleaning import ATTEMPTED, NOT_FINITE, TOO_LARGE, clean
from trainer.datasets.tables import read_table

if TYPE_CHECKING:
    from pathlib import Path

    from trainer.datasets.flows import FlowTable

PAPER78 = FEATURE_SETS["paper78"][1]
EDGE40 = FEATURE_SETS["edge40"][1]


def read(folder: Path, changes: dict[tuple[int, str], str], names: tuple[str, ...]) -> FlowTable:
    """Four benign rows with some cells changed."""
    made = cve(labels_of(BENIGN=4))
    for (row, name), text in changes.items():
        made.set(row, name, text)
    return read_table(made.write(folder / "a.csv"), names)


def test_clean_rows_stay(tmp_path: Path) -> None:
    table = clean(read(tmp_path, {}, PAPER78))
    assert len(table) == 4
    assert not +table.dropped


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-1", ""])
def test_rates_of_an_instant_are_recomputed(tmp_path: Path, text: str) -> None:
    changes = {
        (1, "Flow Duration"): "0",
        (1, "Flow Bytes/s"): text,
        (1, "Flow Packets/s"): text,
        (1, "Total Fwd Packets"): "2",
        (1, "Total Backward Packets"): "1",
    }
    table = clean(read(tmp_path, changes, PAPER78))
    assert len(table) == 4
    assert table.raw[1, PAPER78.index("Flow Packets/s")] == 3e6
    assert np.isfinite(table.raw).all()


@pytest.mark.parametrize(
    ("name", "text", "rule"),
    [
        ("Flow Bytes/s", "Infinity", NOT_FINITE),
        ("Idle Mean", "NaN", NOT_FINITE),
        ("Idle Mean", "", NOT_FINITE),
        ("Idle Mean", "1e39", TOO_LARGE),
        ("Flow Duration", "-1", "negative duration"),
        ("Flow IAT Min", "-12", "negative inter-arrival time"),
        ("Bwd IAT Total", "-1", "negative inter-arrival time"),
        ("Fwd Header Length", "-1073741320", "negative header length"),
        ("min_seg_size_forward", "-83885313", "negative header length"),
    ],
)
def test_each_rule_drops_and_counts(tmp_path: Path, name: str, text: str, rule: str) -> None:
    table = clean(read(tmp_path, {(2, name): text}, PAPER78))
    assert len(table) == 3
    assert dict(+table.dropped) == {rule: 1}


def test_no_window_is_no_fault(tmp_path: Path) -> None:
    assert len(clean(read(tmp_path, {(2, "Init_Win_bytes_backward"): "-1"}, PAPER78))) == 4


def test_columns_outside_the_feature_set_are_not_looked_at(tmp_path: Path) -> None:
    assert len(clean(read(tmp_path, {(2, "Fwd Header Length"): "-5"}, EDGE40))) == 4


@pytest.mark.parametrize(
    ("choice", "labels", "dropped"),
    [
        ("drop", ["BENIGN", "DoS Hulk"], 2),
        ("benign", ["BENIGN", "DoS Hulk", "BENIGN", "BENIGN"], 0),
        ("attack", ["BENIGN", "DoS Hulk", "DoS Hulk", "Botnet"], 0),
    ],
)
def test_attempted(tmp_path: Path, choice: str, labels: list[str], dropped: int) -> None:
    made = cve(["BENIGN", "DoS Hulk", "DoS Hulk - Attempted", "Botnet - Attempted"])
    table = clean(read_table(made.write(tmp_path / "a.csv"), PAPER78), choice)
    assert table.label.tolist() == labels
    assert table.dropped[ATTEMPTED] == dropped
