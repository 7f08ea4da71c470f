"""Bytes of a flow CSV to columns of text, and from a complaint back to its line.

The fast path is polars, which knows no line numbers once blank lines and quotes have passed. Where
it fails, or a cell is no number, the file is read again slowly, for the sentence that names the
place.
"""

from __future__ import annotations

import contextlib
import csv
import gzip
import hashlib
import io
import zlib
from typing import TYPE_CHECKING, Final

import polars as pl

from edge_agent.contract.errors import TableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

_GZIP_MAGIC: Final = b"\x1f\x8b"
_UTF8_BOM: Final = b"\xef\xbb\xbf"
_UTF16_BOMS: Final = (b"\xff\xfe", b"\xfe\xff")
# A header of 91 names has under 2 KB; a line longer than this is no header.
_MAX_HEADER_BYTES: Final = 65_536
_CELL_SHOWN: Final = 40


@contextlib.contextmanager
def reading(path: Path) -> Iterator[None]:
    """Translate what goes wrong while a file is read and unpacked.

    Raises:
        TableError: It cannot be read, or is cut or broken.
    """
    try:
        yield
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise TableError(
            path, f"is a cut or broken gzip file ({error})", remedy="copy it again"
        ) from error
    except OSError as error:
        raise TableError(
            path, f"cannot be read ({error.strerror})", remedy="check the path"
        ) from error


def read_start(path: Path, length_bytes: int) -> bytes:
    """The first bytes of a file's unpacked content.

    Raises:
        TableError: As for `reading`.
    """
    with reading(path), path.open("rb") as stream:
        start = stream.read(max(length_bytes, len(_GZIP_MAGIC)))
        if start.startswith(_GZIP_MAGIC):
            stream.seek(0)
            with gzip.open(stream) as unpacked:
                return unpacked.read(length_bytes)
        return start[:length_bytes]


def read_text(path: Path) -> tuple[bytes, str]:
    """The file's text, unpacked, and the digest of the file as it is.

    Raises:
        TableError: It cannot be read, is cut, is empty, or is not in an encoding that keeps ASCII.
    """
    with reading(path):
        data = path.read_bytes()
        digest = hashlib.sha256(data).hexdigest()
        if data.startswith(_GZIP_MAGIC):
            data = gzip.decompress(data)
    return _checked_text(data, path), digest


def read_header(path: Path) -> list[str]:
    """Cells of the file's first line, without reading the rest.

    Raises:
        TableError: As for `read_text` and `header_cells`.
    """
    return header_cells(_checked_text(read_start(path, _MAX_HEADER_BYTES + 1), path), path)


def _checked_text(data: bytes, path: Path) -> bytes:
    if data.startswith(_UTF16_BOMS) or b"\0" in data[:_MAX_HEADER_BYTES]:
        raise TableError(
            path,
            "is not text in UTF-8 or Windows-1252 (it holds zero bytes, as UTF-16 does)",
            remedy="save it as UTF-8",
            where="line 1",
        )
    data = data.removeprefix(_UTF8_BOM)
    if not data.strip():
        raise TableError(path, "is empty", remedy="give a file with a header and rows")
    return data


def header_cells(data: bytes, path: Path) -> list[str]:
    """Cells of the first line.

    Raises:
        TableError: The line is too long for a header.
    """
    line, _, _ = data.partition(b"\n")
    if len(line) > _MAX_HEADER_BYTES:
        raise TableError(
            path,
            f"has a first line of {len(line):,} bytes, which is no header",
            remedy="give a CSV file with a header line",
            where="line 1",
        )
    return next(csv.reader([_decoded(line).rstrip("\r")]), [])


def _decoded(data: bytes) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        # The published files that are not UTF-8 are Windows-1252; its five undefined bytes stay
        # visible as U+FFFD.
        return data.decode("cp1252", errors="replace")


def text_columns(data: bytes, width: int, wanted: Sequence[int], path: Path) -> pl.DataFrame:
    """Columns of the lines behind the header, as text; empty cells are null.

    Args:
        data: The text that `read_text` gave.
        width: Cells in a line.
        wanted: Indices of the columns to keep; they are named by their index.
        path: For messages.

    Raises:
        TableError: A line has more cells than the header, or a quote is never closed.
    """
    lines = pl.scan_csv(
        io.BytesIO(data),
        has_header=False,
        skip_rows=1,
        # One column more than the header has: whatever stands there is one cell too many. The
        # reader itself looks no further than the last column that is asked for.
        schema={str(index): pl.String for index in range(width + 1)},
        # Only labels hold letters outside ASCII, and `labels.unify` takes any broken dash.
        encoding="utf8-lossy",
        missing_columns="insert",
        raise_if_empty=False,
    )
    try:
        frame = lines.select(
            [pl.col(str(index)).str.strip_chars() for index in (*wanted, width)]
        ).collect()
    except pl.exceptions.PolarsError as error:
        raise _unreadable(data, width, path, _first_line(error)) from error
    surplus = frame.drop_in_place(str(width))
    if surplus.null_count() < len(surplus):
        raise _unreadable(data, width, path, f"a line has more than {width} cells")
    return frame


def _unreadable(data: bytes, width: int, path: Path, otherwise: str) -> TableError:
    """The error that names the place that makes a CSV unreadable, else says it `otherwise`."""
    _refuse_open_quote(data, path)
    place = find_line(data, lambda cells: len(cells) > width)
    if place is None:
        return TableError(path, f"is no readable CSV ({otherwise})", remedy="save it as CSV again")
    line, cells = place
    return TableError(
        path,
        f"has {len(cells)} cells where the header has {width}",
        remedy="correct or remove the line",
        where=f"line {line}",
    )


def _refuse_open_quote(data: bytes, path: Path) -> None:
    """Raise the error that names the first line with an odd number of quotes, if there is one."""
    if data.count(b'"') % 2 == 0:
        return
    for number, line in enumerate(data.split(b"\n"), start=1):
        if line.count(b'"') % 2:
            raise TableError(
                path,
                "has a quote that is never closed",
                remedy="correct or remove the line",
                where=f"line {number}",
            )


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0].strip()


def find_line(data: bytes, is_wrong: Callable[[list[str]], bool]) -> tuple[int, list[str]] | None:
    """Number and cells of the first line behind the header that `is_wrong`; None: no line is."""
    try:
        for line, cells in _lines(data):
            if is_wrong(cells):
                return line, cells
    except csv.Error:
        return None
    return None


def _lines(data: bytes) -> Iterator[tuple[int, list[str]]]:
    reader = csv.reader(io.StringIO(_decoded(data), newline=""))
    next(reader, None)
    for cells in reader:
        if cells:
            yield reader.line_num, cells


def shown(cell: str) -> str:
    """A cell's text as a message may quote it: short, and nothing that moves a terminal."""
    text = repr(cell)
    return text if len(text) <= _CELL_SHOWN else text[: _CELL_SHOWN - 1] + "…'"
