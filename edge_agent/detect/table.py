"""A flow CSV in, the same with `score` and `verdict` out: streamed, whole or not at all.

A model that names families adds `family`.

Takes the files as they are published: leading blanks in headers, the repeated column
`Fwd Header Length`, header lines repeated in the middle, empty lines at the end, UTF-8 with or
without a byte-order mark, single cp1252 bytes in labels, gzip. Cells are carried through unchanged.
"""

from __future__ import annotations

import contextlib
import csv
import gzip
import io
import math
import zlib
from collections import Counter
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, Final

import numpy as np

from edge_agent.contract.errors import SchemaMismatch, TableError
from edge_agent.contract.features import PROTOCOL, is_categorical, one_hot
from edge_agent.contract.files import atomic_output
from edge_agent.contract.profiles import PROFILES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from edge_agent.contract.bundle import Bundle
    from edge_agent.detect.detector import Detector

SCORE: Final = "score"
VERDICT: Final = "verdict"
FAMILY: Final = "family"

# Rows held at once: some megabytes, and enough for the interpreter's largest batch.
_CHUNK_ROWS: Final = 2048
# The widest published line has 1,500 bytes; a file without line ends must not fill the memory.
_MAX_LINE_BYTES: Final = 1 << 20
_GZIP_MARK: Final = b"\x1f\x8b"


@dataclass(frozen=True, slots=True)
class ScoreSummary:
    """What `score_table` did.

    Attributes:
        rows: Rows written.
        attacks: Rows at or above the threshold.
        benign: Rows below it.
        invalid: Rows with a number that is not finite: no score.
        repeated_headers: Header lines in the middle, left out.
        empty_lines: Lines without content, left out.
    """

    rows: int
    attacks: int
    benign: int
    invalid: int
    repeated_headers: int
    empty_lines: int


def score_table(
    source: Path,
    detector: Detector,
    destination: Path,
    progress: Callable[[int], None] | None = None,
) -> ScoreSummary:
    """Score every row of a flow CSV of the detector's profile.

    Args:
        source: The CSV; may be gzipped.
        detector: Scores it.
        destination: Gets the source's columns, `score` (6 decimals; empty for invalid rows) and
            `verdict` (`attack`, `benign` or `invalid`), and for a model with families `family`
            (of attacks, may be `unknown`; else empty); gzipped when it ends in ".gz".
        progress: Called now and then with the number of rows done.

    Raises:
        TableError: The source cannot be read, or a cell is no number; nothing is written.
        SchemaMismatch: It lacks columns the model takes.
        OutputError: The destination cannot be written.
    """
    counts: Counter[str] = Counter()
    with contextlib.closing(_Reader(source, detector.bundle)) as reader, _csv(destination) as out:
        writer = csv.writer(out, lineterminator="\n")
        added = added_columns(detector.bundle)
        writer.writerow([*reader.header, *added])
        for rows, raw in reader.chunks():
            judged = detector.judge(raw)
            facts = zip(
                rows,
                judged.scores.tolist(),
                detector.is_attack(judged.scores).tolist(),
                judged.names(),
                strict=True,
            )
            for row, score, attack, family in facts:
                invalid = math.isnan(score)
                verdict = "invalid" if invalid else "attack" if attack else "benign"
                cells = ["" if invalid else f"{score:.6f}", verdict, family if attack else ""]
                writer.writerow([*row, *cells[: len(added)]])
                counts[verdict] += 1
            if progress is not None:
                progress(counts.total())
    return ScoreSummary(
        rows=counts.total(),
        attacks=counts["attack"],
        benign=counts["benign"],
        invalid=counts["invalid"],
        repeated_headers=reader.repeated_headers,
        empty_lines=reader.empty_lines,
    )


def added_columns(bundle: Bundle) -> tuple[str, ...]:
    """What `score_table` adds to a table for this model."""
    return (SCORE, VERDICT, FAMILY) if bundle.families else (SCORE, VERDICT)


class _Reader:
    """Rows of a flow CSV and the columns a model wants of them."""

    def __init__(self, path: Path, bundle: Bundle) -> None:
        self._path = path
        self._bundle = bundle
        self._stream = self._open()
        self._rows = csv.reader(self._lines())
        self.repeated_headers = 0
        self.empty_lines = 0
        try:
            self.header = self._next_row() or []
            self._names = _unique(self.header)
            self._columns = self._find_columns()
        except BaseException:
            self._stream.close()
            raise

    def close(self) -> None:
        """Close the file."""
        self._stream.close()

    def chunks(self) -> Iterator[tuple[list[list[str]], NDArray[np.float64]]]:
        """Rows as they stand, with their model columns, shape (n_rows, n_features)."""
        rows: list[list[str]] = []
        line_numbers: list[int] = []
        while (row := self._next_row()) is not None:
            if not any(row) or not any(cell.strip() for cell in row):
                self.empty_lines += 1
                continue
            if len(row) != len(self.header):
                raise self._error(
                    f"has {len(row)} cells where the header has {len(self.header)}",
                    self._rows.line_num,
                )
            if self._is_header(row):
                self.repeated_headers += 1
                continue
            rows.append(row)
            line_numbers.append(self._rows.line_num)
            if len(rows) == _CHUNK_ROWS:
                yield rows, self._numbers(rows, line_numbers)
                rows, line_numbers = [], []
        if rows:
            yield rows, self._numbers(rows, line_numbers)

    def _open(self) -> IO[bytes] | gzip.GzipFile:
        try:
            with self._path.open("rb") as stream:
                zipped = stream.read(2) == _GZIP_MARK
            return gzip.open(self._path) if zipped else self._path.open("rb")
        except OSError as error:
            raise TableError(
                self._path, f"cannot be read ({error.strerror})", remedy="check the path"
            ) from error

    def _lines(self) -> Iterator[str]:
        """Lines as text. Each by itself: one odd byte must not change the whole file's reading."""
        number = 0
        try:
            while line := self._stream.readline(_MAX_LINE_BYTES):
                number += 1
                if len(line) == _MAX_LINE_BYTES:
                    raise self._error("has a line longer than 1 MiB: is no CSV file", number)
                if number == 1:
                    line = line.removeprefix(b"\xef\xbb\xbf")
                try:
                    yield line.decode()
                except UnicodeDecodeError:
                    yield line.decode("cp1252", errors="replace")
        except (OSError, EOFError, zlib.error) as error:
            raise TableError(
                self._path,
                f"cannot be read on ({error})",
                where=f"after line {number:,}",
                remedy="copy it again",
            ) from error

    def _next_row(self) -> list[str] | None:
        try:
            return next(self._rows, None)
        except csv.Error as error:
            raise self._error(f"is no CSV line ({error})", self._rows.line_num) from error

    def _find_columns(self) -> list[int]:
        sources = [
            PROTOCOL if is_categorical(name) else name for name in self._bundle.feature_names
        ]
        position = {name: index for index, name in reversed(list(enumerate(self._names)))}
        missing = [name for name in dict.fromkeys(sources) if _plain(name) not in position]
        if missing:
            raise self._mismatch(missing)
        taken = [name for name in added_columns(self._bundle) if name in position]
        if taken:
            raise TableError(
                self._path,
                f"has a column {taken[0]!r} already",
                where="line 1",
                remedy="take it out, or score the file it was made from",
            )
        return [position[_plain(name)] for name in sources]

    def _mismatch(self, missing: Sequence[str]) -> SchemaMismatch | TableError:
        if not any(self._names):
            return TableError(
                self._path, "is empty", where="line 1", remedy="give a CSV file with a header"
            )
        mine = self._bundle.profile.name
        seems = _likely_profile(self._names)
        named = ", ".join(missing[:5]) + (f" and {len(missing) - 5} more" if missing[5:] else "")
        lacks = f"lacks {len(missing)} of the model's columns ({named})"
        if seems is None:
            problem, remedy = lacks, "give a flow CSV with its header line"
        elif seems == mine:
            problem = lacks
            remedy = f"make it with: edge-agent extract CAPTURE --profile {mine}"
        else:
            problem = f"has the columns of profile {seems}, the model is for {mine}; {lacks}"
            remedy = f"extract with --profile {mine}, or use a model for {seems}"
        return SchemaMismatch(
            self._path,
            problem,
            remedy=remedy,
            expected=self._bundle.feature_names,
            found=self.header,
        )

    def _is_header(self, row: list[str]) -> bool:
        """Whether a line repeats the header: its first model column holds its own name."""
        column = self._columns[0]
        return _plain(row[column]) == _plain(self.header[column])

    def _numbers(self, rows: list[list[str]], line_numbers: list[int]) -> NDArray[np.float64]:
        """The model's columns; an empty cell is how some of the published files write NaN."""
        numbers = np.empty((len(rows), len(self._columns)))
        for position, (row, line_number) in enumerate(zip(rows, line_numbers, strict=True)):
            cells = [row[column] for column in self._columns]
            try:
                numbers[position] = [float(cell) for cell in cells]
            except ValueError:
                numbers[position] = self._with_gaps(cells, line_number)
        for place, name in enumerate(self._bundle.feature_names):
            if is_categorical(name):
                numbers[:, place] = one_hot(numbers[:, place], (name,))[:, 0]
        return numbers

    def _with_gaps(self, cells: list[str], line_number: int) -> list[float]:
        numbers = []
        for cell, column in zip(cells, self._columns, strict=True):
            if not _is_number(cell) and cell.strip():
                name = self.header[column].strip()
                raise self._error(f"column {name!r} holds {cell[:40]!r}, not a number", line_number)
            numbers.append(float(cell) if cell.strip() else math.nan)
        return numbers

    def _error(self, problem: str, line_number: int) -> TableError:
        return TableError(
            self._path,
            problem,
            where=f"line {line_number:,}",
            remedy="repair or take out that line",
        )


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _plain(name: str) -> str:
    return " ".join(name.split()).casefold()


def _unique(header: Iterable[str]) -> list[str]:
    """Plain names; the second of a name gets ".1", as published for `Fwd Header Length`."""
    seen: Counter[str] = Counter()
    names = []
    for name in map(_plain, header):
        names.append(f"{name}.{seen[name]}" if seen[name] else name)
        seen[name] += 1
    return names


def _likely_profile(names: Sequence[str]) -> str | None:
    """The profile most of whose columns a file has; None where that is not even half of them.

    `gateway` has all columns of `improved` and more: between profiles with as many columns found,
    the smaller one is meant.
    """
    found = set(names)
    counts = {
        profile.name: (len(found.intersection(map(_plain, profile.columns))), len(profile.columns))
        for profile in PROFILES.values()
    }
    best = max(counts, key=lambda name: (counts[name][0], -counts[name][1]))
    return best if 2 * counts[best][0] > counts[best][1] else None


@contextlib.contextmanager
def _csv(path: Path) -> Iterator[IO[str]]:
    """A text file that appears when the block ends well."""
    with contextlib.ExitStack() as stack:
        stream: Any = stack.enter_context(atomic_output(path, "wb"))
        if path.suffix == ".gz":
            # No name and no date in it: the same rows give the same bytes.
            stream = gzip.GzipFile(filename="", fileobj=stream, mode="wb", mtime=0)
        yield stack.enter_context(io.TextIOWrapper(stream, encoding="utf-8", newline=""))
