"""The published rows of CICIDS2017, where they lie beside the checkout."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from edge_agent.contract.features import FEATURE_SETS
from trainer.cli import main
from trainer.datasets.cleaning import clean
from trainer.datasets.splits import split
from trainer.datasets.tables import read_table

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.shared


def test_the_original_rows(shared: Path) -> None:
    names = FEATURE_SETS["paper78"][1]
    table = read_table(shared / "data" / "cicids2017" / "original.csv.gz", names)
    assert len(table) == 96_239
    assert (table.label == "BENIGN").sum() == 77_093
    kept = clean(table)
    # 92 rows with infinities and 31 with NaN are all flows without duration, and repaired.
    assert dict(+kept.dropped) == {
        "negative duration": 4,
        "negative inter-arrival time": 117,
        "negative header length": 25,
    }
    assert split(kept, "dedup", 0).duplicates == 5475


def test_the_improved_rows(shared: Path) -> None:
    names = FEATURE_SETS["edge-improved"][1]
    table = read_table(shared / "data" / "cicids2017" / "improved.csv.gz", names)
    assert len(clean(table)) == 34_566
    assert (table.label == "BENIGN").sum() == 3954
    assert "other" not in table.families.values()
    assert len(split(table, "dedup", 0).table) == 34_566 - 7188
    assert len(split(table, "group", 0).table) == 34_566


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
