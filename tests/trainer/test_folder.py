"""A run folder appears whole or not at all, and an unfinished one is gone on with."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from edge_agent.contract.errors import OutputError
from trainer.folder import check_free, partial_folder, whole_folder

if TYPE_CHECKING:
    from pathlib import Path


class Failed(Exception):
    pass


def write(
    folder: Path, *, learned: bool = False, fail: type[BaseException] | None = None, **how: Any
) -> bool:
    """Make a run; whether it went on with an earlier one."""
    with whole_folder(folder, **({"force": False} | how)) as place:
        (place.folder / "file").write_text("new")
        if learned:
            place.work.mkdir(exist_ok=True)
            (place.work / "checkpoint").write_text("weights")
        if fail is not None:
            raise fail
        return place.resumed


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_it_appears_with_its_parents(tmp_path: Path) -> None:
    write(tmp_path / "a" / "b", learned=True)
    assert names(tmp_path / "a") == ["b"]
    assert names(tmp_path / "a" / "b") == ["file"]


@pytest.mark.parametrize("fail", [Failed, KeyboardInterrupt])
def test_nothing_is_left_where_nothing_was_learned(
    tmp_path: Path, fail: type[BaseException]
) -> None:
    with pytest.raises(fail):
        write(tmp_path / "run", fail=fail)
    assert names(tmp_path) == []


def test_what_was_learned_is_kept_and_gone_on_with(tmp_path: Path) -> None:
    run = tmp_path / "run"
    with pytest.raises(Failed):
        write(run, learned=True, fail=Failed, plan={"epochs": 3, "files": ("a", 1)})
    assert names(tmp_path) == [".run.partial"]
    with pytest.raises(OutputError, match="--resume"):
        write(run)
    with pytest.raises(OutputError, match="--resume"):
        check_free(run, force=False)
    with pytest.raises(OutputError, match=r"other settings \(epochs\)"):
        write(run, resume=True, plan={"epochs": 4, "files": ("a", 1)})
    with whole_folder(
        run, force=False, resume=True, plan={"files": ("a", 1), "epochs": 3}
    ) as place:
        assert place.resumed
        assert (place.work / "checkpoint").read_text() == "weights"
    assert names(tmp_path) == ["run"]
    assert names(run) == ["file"]


def test_force_begins_anew(tmp_path: Path) -> None:
    run = tmp_path / "run"
    with pytest.raises(Failed):
        write(run, learned=True, fail=Failed)
    with whole_folder(run, force=True) as place:
        assert not place.resumed
        assert not place.work.exists()
    assert names(tmp_path) == ["run"]


def test_nothing_to_go_on_with_is_a_beginning(tmp_path: Path) -> None:
    assert not write(tmp_path / "run", resume=True)
    assert names(tmp_path) == ["run"]


def test_a_garbled_plan_is_no_plan_to_go_on_with(tmp_path: Path) -> None:
    run = tmp_path / "run"
    with pytest.raises(Failed):
        write(run, learned=True, fail=Failed)
    (partial_folder(run) / "plan.json").write_text(json.dumps(["what"]))
    with pytest.raises(OutputError, match="does not say"):
        write(run, resume=True)


def test_two_processes_do_not_write_one_run(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from trainer.folder import whole_folder\n"
        "with whole_folder(Path(sys.argv[1]), force=False) as place:\n"
        "    place.work.mkdir()\n"
        "    print('in', flush=True)\n"
        "    sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "run")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "in\n"
        with pytest.raises(OutputError, match="another edge-train"):
            write(tmp_path / "run", resume=True)
        with pytest.raises(OutputError, match="another edge-train"):
            write(tmp_path / "run", force=True)
        other.communicate("")
    assert names(tmp_path) == ["run"]


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
