"""Tables as they are published, and every way in which a file can be wrong."""

from __future__ import annotations

import gzip
import hashlib
import io
import lzma
import sys
import zipfile
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.contract.errors import TableError
from edge_agent.contract.features import FEATURE_SETS
from edge_agent.contract.profiles import PROFILES
from tests.trainer.flowfiles import Csv, cse, cve, extract, improved, java, labels_of, traffic
from trainer.datasets import csvfile
from trainer.datasets.cleaning import EMPTY_ROW, NO_LABEL, REPEATED_HEADER
from trainer.datasets.flows import NO_ENDPOINT, NO_TIME, FlowTable, address_ids
from trainer.datasets.tables import read_table

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

PAPER78 = FEATURE_SETS["paper78"][1]
EDGE40 = FEATURE_SETS["edge40"][1]
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


def labels(table: FlowTable) -> list[str]:
    return [table.labels[code] for code in table.label]


def numbers(made: Csv, names: Sequence[str]) -> list[list[float]]:
    """The cells of a table, as float32 has them."""
    cells = [[float(row[made.column(name)]) for name in names] for row in made.rows]
    return np.array(cells, dtype=np.float32).tolist()  # type: ignore[no-any-return]


def same(one: FlowTable, other: FlowTable) -> bool:
    return (
        np.array_equal(one.raw, other.raw)
        and labels(one) == labels(other)
        and np.array_equal(one.start_us, other.start_us)
        and np.array_equal(one.connection, other.connection)
        and np.array_equal(one.host, other.host)
        and +one.dropped == +other.dropped
        and one.files[0].rows == other.files[0].rows
    )


def test_machine_learning_cve(tmp_path: Path) -> None:
    made = cve(labels_of(BENIGN=3, Bot=2))
    path = made.write(tmp_path / "a.csv")
    table = read_table(path, PAPER78)
    assert (table.profile, table.layout) == ("cic2017", "MachineLearningCVE")
    assert labels(table) == ["BENIGN"] * 3 + ["Botnet"] * 2
    assert table.labels == ("BENIGN", "Botnet")
    assert table.families == {"BENIGN": "benign", "Botnet": "botnet"}
    assert table.raw.dtype == np.float32
    assert table.raw.tolist() == numbers(made, PAPER78)
    assert (table.start_us == NO_TIME).all()
    assert (table.connection == NO_ENDPOINT).all()
    assert (table.host == NO_ENDPOINT).all()
    assert table.file.tolist() == [0] * 5
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert [(file.path, file.sha256, file.rows) for file in table.files] == [(path, digest, 5)]


def test_headers_as_published(tmp_path: Path) -> None:
    """Leading blanks, the repeated column under its own name, a BOM and Windows line ends."""
    made = cve(labels_of(BENIGN=2, Bot=2))
    header = [" " + name.removesuffix(".1") for name in made.header]
    text = "\ufeff" + Csv(header, made.rows).text().replace("\n", "\r\n")
    path = tmp_path / "published.csv"
    path.write_bytes(text.encode())
    assert same(read_table(path, PAPER78), read_table(made.write(tmp_path / "plain.csv"), PAPER78))


def test_reordered_columns_and_a_source_column(tmp_path: Path) -> None:
    made = cve(labels_of(BENIGN=2, Bot=2))
    turned = Csv(
        [name.upper() for name in made.header[::-1]] + ["source"],
        [[*row[::-1], "here"] for row in made.rows],
    )
    assert same(
        read_table(turned.write(tmp_path / "turned.csv"), PAPER78),
        read_table(made.write(tmp_path / "plain.csv"), PAPER78),
    )


def test_a_last_line_without_an_end(tmp_path: Path) -> None:
    made = cve(labels_of(BENIGN=2, Bot=2))
    path = tmp_path / "cut.csv"
    path.write_text(made.text().rstrip("\n"))
    assert same(read_table(path, PAPER78), read_table(made.write(tmp_path / "a.csv"), PAPER78))


def test_the_missing_copy_of_a_column_is_read_from_the_first(tmp_path: Path) -> None:
    made = cve(labels_of(BENIGN=2, Bot=2))
    short = made.without("Fwd Header Length.1")
    assert same(
        read_table(short.write(tmp_path / "a.csv"), PAPER78),
        read_table(made.write(tmp_path / "b.csv"), PAPER78),
    )


def test_traffic_labelling(tmp_path: Path) -> None:
    made = traffic(labels_of(BENIGN=2, DDoS=2))
    made.set(1, "Timestamp", "3/7/2017 1:05")
    # The last row is the first one's connection, the other way round.
    for name, other in (
        ("Source IP", "Destination IP"),
        ("Source Port", "Destination Port"),
        ("Protocol", "Protocol"),
    ):
        one, two = made.rows[0][made.column(name)], made.rows[0][made.column(other)]
        made.rows[3][made.column(name)] = two
        made.rows[3][made.column(other)] = one
    table = read_table(made.write(tmp_path / "a.csv"), PAPER78)
    assert (table.profile, table.layout) == ("cic2017", "TrafficLabelling")
    assert table.raw.tolist() == numbers(made, PAPER78)
    # 7 July 2017, 8:00 by the clock of UTC-3; 3 July, 13:05 on a 12-hour clock.
    assert table.start_us.tolist()[:2] == [1_499_425_200_000_000, 1_499_097_900_000_000]
    assert table.connection[3] == table.connection[0] >= 0
    assert len(set(table.connection[:3].tolist())) == 3
    expected = address_ids(["192.168.10.5"] * 3 + ["192.168.10.3"]).tolist()
    assert table.host.tolist() == expected


def test_traffic_labelling_as_published(tmp_path: Path) -> None:
    """Byte 0x96 for a dash, Windows line ends, and many lines without any value at the end."""
    made = traffic(["BENIGN", "Web Attack – XSS"])
    header = [" " + name.removesuffix(".1") for name in made.header]
    text = Csv(header, made.rows).text() + ("," * 84 + "\n") * 500
    path = tmp_path / "a.csv"
    path.write_bytes(text.replace("\n", "\r\n").encode("cp1252"))
    assert b"\x96" in path.read_bytes()
    table = read_table(path, PAPER78)
    assert labels(table) == ["BENIGN", "Web Attack - XSS"]
    assert dict(+table.dropped) == {EMPTY_ROW: 500}
    assert table.files[0].rows == 502


@pytest.mark.parametrize("addresses", [False, True])
def test_cse_cic_ids2018(tmp_path: Path, addresses: bool) -> None:
    made = cse(["Benign", "Benign", "DoS attacks-Hulk", "Infilteration"], addresses=addresses)
    lines = made.text().splitlines()
    # Some of the files repeat their header.
    lines[3:3] = [lines[0]]
    path = tmp_path / "a.csv"
    path.write_text("\n".join(lines) + "\n")
    table = read_table(path, PAPER78)
    assert (table.profile, table.layout) == ("cic2017", "CSE-CIC-IDS2018")
    assert labels(table) == ["BENIGN", "BENIGN", "DoS Hulk", "Infiltration"]
    assert dict(+table.dropped) == {REPEATED_HEADER: 1}
    spelled = ["Dst Port", "Flow Duration", "Tot Fwd Pkts", "Fwd Header Len", "Idle Min"]
    ours = ["Destination Port", "Flow Duration", "Total Fwd Packets", "Fwd Header Length.1"]
    chosen = table.raw[:, [PAPER78.index(name) for name in (*ours, "Idle Min")]]
    assert chosen.tolist() == numbers(made, spelled)
    # 14 February 2018, 8:00:01 by the clock of UTC-4.
    assert table.start_us[0] == 1_518_609_601_000_000
    assert (table.connection >= 0).all() == addresses
    assert (table.host >= 0).all() == addresses


def test_cse_cic_ids2018_by_a_12_hour_clock(tmp_path: Path) -> None:
    made = cse(["Benign"] * 3)
    for row, hour in enumerate((8, 12, 2)):
        made.set(row, "Timestamp", f"14/02/2018 {hour:02}:00:00")
    table = read_table(made.write(tmp_path / "a.csv"), PAPER78)
    hour_us = 3_600_000_000
    assert np.diff(table.start_us).tolist() == [4 * hour_us, 2 * hour_us]


def test_improved_layout_with_times_and_connections(tmp_path: Path) -> None:
    made = improved(labels_of(BENIGN=2, DDoS=2))
    for name, other in (("Src IP", "Dst IP"), ("Src Port", "Dst Port")):
        made.rows[3][made.column(name)] = made.rows[0][made.column(other)]
        made.rows[3][made.column(other)] = made.rows[0][made.column(name)]
    assert len(made.header) == 91
    table = read_table(made.write(tmp_path / "a.csv"), EDGE_IMPROVED)
    assert (table.profile, table.layout) == ("improved", "improved")
    assert table.raw.tolist() == numbers(made, EDGE_IMPROVED)
    # 2017-07-06 12:00:00.000001 UTC
    assert table.start_us.tolist()[:2] == [1499342400000001, 1499342401000001]
    assert table.connection[3] == table.connection[0]
    assert len(set(table.connection[:3].tolist())) == 3


@pytest.mark.parametrize("named", [EDGE_IMPROVED, ("Dst Port", *EDGE_IMPROVED)])
def test_ports_are_equal_whether_they_are_features_or_not(
    tmp_path: Path, named: tuple[str, ...]
) -> None:
    made = improved(labels_of(BENIGN=2))
    made.set(0, "Src Port", "443")
    made.set(0, "Dst Port", "5000")
    made.set(1, "Src Port", "5000")
    made.set(1, "Dst Port", "443")
    made.set(1, "Src IP", "192.168.10.3")
    made.set(1, "Dst IP", "192.168.10.5")
    table = read_table(made.write(tmp_path / "a.csv"), named)
    assert table.connection[0] == table.connection[1]


def test_the_java_tool_of_today(tmp_path: Path) -> None:
    made = java(labels_of(BENIGN=2, DDoS=2))
    names = tuple(name for name in EDGE_IMPROVED if "RST Flags" not in name)
    table = read_table(made.write(tmp_path / "a.csv"), names)
    assert (table.profile, table.layout) == ("improved", "CICFlowMeter")
    assert table.raw.tolist() == numbers(made, names)
    assert (table.connection >= 0).all()
    assert "'Fwd RST Flags'" in problem(tmp_path / "a.csv", EDGE_IMPROVED).problem


@pytest.mark.parametrize("profile", list(PROFILES))
def test_extracts_with_a_label_column(tmp_path: Path, profile: str) -> None:
    made = extract(profile, labels_of(BENIGN=2, scan=2))
    names = FEATURE_SETS[PROFILES[profile].feature_sets[0]][1]
    table = read_table(made.write(tmp_path / "a.csv"), names)
    assert (table.profile, table.layout) == (profile, f"extract of {profile}")
    assert table.raw.tolist() == numbers(made, names)
    assert table.start_us.tolist()[:2] == [1499342400000001, 1499342401000001]
    assert table.families == {"BENIGN": "benign", "scan": "unknown"}


# Compression and encodings.


def compressed(kind: str, data: bytes) -> bytes:
    if kind == "gzip":
        # Two members, as `cat` of two files has.
        return gzip.compress(data[:1000]) + gzip.compress(data[1000:])
    if kind == "xz":
        return lzma.compress(data)
    zstandard = pytest.importorskip("zstandard")
    return zstandard.compress(data)  # type: ignore[no-any-return]


@pytest.mark.parametrize("kind", ["gzip", "xz", "zstd"])
def test_compressed(tmp_path: Path, kind: str) -> None:
    made = cve(["BENIGN", "Web Attack – XSS"] * 20)
    path = tmp_path / "a.csv.packed"
    path.write_bytes(compressed(kind, made.text().encode("cp1252")))
    table = read_table(path, PAPER78)
    assert same(table, read_table(made.write(tmp_path / "plain.csv"), PAPER78))
    assert table.files[0].sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("kind", ["gzip", "xz", "zstd"])
def test_cut_compressed_files(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a.csv.packed"
    path.write_bytes(compressed(kind, cve(["BENIGN"] * 50).text().encode())[:-20])
    assert problem(path).problem == "is a cut compressed file"


def test_a_broken_gzip_file(tmp_path: Path) -> None:
    path = tmp_path / "a.csv.gz"
    data = bytearray(gzip.compress(cve(["BENIGN"] * 50).text().encode()))
    data[-5] ^= 1  # of the checksum
    path.write_bytes(data)
    assert problem(path).problem.startswith("is a broken compressed file (")


@pytest.mark.skipif(sys.version_info >= (3, 14), reason="this Python reads zstd by itself")
def test_zstd_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.csv.zst"
    path.write_bytes(b"\x28\xb5\x2f\xfd" + bytes(100))
    monkeypatch.setitem(sys.modules, "zstandard", None)
    error = problem(path)
    assert "zstd, which this Python cannot read" in error.problem
    assert "pip install" in error.remedy


def test_a_zip_archive_is_to_be_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.csv", cve(["BENIGN"]).text())
    error = problem(path)
    assert "zip archive" in error.problem
    assert "unzip" in error.remedy


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_wide_encodings_are_refused(tmp_path: Path, encoding: str) -> None:
    error = problem(cve(["BENIGN"]).write(tmp_path / "a.csv", encoding))
    assert "UTF-8" in error.problem
    assert error.where == "line 1"


# Rows that are no flows, and cells that are no numbers.


def test_what_is_no_flow_is_counted(tmp_path: Path) -> None:
    made = cve(labels_of(BENIGN=3, Bot=2))
    lines = made.text().splitlines()
    lines[2:2] = [lines[0], "," * 78, ",".join(["  "] * 79)]
    lines.append(lines[1].rpartition(",")[0] + ",")
    for text in ("No Label", "NeedManualLabel"):
        lines.append(lines[1].rpartition(",")[0] + "," + text)
    path = tmp_path / "a.csv"
    path.write_text("\n".join(lines) + "\n")
    table = read_table(path, PAPER78)
    assert len(table) == 5
    assert dict(+table.dropped) == {REPEATED_HEADER: 1, EMPTY_ROW: 2, NO_LABEL: 3}


def test_a_file_that_nobody_labelled(tmp_path: Path) -> None:
    error = problem(cve(["No Label"] * 3).write(tmp_path / "a.csv"))
    assert error.problem == "holds no labelled flow (3 rows)"
    assert "--labels" in error.remedy


def test_a_block_without_flows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small_blocks(monkeypatch, 1000)
    path = tmp_path / "a.csv"
    path.write_text(cve(["BENIGN"]).text() + ("," * 78 + "\n") * 80)
    table = read_table(path, PAPER78)
    assert len(table) == 1
    assert dict(+table.dropped) == {EMPTY_ROW: 80}


def test_a_file_without_rows(tmp_path: Path) -> None:
    assert "no labelled flow" in problem(cve([]).write(tmp_path / "a.csv")).problem


@pytest.mark.parametrize("text", ["Infinity", "inf", "+Infinity", "INF", "-inf", "NaN", "nan"])
def test_infinity_and_nan_are_numbers(tmp_path: Path, text: str) -> None:
    made = cve(labels_of(BENIGN=5))
    made.set(1, "Flow Bytes/s", text)
    # Only a flow without duration may have them; its rates are made anew.
    made.set(1, "Flow Duration", "0")
    made.set(2, "Flow Bytes/s", text)
    table = read_table(made.write(tmp_path / "a.csv"), PAPER78)
    assert len(table) == 4
    assert table.dropped.total() == table.changed.total() == 1


@pytest.mark.parametrize("text", ["12.0", " 12", "12 ", "1.2E1", "+12", "1.2e+01", '"12"'])
def test_ways_to_write_a_number(tmp_path: Path, text: str) -> None:
    made = cve(labels_of(BENIGN=3))
    made.set(1, "Idle Mean", text)
    table = read_table(made.write(tmp_path / "a.csv"), PAPER78)
    assert table.raw[1, PAPER78.index("Idle Mean")] == 12


@pytest.mark.parametrize("text", ["1;5", "1.2.3", "0x10", "1_000", "twelve", "1 2", "--1", "1,5"])
def test_a_cell_that_is_no_number(tmp_path: Path, text: str) -> None:
    made = cve(labels_of(BENIGN=4))
    made.set(2, "Flow Duration", f'"{text}"')
    error = problem(made.write(tmp_path / "a.csv"))
    assert error.where == "line 4, column 'Flow Duration'"
    assert error.problem == f"{text!r} is no number"


def test_the_column_is_named_as_the_file_does(tmp_path: Path) -> None:
    made = cse(["Benign"] * 3)
    made.set(1, "Tot Fwd Pkts", "x")
    assert problem(made.write(tmp_path / "a.csv")).where == "line 3, column 'Tot Fwd Pkts'"


def test_a_protocol_that_is_no_number(tmp_path: Path) -> None:
    made = traffic(["BENIGN"] * 3)
    made.set(1, "Protocol", "tcp")
    assert problem(made.write(tmp_path / "a.csv")).where == "line 3, column 'Protocol'"


def test_the_line_is_right_behind_blank_lines(tmp_path: Path) -> None:
    made = cve(labels_of(BENIGN=4))
    made.set(2, "Flow Duration", "x")
    lines = made.text().splitlines()
    lines[1:1] = ["", "", lines[0]]
    path = tmp_path / "a.csv"
    path.write_text("\n".join(lines) + "\n")
    assert problem(path).where == "line 7, column 'Flow Duration'"


def test_a_long_cell_is_cut_and_harmless(tmp_path: Path) -> None:
    made = cve(labels_of(BENIGN=2))
    made.set(1, "Flow Duration", "\x1b[31m" + "x" * 100)
    text = str(problem(made.write(tmp_path / "a.csv")))
    assert "\x1b" not in text
    assert "…' is no number" in text


@pytest.mark.parametrize(
    ("made", "text"),
    [
        (improved(labels_of(BENIGN=2)), "7/7/2017 3:30"),
        (traffic(["BENIGN"] * 2), "2017-07-07"),
        (traffic(["BENIGN"] * 2), ""),
        (java(["BENIGN"] * 2), "yesterday"),
    ],
)
def test_a_time_that_is_none(tmp_path: Path, made: Csv, text: str) -> None:
    made.set(1, "Timestamp", text)
    error = problem(made.write(tmp_path / "a.csv"), ("Flow Duration",))
    assert error.where == "line 3, column 'Timestamp'"
    assert error.problem == f"{text!r} is no time"


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
    assert dict(+table.dropped) == {NO_LABEL: 1}


@pytest.mark.parametrize("content", [b"", b"\n\n", b"\xef\xbb\xbf"])
def test_empty_files(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(content)
    assert "is empty" in problem(path).problem


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


def test_a_quote_that_does_not_end_on_its_line(tmp_path: Path) -> None:
    made = cve(labels_of(BENIGN=3))
    made.set(1, "Flow Duration", '"12')
    error = problem(made.write(tmp_path / "a.csv"))
    assert error.where == "line 3"
    assert "quote" in error.problem


def test_a_label_column_that_is_none(tmp_path: Path) -> None:
    made = cve([f"attack {number}" for number in range(1200)])
    error = problem(made.write(tmp_path / "a.csv"))
    assert "more than 1,000 different labels" in error.problem


# Categories of the protocol.


@pytest.mark.parametrize(
    "made",
    [traffic(["BENIGN"] * 3), cse(["Benign"] * 3), improved(["BENIGN"] * 3), java(["BENIGN"] * 3)],
)
def test_the_protocol_as_categories(tmp_path: Path, made: Csv) -> None:
    for row, text in enumerate(("6", "17", "6.0")):
        made.set(row, "Protocol", text)
    names = ("Flow Duration", "Protocol=6", "Protocol=17")
    table = read_table(made.write(tmp_path / "a.csv"), names)
    assert table.names == names
    assert table.raw[:, 1:].tolist() == [[1, 0], [0, 1], [1, 0]]


def test_the_protocol_of_an_extract_of_text_cells(tmp_path: Path) -> None:
    """A repeated header makes every column of its block text."""
    made = extract("improved", ["BENIGN"] * 3)
    made.rows.insert(1, list(made.header))
    table = read_table(made.write(tmp_path / "a.csv"), ("Flow Duration", "Protocol=6"))
    expected = [float(made.rows[row][4] == "6") for row in (0, 2, 3)]
    assert table.raw[:, 1].tolist() == expected


def test_no_protocol_to_make_categories_of(tmp_path: Path) -> None:
    path = cve(["BENIGN"]).write(tmp_path / "a.csv")
    error = problem(path, (*EDGE40, "Protocol=6", "Protocol=17"))
    assert "MachineLearningCVE, which has no column 'Protocol'" in error.problem


# Blocks.


def small_blocks(patch: pytest.MonkeyPatch, block_bytes: int) -> None:
    """Read a file of few rows in several blocks."""
    patch.setattr(csvfile, "BLOCK_BYTES", block_bytes)
    # So much is read ahead, for the header; it has half as many bytes.
    patch.setattr(csvfile, "_MAX_LINE_BYTES", 3000)


SPOILED = traffic(labels_of(BENIGN=8, DDoS=4, Bot=3, PortScan=2))
SPOILED.rows.insert(4, list(SPOILED.header))
SPOILED.rows.insert(9, [""] * 85)
SPOILED.set(2, "Flow IAT Min", "-1")
SPOILED.set(6, "Protocol", "1")
SPOILED.set(7, "Flow Bytes/s", "Infinity")
SPOILED.set(8, "Label", "")


@settings(max_examples=10)
@given(block_bytes=st.integers(200, 5_000))
def test_blocks_do_not_matter(tmp_path_factory: pytest.TempPathFactory, block_bytes: int) -> None:
    path = SPOILED.write(tmp_path_factory.mktemp("blocks") / "a.csv")
    whole = read_table(path, PAPER78)
    with pytest.MonkeyPatch.context() as patch:
        small_blocks(patch, block_bytes)
        assert same(read_table(path, PAPER78), whole)
    assert len(whole) + whole.dropped.total() == whole.files[0].rows == 19


@settings(max_examples=10)
@given(block_bytes=st.integers(200, 3_000), row=st.integers(0, 18))
def test_lines_are_counted_over_blocks(
    tmp_path_factory: pytest.TempPathFactory, block_bytes: int, row: int
) -> None:
    made = cve(["BENIGN"] * 19)
    made.set(row, "Active Min", "x")
    path = made.write(tmp_path_factory.mktemp("blocks") / "a.csv")
    with pytest.MonkeyPatch.context() as patch:
        small_blocks(patch, block_bytes)
        assert problem(path).where == f"line {row + 2}, column 'Active Min'"


def test_a_line_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csvfile, "BLOCK_BYTES", 10_000)
    path = tmp_path / "a.csv"
    path.write_text(cve(["BENIGN"]).text() + "1" * 200_000)
    assert "a line of more than 65,536 bytes" in problem(path).problem


# Parquet.


TEXTS = ("Label", "Flow ID", "Timestamp", "Src IP", "Dst IP", "Source IP", "Destination IP")
PARQUET = [
    (cve(labels_of(BENIGN=8, Bot=4)), PAPER78),
    (traffic(labels_of(BENIGN=8, Bot=4)), PAPER78),
    (improved(labels_of(BENIGN=8, DDoS=4)), EDGE_IMPROVED),
    (extract("gateway", labels_of(BENIGN=8, scan=4)), FEATURE_SETS["edge-gateway"][1]),
]


@pytest.mark.parametrize(("made", "names"), PARQUET)
def test_parquet_is_as_csv(tmp_path: Path, made: Csv, names: tuple[str, ...]) -> None:
    table = read_table(made.write_parquet(tmp_path / "a.parquet", TEXTS), names)
    assert same(table, read_table(made.write(tmp_path / "a.csv"), names))
    data = (tmp_path / "a.parquet").read_bytes()
    assert table.files[0].sha256 == hashlib.sha256(data).hexdigest()


def test_parquet_with_real_types(tmp_path: Path) -> None:
    """Integers, times, categories and missing values."""
    made = improved(labels_of(BENIGN=3, DDoS=2))
    text = read_table(made.write(tmp_path / "a.csv"), EDGE_IMPROVED)
    frame = pl.read_csv(io.StringIO(made.text())).with_columns(
        pl.col("Timestamp").str.to_datetime("%Y-%m-%d %H:%M:%S%.f"),
        pl.col("Label").cast(pl.Categorical),
    )
    path = tmp_path / "a.parquet"
    frame.write_parquet(path, row_group_size=2)
    assert same(read_table(path, EDGE_IMPROVED), text)
    frame.with_columns(pl.when(pl.col("id") != 3).then(pl.col("Label"))).write_parquet(path)
    assert dict(+read_table(path, EDGE_IMPROVED).dropped) == {NO_LABEL: 1}
    missing = pl.when(pl.col("id") != 3).then(pl.col("Idle Mean"))
    frame.with_columns(missing.alias("Idle Mean")).write_parquet(path)
    assert len(read_table(path, EDGE_IMPROVED)) == 4


def test_parquet_names_the_row(tmp_path: Path) -> None:
    made = cve(labels_of(BENIGN=4))
    made.set(2, "Idle Max", "x")
    path = made.write_parquet(tmp_path / "a.parquet", ("Label", "Idle Max"))
    assert problem(path).where == "row 3, column 'Idle Max'"


def test_parquet_lacks_a_column(tmp_path: Path) -> None:
    path = cve(["BENIGN"]).without("Idle Max").write_parquet(tmp_path / "a.parquet")
    error = problem(path)
    assert "lacks 'Idle Max'" in error.problem
    assert error.where == "its schema"


def test_a_cut_parquet_file(tmp_path: Path) -> None:
    path = cve(["BENIGN"] * 30).write_parquet(tmp_path / "a.parquet")
    path.write_bytes(path.read_bytes()[:-100])
    assert "is a cut or broken Parquet file (" in problem(path).problem


def test_a_damaged_parquet_file(tmp_path: Path) -> None:
    path = cve(["BENIGN"] * 3000).write_parquet(tmp_path / "a.parquet")
    data = bytearray(path.read_bytes())
    data[1000:9000] = b"\xff" * 8000
    path.write_bytes(data)
    assert "Parquet" in problem(path).problem
