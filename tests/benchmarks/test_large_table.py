"""Tables as large as the published ones: made, read and measured, here in small."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
from click.testing import CliRunner

from benchmarks.__main__ import main
from benchmarks.large_table.files import FORMS, LAYOUT_NAMES, PUBLISHED_ROWS, Order, write
from benchmarks.large_table.flows import draw
from edge_agent.contract.features import FEATURE_SETS
from trainer.datasets.cleaning import EMPTY_ROW, RATES_RECOMPUTED, REPEATED_HEADER
from trainer.datasets.sources import plan, read

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

PAPER78 = FEATURE_SETS["paper78"][1]
ROWS = 20_000


def quiet(_: str) -> None:
    return None


def test_the_published_rows_are_all_there() -> None:
    assert PUBLISHED_ROWS == 2_830_743


def relative(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """The largest difference; the sums in one are of other order than in the other."""
    return float((np.abs(one - other) / np.maximum(np.abs(other), 1)).max())


@pytest.mark.parametrize("corrected", [False, True])
def test_drawn_flows_hold_the_identities_of_the_specification(corrected: bool) -> None:
    drawn = draw(np.random.default_rng(1), np.arange(3000) % 3 == 0, corrected=corrected)
    c = drawn.columns
    packets = c[3] + c[4]
    equal = [(54, c[9]), (55, c[13]), (40, np.maximum(c[7], c[11])), (43, c[42] ** 2)]
    equal += [(9, c[5] / c[3]), (13, c[6] / c[4]), (17, c[2] / (packets - 1))]
    equal += [(21, c[22] * (c[3] - 1)), (26, c[27] * (c[4] - 1)), (16, packets * 1e6 / c[2])]
    equal += [(39, np.minimum(c[8], c[12])), (16, c[37] + c[38])]
    if corrected:
        equal += [(53, c[41]), (52, c[4] / c[3]), (53, (c[5] + c[6]) / packets)]
    else:
        equal += [(63, c[3]), (64, c[5]), (65, c[4]), (66, c[6]), (56, c[35]), (45, c[31])]
        equal += [(50, c[33]), (46, c[51]), (52, c[4] // c[3])]
        equal += [(53, c[41] * (packets + 1) / packets)]
        assert (c[69] <= c[3] - 1).all()
    for number, expected in equal:
        assert relative(c[number], expected) < 1e-9, number
    assert all(np.isfinite(column).all() for column in c.values())


@pytest.mark.parametrize("layout", LAYOUT_NAMES)
def test_files_of_each_layout_can_be_read(tmp_path: Path, layout: str) -> None:
    files = write(Order(layout, ROWS), tmp_path, quiet)
    assert len(files) == 8
    table = read(plan(files, [], None), PAPER78)
    assert table.layout == layout
    rows = sum(file.rows for file in table.files)
    empty = table.dropped[EMPTY_ROW]
    assert len(table) + table.dropped.total() == rows
    assert abs(rows - empty - ROWS) < 30
    assert (empty > 0) == (layout == "TrafficLabelling")
    assert table.dropped["negative inter-arrival time"] > 0
    assert table.changed[RATES_RECOMPUTED] > 0
    assert np.isfinite(table.raw).all()
    assert "Web Attack - XSS" in table.labels
    copies = len(table) - len(np.unique(table.raw, axis=0))
    assert 0.06 < copies / len(table) < 0.12
    assert not table.dropped[REPEATED_HEADER]


@pytest.mark.parametrize("form", FORMS)
def test_the_same_order_gives_the_same_bytes(tmp_path: Path, form: str) -> None:
    order = Order("MachineLearningCVE", 2000, form)
    ones, others = (write(order, tmp_path / name, quiet) for name in "ab")
    assert [path.read_bytes() for path in ones] == [path.read_bytes() for path in others]
    assert ones[0].name == f"Monday-2000-0.{form}"
    before = ones[0].stat().st_mtime_ns
    write(order, tmp_path / "a", quiet)
    assert ones[0].stat().st_mtime_ns == before


def test_the_command_measures_a_process_of_its_own(tmp_path: Path) -> None:
    arguments = ["large-table", "--rows", str(ROWS), "--folder", str(tmp_path), "--json"]
    result = CliRunner().invoke(main, [*arguments, "-", "--split", "dedup"])
    assert result.exit_code == 0, result.stderr
    report = json.loads(result.stdout)
    assert report["rows_read"] == pytest.approx(ROWS, abs=30)
    assert report["matrix_bytes"] == report["rows"] * len(PAPER78) * 4
    assert report["peak_bytes"] > report["matrix_bytes"]
    assert report["split_peak_bytes"] >= report["peak_bytes"]
    assert report["duplicates"] > 0
    assert sum(report["label"].values()) == report["rows"]
    kept = tmp_path / "report.json"
    result = CliRunner().invoke(main, [*arguments, str(kept)])
    assert json.loads(kept.read_text())["rows"] == report["rows"]
    assert "rows a second" in result.stdout
    assert "dropped: negative inter-arrival time" in result.stdout


def test_a_failure_is_told(tmp_path: Path) -> None:
    folder = tmp_path / "MachineLearningCVE"
    folder.mkdir()
    (folder / "Monday-1000-0.csv").write_text("no,table\n")
    arguments = ["large-table", "--rows", "1000", "--folder", str(tmp_path)]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 1
    assert "status 1" in result.stderr
