"""Aligned text."""

from __future__ import annotations

import pytest

from benchmarks.tables import NOTHING, percent, table


def test_words_stand_left_and_numbers_right() -> None:
    assert table(("name", "µs"), [("a", "1.5"), ("longer", "100.0")]).splitlines() == [
        "name       µs",
        "a         1.5",
        "longer  100.0",
    ]


def test_lines_end_without_spaces() -> None:
    lines = table(("a", "word"), [("b", "")], text_columns=2).splitlines()
    assert lines == ["a  word", "b"]


def test_a_row_of_another_length_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="zip"):
        table(("a", "b"), [("1",)])


def test_percent() -> None:
    assert [percent(0.12345), percent(1.0), percent(None)] == ["12.35%", "100.00%", NOTHING]
