"""What a table's file is read as: a header, and blocks of rows behind it, in order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import polars as pl

    Place = tuple[str, list[str]]
    """Where a row is ("line 7"), and its cells as text."""


@dataclass(frozen=True, slots=True)
class Block:
    """Rows that were read together.

    Attributes:
        frame: Columns named by their index in the file. A column that was asked for as numbers is
            Float64, or text where something in it may be no number; empty cells are null.
        find: The first row of the block whose cells a predicate holds for; None: no row. Slow, for
            the sentence that names the place.
        done_bytes: How much of the stored file was read so far.
    """

    frame: pl.DataFrame
    find: Callable[[Callable[[list[str]], bool]], Place | None]
    done_bytes: int


class TableFile(Protocol):
    """A table's file, opened."""

    @property
    def cells(self) -> list[str]:
        """The header."""

    @property
    def header_place(self) -> str:
        """Where the header is, for messages."""

    @property
    def total_bytes(self) -> int:
        """Size of the stored file; 0 where it has none."""

    def blocks(self, texts: Sequence[int], numbers: Sequence[int]) -> Iterator[Block]:
        """Rows from first to last.

        Args:
            texts: Indices of columns to read as text.
            numbers: Indices of columns to read as numbers.

        Raises:
            TableError: The file or a line cannot be understood.
        """

    def digest(self) -> str:
        """SHA-256 of the stored file, once all blocks were read."""
