"""What every source of flows is turned into."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

NO_TIME = np.iinfo(np.int64).min
"""`FlowTable.start_us` of rows whose layout has no time."""


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
    """Labelled flows of one profile.

    Attributes:
        profile: Name of the flow profile.
        layout: Name of the layout, one for all files.
        names: Feature columns in model order.
        raw: float64, shape (n_flows, n_features).
        label: str, shape (n_flows,), unified.
        file: int32, shape (n_flows,), index into `files`.
        start_us: int64, shape (n_flows,), µs since 1970, or `NO_TIME`.
        connection: int64, shape (n_flows,): equal for rows of one 5-tuple in one file, whichever
            way round; -1 where the layout has no addresses.
        files: Where the rows came from.
        dropped: Rule → rows dropped by it so far.
        families: Label → family.
    """

    profile: str
    layout: str
    names: tuple[str, ...]
    raw: NDArray[np.float64]
    label: NDArray[np.str_]
    file: NDArray[np.int32]
    start_us: NDArray[np.int64]
    connection: NDArray[np.int64]
    files: tuple[SourceFile, ...]
    dropped: Counter[str] = field(default_factory=Counter)
    families: dict[str, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.label)

    def keep(self, mask: NDArray[np.bool_], rule: str) -> FlowTable:
        """The rows where `mask` holds; the others are counted under `rule`."""
        dropped = self.dropped.copy()
        dropped[rule] += int((~mask).sum())
        return self._with_rows(mask, dropped)

    def _with_rows(self, index: NDArray[Any], dropped: Counter[str]) -> FlowTable:
        return FlowTable(
            profile=self.profile,
            layout=self.layout,
            names=self.names,
            raw=self.raw[index],
            label=self.label[index],
            file=self.file[index],
            start_us=self.start_us[index],
            connection=self.connection[index],
            files=self.files,
            dropped=dropped,
            families=self.families,
        )


def join(tables: list[FlowTable]) -> FlowTable:
    """Stack tables of the same layout and columns, in order."""
    first = tables[0]
    dropped: Counter[str] = Counter()
    families: dict[str, str] = {}
    file_offset = connection_offset = 0
    files, connections = [], []
    for table in tables:
        dropped.update(table.dropped)
        families.update(table.families)
        files.append(table.file + file_offset)
        file_offset += len(table.files)
        known = table.connection >= 0
        connections.append(np.where(known, table.connection + connection_offset, -1))
        connection_offset += int(table.connection.max(initial=-1)) + 1
    return FlowTable(
        profile=first.profile,
        layout=first.layout,
        names=first.names,
        raw=np.concatenate([table.raw for table in tables]),
        label=np.concatenate([table.label for table in tables]),
        file=np.concatenate(files).astype(np.int32),
        start_us=np.concatenate([table.start_us for table in tables]),
        connection=np.concatenate(connections),
        files=tuple(file for table in tables for file in table.files),
        dropped=dropped,
        families=families,
    )
