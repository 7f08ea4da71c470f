"""What decides whether an emulated gateway judges as this machine does."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

_PROGRAM = Path(__file__).resolve().parents[2] / "packaging" / "compare_verdicts.py"
_HEADER = "Src IP,Src Port,Dst IP,Dst Port,Protocol,Start us,score,verdict\n"


def table(path: Path, verdicts: str, first_port: int = 1) -> Path:
    """A score table with one flow for each letter: a for attack, b for benign."""
    rows = (
        f"10.0.0.1,{first_port + number},10.0.0.2,80,6,{number},"
        + ("0.9000,attack\n" if letter == "a" else "0.1000,benign\n")
        for number, letter in enumerate(verdicts)
    )
    path.write_text(_HEADER + "".join(rows), encoding="utf-8")
    return path


def compared(here: Path, there: Path, share: str) -> tuple[int, str]:
    command = [sys.executable, str(_PROGRAM), str(here), str(there), share]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout.strip()


@pytest.mark.parametrize(("share", "code"), [("0.9", 0), ("0.91", 1)])
def test_the_share_of_equal_verdicts_decides(tmp_path: Path, share: str, code: int) -> None:
    here = table(tmp_path / "here", "aabbbbbbbb")
    there = table(tmp_path / "there", "abbbbbbbbb")
    assert compared(here, there, share) == (
        code,
        (
            "9 of 10 verdicts are equal (90.000%); 2 are attacks here, 1 there; scores differ by at"
            " most 0.8000."
        ),
    )


@pytest.mark.parametrize(
    ("verdicts", "first_port", "told"),
    [
        ("aab", 1, "one table has more than 2 flows, the other one not."),
        ("aa", 7, "flow 1: Src Port is 1 here, 7 there."),
    ],
)
def test_other_flows_are_no_comparison(
    tmp_path: Path, verdicts: str, first_port: int, told: str
) -> None:
    here = table(tmp_path / "here", "aa")
    assert compared(here, table(tmp_path / "there", verdicts, first_port), "0.5") == (1, told)


@pytest.mark.parametrize(("there", "code"), [("1.0000000000000002", 0), ("1.00001", 1)])
def test_columns_may_differ_in_the_last_digit_alone(tmp_path: Path, there: str, code: int) -> None:
    tables = []
    for name, value in (("here", "1.0"), ("there", there)):
        path = table(tmp_path / name, "a")
        text = path.read_text("utf-8").replace("score", "Src Flows 10s,score")
        path.write_text(text.replace("0.9000", f"{value},0.9000"), encoding="utf-8")
        tables.append(path)
    assert compared(tables[0], tables[1], "1")[0] == code


def test_empty_tables_prove_nothing(tmp_path: Path) -> None:
    here = table(tmp_path / "here", "")
    assert compared(here, here, "0") == (1, "the tables have no flows.")
