"""`score_table`: published files as they are, other files refused, nothing half written."""

from __future__ import annotations

import csv
import gzip
from pathlib import Path

import numpy as np
import pytest

from edge_agent.contract.errors import OutputError, SchemaMismatch, TableError
from edge_agent.contract.profiles import PROFILES
from edge_agent.detect import table
from edge_agent.detect.detector import Detector
from edge_agent.detect.table import ScoreSummary, score_table
from tests.detect.synthetic import ATTACK_ROW, BENIGN_ROW, COLUMNS, family_problem, problem

HEADER = ",".join(COLUMNS)


def line(row: tuple[float, ...] | np.ndarray) -> str:
    return ",".join(f"{value:.9g}" for value in row)


BENIGN, ATTACK = line(BENIGN_ROW), line(ATTACK_ROW)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def scored(
    folder: Path, detector: Detector, content: str | bytes
) -> tuple[list[dict[str, str]], ScoreSummary]:
    source, destination = folder / "flows.csv", folder / "out" / "scores.csv"
    source.write_bytes(content if isinstance(content, bytes) else content.encode())
    summary = score_table(source, detector, destination)
    with destination.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream)), summary


def refused(folder: Path, detector: Detector, content: str | bytes) -> TableError | SchemaMismatch:
    source, destination = folder / "flows.csv", folder / "scores.csv"
    source.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises((TableError, SchemaMismatch)) as caught:
        score_table(source, detector, destination)
    assert sorted(path.name for path in folder.iterdir()) == ["flows.csv"], "nothing left behind"
    assert str(caught.value).startswith(str(source))
    assert isinstance(caught.value, (TableError, SchemaMismatch))
    return caught.value


def test_columns_are_added_and_all_others_carried_through(folder: Path, detector: Detector) -> None:
    content = f'Flow ID,{HEADER},Label\n a-b ,{BENIGN},BENIGN\nc,{ATTACK},"DoS, slow"\n'
    rows, summary = scored(folder, detector, content)
    assert [row["verdict"] for row in rows] == ["benign", "attack"]
    assert [row["Flow ID"] for row in rows] == [" a-b ", "c"]
    assert rows[1]["Label"] == "DoS, slow"
    assert list(rows[0])[-2:] == ["score", "verdict"]
    expected = detector.score(np.array([BENIGN_ROW, ATTACK_ROW]))
    assert [row["score"] for row in rows] == [f"{score:.6f}" for score in expected]
    assert summary == ScoreSummary(
        rows=2, attacks=1, benign=1, invalid=0, repeated_headers=0, empty_lines=0
    )


FAMILY_HEADER = f"Protocol,{HEADER}"
SCAN = f"6,{ATTACK}"


def test_a_model_with_families_adds_a_column(folder: Path, family_detector: Detector) -> None:
    raw, _, _ = family_problem(60, seed=5)
    # The column stands where a table has it, and only as the number it is.
    lines = [f"{6 if row[-2] else 17 if row[-1] else 1},{line(row[:-2])}" for row in raw]
    content = "\n".join([FAMILY_HEADER, *lines, SCAN.replace("6,", ",", 1)])
    rows, summary = scored(folder, family_detector, content)
    judged = family_detector.judge(raw)
    attacks = family_detector.is_attack(judged.scores)
    assert list(rows[0])[-3:] == ["score", "verdict", "family"]
    assert [row["family"] for row in rows[:-1]] == [
        name if attack else "" for name, attack in zip(judged.names(), attacks, strict=True)
    ]
    assert {row["family"] for row in rows} >= {"dos", "scan", ""}
    assert [row["score"] for row in rows[:-1]] == [f"{score:.6f}" for score in judged.scores]
    # Without a protocol there are no flags, and so no score.
    assert (rows[-1]["score"], rows[-1]["verdict"], rows[-1]["family"]) == ("", "invalid", "")
    assert summary.invalid == 1


def test_flags_need_the_protocol_column(folder: Path, family_detector: Detector) -> None:
    error = refused(folder, family_detector, f"{HEADER}\n{ATTACK}\n")
    assert isinstance(error, SchemaMismatch)
    assert "lacks 1 of the model's columns (Protocol)" in str(error)


def test_a_family_column_of_another_model_is_not_overwritten(
    folder: Path, detector: Detector, family_detector: Detector
) -> None:
    content = f"Family,{FAMILY_HEADER}\nx,{SCAN}\n"
    assert "has a column 'family' already" in str(refused(folder, family_detector, content))
    rows, _ = scored(folder, detector, content)
    assert rows[0]["Family"] == "x", "a model without families does not mind"


def test_chunks_do_not_show(
    folder: Path, detector: Detector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table, "_CHUNK_ROWS", 7)
    raw, _ = problem(50, seed=4)
    seen: list[int] = []
    source, destination = folder / "flows.csv", folder / "scores.csv"
    source.write_text("\n".join([HEADER, *map(line, raw)]))
    summary = score_table(source, detector, destination, seen.append)
    assert summary.rows == 50
    assert seen == [7, 14, 21, 28, 35, 42, 49, 50]
    with destination.open() as stream:
        scores = [float(row["score"]) for row in csv.DictReader(stream)]
    assert np.allclose(scores, detector.score(raw), atol=1e-6)


def test_order_case_and_blanks_of_the_header_do_not_matter(
    folder: Path, detector: Detector
) -> None:
    names = [f"  {name.upper().replace(' ', '  ')} " for name in reversed(COLUMNS)]
    content = ",".join(names) + "\n" + ",".join(reversed(ATTACK.split(","))) + "\n"
    rows, _ = scored(folder, detector, content)
    assert rows[0]["verdict"] == "attack"
    assert list(rows[0])[:-2] == names


@pytest.mark.parametrize(
    "content",
    [
        "\ufeff" + HEADER + "\n" + ATTACK,
        HEADER + "\r\n" + ATTACK + "\r\n",
        gzip.compress(f"{HEADER}\n{ATTACK}\n".encode()),
        f"{HEADER}\n{HEADER}\n\n{ATTACK}\n{',' * (len(COLUMNS) - 1)}\n {HEADER}\n".encode(),
    ],
    ids=["byte-order mark", "CRLF", "gzip", "repeated headers and empty lines"],
)
def test_published_peculiarities_are_read(
    folder: Path, detector: Detector, content: str | bytes
) -> None:
    rows, summary = scored(folder, detector, content)
    assert [row["verdict"] for row in rows] == ["attack"]
    assert summary.repeated_headers in (0, 2)
    assert summary.empty_lines == summary.repeated_headers


def test_cp1252_bytes_in_a_label_are_read(folder: Path, detector: Detector) -> None:
    content = f"{HEADER},Label\n{ATTACK},Web Attack \x96 XSS\n{ATTACK},".encode("latin-1")
    rows, _ = scored(folder, detector, content + "Straße\n".encode())
    assert [row["Label"] for row in rows] == ["Web Attack – XSS", "Straße"]


@pytest.mark.parametrize("cell", ["NaN", "Infinity", "inf", "-1", ""])
def test_rates_of_instant_flows_may_be_anything(
    folder: Path, detector: Detector, cell: str
) -> None:
    cells = ATTACK.split(",")
    cells[COLUMNS.index("Flow Duration")] = "0"
    cells[COLUMNS.index("Flow Bytes/s")] = cells[COLUMNS.index("Flow Packets/s")] = cell
    rows, _ = scored(folder, detector, f"{HEADER}\n{','.join(cells)}\n")
    assert rows[0]["verdict"] == "attack"


@pytest.mark.parametrize("cell", ["NaN", "Infinity", "-inf", ""])
def test_other_numbers_that_are_not_finite_are_invalid(
    folder: Path, detector: Detector, cell: str
) -> None:
    cells = ATTACK.split(",")
    cells[COLUMNS.index("Src Ports")] = cell
    rows, summary = scored(folder, detector, f"{HEADER}\n{','.join(cells)}\n{ATTACK}\n")
    assert [(row["score"] == "", row["verdict"]) for row in rows] == [
        (True, "invalid"),
        (False, "attack"),
    ]
    assert (summary.rows, summary.invalid, summary.attacks) == (2, 1, 1)


def test_a_cell_that_is_no_number_is_named(folder: Path, detector: Detector) -> None:
    cells = BENIGN.split(",")
    cells[2] = "five"
    error = refused(folder, detector, f"{HEADER}\n{BENIGN}\n\n{','.join(cells)}\n")
    assert "flows.csv, line 4: column 'Total Bwd packets' holds 'five', not a number" in str(error)


def test_a_line_of_another_width_is_named(folder: Path, detector: Detector) -> None:
    error = refused(folder, detector, f"{HEADER}\n{BENIGN}\n{BENIGN},1\n")
    assert "line 3: has 13 cells where the header has 12" in str(error)


def test_late_faults_leave_an_old_result_alone(folder: Path, detector: Detector) -> None:
    destination = folder / "scores.csv"
    destination.write_text("old")
    source = folder / "flows.csv"
    source.write_text(f"{HEADER}\n" + f"{BENIGN}\n" * 5000 + "oops\n")
    with pytest.raises(TableError, match="line 5,002"):
        score_table(source, detector, destination)
    assert destination.read_text() == "old"
    assert len(list(folder.iterdir())) == 2


@pytest.mark.parametrize("name", ["cic2017", "improved"])
def test_a_file_of_another_profile_is_named(folder: Path, detector: Detector, name: str) -> None:
    columns = PROFILES[name].columns
    error = refused(folder, detector, ",".join(columns) + "\n" + ",".join("0" * len(columns)))
    assert isinstance(error, SchemaMismatch)
    assert f"has the columns of profile {name}, the model is for gateway" in str(error)
    assert "Src Flows 10s" in str(error)
    assert error.expected == COLUMNS


def test_missing_columns_of_the_own_profile_are_named(folder: Path, detector: Detector) -> None:
    names = [name for name in PROFILES["gateway"].columns if name != "Src Ports"]
    error = refused(folder, detector, ",".join(names) + "\n")
    assert isinstance(error, SchemaMismatch)
    assert "lacks 1 of the model's columns (Src Ports)" in str(error)
    assert "edge-agent extract" in str(error)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"\n\n", "is empty"),
        (b"a,b\n1,2\n", "lacks 12 of the model's columns (Flow Duration, "),
        (f"{HEADER},Score\n{BENIGN},1\n".encode(), "has a column 'score' already"),
        (b"\x00\xff" * (1 << 20), "line longer than 1 MiB"),
        (gzip.compress(f"{HEADER}\n{BENIGN}\n".encode())[:-12], "cannot be read on"),
        (b"\x1f\x8b" + b"\x00" * 50, "cannot be read on"),
        (f'{HEADER}\n"{"x" * 200_000}"\n'.encode(), "is no CSV line"),
    ],
    ids=["empty", "blank", "foreign", "scored", "binary", "cut gzip", "no gzip", "long field"],
)
def test_files_that_cannot_be_scored_are_refused(
    folder: Path, detector: Detector, content: bytes, said: str
) -> None:
    assert said in str(refused(folder, detector, content))


def test_missing_file_and_unwritable_result(folder: Path, detector: Detector) -> None:
    with pytest.raises(TableError, match=r"none\.csv: cannot be read .*; check the path"):
        score_table(folder / "none.csv", detector, folder / "scores.csv")
    with pytest.raises(TableError, match="cannot be read"):
        score_table(folder, detector, folder / "scores.csv")
    source = folder / "flows.csv"
    source.write_text(f"{HEADER}\n{BENIGN}\n")
    (folder / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        score_table(source, detector, folder / "file" / "scores.csv")


def test_a_header_alone_gives_a_header_alone(folder: Path, detector: Detector) -> None:
    rows, summary = scored(folder, detector, HEADER + "\n")
    assert rows == []
    assert summary.rows == 0
    assert (folder / "out" / "scores.csv").read_text() == f"{HEADER},score,verdict\n"


def test_a_gz_name_gives_gzip_with_the_same_bytes_each_time(
    folder: Path, detector: Detector
) -> None:
    source = folder / "flows.csv"
    source.write_text(f"{HEADER}\n{ATTACK}\n")
    results = []
    for name in ("one.csv.gz", "two.csv.gz"):
        score_table(source, detector, folder / name)
        results.append((folder / name).read_bytes())
    assert results[0] == results[1]
    assert gzip.decompress(results[0]).decode().splitlines()[1].endswith(",attack")


def test_a_file_may_be_scored_onto_itself(folder: Path, detector: Detector) -> None:
    source = folder / "flows.csv"
    source.write_text(f"{HEADER}\n{ATTACK}\n")
    score_table(source, detector, source)
    assert source.read_text().splitlines()[1].endswith(",attack")


def test_the_second_of_two_equal_names_is_the_published_one() -> None:
    assert table._unique([" Fwd Header Length", "b", "Fwd  header length"]) == [
        "fwd header length",
        "b",
        "fwd header length.1",
    ]


def test_profiles_are_told_apart_by_their_columns() -> None:
    for name, profile in PROFILES.items():
        assert table._likely_profile([column.casefold() for column in profile.columns]) == name
    assert table._likely_profile(["flow duration", "label"]) is None


@pytest.mark.shared
def test_a_published_file_of_the_wrong_profile_is_refused(
    shared: Path, folder: Path, detector: Detector
) -> None:
    source = shared / "data" / "cicids2017" / "original.csv.gz"
    with pytest.raises(SchemaMismatch, match="profile cic2017, the model is for gateway"):
        score_table(source, detector, folder / "scores.csv")
