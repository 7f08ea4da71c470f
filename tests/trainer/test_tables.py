"""CSV layouts as they are published, and every way in which a table can be wrong."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING

import numpy as np
import pytest

from edge_agent.contract.errors import TableError
from edge_agent.contract.features import FEATURE_SETS
from edge_agent.contract.profiles import PROFILES
from tests.trainer.flowfiles import Csv, cve, improved, labels_of
from trainer.datasets.flows import NO_TIME
from trainer.datasets.tables import (
    EMPTY_ROW,
    NO_LABEL,
    OVER_IPV6,
    REPEATED_HEADER,
    read_table,
    sniff,
)

if TYPE_CHECKING:
    from pathlib import Path

PAPER78 = FEATURE_SETS["paper78"][1]
EDGE_IMPROVED = FEATURE_SETS["edge-improved"][1]


def problem(path: Path, names: tuple[str, ...] = PAPER78) -> TableError:
    """The error of reading a file, which must be one sentence that names the file."""
    with pytest.raises(TableError) as caught:
        read_table(path, names)
    text = str(caught.value)
    assert text.startswith(str(path))
    assert text.endswith(".")
    assert "\n" not in text
    assert caught.value.remedy
    return caught.value


def test_machine_learning_cve(tmp_path: Path) -> None:
    made = cve(labels_of(BENIGN=3, Bot=2))
    table = read_table(made.write(tmp_path / "a.csv"), PAPER78)
    assert (table.profile, table.layout) == ("cic2017", "MachineLearningCVE")
    assert table.label.tolist() == ["BENIGN"] * 3 + ["Botnet"] * 2
    expected = [[float(cell) for cell in row[:78]] for row in made.rows]
    assert table.raw.tolist() == expected
    assert (table.start_us == NO_TIME).all()
    assert (table.connection == -1).all()
    assert table.files[0].rows == 5


def test_headers_as_published(tmp_path: Path) -> None:
    """Leading blanks, the repeated column under its own name, a BOM and Windows line ends."""
    made = cve(labels_of(BENIGN=2, Bot=2))
    header = [" " + name.removesuffix(".1") for name in made.header]
    text = "\ufeff" + Csv(header, made.rows).text().replace("\n", "\r\n")
    path = tmp_path / "published.csv"
    path.write_bytes(text.encode())
    plain = read_table(made.write(tmp_path / "plain.csv"), PAPER78)
    published = read_table(path, PAPER78)
    assert np.array_equal(published.raw, plain.raw)
    assert published.label.tolist() == plain.label.tolist()


def test_reordered_columns_and_a_source_column(tmp_path: Path) -> None:
    made = cve(labels_of(BENIGN=2, Bot=2))
    plain = read_table(made.write(tmp_path / "plain.csv"), PAPER78)
    turned = Csv(
        [name.upper() for name in made.header[::-1]] + ["source"],
        [[*row[::-1], "here"] for row in made.rows],
    )
    table = read_table(turned.write(tmp_path / "turned.csv"), PAPER78)
    assert np.array_equal(table.raw, plain.raw)


def test_improved_layout_with_times_and_connections(tmp_path: Path) -> None:
    made = improved(labels_of(BENIGN=2, DDoS=2))
    # The last row is the first one's connection, the other way round.
    for name, other in (("Src IP", "Dst IP"), ("Src Port", "Dst Port")):
        made.rows[3][made.column(name)] = made.rows[0][made.column(other)]
        made.rows[3][made.column(other)] = made.rows[0][made.column(name)]
    assert len(made.header) == 91
    table = read_table(made.write(tmp_path / "a.csv"), EDGE_IMPROVED)
    assert (table.profile, table.layout) == ("improved", "improved")
    # 2017-07-06 12:00:00.000001 UTC
    assert table.start_us.tolist()[:2] == [1499342400000001, 1499342401000001]
    assert table.connection[3] == table.connection[0]
    assert len(set(table.connection[:3].tolist())) == 3


@pytest.mark.parametrize("profile", list(PROFILES))
def test_extracts_with_a_label_column(tmp_path: Path, profile: str) -> None:
    head = ["Src IP", "Src Port", "Dst IP", "Dst Port", "Protocol", "Start us"]
    features = [name for name in PROFILES[profile].columns if name not in head]
    made = Csv([*head, *features, "IP Version", "Label"])
    counted = ["1"] * len(features)
    made.rows = [
        ["10.0.0.1", "1", "10.0.0.2", "80", "6", "1499342400000001", *counted, "4", "BENIGN"],
        ["fd00::1", "1", "fd00::2", "80", "6", "1499342400000002", *counted, "6", "BENIGN"],
    ]
    path = made.write(tmp_path / "a.csv")
    assert sniff(path).layout.name == f"extract of {profile}"
    names = FEATURE_SETS[PROFILES[profile].feature_sets[0]][1]
    table = read_table(path, names)
    assert table.profile == profile
    assert table.start_us.tolist() == [1499342400000001]
    assert table.dropped[OVER_IPV6] == 1


def test_gzip_and_cp1252(tmp_path: Path) -> None:
    made = cve(["BENIGN", "Web Attack – XSS"])
    path = tmp_path / "a.csv.gz"
    path.write_bytes(gzip.compress(made.text().encode("cp1252")))
    assert read_table(path, PAPER78).label.tolist() == ["BENIGN", "Web Attack - XSS"]


def test_what_is_no_flow_is_counted(tmp_path: Path) -> None:
    made = cve(labels_of(BENIGN=3, Bot=2))
    lines = made.text().splitlines()
    blank = "," * 78
    lines[2:2] = [lines[0], "", blank]
    lines.append(lines[1].rpartition(",")[0] + ",")
    path = tmp_path / "a.csv"
    path.write_text("\n".join(lines) + "\n")
    table = read_table(path, PAPER78)
    assert len(table) == 5
    assert table.dropped[REPEATED_HEADER] == 1
    assert table.dropped[EMPTY_ROW] >= 1
    assert table.dropped[NO_LABEL] == 1


def test_infinity_and_nan_are_numbers(tmp_path: Path) -> None:
    made = cve(labels_of(BENIGN=5))
    for row, text in enumerate(("Infinity", "NaN", "inf", "-Infinity", "")):
        made.set(row, "Flow Bytes/s", text)
    table = read_table(made.write(tmp_path / "a.csv"), PAPER78)
    column = table.raw[:, PAPER78.index("Flow Bytes/s")].tolist()
    assert column[0] == column[2] == np.inf
    assert column[3] == -np.inf
    assert np.isnan(column[1])
    assert np.isnan(column[4])


def test_missing_columns_are_named(tmp_path: Path) -> None:
    made = cve(["BENIGN"])
    dropped = made.column("Flow Duration")
    made = Csv(
        [name for index, name in enumerate(made.header) if index != dropped],
        [[cell for index, cell in enumerate(row) if index != dropped] for row in made.rows],
    )
    error = problem(made.write(tmp_path / "a.csv"))
    assert error.where == "line 1"
    assert "lacks 'Flow Duration'" in error.problem


def test_unknown_columns_are_named(tmp_path: Path) -> None:
    made = cve(["BENIGN"])
    made.header.append("Surprise")
    made.rows[0].append("1")
    assert "'Surprise'" in problem(made.write(tmp_path / "a.csv")).problem


def test_no_label_column(tmp_path: Path) -> None:
    made = cve(["BENIGN"])
    made = Csv(made.header[:-1], [row[:-1] for row in made.rows])
    error = problem(made.write(tmp_path / "a.csv"))
    assert "no 'Label' column" in error.problem
    assert "--labels" in error.remedy


def test_another_table(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("name,age\nx,1\n")
    assert "known layout" in problem(path).problem


def test_a_cell_that_is_no_number(tmp_path: Path) -> None:
    made = cve(labels_of(BENIGN=4))
    made.set(2, "Flow Duration", "1,5".replace(",", ";"))
    error = problem(made.write(tmp_path / "a.csv"))
    assert error.where == "line 4, column 'Flow Duration'"
    assert "'1;5' is no number" in error.problem


def test_the_line_is_right_behind_blank_lines(tmp_path: Path) -> None:
    made = cve(labels_of(BENIGN=4))
    made.set(2, "Flow Duration", "x")
    lines = made.text().splitlines()
    lines[1:1] = ["", "", lines[0]]
    path = tmp_path / "a.csv"
    path.write_text("\n".join(lines) + "\n")
    assert problem(path).where == "line 7, column 'Flow Duration'"


def test_a_time_that_is_none(tmp_path: Path) -> None:
    made = improved(labels_of(BENIGN=2))
    made.set(1, "Timestamp", "7/7/2017 3:30")
    error = problem(made.write(tmp_path / "a.csv"), EDGE_IMPROVED)
    assert error.where == "line 3, column 'Timestamp'"


def test_too_many_cells(tmp_path: Path) -> None:
    made = cve(labels_of(BENIGN=3))
    made.rows[1].append("7")
    error = problem(made.write(tmp_path / "a.csv"))
    assert error.where == "line 3"
    assert "80 cells where the header has 79" in error.problem


def test_too_many_cells_behind_a_column_that_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    header, first, *rest = cve(labels_of(BENIGN=3)).text().splitlines()
    lines = [header + ",source", first + ",here", *(line + ",here,7" for line in rest)]
    path.write_text("\n".join(lines) + "\n")
    error = problem(path)
    assert error.where == "line 3"
    assert "81 cells where the header has 80" in error.problem


def test_a_cut_line_has_no_label(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    text = cve(labels_of(BENIGN=3)).text()
    path.write_text(text[: len(text) - 60])
    table = read_table(path, PAPER78)
    assert len(table) == 2
    assert table.dropped[NO_LABEL] == 1


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_wide_encodings_are_refused(tmp_path: Path, encoding: str) -> None:
    error = problem(cve(["BENIGN"]).write(tmp_path / "a.csv", encoding))
    assert "UTF-8" in error.problem
    assert error.where == "line 1"


@pytest.mark.parametrize("content", [b"", b"\n\n", b"\xef\xbb\xbf"])
def test_empty_files(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(content)
    assert "is empty" in problem(path).problem


def test_a_cut_gzip_file(tmp_path: Path) -> None:
    path = tmp_path / "a.csv.gz"
    path.write_bytes(gzip.compress(cve(["BENIGN"] * 50).text().encode())[:-20])
    assert "gzip" in problem(path).problem


def test_a_line_too_long_for_a_header(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"a," * 100_000)
    assert "no header" in problem(path).problem


def test_a_feature_set_that_the_file_lacks(tmp_path: Path) -> None:
    path = improved(["BENIGN"]).write(tmp_path / "a.csv")
    error = problem(path, (*EDGE_IMPROVED, "Bwd Act Data Pkts"))
    assert "'Bwd Act Data Pkts'" in error.problem


def test_a_missing_file(tmp_path: Path) -> None:
    assert "cannot be read" in problem(tmp_path / "none.csv").problem


def test_an_unclosed_quote(tmp_path: Path) -> None:
    made = cve(labels_of(BENIGN=3))
    made.set(1, "Flow Duration", '"12')
    error = problem(made.write(tmp_path / "a.csv"))
    assert error.where == "line 3"
    assert "quote" in error.problem
