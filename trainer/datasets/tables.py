"""Flow CSVs to `FlowTable`s."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

import numpy as np
import polars as pl

from edge_agent.contract.errors import TableError
from edge_agent.flow.rows import IP_VERSION
from trainer.datasets.csvfile import (
    find_line,
    header_cells,
    read_header,
    read_text,
    shown,
    text_columns,
)
from trainer.datasets.flows import NO_TIME, FlowTable, SourceFile
from trainer.datasets.labels import family_of, unify
from trainer.datasets.layouts import LABEL, Header, recognise

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

REPEATED_HEADER: Final = "repeated header line"
EMPTY_ROW: Final = "empty row"
NO_LABEL: Final = "no label"
OVER_IPV6: Final = "over IPv6"

_TIME_FORMAT: Final = "%Y-%m-%d %H:%M:%S%.f"


def sniff(path: Path) -> Header:
    """The header of a flow CSV, understood.

    Raises:
        TableError: As for `read_header` and `recognise`.
    """
    return recognise(read_header(path), path)


def read_table(path: Path, names: Sequence[str]) -> FlowTable:
    """Read one flow CSV.

    Repeated header lines, empty rows, rows without a label and flows over IPv6 are left out and
    counted; NaN and infinities stay for `cleaning`.

    Args:
        path: The file, gzipped or not.
        names: Feature columns to take, of the profile its layout is for.

    Raises:
        TableError: The file, a line or a cell cannot be understood.
    """
    data, digest = read_text(path)
    header = recognise(header_cells(data, path), path)
    absent = [name for name in names if name not in header.position]
    if absent:
        raise TableError(
            path,
            f"has no column {', '.join(map(repr, absent))}, which the feature set needs",
            remedy="choose another set with --features",
            where="line 1",
        )
    others = [
        name
        for name in (LABEL, *header.layout.endpoints, header.layout.start, IP_VERSION)
        if name in header.position
    ]
    wanted = sorted({header.position[name] for name in (*names, *others)})
    frame = text_columns(data, header.width, wanted, path)
    rows = len(frame)
    frame, dropped = _without_others(frame, header)
    raw = np.empty((len(frame), len(names)), dtype=np.float64)
    for index, name in enumerate(names):
        raw[:, index] = _numbers(frame, header, name, data, path)
    label = _labels(frame[str(header.position[LABEL])])
    return FlowTable(
        profile=header.layout.profile,
        layout=header.layout.name,
        names=tuple(names),
        raw=raw,
        label=label,
        file=np.zeros(len(frame), dtype=np.int32),
        start_us=_start_us(frame, header, data, path),
        connection=_connections(frame, header),
        files=(SourceFile(path, digest, rows),),
        dropped=dropped,
        families={text: family_of(text) for text in np.unique(label).tolist()},
    )


def _without_others(frame: pl.DataFrame, header: Header) -> tuple[pl.DataFrame, Counter[str]]:
    """Leave out lines that are no flows, or flows that no public data has, counting why."""
    label = pl.col(str(header.position[LABEL]))
    marked = header.position.get(IP_VERSION)
    dropped: Counter[str] = Counter()
    for rule, keep in (
        (EMPTY_ROW, ~pl.all_horizontal(pl.all().is_null())),
        (REPEATED_HEADER, label.is_null() | (label != header.label)),
        (NO_LABEL, label.is_not_null()),
        (OVER_IPV6, pl.lit(True) if marked is None else pl.col(str(marked)).ne_missing("6")),
    ):
        kept = frame.filter(keep)
        dropped[rule] = len(frame) - len(kept)
        frame = kept
    return frame, dropped


def _numbers(
    frame: pl.DataFrame, header: Header, name: str, data: bytes, path: Path
) -> NDArray[np.float64]:
    """A column as float64, shape (n_flows,); empty cells become NaN."""
    position = header.position[name]
    text = frame[str(position)]
    numbers = text.cast(pl.Float64, strict=False)
    if numbers.null_count() > text.null_count():
        _complain(header, name, data, path, "number")
    return numbers.fill_null(float("nan")).to_numpy()


def _complain(header: Header, name: str, data: bytes, path: Path, kind: str) -> None:
    """Raise the error that names the first line whose cell cannot be understood."""
    position = header.position[name]
    label = header.position[LABEL]
    target = pl.Float64

    def understood(cell: str) -> bool:
        text = pl.Series([cell.strip() or None], dtype=pl.String)
        if kind == "time":
            value = text.str.to_datetime(_TIME_FORMAT, strict=False)
        else:
            value = text.cast(target, strict=False)
        return value.null_count() <= text.null_count()

    def is_wrong(cells: list[str]) -> bool:
        if len(cells) <= max(position, label) or cells[label].strip() in ("", header.label):
            return False
        return not understood(cells[position])

    found = find_line(data, is_wrong)
    line, cells = found or (0, [""] * header.width)
    raise TableError(
        path,
        f"{shown(cells[position])} is no {kind}",
        remedy="correct or remove the line",
        where=f"line {line}, column {name!r}",
    )


def _labels(text: pl.Series) -> NDArray[np.str_]:
    """Unified labels; each spelling is looked at once."""
    spellings = text.unique().to_list()
    unified = text.replace_strict(spellings, [unify(spelling) for spelling in spellings])
    return unified.to_numpy().astype(np.str_) if len(unified) else np.empty(0, dtype="U1")


def _start_us(frame: pl.DataFrame, header: Header, data: bytes, path: Path) -> NDArray[np.int64]:
    name = header.layout.start
    if name not in header.position:
        return np.full(len(frame), NO_TIME, dtype=np.int64)
    if not header.layout.start_is_text:
        return _numbers(frame, header, name, data, path).astype(np.int64)
    text = frame[str(header.position[name])]
    time = text.str.to_datetime(_TIME_FORMAT, time_unit="us", strict=False)
    if time.null_count():
        _complain(header, name, data, path, "time")
    return time.cast(pl.Int64).to_numpy()


def _connections(frame: pl.DataFrame, header: Header) -> NDArray[np.int64]:
    """One number per 5-tuple, whichever way round; -1 where there are no addresses."""
    endpoints = header.layout.endpoints
    if not endpoints or any(name not in header.position for name in endpoints):
        return np.full(len(frame), -1, dtype=np.int64)
    source, source_port, target, target_port, protocol = (
        pl.col(str(header.position[name])).fill_null("") for name in endpoints
    )
    left, right = source + ":" + source_port, target + ":" + target_port
    pair = pl.concat_str(
        [pl.min_horizontal(left, right), pl.max_horizontal(left, right), protocol], separator=" "
    )
    ranked = frame.select(pair.rank("dense").cast(pl.Int64) - 1)
    return ranked.to_series().to_numpy()
