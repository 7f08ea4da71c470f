"""Which build of the tool wrote a file's numbers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.large_table.flows import draw
from edge_agent.contract.errors import TableError
from edge_agent.contract.features import FEATURE_SETS
from edge_agent.contract.profiles import PROFILES
from tests.trainer.flowfiles import Csv, cse, cve, extract, improved, java, labels_of, traffic
from trainer.datasets.captures import Talk
from trainer.datasets.fingerprint import (
    CORRECTED,
    NUMBERS,
    ORIGINAL,
    PYTHON,
    Fingerprint,
    columns_of,
)
from trainer.datasets.headers import recognise
from trainer.datasets.layouts import LAYOUTS, Layout
from trainer.datasets.sources import plan, read
from trainer.datasets.tables import read_table

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

PATH = Path("table.csv")
PAPER78 = FEATURE_SETS["paper78"][1]
LABELS = labels_of(BENIGN=60, DDoS=20)


def layout(name: str) -> Layout:
    return next(layout for layout in LAYOUTS if layout.name == name)


def rows(count: int, seed: int = 0, *, corrected: bool) -> dict[int, NDArray[np.float64]]:
    drawn = draw(np.random.default_rng(seed), np.zeros(count, dtype=bool), corrected=corrected)
    return {number: drawn.columns[number] for number in NUMBERS}


def as_if_of(made: Csv, other: Csv) -> Csv:
    """The first table with the second's numbers, by the layouts' common columns."""
    ours, theirs = (recognise(table.header, PATH).position for table in (made, other))
    mine, foreign = (
        {
            feature.number: feature.name
            for feature in PROFILES[profile].features
            if feature.number is not None
        }
        for profile in ("improved", "cic2017")
    )
    for row, source in zip(made.rows, other.rows, strict=True):
        for number, name in mine.items():
            if name in ours and foreign.get(number) in theirs:
                row[ours[name]] = source[theirs[foreign[number]]]
    return made


@pytest.mark.parametrize(
    ("corrected", "name", "build"),
    [(False, "MachineLearningCVE", ORIGINAL), (True, "improved", CORRECTED)],
)
@settings(max_examples=25)
@given(seed=st.integers(0, 2**32 - 1))
def test_each_build_is_known_by_its_rows(
    corrected: bool, name: str, build: object, seed: int
) -> None:
    fingerprint = Fingerprint(layout(name))
    for part in range(3):
        fingerprint.add(rows(20, seed + part, corrected=corrected))
    assert fingerprint.build is build
    fingerprint.check(PATH)


def test_few_rows_tell_nothing() -> None:
    fingerprint = Fingerprint(layout("MachineLearningCVE"))
    fingerprint.add(rows(15, corrected=True))
    assert fingerprint.build is None
    fingerprint.check(PATH)


def test_rows_that_all_builds_share_tell_nothing() -> None:
    """Flows without payload, flags, or a ratio that is no integer."""
    fingerprint = Fingerprint(layout("MachineLearningCVE"))
    same = rows(100, corrected=False)
    fingerprint.add({number: np.zeros(100) for number in same} | {3: np.ones(100), 4: np.ones(100)})
    assert fingerprint.build is None
    fingerprint.check(PATH)


@pytest.mark.parametrize(("foreign", "refused"), [(1, False), (5, True)])
def test_a_few_odd_rows_are_no_other_build(foreign: int, refused: bool) -> None:
    fingerprint = Fingerprint(layout("MachineLearningCVE"))
    fingerprint.add(rows(99, corrected=False))
    fingerprint.add(rows(foreign, corrected=True))
    if refused:
        with pytest.raises(TableError):
            fingerprint.check(PATH)
    else:
        fingerprint.check(PATH)
        assert fingerprint.build is ORIGINAL


def test_three_digits_are_enough() -> None:
    """Some published files were rounded by a spreadsheet."""
    fingerprint = Fingerprint(layout("MachineLearningCVE"))
    drawn = rows(200, corrected=False)
    for number in (41, 53):
        drawn[number] = np.array([float(f"{value:.3g}") for value in drawn[number]])
    fingerprint.add(drawn)
    fingerprint.check(PATH)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_is_no_evidence(value: float) -> None:
    """A row in ten: enough to be refused, if they counted."""
    fingerprint = Fingerprint(layout("MachineLearningCVE"))
    drawn = rows(300, corrected=False)
    for place, number in enumerate(NUMBERS[:10]):
        drawn[number][place::100] = value
    fingerprint.add(drawn)
    fingerprint.check(PATH)
    assert fingerprint.build is ORIGINAL


def test_seconds_and_frames_are_the_python_package() -> None:
    fingerprint = Fingerprint(layout("CICFlowMeter"))
    drawn = rows(100, corrected=True)
    drawn[2] = drawn[2] / 1e6 + 1e-7
    drawn[8] = drawn[8] + 54
    drawn[41] = drawn[41] * 1.3
    drawn[47] = drawn[47] + 1
    drawn[52] = np.floor(drawn[52])
    fingerprint.add(drawn)
    assert fingerprint.build is PYTHON
    with pytest.raises(TableError, match="the Python package cicflowmeter"):
        fingerprint.check(PATH)


def test_a_build_between_is_none_of_ours() -> None:
    """Public builds from 2019 on count all flags, but the first packet twice."""
    fingerprint = Fingerprint(layout("CICFlowMeter"))
    drawn, old = rows(100, corrected=True), rows(100, corrected=False)
    for number in (41, 52, 53):
        drawn[number] = old[number]
    fingerprint.add(drawn)
    assert fingerprint.build is None
    with pytest.raises(TableError, match="a build of the tool that no profile here means"):
        fingerprint.check(PATH)


@pytest.mark.parametrize("profile", list(PROFILES))
def test_every_column_is_in_every_profile(profile: str) -> None:
    assert set(columns_of(profile)) == set(NUMBERS)


@pytest.mark.parametrize("make", [improved, java])
def test_improved_names_with_original_numbers_are_refused(
    tmp_path: Path, make: Callable[[list[str]], Csv]
) -> None:
    made = as_if_of(make(LABELS), cve(LABELS))
    path = made.write(tmp_path / "a.csv")
    with pytest.raises(TableError) as caught:
        read_table(path, ("Flow Duration",))
    text = str(caught.value)
    assert text.startswith(f"{path}: has the columns of ")
    assert "but not the numbers of the corrected tool: in " in text
    assert "of 80 rows that tell" in text
    assert "they look like the original tool of 2017" in text
    assert text.endswith(".")


@pytest.mark.parametrize(
    "made", [cve(LABELS), traffic(LABELS), cse(LABELS), extract("cic2017", LABELS)]
)
def test_original_names_with_original_numbers_pass(tmp_path: Path, made: Csv) -> None:
    assert len(read_table(made.write(tmp_path / "a.csv"), PAPER78)) == 80


def test_two_builds_in_two_files_are_named(tmp_path: Path) -> None:
    first = improved(LABELS).write(tmp_path / "first.csv")
    second = as_if_of(improved(LABELS, 1), cve(LABELS, 1)).write(tmp_path / "second.csv")
    with pytest.raises(TableError) as caught:
        read(plan([first, second], [], None), ("Flow Duration",), talk=Talk())
    assert str(caught.value).startswith(f"{second}: ")
    assert f"unlike {first}: in " in str(caught.value)


def test_the_build_is_told_before_the_file_is_read_to_its_end(tmp_path: Path) -> None:
    """A broken line at the end is not reached."""
    made = as_if_of(improved(LABELS), cve(LABELS))
    path = tmp_path / "a.csv"
    with path.open("w", encoding="ascii") as stream:
        stream.write(made.text())
        body = made.text().partition("\n")[2]
        while stream.tell() < 20 * 1024 * 1024:
            stream.write(body)
        stream.write("x" * 100 + "\n")
    with pytest.raises(TableError, match="not the numbers"):
        read_table(path, ("Flow Duration",))
