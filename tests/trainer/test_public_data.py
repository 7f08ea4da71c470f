"""The published rows of CICIDS2017, where they lie beside the checkout."""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
from click.testing import CliRunner

from edge_agent.contract.features import FEATURE_SETS
from tests.trainer.flowfiles import Csv
from trainer.cli import main
from trainer.datasets.cleaning import NOT_TCP_UDP
from trainer.datasets.labels import UNKNOWN
from trainer.datasets.splits import split
from trainer.datasets.tables import read_table

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.shared


def test_the_original_rows(shared: Path) -> None:
    names = FEATURE_SETS["paper78"][1]
    table = read_table(shared / "data" / "cicids2017" / "original.csv.gz", names)
    assert table.files[0].rows == 96_239
    # 92 rows with infinities and 31 with NaN are all flows without duration, and repaired.
    assert dict(+table.dropped) == {
        "negative duration": 4,
        "negative inter-arrival time": 117,
        "negative header length": 25,
    }
    assert len(table) == 96_239 - 146
    assert np.isfinite(table.raw).all()
    assert split(table, "dedup", 0).duplicates == 5475


def test_the_improved_rows(shared: Path) -> None:
    names = FEATURE_SETS["edge-improved"][1]
    table = read_table(shared / "data" / "cicids2017" / "improved.csv.gz", names)
    assert table.files[0].rows == 34_566
    assert dict(+table.dropped) == {NOT_TCP_UDP: 9}
    assert len(table.labels) == 15
    assert UNKNOWN not in table.families.values()
    assert (table.connection >= 0).all()
    assert len(split(table, "group", 0).table) == 34_557


# Unlabelled rows of two builds of the real tool, some of which tell nothing.
PARITY = ["mabidm_hulk", "doup123_test", "slowite", "miuref", "evgenii_syn_flood", "synscan"]


@pytest.mark.parametrize("capture", PARITY)
@pytest.mark.parametrize("build", ["cic2017", "improved"])
def test_rows_of_the_tools_themselves(
    shared: Path, tmp_path: Path, capture: str, build: str
) -> None:
    """The oldest public build has the short names; the newest corrected one has more columns."""
    text = (shared / "data" / "parity" / f"{capture}.{build}.csv").read_text()
    header, *rows = csv.reader(io.StringIO(text))
    label = header.index("Label")
    for row in rows:
        row[label] = "BENIGN"
    path = Csv(header, rows).write(tmp_path / "a.csv")
    table = read_table(path, FEATURE_SETS["edge40" if build == "cic2017" else "edge-improved"][1])
    assert table.layout == ("CSE-CIC-IDS2018" if build == "cic2017" else "improved")
    assert len(table) + table.dropped.total() == len(rows)
    # Some of the captures are out of order.
    assert set(+table.dropped) <= {NOT_TCP_UDP, "negative inter-arrival time"}


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_cnn_lstm_on_the_original_rows(shared: Path, tmp_path: Path) -> None:
    """What the project promises: F1 of .985 or more on a random split, with the defaults."""
    data = shared / "data" / "cicids2017" / "original.csv.gz"
    run = tmp_path / "run"
    result = CliRunner().invoke(main, ["--data", str(data), "--output", str(run)])
    assert result.exit_code == 0, result.stderr
    test = json.loads((run / "metrics.json").read_text())["models"]["cnn-lstm"]["test"]
    assert test["f1"] >= 0.985
    assert test["false_alarm_rate"] <= 0.005
