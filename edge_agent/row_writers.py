"""Flow rows into files: CSV, plain or gzipped, or Parquet, under the published names.

Rows are gathered by the column and written some ten thousand at a time: CSV by polars where it is
installed. A gateway need not have it: CSV then takes Python's own csv module, some ten times
slower, and says the same numbers. Parquet is written by pyarrow, a row group at a time.

What a formula makes of counts alone is an integer and is written as one; so a column has the same
type in every file, whatever values it happens to hold.
"""

from __future__ import annotations

import csv
import enum
import gzip
import importlib
import io
import math
import signal
from abc import ABC, abstractmethod
from typing import IO, TYPE_CHECKING, Any, Final

import numpy as np

from edge_agent.contract.errors import OutputError
from edge_agent.flow.rows import IP_VERSION, ROW, ROW_COLUMNS, FlowRows

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from edge_agent.contract.profiles import Profile

    Column = list[str] | NDArray[np.int64] | NDArray[np.float64]

# Rows held and written at once. Of text, what stays in a processor's cache is fastest; a row group
# of Parquet should have some ten MB.
_TEXT_ROWS: Final = 16_384
_GROUP_ROWS: Final = 65_536
# A fifth of the time that gzip's default takes, for a sixth more bytes.
_GZIP_LEVEL: Final = 1

# As the published files spell them. Less than all is nothing that a formula yields.
_NOT_FINITE: Final = {"nan": "NaN", "inf": "Infinity"}


class Form(enum.Enum):
    """What a table is written as; the value is the ending of a file's name."""

    CSV = ".csv"
    CSV_GZIP = ".csv.gz"
    PARQUET = ".parquet"


def form_of(output: Path) -> Form:
    """The form that an output's name asks for; what says nothing else is CSV."""
    if output.suffix == ".gz":
        return Form.CSV_GZIP
    return Form.PARQUET if output.suffix == ".parquet" else Form.CSV


def header(profile: Profile) -> list[str]:
    """Column names of an extracted table; what the row's own columns hold is not repeated."""
    own = (name for name in profile.columns if name not in ROW_COLUMNS)
    return [*ROW_COLUMNS, *own, IP_VERSION]


def installed(name: str) -> Any | None:
    """A module, or None where it is not installed. Imported only when rows are written."""
    try:
        module = importlib.import_module(name)
    except ImportError:
        return None
    # polars takes Ctrl-C over in a way that lets a read go on, which may wait for packets for ever.
    signal.siginterrupt(signal.SIGINT, True)
    return module


def check_form(form: Form) -> None:
    """Refuse what cannot be written here, before anything is read.

    Raises:
        OutputError: Parquet needs pyarrow, and it is not installed.
    """
    if form is Form.PARQUET and installed("pyarrow.parquet") is None:
        raise OutputError(
            "Writing Parquet needs pyarrow: pip install 'edge-ids[extract]', or write to a name"
            " that ends in .csv or .csv.gz."
        )


class RowWriter(ABC):
    """Takes rows; writes them by the table. `open_writer` chooses the class.

    Args:
        profile: Whose rows they are.
        stream: Where the table goes.
        buffer_rows: Rows that are written at once.

    Attributes:
        rows: Rows taken.
    """

    def __init__(self, profile: Profile, stream: IO[bytes], buffer_rows: int) -> None:
        self.rows = 0
        self._stream = stream
        self._header = header(profile)
        self._buffer = _Buffer(profile, buffer_rows)

    def add(self, rows: FlowRows) -> None:
        """Take rows; they are written when enough have come together."""
        self.rows += len(rows)
        for full in self._buffer.take(rows):
            self._write(full)

    def finish(self) -> None:
        """Write what is left. The stream stays open."""
        self._write(self._buffer.columns())

    @abstractmethod
    def _write(self, columns: list[Column]) -> None:
        """Write some rows; the columns are valid until it returns."""


def open_writer(
    form: Form, profile: Profile, stream: IO[bytes], *, part: bool = False
) -> RowWriter:
    """Open a writer.

    Args:
        form: What is written.
        profile: Whose rows.
        stream: Where the table goes.
        part: For `Joined`: CSV without names, or rows that are not yet packed as Parquet.

    Raises:
        OutputError: The form needs a module that is not installed.
    """
    check_form(form)
    if form is Form.PARQUET:
        return _ArrowWriter(profile, stream, packed=not part)
    kind = _CsvWriter if installed("polars") else _SlowCsvWriter
    return kind(profile, stream, compress=form is Form.CSV_GZIP, with_names=not part)


class Joined:
    """A table made of parts that `open_writer` wrote, as if they had been written in one go.

    Args:
        form: What the parts are.
        profile: Whose rows.
        stream: Where the table goes.
    """

    def __init__(self, form: Form, profile: Profile, stream: IO[bytes]) -> None:
        self._stream = stream
        self._arrow = _ArrowWriter(profile, stream, packed=True) if form is Form.PARQUET else None
        if self._arrow is None:
            # An empty part that has the names. Members of gzip may stand one behind the other.
            _SlowCsvWriter(
                profile, stream, compress=form is Form.CSV_GZIP, with_names=True
            ).finish()

    def append(self, part: IO[bytes]) -> None:
        """Take over a whole part."""
        if self._arrow is not None:
            self._arrow.append(part)
            return
        while data := part.read(1024 * 1024):
            self._stream.write(data)

    def finish(self) -> None:
        """Write the end. The stream stays open."""
        if self._arrow is not None:
            self._arrow.finish()


class _Buffer:
    """Rows gathered by the column."""

    def __init__(self, profile: Profile, rows: int) -> None:
        self._rows = rows
        integral = profile.integral_columns
        kept = [(i, name) for i, name in enumerate(profile.columns) if name not in ROW_COLUMNS]
        self._is_integral = [name in integral for _, name in kept]
        self._integral = [i for i, name in kept if name in integral]
        self._fractional = [i for i, name in kept if name not in integral]
        self._about: NDArray[Any] = np.empty(self._rows, ROW)
        self._integers = np.empty((len(self._integral), self._rows), np.int64)
        self._floats = np.empty((len(self._fractional), self._rows))
        self._length = 0

    def take(self, rows: FlowRows) -> Iterator[list[Column]]:
        """Copy rows in; gives what is there whenever it is full. To be exhausted."""
        begin = 0
        while begin < len(rows):
            count = min(len(rows) - begin, self._rows - self._length)
            here = slice(self._length, self._length + count)
            values = rows.values[begin : begin + count]
            self._about[here] = rows.about[begin : begin + count]
            self._integers[:, here] = values[:, self._integral].T
            self._floats[:, here] = values[:, self._fractional].T
            self._length += count
            begin += count
            if self._length == self._rows:
                yield self.columns()

    def columns(self) -> list[Column]:
        """The rows, in the order of `header`, and none are left. Valid until more are taken."""
        length, self._length = self._length, 0
        about = self._about[:length]
        rows = FlowRows(about, np.empty((length, 0)))
        integers, floats = iter(self._integers), iter(self._floats)
        own: list[Column] = [
            next(integers)[:length] if whole else next(floats)[:length]
            for whole in self._is_integral
        ]
        return [
            rows.sources(),
            about["source_port"].astype(np.int64),
            rows.destinations(),
            about["destination_port"].astype(np.int64),
            about["protocol"].astype(np.int64),
            about["start_us"].astype(np.int64),
            *own,
            about["ip_version"].astype(np.int64),
        ]


class _TextWriter(RowWriter):
    """CSV, however it is spelled."""

    def __init__(
        self, profile: Profile, stream: IO[bytes], *, compress: bool, with_names: bool
    ) -> None:
        super().__init__(profile, stream, _TEXT_ROWS)
        self._gzip: gzip.GzipFile | None = None
        if compress:
            # Neither name nor time: the same rows are the same bytes.
            self._gzip = gzip.GzipFile("", "wb", _GZIP_LEVEL, stream, mtime=0)
        if with_names:
            self._put(",".join(self._header).encode() + b"\n")

    def finish(self) -> None:
        super().finish()
        if self._gzip is not None:
            self._gzip.close()

    def _put(self, text: bytes | memoryview) -> None:
        if self._gzip is not None:
            self._gzip.write(text)
        else:
            self._stream.write(text)


class _CsvWriter(_TextWriter):
    """CSV by polars."""

    def __init__(
        self, profile: Profile, stream: IO[bytes], *, compress: bool, with_names: bool
    ) -> None:
        super().__init__(profile, stream, compress=compress, with_names=with_names)
        # Not straight into the stream: what goes wrong there would come back as polars' own error.
        # Kept, because memory that is taken anew for every table costs as much as the writing.
        self._text = io.BytesIO()
        self._polars = installed("polars")

    def _write(self, columns: list[Column]) -> None:
        self._text.seek(0)
        spelled = [_spelled(self._polars, column) for column in columns]
        _frame(self._polars, self._header, spelled).write_csv(self._text, include_header=False)
        self._put(self._text.getbuffer()[: self._text.tell()])


class _SlowCsvWriter(_TextWriter):
    """CSV by Python's own module; `repr` of a float keeps every digit, as polars does."""

    def _write(self, columns: list[Column]) -> None:
        text = io.StringIO()
        cells = (
            column if isinstance(column, list) else _spelled_slowly(column.tolist())
            for column in columns
        )
        csv.writer(text, lineterminator="\n").writerows(zip(*cells, strict=True))
        self._put(text.getvalue().encode())


class _ArrowWriter(RowWriter):
    """Parquet by pyarrow; or, for parts, the same rows as they lie in memory."""

    def __init__(self, profile: Profile, stream: IO[bytes], *, packed: bool) -> None:
        super().__init__(profile, stream, _GROUP_ROWS)
        self._arrow = importlib.import_module("pyarrow")
        integral = profile.integral_columns
        texts, whole = ("Src IP", "Dst IP"), {*ROW_COLUMNS, IP_VERSION, *integral}
        arrow = self._arrow
        self._schema = arrow.schema(
            (
                name,
                arrow.string()
                if name in texts
                else arrow.int64()
                if name in whole
                else arrow.float64(),
            )
            for name in self._header
        )
        if packed:
            parquet = importlib.import_module("pyarrow.parquet")
            self._file = parquet.ParquetWriter(stream, self._schema, compression="zstd")
        else:
            self._file = arrow.ipc.new_stream(stream, self._schema)

    def append(self, part: IO[bytes]) -> None:
        """Take over the rows of a part."""
        for batch in self._arrow.ipc.open_stream(part):
            self._file.write_batch(batch)

    def finish(self) -> None:
        super().finish()
        self._file.close()

    def _write(self, columns: list[Column]) -> None:
        self._file.write_table(self._arrow.table(columns, schema=self._schema))


def _frame(polars: Any, names: list[str], columns: list[Any]) -> Any:
    # A column of no rows has its type from nothing else.
    types = (polars.String if isinstance(column, list) else None for column in columns)
    return polars.DataFrame(
        [polars.Series(*column) for column in zip(names, columns, types, strict=True)]
    )


def _spelled(polars: Any, column: Column) -> Any:
    """A column as polars shall write it, which would write inf."""
    if isinstance(column, list) or column.dtype != np.float64 or not np.isinf(column).any():
        return column
    return polars.Series(column).cast(polars.String).replace("inf", _NOT_FINITE["inf"])


def _spelled_slowly(values: list[Any]) -> list[Any]:
    """The same for Python's module, which would write nan and inf."""
    return [value if math.isfinite(value) else _NOT_FINITE[str(value)] for value in values]
