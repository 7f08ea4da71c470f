"""The arm64 machine: what is told where something is missing, and one that was prepared."""

from __future__ import annotations

import json
import os
import shlex
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from click.testing import CliRunner

from benchmarks.__main__ import main
from benchmarks.emulation import arm64
from benchmarks.emulation.arm64 import EmulationError, Machine, prepare, recipe
from benchmarks.emulation.labels import compared
from converters import trials
from edge_agent.contract.bundle import Bundle
from edge_agent.contract.errors import OutputError
from edge_agent.detect.interpreter import Tensor
from edge_agent.detect.trial import Trial
from tests.conftest import ROOT
from tests.detect.conftest import TINY
from tests.detect.synthetic import problem

if TYPE_CHECKING:
    from numpy.typing import NDArray

# `python -m benchmarks arm64 prepare build/arm64`, or wherever the variable says.
PREPARED = Machine(Path(os.environ.get("EDGE_IDS_ARM64", ROOT / "build" / "arm64")))
needs_machine = pytest.mark.skipif(
    PREPARED.facts() is None or shutil.which("qemu-aarch64") is None,
    reason="needs qemu-user and: python -m benchmarks arm64 prepare build/arm64",
)


def program(folder: Path, name: str, script: str) -> None:
    """An executable of that name."""
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    path.chmod(0o755)


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is all of PATH, with programs that do nothing."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("qemu-aarch64", "apt-get", "apt-config", "dpkg-deb"):
        program(folder, name, "exit 0")
    monkeypatch.setenv("PATH", str(folder))
    return folder


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("qemu-aarch64", "qemu-aarch64 is missing; run: apt-get install qemu-user."),
        ("apt-get", "prepare it on Debian, or in a container of it."),
    ],
)
def test_a_missing_program_is_one_sentence(
    name: str, sentence: str, programs: Path, tmp_path: Path
) -> None:
    (programs / name).unlink()
    result = CliRunner().invoke(main, ["arm64", "prepare", str(tmp_path / "machine")])
    assert result.exit_code == 1
    assert result.stderr.endswith(sentence + "\n")
    assert result.stderr.count("\n") == 1


def test_without_a_network_apts_last_word_is_told(programs: Path, tmp_path: Path) -> None:
    program(programs, "apt-get", "echo 'E: Unable to locate package python3-minimal' >&2; exit 100")
    with pytest.raises(
        EmulationError, match=r"locate package python3-minimal\); check the network"
    ):
        prepare(tmp_path / "machine")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bin"]


def test_what_takes_too_long_is_ended(
    programs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arm64, "_STEP_TIMEOUT_S", 0.2)
    program(programs, "apt-get", "exec /bin/sleep 20")
    with pytest.raises(EmulationError, match=r"apt-get needs more than 0.2 s"):
        prepare(tmp_path / "machine")


def test_apt_sees_a_configuration_of_its_own(programs: Path, tmp_path: Path) -> None:
    kept = tmp_path / "kept.conf"
    program(programs, "apt-config", """echo 'Acquire::http::Proxy "http://proxy:1";'""")
    program(programs, "apt-get", f'/bin/cp "$APT_CONFIG" {kept}; exit 1')
    with pytest.raises(EmulationError):
        prepare(tmp_path / "machine")
    lines = kept.read_text(encoding="utf-8").splitlines()
    assert lines[0] == 'Acquire::http::Proxy "http://proxy:1";'
    folders = [line.split('"')[1] for line in lines if line.startswith("Dir::")]
    assert len(folders) == 5
    assert all(folder.startswith(str(tmp_path)) for folder in folders)


def test_a_folder_of_something_else_is_left_alone(programs: Path, tmp_path: Path) -> None:
    mine = tmp_path / "thesis.tex"
    mine.touch()
    with pytest.raises(OutputError, match="name a new folder"):
        prepare(tmp_path)
    assert mine.exists()


def test_a_prepared_folder_is_only_checked(programs: Path, tmp_path: Path) -> None:
    folder = tmp_path / "two words"
    folder.mkdir()
    facts = {"recipe": recipe(), "python": "3.11"}
    (folder / "made.json").write_text(json.dumps(facts), encoding="utf-8")
    program(programs, "env", """echo '{"ai-edge-litert": null}'""")
    program(programs, "apt-get", "exit 1")
    words = shlex.split(prepare(folder).command())
    assert words[-2:] == [str(folder / "root/usr/bin/python3.11"), "-s"]
    program(programs, "env", """echo '{"ai-edge-litert": "it has no numpy."}'""")
    with pytest.raises(EmulationError, match=r"no interpreter works there \(it has no numpy\)"):
        prepare(folder)


def test_an_old_recipe_is_not_taken(programs: Path, tmp_path: Path) -> None:
    facts = {"recipe": recipe() | {"wheels": ["numpy==1.0"]}, "python": "3.11"}
    (tmp_path / "made.json").write_text(json.dumps(facts), encoding="utf-8")
    result = CliRunner().invoke(main, ["arm64", "command", str(tmp_path)])
    assert result.exit_code == 1
    assert "is not prepared; run: python -m benchmarks arm64 prepare" in result.stderr


def test_the_recipe_pins_both_wheels() -> None:
    names = [line.partition("==")[0] for line in recipe()["wheels"]]
    assert sorted(names) == ["ai-edge-litert", "numpy"]


def trial(place: str, scores: NDArray[np.float32]) -> Trial:
    tensor = Tensor(np.dtype(np.float32), width=1, scale=0.0, zero_point=0)
    return Trial(place, scores[:, None], scores[:0, None], 0, 0, 0, tensor, tensor, {}, {})


def test_labels_are_compared_at_the_files_threshold() -> None:
    bundle = Bundle.open(TINY)
    limit = np.float32(bundle.threshold)
    here = np.array([0, limit, limit, 1], np.float32)
    there = np.array([0, limit, np.nextafter(limit, np.float32(0)), 0.9], np.float32)
    found = compared(bundle, trial("here", here), trial("there", there))
    assert (found.rows, found.same_label, found.same_score) == (4, 0.75, 0.5)
    assert found.largest_score_difference == pytest.approx(0.1)


@needs_machine
def test_arm64_gives_the_same_scores() -> None:
    places, left_out = trials.places((PREPARED.command(),))
    assert not left_out
    place = next(place for place in places if place.python)
    # Few rows: batches that they do not fill are not timed.
    bundle, raw = Bundle.open(TINY), problem(15, seed=5)[0]
    rows = trials.Rows(test=raw, train=raw[:0])
    there = trials.try_in(place, bundle, rows)
    assert there.place.endswith(", aarch64")
    assert there.batch_difference == there.order_difference == 0
    found = compared(bundle, trials.try_in(places[0], bundle, rows), there)
    assert found.same_label == 1
