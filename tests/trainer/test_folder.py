"""A run folder appears whole or not at all."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from edge_agent.contract.errors import OutputError
from trainer.folder import whole_folder

if TYPE_CHECKING:
    from pathlib import Path


def write(folder: Path, force: bool = False, fail: type[BaseException] | None = None) -> None:
    with whole_folder(folder, force=force) as inside:
        (inside / "file").write_text("new")
        if fail is not None:
            raise fail


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_it_appears_with_its_parents(tmp_path: Path) -> None:
    write(tmp_path / "a" / "b")
    assert names(tmp_path / "a") == ["b"]
    assert names(tmp_path / "a" / "b") == ["file"]


@pytest.mark.parametrize("fail", [ValueError, KeyboardInterrupt])
def test_nothing_is_left_of_a_failure(tmp_path: Path, fail: type[BaseException]) -> None:
    with pytest.raises(fail):
        write(tmp_path / "run", fail=fail)
    assert names(tmp_path) == []


def test_a_full_folder_is_refused_and_kept(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "old").write_text("")
    with pytest.raises(OutputError, match="--force"):
        write(run)
    assert names(run) == ["old"]
    with pytest.raises(KeyboardInterrupt):
        write(run, force=True, fail=KeyboardInterrupt)
    assert names(run) == ["old"]
    write(run, force=True)
    assert names(run) == ["file"]
    assert names(tmp_path) == ["run"]


def test_an_empty_folder_is_taken(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    write(tmp_path / "run")
    assert names(tmp_path / "run") == ["file"]


def test_a_file_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("")
    with pytest.raises(OutputError, match="not a folder"):
        write(tmp_path / "run", force=True)


def test_no_place_to_write(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        write(tmp_path / "file" / "run")
