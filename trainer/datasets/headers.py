"""A table's header to the layout it is of."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from edge_agent.contract.errors import TableError
from trainer.datasets.layouts import FOREIGN, LABEL, LAYOUTS, Layout

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

# More names than this in one sentence help nobody.
_NAMES_SHOWN: Final = 6
# Fewer shared names may be chance.
_FOREIGN_NAMES: Final = 3
# What pandas calls the numbers of rows when it writes them out.
_ROW_NUMBERS: Final = ("unnamed: 0", "__index_level_")


@dataclass(frozen=True, slots=True)
class Header:
    """A file's header, understood.

    Attributes:
        layout: The layout it is of.
        position: Column as this project calls it → index in the file. A column that the layout has
            as a copy of another has the other's index.
        width: How many cells a line has.
        label: The label column as the file spells it, for repeated header lines.
    """

    layout: Layout
    position: dict[str, int]
    width: int
    label: str


def _key(name: str) -> str:
    # The tools call the same flag CWE and CWR; polars calls the second of two equal columns so.
    key = " ".join(name.split()).casefold().replace("cwe flag", "cwr flag")
    return key.replace("_duplicated_0", ".1")


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:_NAMES_SHOWN])
    more = len(names) - _NAMES_SHOWN
    return f"{shown} and {more} more" if more > 0 else shown


def _numbered(cells: Sequence[str]) -> list[str]:
    """Keys of the header's cells; the second of two equal names gets the suffix `.1`.

    MachineLearningCVE has `Fwd Header Length` twice; pandas calls the second one so.
    """
    seen: Counter[str] = Counter()
    keys = []
    for cell in cells:
        key = _key(cell)
        keys.append(f"{key}.{seen[key]}" if seen[key] else key)
        seen[key] += 1
    return keys


def _required(layout: Layout) -> dict[str, str]:
    """Key → name in the layout's files."""
    return {_key(layout.in_file(name)): layout.in_file(name) for name in layout.required}


def _known(layout: Layout) -> dict[str, str]:
    """Key → name in this project."""
    return {_key(layout.in_file(name)): name for name in layout.known}


def _best(present: set[str]) -> Layout:
    def fit(layout: Layout) -> int:
        required, known = set(_required(layout)), set(_known(layout))
        return len(present & known) - len(required - present) - len(present - known)

    return max(LAYOUTS, key=fit)


def recognise(cells: Sequence[str], path: Path, where: str = "line 1") -> Header:
    """Find the layout a header is of.

    Args:
        cells: The header's cells.
        path: For messages.
        where: For messages: the header's place in the file.

    Raises:
        TableError: It is of no known layout, or lacks, repeats or adds columns.
    """
    keys = _numbered(cells)
    present = {key for key in keys if not key.startswith(_ROW_NUMBERS)}
    layout = _best(present)
    known = _known(layout)
    if len(present & set(known)) * 2 < len(layout.required):
        raise _unknown(present, path, where)
    missing = [name for key, name in _required(layout).items() if key not in present]
    if missing:
        raise TableError(
            path,
            f"lacks {_listed(missing)} of the layout {layout.name}",
            remedy="take the file as it was published, or extract it again",
            where=where,
        )
    unknown = [
        cell.strip() or f"column {index + 1} (no name)"
        for index, (key, cell) in enumerate(zip(keys, cells, strict=True))
        if key not in known and key in present
    ]
    if unknown:
        raise TableError(
            path,
            f"has {_listed(unknown)}, unknown to the layout {layout.name}",
            remedy="remove these columns",
            where=where,
        )
    if _key(LABEL) not in present:
        raise TableError(
            path,
            f"has no {LABEL!r} column, so nothing can be learned from it",
            remedy="add the column, or train on the capture itself with --labels truth.json",
            where=where,
        )
    position = {known[key]: index for index, key in enumerate(keys) if key in present}
    for name, original in layout.copies.items():
        position.setdefault(name, position[original])
    return Header(layout, position, len(cells), cells[position[LABEL]].strip())


def _unknown(present: set[str], path: Path, where: str) -> TableError:
    for foreign in FOREIGN:
        if len(present & foreign.columns) >= _FOREIGN_NAMES:
            return TableError(
                path,
                f"was made by {foreign.name}, which {foreign.why}",
                remedy="meter the capture itself with edge-agent extract, or give the capture to"
                " edge-train with --labels",
                where=where,
            )
    names = ", ".join(layout.name for layout in LAYOUTS)
    return TableError(
        path,
        f"is no flow table of a known layout ({names})",
        remedy="give tables of CICIDS2017 or CSE-CIC-IDS2018, or what edge-agent extract writes",
        where=where,
    )
