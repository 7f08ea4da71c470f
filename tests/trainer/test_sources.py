"""From `--data` arguments to one table."""

from __future__ import annotations

import gzip
import os
from typing import TYPE_CHECKING

import numpy as np
import pytest

from edge_agent.contract.errors import TableError
from edge_agent.contract.features import FEATURE_SETS
from tests.packets import Segment, write_capture
from tests.trainer.flowfiles import cve, extract, improved, labels_of, traffic
from trainer.datasets.captures import Talk
from trainer.datasets.cleaning import ATTEMPTED, ATTEMPTED_AS_BENIGN, CleaningSettings
from trainer.datasets.sources import find_files, plan, read
from trainer.datasets.tables import read_table

if TYPE_CHECKING:
    from pathlib import Path

PAPER78 = FEATURE_SETS["paper78"][1]
EDGE_IMPROVED = FEATURE_SETS["edge-improved"][1]


def names(paths: list[Path], folder: Path) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in paths]


def test_a_folder_stands_for_every_table_below_it(tmp_path: Path) -> None:
    for name in (
        "b.csv",
        "a.CSV",
        "c.csv.gz",
        "deep/er/d.parquet",
        "deep/e.csv.zst",
        "deep/f.csv.xz",
        "notes.txt",
        "g.pcap",
        ".hidden.csv",
        ".cache/h.csv",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "folder.csv").mkdir()
    assert names(find_files([str(tmp_path)]), tmp_path) == [
        "a.CSV",
        "b.csv",
        "c.csv.gz",
        "deep/e.csv.zst",
        "deep/er/d.parquet",
        "deep/f.csv.xz",
    ]


def test_files_and_patterns_each_once(tmp_path: Path) -> None:
    for name in ("a.csv", "b.csv", "c.txt"):
        (tmp_path / name).touch()
    arguments = [str(tmp_path / "b.csv"), str(tmp_path / "*.csv"), str(tmp_path / "c.txt")]
    assert names(find_files(arguments), tmp_path) == ["b.csv", "a.csv", "c.txt"]


@pytest.mark.parametrize(("name", "problem"), [("no*.csv", "does not exist"), ("", "no table")])
def test_arguments_that_name_nothing(tmp_path: Path, name: str, problem: str) -> None:
    with pytest.raises(TableError, match=problem):
        find_files([str(tmp_path / name)])


def test_several_files_become_one_table(tmp_path: Path) -> None:
    first = traffic(labels_of(BENIGN=5, DDoS=3), seed=1)
    second = traffic(labels_of(Bot=2, BENIGN=4), seed=2)
    # The same connection in both files, from the same host.
    second.rows[0][: first.column("Flow Duration")] = first.rows[0][: first.column("Flow Duration")]
    paths = [first.write(tmp_path / "1.csv"), second.write(tmp_path / "2.csv")]
    table = read(plan(paths, [], None), PAPER78)
    alone = [read_table(path, PAPER78) for path in paths]
    assert table.raw.tolist() == [*alone[0].raw.tolist(), *alone[1].raw.tolist()]
    assert [table.labels[code] for code in table.label] == (
        ["BENIGN"] * 5 + ["DDoS"] * 3 + ["Botnet"] * 2 + ["BENIGN"] * 4
    )
    assert table.labels == ("BENIGN", "DDoS", "Botnet")
    assert table.file.tolist() == [0] * 8 + [1] * 6
    assert [file.rows for file in table.files] == [8, 6]
    assert table.files == alone[0].files + alone[1].files
    assert table.host[0] == table.host[8] == alone[0].host[0]
    assert table.connection[0] != table.connection[8]
    assert len(np.unique(table.connection)) == 14


def test_settings_reach_every_file(tmp_path: Path) -> None:
    paths = [
        cve(["BENIGN", "DoS Hulk", "DoS Hulk - Attempted"], seed).write(tmp_path / f"{seed}.csv")
        for seed in (1, 2)
    ]
    dropped = read(plan(paths, [], None), PAPER78)
    assert dropped.dropped[ATTEMPTED] == 2
    relabelled = read(plan(paths, [], None), PAPER78, CleaningSettings("benign"))
    assert len(relabelled) == 6
    assert dict(+relabelled.changed) == {ATTEMPTED_AS_BENIGN: 2}


def test_progress_is_of_all_stored_bytes(tmp_path: Path) -> None:
    made = cve(labels_of(BENIGN=20))
    paths = [made.write(tmp_path / "a.csv"), tmp_path / "b.csv.gz"]
    paths[1].write_bytes(gzip.compress(made.text().encode()))
    paths.append(made.write_parquet(tmp_path / "c.parquet"))
    told: list[tuple[int, int, int]] = []
    read(plan(paths, [], None), PAPER78, talk=Talk(lambda *facts: told.append(facts)))
    sizes = [path.stat().st_size for path in paths]
    assert told == [
        (sizes[0], sum(sizes), 20),
        (sizes[0] + sizes[1], sum(sizes), 40),
        (sum(sizes), sum(sizes), 60),
    ]


def test_layouts_are_not_mixed(tmp_path: Path) -> None:
    first = cve(["BENIGN"]).write(tmp_path / "a.csv")
    second = traffic(["BENIGN"]).write(tmp_path / "b.csv")
    with pytest.raises(TableError) as caught:
        plan([first, second], [], None)
    assert str(caught.value).startswith(f"{second}: is of the layout TrafficLabelling, but {first}")


def test_another_profile_than_asked_for(tmp_path: Path) -> None:
    path = cve(["BENIGN"]).write(tmp_path / "a.csv")
    with pytest.raises(TableError, match="profile cic2017, not improved"):
        plan([path], [], "improved")
    assert plan([path], [], "cic2017")[0].rules is None


@pytest.fixture
def captures(tmp_path: Path) -> list[Path]:
    """Two captures of one packet each."""
    segment = Segment(1_700_000_000_000_000, "10.0.0.1", 1000, "10.0.0.2", 80, flags="S")
    return [write_capture(tmp_path / f"{name}.pcap", [segment]) for name in "ab"]


def test_captures_have_their_truth_beside_them(tmp_path: Path, captures: list[Path]) -> None:
    with pytest.raises(TableError, match=r"truth\.json does not exist"):
        plan(captures, [], None)
    (tmp_path / "truth.json").write_text("{}")
    sources = plan(captures, [], None)
    assert [source.rules for source in sources] == [tmp_path / "truth.json"] * 2
    assert {source.layout.name for source in sources} == {"extract of gateway"}


def test_label_files_go_with_captures_in_order(tmp_path: Path, captures: list[Path]) -> None:
    files = [tmp_path / "one.json", tmp_path / "two.json"]
    for path in files:
        path.write_text("{}")
    table = extract("gateway", ["BENIGN"]).write(tmp_path / "c.csv")
    sources = plan([captures[0], table, captures[1]], files, None)
    assert [source.rules for source in sources] == [files[0], None, files[1]]


@pytest.mark.parametrize("count", [1, 3])
def test_as_many_label_files_as_captures(tmp_path: Path, captures: list[Path], count: int) -> None:
    files = [tmp_path / f"{number}.json" for number in range(count)]
    for path in files:
        path.write_text("{}")
    with pytest.raises(TableError, match=f"{count} label files were given for 2 captures"):
        plan(captures, files, None)


def test_labels_without_a_capture(tmp_path: Path) -> None:
    table = cve(["BENIGN"]).write(tmp_path / "a.csv")
    rules = tmp_path / "rules.toml"
    rules.write_text("")
    with pytest.raises(TableError, match="1 label files were given for 0 captures"):
        plan([table], [rules], None)


def test_one_file_of_rules_serves_all_captures(tmp_path: Path, captures: list[Path]) -> None:
    rules = tmp_path / "rules.toml"
    rules.write_text("schema = 1\n")
    assert [source.rules for source in plan(captures, [rules], None)] == [rules] * 2


def test_a_table_and_a_capture_of_another_profile(tmp_path: Path, captures: list[Path]) -> None:
    (tmp_path / "truth.json").write_text("{}")
    table = improved(["BENIGN"]).write(tmp_path / "a.csv")
    with pytest.raises(TableError, match="is of the layout extract of gateway"):
        plan([table, *captures], [], None)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    path = cve(["BENIGN"]).write(tmp_path / "a.csv")
    path.chmod(0)
    with pytest.raises(TableError, match="cannot be read"):
        plan([path], [], None)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(TableError, match="cannot be read"):
        plan([tmp_path / "none.csv"], [], None)
