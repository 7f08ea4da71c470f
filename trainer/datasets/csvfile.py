"""Bytes of a flow CSV to blocks of columns, and from a complaint back to its line.

A file is read by some MiB at a time, so that memory does not grow with it. The fast way is
polars with columns of numbers. It knows no line numbers, and fails on a header that is repeated
among the rows: what it cannot read is read again as text, and if that fails too, line by line for
the sentence that names the place.
"""

from __future__ import annotations

import contextlib
import csv
import hashlib
import io
from functools import partial
from typing import TYPE_CHECKING, Final

import polars as pl

from edge_agent.capture.opening import Content
from edge_agent.contract.errors import CaptureError, TableError
from trainer.datasets.blocks import Block

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from _typeshed import WriteableBuffer

    from trainer.datasets.blocks import Place

_DIGESTED_BYTES: Final = 1024 * 1024
BLOCK_BYTES: Final = 8 * 1024 * 1024
"""About 18,000 rows of the original CSVs. Measured from 4 to 64 MiB: reading takes the same time up
to 16, and more beyond; what it needs in memory besides the rows it keeps grows with it."""

_UTF8_BOM: Final = b"\xef\xbb\xbf"
_UTF16_BOMS: Final = (b"\xff\xfe", b"\xfe\xff")
_ZIP_MAGIC: Final = b"PK\x03\x04"
# A header of 91 names has under 2 KB; a line longer than this is no header, and no row.
_MAX_LINE_BYTES: Final = 65_536
# What is asked for at once is set to zero first, however short the file is.
_PIECE_BYTES: Final = 1024 * 1024
_CELL_SHOWN: Final = 40


@contextlib.contextmanager
def reading(path: Path) -> Iterator[None]:
    """Translate what goes wrong while a file is read and unpacked.

    Raises:
        TableError: It cannot be read, or is cut or broken.
    """
    try:
        yield
    except CaptureError as error:
        raise TableError(path, error.problem, remedy=error.remedy) from error
    except EOFError as error:
        raise TableError(path, "is a cut compressed file", remedy="copy it again") from error
    except OSError as error:
        # Only the system's own errors have a number; the rest is a decompressor's.
        if error.errno is None:
            raise TableError(
                path, f"is a broken compressed file ({error})", remedy="copy it again"
            ) from error
        raise TableError(
            path, f"cannot be read ({error.strerror})", remedy="check the path"
        ) from error


def sha256_of(path: Path) -> str:
    """Digest of a file as it is stored.

    Raises:
        TableError: As for `reading`.
    """
    digest = hashlib.sha256()
    with reading(path), path.open("rb") as stream:
        while data := stream.read(_DIGESTED_BYTES):
            digest.update(data)
    return digest.hexdigest()


class _Digested(io.BufferedReader):
    """A file whose bytes are digested on their way."""

    def __init__(self, path: Path) -> None:
        super().__init__(io.FileIO(path))
        self.sha256 = hashlib.sha256()

    def read1(self, size: int = -1, /) -> bytes:
        data = super().read1(size)
        self.sha256.update(data)
        return data

    def readinto1(self, buffer: WriteableBuffer, /) -> int:
        length = super().readinto1(buffer)
        self.sha256.update(memoryview(buffer)[:length])
        return length


class CsvFile:
    """A CSV file, plain or compressed, as a `TableFile`."""

    header_place = "line 1"

    def __init__(self, path: Path) -> None:
        """Open a file and read its header.

        Raises:
            TableError: It cannot be read, is empty, is not in an encoding that keeps ASCII, or
                begins with no header.
        """
        self._path = path
        with reading(path):
            self.total_bytes = path.stat().st_size
            self._file = _Digested(path)
        try:
            with reading(path):
                self._content = Content(path, self._file)
            start = self._read(_MAX_LINE_BYTES + 1)
            start = _checked_start(start, path)
            line, _, self._rest = start.partition(b"\n")
            self.cells = _header_cells(line, path)
        except BaseException:
            self._file.close()
            raise

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def digest(self) -> str:
        """SHA-256 of the stored file, once all blocks were read."""
        return self._file.sha256.hexdigest()

    def blocks(self, texts: Sequence[int], numbers: Sequence[int]) -> Iterator[Block]:
        """Rows from first to last; see `TableFile`."""
        line = 2
        for data in self._whole_lines():
            _refuse_open_quote(data, line, self._path)
            frame = _columns(data, len(self.cells), texts, numbers)
            if frame is None:
                frame = _columns(data, len(self.cells), (*texts, *numbers), ())
            if frame is None:
                raise _unreadable(data, len(self.cells), line, self._path)
            yield Block(frame, partial(_find_line, data, line), self._content.bytes_read)
            line += data.count(b"\n")

    def _whole_lines(self) -> Iterator[bytes]:
        """The lines behind the header, some MB at a time."""
        rest, self._rest = self._rest, b""
        while data := self._read(BLOCK_BYTES):
            data = rest + data
            end = data.rfind(b"\n") + 1
            # A block may be shorter than a line in tests only; a line without end is none.
            if not end and len(data) > max(BLOCK_BYTES, _MAX_LINE_BYTES):
                raise TableError(
                    self._path,
                    f"has a line of more than {_MAX_LINE_BYTES:,} bytes",
                    remedy="save it as CSV again",
                )
            rest = data[end:]
            if end:
                yield data[:end]
        if rest:
            yield rest

    def _read(self, length: int) -> bytes:
        """The next bytes of the content: `length` of them, fewer only at its end."""
        pieces, missing = [], length
        with reading(self._path):
            while missing and (piece := self._content.stream.read(min(missing, _PIECE_BYTES))):
                pieces.append(piece)
                missing -= len(piece)
        return b"".join(pieces)


def _checked_start(data: bytes, path: Path) -> bytes:
    if data.startswith(_ZIP_MAGIC):
        raise TableError(path, "is a zip archive", remedy="unzip it and give the files in it")
    if data.startswith(_UTF16_BOMS) or b"\0" in data:
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


def _header_cells(line: bytes, path: Path) -> list[str]:
    if len(line) > _MAX_LINE_BYTES:
        raise TableError(
            path,
            f"has a first line of more than {_MAX_LINE_BYTES:,} bytes, which is no header",
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


def _columns(
    data: bytes, width: int, texts: Sequence[int], numbers: Sequence[int]
) -> pl.DataFrame | None:
    """Columns of some lines, named by their index; None where a line cannot be read so."""
    # One column more than the header has: whatever stands there is one cell too many. The reader
    # itself looks no further than the last column that is asked for.
    schema: dict[str, pl.DataType] = {str(index): pl.String() for index in range(width + 1)}
    schema |= {str(index): pl.Float64() for index in numbers}
    text = [
        pl.col(str(index)).str.strip_chars().replace("", None)
        for index in dict.fromkeys((*texts, width))
    ]
    number = [pl.col(str(index)) for index in numbers]
    try:
        frame = (
            pl.scan_csv(
                io.BytesIO(data),
                has_header=False,
                schema=schema,
                # Only labels hold letters outside ASCII, and `labels.unify` takes any broken dash.
                encoding="utf8-lossy",
                missing_columns="insert",
                raise_if_empty=False,
            )
            .select([*text, *number])
            .collect()
        )
    except pl.exceptions.PolarsError:
        return None
    surplus = frame.drop_in_place(str(width))
    return frame if surplus.null_count() == len(surplus) else None


def _unreadable(data: bytes, width: int, first_line: int, path: Path) -> TableError:
    """The error that names the line that makes a CSV unreadable."""
    place = _find_line(data, first_line, lambda cells: len(cells) > width)
    if place is None:
        return TableError(
            path,
            "is no readable CSV",
            remedy="save it as CSV again",
            where=f"lines {first_line} to {first_line + data.count(10)}",
        )
    line, cells = place
    return TableError(
        path,
        f"has {len(cells)} cells where the header has {width}",
        remedy="correct or remove the line",
        where=line,
    )


def _refuse_open_quote(data: bytes, first_line: int, path: Path) -> None:
    """Refuse cells of several lines: blocks end at any line, and no flow has such a cell.

    Raises:
        TableError: A line has an odd number of quotes.
    """
    if b'"' not in data:
        return
    for number, line in enumerate(data.split(b"\n"), start=first_line):
        if line.count(b'"') % 2:
            raise TableError(
                path,
                "has a quote that is never closed",
                remedy="correct or remove the line",
                where=f"line {number}",
            )


def _find_line(data: bytes, first_line: int, is_wrong: Callable[[list[str]], bool]) -> Place | None:
    """Place and cells of the first line that `is_wrong`; None: no line is."""
    for number, line in enumerate(data.split(b"\n"), start=first_line):
        try:
            cells = next(csv.reader([_decoded(line).rstrip("\r")]), [])
        except csv.Error:
            return None
        if cells and is_wrong(cells):
            return f"line {number}", cells
    return None


def shown(cell: str) -> str:
    """A cell's text as a message may quote it: short, and nothing that moves a terminal."""
    text = repr(cell)
    return text if len(text) <= _CELL_SHOWN else text[: _CELL_SHOWN - 1] + "…'"
