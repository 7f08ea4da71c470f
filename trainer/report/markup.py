"""Text to HTML. Whatever comes from a run is escaped here and nowhere else."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


@dataclass(frozen=True, slots=True)
class Figured:
    """A cell with a figure and, small below it, what qualifies it.

    Attributes:
        main: The figure.
        small: Its interval, a count; may be empty.
    """

    main: str
    small: str = ""


Cell = str | Figured


@dataclass(frozen=True, slots=True)
class Table:
    """A table of a report.

    Attributes:
        caption: What it shows; screen readers say it first.
        header: Titles of the columns.
        rows: Cells; the first of a row is its title.
        text_columns: Columns of text, which stand left; the first always does.
    """

    caption: str
    header: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    text_columns: frozenset[int] = frozenset()


# Texts longer than this are broken into lines.
_LONG: Final = 32

_REGION: Final = '<div class="scroll" role="region" tabindex="0" aria-label="{caption}">'


def table(content: Table) -> str:
    """A table that scrolls sideways by itself where the screen is narrow."""
    lines = [
        _REGION.format(caption=escape(content.caption)),
        f"<table>\n<caption>{escape(content.caption)}</caption>",
        "<thead><tr>"
        + "".join(
            f'<th scope="col"{_kind(place, content)}>{escape(title)}</th>'
            for place, title in enumerate(content.header)
        )
        + "</tr></thead>\n<tbody>",
    ]
    for first, *rest in content.rows:
        cells = "".join(
            f"<td{_kind(place, content, cell)}>{_cell(cell)}</td>"
            for place, cell in enumerate(rest, 1)
        )
        lines.append(f'<tr><th scope="row">{_cell(first)}</th>{cells}</tr>')
    return "\n".join([*lines, "</tbody>\n</table>\n</div>"])


def _kind(place: int, content: Table, cell: Cell = "") -> str:
    if place and place not in content.text_columns:
        return ""
    is_long = isinstance(cell, str) and len(cell) > _LONG
    return ' class="text long"' if is_long else ' class="text"'


def _cell(cell: Cell) -> str:
    if isinstance(cell, str):
        return escape(cell)
    small = f"<small>{escape(cell.small)}</small>" if cell.small else ""
    return escape(cell.main) + small


def paragraph(text: str, kind: str = "") -> str:
    """A paragraph of plain text."""
    return f"<p{f' class={chr(34)}{kind}{chr(34)}' if kind else ''}>{escape(text)}</p>"


def bullets(texts: Iterable[str]) -> str:
    """A list of plain texts."""
    items = "".join(f"<li>{escape(text)}</li>\n" for text in texts)
    return f"<ul>\n{items}</ul>" if items else ""


def section(anchor: str, title: str, *blocks: str) -> str:
    """A section under a heading of its own; nothing where it has no content.

    Args:
        anchor: Its id.
        title: Plain text.
        blocks: HTML.
    """
    content = "\n".join(block for block in blocks if block)
    if not content:
        return ""
    return f'<section id="{anchor}">\n<h2>{escape(title)}</h2>\n{content}\n</section>'


def subheading(title: str) -> str:
    """A heading inside a section."""
    return f"<h3>{escape(title)}</h3>"


def image(png: bytes, alt: str, *, wide: bool = False) -> str:
    """A picture inside the page.

    Args:
        png: The file.
        alt: What it shows; also its caption.
        wide: Whether it needs a line for itself.
    """
    kind = ' class="wide"' if wide else ""
    data = base64.b64encode(png).decode()
    return (
        f'<figure{kind}><img alt="{escape(alt)}" src="data:image/png;base64,{data}">'
        f"<figcaption>{escape(alt)}</figcaption></figure>"
    )
