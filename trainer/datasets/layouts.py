"""The CSV layouts that can be read, and which one a header is.

Columns are matched by name, in any order, case-insensitively, after stripping and collapsing
blanks. A layout is recognised by what it shares with the header, so that a file that lacks a
column is told which one instead of being called unknown.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from edge_agent.contract.errors import TableError
from edge_agent.contract.profiles import PROFILES
from edge_agent.flow.rows import IP_VERSION, ROW_COLUMNS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

LABEL: Final = "Label"

# More names than this in one sentence help nobody.
_NAMES_SHOWN: Final = 6


@dataclass(frozen=True, slots=True)
class Layout:
    """A way in which flow tables are published.

    Attributes:
        name: For messages and `metrics.json`.
        profile: Name of the flow profile whose columns it holds.
        required: Feature columns that must be there.
        optional: Feature columns of the profile that may be absent.
        ignored: Columns that are known and are no features.
        endpoints: Source address, source port, destination address, destination port, protocol;
            empty where the layout has no addresses.
        start: Column with the time of the first packet; empty where there is none.
        start_is_text: Whether that column is `YYYY-MM-DD HH:MM:SS.ffffff` in UTC, not µs.
    """

    name: str
    profile: str
    required: tuple[str, ...]
    optional: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()
    endpoints: tuple[str, ...] = ()
    start: str = ""
    start_is_text: bool = False

    @property
    def known(self) -> tuple[str, ...]:
        """Every column that may occur."""
        extra = (*self.optional, *self.ignored, *self.endpoints, self.start, LABEL)
        return tuple(dict.fromkeys((*self.required, *(name for name in extra if name))))


@dataclass(frozen=True, slots=True)
class Header:
    """A file's header, understood.

    Attributes:
        layout: The layout it is of.
        position: Column as this project calls it → index in the file.
        width: How many cells a line has.
        label: The label column as the file spells it, for repeated header lines.
    """

    layout: Layout
    position: dict[str, int]
    width: int
    label: str


def _extract_layout(profile: str) -> Layout:
    """What `edge-agent extract` writes, with a Label column added."""
    *endpoints, start = ROW_COLUMNS
    return Layout(
        name=f"extract of {profile}",
        profile=profile,
        required=PROFILES[profile].columns,
        ignored=(IP_VERSION, "score", "verdict"),
        endpoints=tuple(endpoints),
        start=start,
    )


# The published improved files predate these two columns of the tool.
_IMPROVED_LATER: Final = ("Bwd Act Data Pkts", "Bwd Seg Size Min")

LAYOUTS: Final[tuple[Layout, ...]] = (
    Layout(
        name="MachineLearningCVE",
        profile="cic2017",
        required=PROFILES["cic2017"].columns,
        ignored=("source",),
    ),
    Layout(
        name="improved",
        profile="improved",
        required=tuple(
            name for name in PROFILES["improved"].columns if name not in _IMPROVED_LATER
        ),
        optional=_IMPROVED_LATER,
        ignored=(
            "id",
            "Flow ID",
            "ICMP Code",
            "ICMP Type",
            "Total TCP Flow Time",
            "Attempted Category",
        ),
        endpoints=("Src IP", "Src Port", "Dst IP", "Dst Port", "Protocol"),
        start="Timestamp",
        start_is_text=True,
    ),
    *(_extract_layout(profile) for profile in PROFILES),
)


def capture_layout(profile: str) -> Layout:
    """The layout of rows metered here: the same as an extract's, so that both may be mixed."""
    return next(layout for layout in LAYOUTS if layout.name == f"extract of {profile}")


def _key(name: str) -> str:
    # The tools call the same flag CWE and CWR.
    return " ".join(name.split()).casefold().replace("cwe flag", "cwr flag")


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


def recognise(cells: Sequence[str], path: Path) -> Header:
    """Find the layout a header is of.

    Args:
        cells: The header line's cells.
        path: For messages.

    Raises:
        TableError: It is of no known layout, or lacks, repeats or adds columns.
    """
    keys = _numbered(cells)
    present = set(keys)

    def fit(layout: Layout) -> int:
        required = {_key(name) for name in layout.required}
        known = {_key(name) for name in layout.known}
        return len(present & known) - len(required - present) - len(present - known)

    layout = max(LAYOUTS, key=fit)
    known = {_key(name): name for name in layout.known}
    if len(present & set(known)) * 2 < len(layout.required):
        names = ", ".join(layout.name for layout in LAYOUTS)
        raise TableError(
            path,
            f"is no flow table of a known layout ({names})",
            remedy="give CSV files of CICIDS2017, or what edge-agent extract writes",
            where="line 1",
        )
    missing = [name for name in layout.required if _key(name) not in present]
    if missing:
        raise TableError(
            path,
            f"lacks {_listed(missing)} of the layout {layout.name}",
            remedy="take the file as it was published, or extract it again",
            where="line 1",
        )
    unknown = [
        cell.strip() or f"column {index + 1} (no name)"
        for index, (key, cell) in enumerate(zip(keys, cells, strict=True))
        if key not in known
    ]
    if unknown:
        raise TableError(
            path,
            f"has {_listed(unknown)}, unknown to the layout {layout.name}",
            remedy="remove these columns",
            where="line 1",
        )
    if _key(LABEL) not in present:
        raise TableError(
            path,
            f"has no {LABEL!r} column, so nothing can be learned from it",
            remedy="add the column, or train on the capture itself with --labels truth.json",
            where="line 1",
        )
    position = {known[key]: index for index, key in enumerate(keys)}
    return Header(layout, position, len(cells), cells[position[LABEL]].strip())
