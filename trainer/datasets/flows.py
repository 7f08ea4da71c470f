"""What every source of flows is turned into."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from trainer.datasets.labels import BENIGN, family_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

NO_TIME = np.iinfo(np.int64).min
"""`FlowTable.start_us` of rows whose layout has no time."""

NO_ENDPOINT = -1
"""`FlowTable.connection` and `FlowTable.host` of rows whose layout has no addresses."""

MAX_LABELS = 1000
"""More classes than this are no classes: the label column is another one."""


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One file that rows came from.

    Attributes:
        path: As the user named it.
        sha256: Digest of its bytes.
        rows: Data lines or flows in it, before anything was dropped.
    """

    path: Path
    sha256: str
    rows: int


@dataclass(frozen=True, slots=True)
class FlowTable:
    """Labelled flows of one profile, cleaned.

    Attributes:
        profile: Name of the flow profile.
        layout: Name of the layout, one for all files.
        names: Feature columns in model order.
        raw: float32, shape (n_flows, n_features): finite, with rates recomputed.
        labels: Unified spellings; the first is BENIGN.
        label: int16, shape (n_flows,): index into `labels`; 0 is BENIGN, anything else an attack.
        families: Label → family: "benign", or one of `contract.alerts.FAMILIES`.
        file: int16, shape (n_flows,): index into `files`.
        start_us: int64, shape (n_flows,): µs since 1970, or `NO_TIME`.
        connection: int64, shape (n_flows,): equal for rows of one 5-tuple in one file, whichever
            way round; `NO_ENDPOINT` where the layout has no addresses.
        host: int64, shape (n_flows,): equal for rows of one source address in any file;
            `NO_ENDPOINT` where the layout has no addresses.
        files: Where the rows came from.
        dropped: Rule → rows dropped by it so far.
        weight: float32, shape (n_flows,): how much a row counts in training; None: all the same.
        changed: What was repaired or decided → rows kept with it.
    """

    profile: str
    layout: str
    names: tuple[str, ...]
    raw: NDArray[np.float32]
    labels: tuple[str, ...]
    label: NDArray[np.int16]
    families: dict[str, str]
    file: NDArray[np.int16]
    start_us: NDArray[np.int64]
    connection: NDArray[np.int64]
    host: NDArray[np.int64]
    files: tuple[SourceFile, ...]
    dropped: Counter[str] = field(default_factory=Counter)
    weight: NDArray[np.float32] | None = None
    changed: Counter[str] = field(default_factory=Counter)

    def __len__(self) -> int:
        return len(self.label)

    def keep(self, mask: NDArray[np.bool_], rule: str) -> FlowTable:
        """The rows where `mask` holds; the others are counted under `rule`."""
        dropped = self.dropped.copy()
        dropped[rule] += int((~mask).sum())
        return replace(self.take(mask), dropped=dropped)

    def take(self, index: NDArray[Any]) -> FlowTable:
        """The rows at some indices, or where a mask holds, in that order."""
        return replace(
            self,
            raw=self.raw[index],
            label=self.label[index],
            file=self.file[index],
            start_us=self.start_us[index],
            connection=self.connection[index],
            host=self.host[index],
            weight=None if self.weight is None else self.weight[index],
        )


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some cleaned rows of one file; the attributes are those of `FlowTable`."""

    raw: NDArray[np.float32]
    labels: tuple[str, ...]
    label: NDArray[np.int16]
    start_us: NDArray[np.int64]
    connection: NDArray[np.int64]
    host: NDArray[np.int64]


class _Column:
    """An array that grows at its end, in place where the system can move pages.

    A list of chunks would need its rows twice while they are joined, and an array that doubles up
    to three times. `realloc` of so large a block moves no byte on Linux.
    """

    def __init__(self, dtype: type[np.generic], *shape: int) -> None:
        self._array: NDArray[Any] = np.empty((0, *shape), dtype=dtype)
        self._length = 0

    def add(self, rows: NDArray[Any]) -> None:
        end = self._length + len(rows)
        if end > len(self._array):
            # A sixteenth more than needed: many small files do not move all rows each time.
            self._resize(end + end // 16)
        self._array[self._length : end] = rows
        self._length = end

    def since(self, first: int) -> NDArray[Any]:
        """The rows from `first` on, to be used before the next row is added."""
        return self._array[first : self._length]

    def finish(self) -> NDArray[Any]:
        self._resize(self._length)
        return self._array

    def _resize(self, length: int) -> None:
        # The check would count the frames of a debugger as owners; nobody else has the array.
        self._array.resize((length, *self._array.shape[1:]), refcheck=False)

    def __len__(self) -> int:
        return self._length


class TableBuilder:
    """Gathers cleaned rows, file by file, without holding them twice.

    Attributes:
        names: Feature columns of the rows.
    """

    def __init__(self, profile: str, layout: str, names: Sequence[str]) -> None:
        """Args as the attributes of `FlowTable`."""
        self.names = tuple(names)
        self._profile = profile
        self._layout = layout
        self._raw = _Column(np.float32, len(self.names))
        self._label = _Column(np.int16)
        self._file = _Column(np.int16)
        self._start_us = _Column(np.int64)
        self._connection = _Column(np.int64)
        self._host = _Column(np.int64)
        self._weight = _Column(np.float32)
        self._is_weighted = False
        self._codes: dict[str, int] = {BENIGN: 0}
        self._families: dict[str, str] = {}
        self._files: list[SourceFile] = []
        self._dropped: Counter[str] = Counter()
        self._changed: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._label)

    @property
    def rows_read(self) -> int:
        """Rows of the files so far, before anything was dropped."""
        return sum(file.rows for file in self._files)

    def add(
        self,
        chunk: Chunk,
        dropped: Mapping[str, int] | None = None,
        changed: Mapping[str, int] | None = None,
    ) -> None:
        """Add rows of the file that is open."""
        self._add(chunk, np.zeros(len(chunk.label), dtype=np.int16))
        self._weight.add(np.ones(len(chunk.label), dtype=np.float32))
        self.count(dropped or {})
        self._changed.update(changed or {})

    def count(self, dropped: Mapping[str, int]) -> None:
        """Count rows that were dropped before they came here."""
        self._dropped.update(dropped)

    def end_file(self, file: SourceFile) -> None:
        """Say which file the rows since the last end were of."""
        self._files.append(file)

    def times_since(self, first: int) -> NDArray[np.int64]:
        """`start_us` of the rows from `first` on, to be corrected in place."""
        return self._start_us.since(first)

    def append(self, table: FlowTable) -> None:
        """Add all rows and files of a table of the same layout and columns."""
        self._add(
            Chunk(
                table.raw, table.labels, table.label, table.start_us, table.connection, table.host
            ),
            table.file,
        )
        weight = table.weight
        self._is_weighted = self._is_weighted or weight is not None
        self._weight.add(np.ones(len(table), dtype=np.float32) if weight is None else weight)
        self._files += table.files
        self._families.update(table.families)
        self._dropped.update(table.dropped)
        self._changed.update(table.changed)

    def build(self, families: Mapping[str, str] | None = None) -> FlowTable:
        """The table; the builder is of no use afterwards.

        Args:
            families: Of labels that are of no published set.
        """
        labels = tuple(self._codes)
        self._families.update(families or {})
        return FlowTable(
            profile=self._profile,
            layout=self._layout,
            names=self.names,
            raw=self._raw.finish(),
            labels=labels,
            label=self._label.finish(),
            families={name: self._families.get(name) or family_of(name) for name in labels},
            file=self._file.finish(),
            start_us=self._start_us.finish(),
            connection=self._connection.finish(),
            host=self._host.finish(),
            files=tuple(self._files),
            dropped=self._dropped,
            weight=self._weight.finish() if self._is_weighted else None,
            changed=self._changed,
        )

    def _add(self, chunk: Chunk, file: NDArray[np.int16]) -> None:
        codes = [self._codes.setdefault(name, len(self._codes)) for name in chunk.labels]
        self._raw.add(chunk.raw)
        self._label.add(np.array(codes, dtype=np.int16)[chunk.label])
        self._file.add(file + np.int16(len(self._files)))
        self._start_us.add(chunk.start_us)
        self._connection.add(_of_file(chunk.connection, len(self._files)))
        self._host.add(chunk.host)


def join(tables: Sequence[FlowTable]) -> FlowTable:
    """Stack tables of the same layout and columns, in order; at least one."""
    first = tables[0]
    builder = TableBuilder(first.profile, first.layout, first.names)
    for table in tables:
        builder.append(table)
    return builder.build()


def address_ids(addresses: Sequence[str]) -> NDArray[np.int64]:
    """An id for each address's text, shape (n,): not negative, the same in every file and run."""
    ids: dict[str, int] = {}
    for address in addresses:
        if address not in ids:
            digest = hashlib.blake2b(address.encode(), digest_size=8).digest()
            ids[address] = int.from_bytes(digest, "little") >> 1
    return np.array([ids[address] for address in addresses], dtype=np.int64)


def _of_file(connection: NDArray[np.int64], file: int) -> NDArray[np.int64]:
    """Make connections of one file differ from those of any other, by splitmix64's last steps."""
    offset = (file + 1) * 0x9E3779B97F4A7C15 % 2**64
    mixed = connection.astype(np.uint64) + np.uint64(offset)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed = (mixed ^ (mixed >> np.uint64(31))) >> np.uint64(1)
    return np.where(connection < 0, connection, mixed.astype(np.int64))
