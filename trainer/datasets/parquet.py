"""Parquet files to blocks of columns."""

from __future__ import annotations

import contextlib
from functools import partial
from typing import TYPE_CHECKING, Final

import polars as pl
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]

from edge_agent.contract.errors import TableError
from trainer.datasets.blocks import Block
from trainer.datasets.csvfile import sha256_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from trainer.datasets.blocks import Place

MAGIC: Final = b"PAR1"

_BLOCK_ROWS: Final = 65_536
_BUFFER_BYTES: Final = 1024 * 1024


class ParquetFile:
    """A Parquet file as a `TableFile`."""

    header_place = "its schema"

    def __init__(self, path: Path) -> None:
        """Open a file and read its schema.

        Raises:
            TableError: It cannot be read.
        """
        self._path = path
        with _arrow(path):
            self.total_bytes = path.stat().st_size
            # Buffered, because otherwise a whole row group's columns are read at once.
            self._file = pq.ParquetFile(path, buffer_size=_BUFFER_BYTES, pre_buffer=False)
        self.cells: list[str] = list(self._file.schema_arrow.names)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def digest(self) -> str:
        """SHA-256 of the stored file."""
        return sha256_of(self._path)

    def blocks(self, texts: Sequence[int], numbers: Sequence[int]) -> Iterator[Block]:
        """Rows from first to last; see `TableFile`."""
        wanted = sorted({*texts, *numbers})
        rows = max(self._file.metadata.num_rows, 1)
        done = 0
        names = [self.cells[index] for index in wanted]
        if len(set(self.cells)) < len(self.cells):
            # Columns are chosen by name, and these are not unique: read all of them.
            wanted, names = list(range(len(self.cells))), self.cells
        batches = self._file.iter_batches(_BLOCK_ROWS, columns=names)
        while True:
            with _arrow(self._path):
                batch = next(batches, None)
            if batch is None:
                return
            frame = pl.DataFrame(
                [
                    _column(batch.column(place), str(index), is_text=index in texts)
                    for place, index in enumerate(wanted)
                ]
            )
            first, done = done + 1, done + len(frame)
            find = partial(_find_row, frame, len(self.cells), first)
            yield Block(frame, find, self.total_bytes * done // rows)


@contextlib.contextmanager
def _arrow(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise TableError(path, "does not exist", remedy="check the path") from error
    except (pa.ArrowException, ValueError, OSError) as error:
        reason = str(error).partition("\n")[0].strip().rstrip(".")
        raise TableError(
            path, f"is a cut or broken Parquet file ({reason})", remedy="copy it again"
        ) from error


def _column(values: pa.Array, name: str, *, is_text: bool) -> pl.Series:
    """A column as `Block.frame` has it."""
    column = pl.Series(name, pl.from_arrow(values))
    if column.dtype.is_temporal() or (column.dtype.is_numeric() and is_text):
        # As a CSV would have it: whoever asked knows the layout's way of writing it.
        return column.cast(pl.String)
    if column.dtype.is_numeric() or column.dtype == pl.Boolean:
        return column.cast(pl.Float64)
    return column.cast(pl.String).str.strip_chars().replace("", None)


def _find_row(
    frame: pl.DataFrame, width: int, first_row: int, is_wrong: Callable[[list[str]], bool]
) -> Place | None:
    """Place and cells of the first row that `is_wrong`; columns that were not read are empty."""
    indices = [int(name) for name in frame.columns]
    for number, values in enumerate(frame.iter_rows(), start=first_row):
        cells = [""] * width
        for index, value in zip(indices, values, strict=True):
            cells[index] = "" if value is None else str(value)
        if is_wrong(cells):
            return f"row {number}", cells
    return None
