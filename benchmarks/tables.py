"""Aligned text tables for people; programs take the JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

NOTHING = "–"
"""What a cell shows where there is nothing to tell."""


def table(head: Sequence[str], rows: Sequence[Sequence[str]], *, text_columns: int = 1) -> str:
    """Lay out cells under their heads.

    Args:
        head: One title per column.
        rows: Cells, as many per row as there are titles.
        text_columns: How many columns, from the left, hold words; the others hold numbers and are
            set to the right.
    """
    lines = [tuple(head), *(tuple(row) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column < text_columns else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def markdown(lines: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a Markdown table: the first line of cells is the head."""
    head, *rows = (f"| {' | '.join(cells)} |" for cells in lines)
    return [head, "|" + "---|" * len(lines[0]), *rows]


def percent(share: float | None) -> str:
    """A share of 1 in hundredths, two digits behind the point."""
    return NOTHING if share is None else f"{share:.2%}"
