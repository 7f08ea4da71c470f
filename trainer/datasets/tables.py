"""Flow tables to cleaned rows, block by block."""

from __future__ import annotations

import contextlib
from collections import Counter
from typing import TYPE_CHECKING, Final, NoReturn

import numpy as np
import polars as pl

from edge_agent.contract.errors import TableError
from edge_agent.flow.rows import IP_VERSION
from trainer.datasets import cleaning, clocks, labels
from trainer.datasets.cleaning import CleaningSettings, clean_chunk, settle_attempted
from trainer.datasets.csvfile import CsvFile, reading, shown
from trainer.datasets.fingerprint import Fingerprint, columns_of
from trainer.datasets.flows import (
    MAX_LABELS,
    NO_ENDPOINT,
    NO_TIME,
    Chunk,
    FlowTable,
    SourceFile,
    TableBuilder,
    address_ids,
)
from trainer.datasets.headers import Header, recognise
from trainer.datasets.layouts import LABEL
from trainer.datasets.parquet import MAGIC as PARQUET_MAGIC
from trainer.datasets.parquet import ParquetFile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from trainer.datasets.blocks import Block, TableFile
    from trainer.datasets.fingerprint import Build

    Progress = Callable[[int, int, int], None]
    """Told the bytes read so far, the bytes in all (both as stored), and the rows read."""

PROTOCOL: Final = "Protocol"
ONE_HOT: Final = {f"{PROTOCOL}={number}": number for number in (6, 17)}
"""Feature columns made of the protocol, for models that take it as categories: TCP and UDP."""


@contextlib.contextmanager
def opened(path: Path) -> Iterator[TableFile]:
    """Open a table of any form, by its first bytes.

    Raises:
        TableError: It cannot be read.
    """
    with reading(path), path.open("rb") as stream:
        magic = stream.read(len(PARQUET_MAGIC))
    file = ParquetFile(path) if magic == PARQUET_MAGIC else CsvFile(path)
    with contextlib.closing(file):
        yield file


def sniff(path: Path) -> Header:
    """The header of a flow table, understood.

    Raises:
        TableError: As for `opened` and `recognise`.
    """
    with opened(path) as file:
        return recognise(file.cells, path, file.header_place)


def read_table(
    path: Path, names: Sequence[str], settings: CleaningSettings | None = None
) -> FlowTable:
    """Read and clean one flow table; see `read_into`."""
    layout = sniff(path).layout
    builder = TableBuilder(layout.profile, layout.name, names)
    read_into(builder, path, settings or CleaningSettings(), lambda *_: None)
    return builder.build()


def read_into(
    builder: TableBuilder,
    path: Path,
    settings: CleaningSettings,
    progress: Progress,
    other: Path | None = None,
) -> Build | None:
    """Read one flow table, clean it, and add its rows to others of its layout.

    Args:
        builder: Takes the rows; says which feature columns are wanted.
        path: The file.
        settings: Of cleaning.
        progress: Called after each block.
        other: A file read before whose rows were of the build that its layout says, to be named if
            this one's are not.

    Returns:
        The build of the tool that wrote the file, where its rows tell.

    Raises:
        TableError: The file, a line or a cell cannot be understood, or another build wrote it than
            its layout says.
    """
    with opened(path) as file:
        header = recognise(file.cells, path, file.header_place)
        reader = _Reader(path, header, builder.names)
        reader.check_names(file.header_place)
        fingerprint = Fingerprint(header.layout)
        first, rows, labelled = len(builder), 0, 0
        for block in file.blocks(reader.texts, reader.numbers):
            flows, dropped = reader.flows(block)
            rows += len(block.frame)
            labelled += len(flows)
            builder.count(dropped)
            if len(flows):
                fingerprint.add(reader.evidence(flows))
                fingerprint.check(path, other)
                builder.add(*reader.chunk(flows, block, settings))
            progress(block.done_bytes, file.total_bytes, rows)
        if not labelled:
            raise TableError(
                path,
                f"holds no labelled flow ({rows:,} rows)",
                remedy="label its rows, or train on the capture itself with --labels truth.json",
            )
        times = builder.times_since(first)
        times[:] = clocks.settle(times, header.layout.clock)
        builder.end_file(SourceFile(path, file.digest(), rows))
    return fingerprint.build


class _Reader:
    """Blocks of one file to chunks."""

    def __init__(self, path: Path, header: Header, names: Sequence[str]) -> None:
        """Find out which columns are needed."""
        self._path = path
        self._header = header
        self._names = tuple(names)
        self._evidence = columns_of(header.layout.profile)
        position = header.position
        features = (*names, *self._evidence.values(), PROTOCOL)
        self.numbers = sorted({position[name] for name in features if name in position})
        endpoints = header.layout.endpoints
        about = (*(endpoints.names if endpoints else ()), header.layout.start, IP_VERSION)
        found = {position[name] for name in (LABEL, *about) if name in position}
        # Ports are numbers where they are features too.
        self.texts = sorted(found.difference(self.numbers))

    def check_names(self, where: str) -> None:
        """Refuse a file that lacks a feature column.

        Args:
            where: For messages: the header's place in the file.

        Raises:
            TableError: It does.
        """
        absent = [name for name in self._names if name not in {*self._header.position, *ONE_HOT}]
        if absent:
            raise TableError(
                self._path,
                f"has no column {', '.join(map(repr, absent))}, which the feature set needs",
                remedy="choose another set with --features",
                where=where,
            )
        if PROTOCOL not in self._header.position and set(self._names) & set(ONE_HOT):
            raise TableError(
                self._path,
                f"is of the layout {self._header.layout.name}, which has no column {PROTOCOL!r} to"
                " make categories of",
                remedy="give tables with addresses, or leave the protocol's categories out",
                where=where,
            )

    def _column(self, name: str) -> pl.Expr | None:
        """A column, if the file has it."""
        index = self._header.position.get(name)
        return None if index is None else pl.col(str(index))

    def flows(self, block: Block) -> tuple[pl.DataFrame, Counter[str]]:
        """Leave out what is no labelled flow over IPv4 of TCP or UDP, counting why."""
        frame = block.frame
        label = pl.col(str(self._header.position[LABEL]))
        unlabelled = label.is_null() | label.str.to_lowercase().is_in(list(labels.NONE))
        rules = [
            (cleaning.EMPTY_ROW, ~pl.all_horizontal(pl.all().is_null())),
            (cleaning.REPEATED_HEADER, label.is_null() | (label != self._header.label)),
            (cleaning.NO_LABEL, ~unlabelled),
        ]
        if (version := self._column(IP_VERSION)) is not None:
            rules.append((cleaning.OVER_IPV6, version.cast(pl.String).ne_missing("6")))
        elif (source := self._source()) is not None:
            rules.append(
                (cleaning.OVER_IPV6, ~source.str.contains(":", literal=True).fill_null(False))
            )
        protocol = self._column(PROTOCOL)
        if protocol is not None:
            numbers = protocol.cast(pl.Float64, strict=False)
            # What is no number at all is an error, to be told with its line.
            known = numbers.is_null() & protocol.is_not_null()
            for number in ONE_HOT.values():
                known |= numbers == number
            rules.append((cleaning.NOT_TCP_UDP, known))
        dropped: Counter[str] = Counter()
        for rule, keep in rules:
            kept = frame.filter(keep)
            if len(kept) < len(frame):
                dropped[rule] = len(frame) - len(kept)
                frame = kept
        return self._with_numbers(frame, block), dropped

    def _with_numbers(self, frame: pl.DataFrame, block: Block) -> pl.DataFrame:
        """The columns that are read as numbers, as Float64; empty cells are null."""
        cast = []
        for index in self.numbers:
            text = frame[str(index)]
            if text.dtype == pl.Float64:
                continue
            numbers = text.cast(pl.Float64, strict=False)
            if numbers.null_count() > text.null_count():
                self._complain(index, block, "number")
            cast.append(numbers)
        return frame.with_columns(cast)

    def evidence(self, flows: pl.DataFrame) -> dict[int, NDArray[np.float64]]:
        """The columns by which builds of the tool are told apart."""
        position = self._header.position
        return {
            number: flows[str(position[name])].to_numpy() for number, name in self._evidence.items()
        }

    def chunk(
        self, flows: pl.DataFrame, block: Block, settings: CleaningSettings
    ) -> tuple[Chunk, Counter[str], Counter[str]]:
        """Clean the flows of a block, at least one: rows, and what was dropped and changed."""
        raw = flows.select(self._features()).to_numpy(order="c")
        spellings, code = self._labels(flows)
        settled = settle_attempted(spellings, code, settings.attempted)
        rows = clean_chunk(raw, self._names, settled.keep)
        keep = rows.keep
        chunk = Chunk(
            raw=rows.raw,
            labels=settled.labels,
            label=settled.label[keep],
            start_us=self._start_us(flows, block)[keep],
            connection=self._connections(flows)[keep],
            host=self._hosts(flows)[keep],
        )
        return chunk, settled.dropped + rows.dropped, settled.changed + rows.changed

    def _features(self) -> list[pl.Expr]:
        columns = []
        for place, name in enumerate(self._names):
            if name in ONE_HOT:
                protocol = pl.col(str(self._header.position[PROTOCOL]))
                column = protocol.cast(pl.Float64, strict=False) == ONE_HOT[name]
            else:
                column = pl.col(str(self._header.position[name]))
            # By place, because copies are of one column.
            columns.append(column.cast(pl.Float64).alias(str(place)))
        return columns

    def _labels(self, flows: pl.DataFrame) -> tuple[tuple[str, ...], NDArray[np.int16]]:
        """Unified labels, and the index of each row's; each spelling is looked at once."""
        text = flows[str(self._header.position[LABEL])]
        spellings = text.unique(maintain_order=True).to_list()
        codes: dict[str, int] = {}
        unified = [codes.setdefault(labels.unify(text), len(codes)) for text in spellings]
        if len(codes) > MAX_LABELS:
            raise TableError(
                self._path,
                f"has more than {MAX_LABELS:,} different labels",
                remedy=f"check its {LABEL!r} column",
            )
        code = text.replace_strict(spellings, unified, return_dtype=pl.Int16).to_numpy()
        return tuple(codes), code

    def _start_us(self, flows: pl.DataFrame, block: Block) -> NDArray[np.int64]:
        index = self._header.position.get(self._header.layout.start)
        if index is None:
            return np.full(len(flows), NO_TIME, dtype=np.int64)
        times = clocks.parse(flows[str(index)], self._header.layout.clock)
        if times.null_count():
            self._complain(index, block, "time")
        return times.to_numpy()

    def _source(self) -> pl.Expr | None:
        endpoints = self._header.layout.endpoints
        return self._column(endpoints.source) if endpoints else None

    def _hosts(self, flows: pl.DataFrame) -> NDArray[np.int64]:
        source = self._source()
        if source is None:
            return np.full(len(flows), NO_ENDPOINT, dtype=np.int64)
        text = flows.select(source.fill_null("")).to_series()
        addresses = text.unique().to_list()
        ids = address_ids(addresses).tolist()
        return text.replace_strict(addresses, ids, return_dtype=pl.Int64).to_numpy()

    def _connections(self, flows: pl.DataFrame) -> NDArray[np.int64]:
        """A number per 5-tuple, whichever way round."""
        endpoints = self._header.layout.endpoints
        if not endpoints or any(name not in self._header.position for name in endpoints.names):
            return np.full(len(flows), NO_ENDPOINT, dtype=np.int64)
        source, source_port, target, target_port, protocol = (
            pl.col(str(self._header.position[name])) for name in endpoints.names
        )
        left = pl.concat_str(source.fill_null(""), _port(source_port), separator=" ")
        right = pl.concat_str(target.fill_null(""), _port(target_port), separator=" ")
        pair = pl.concat_str(
            pl.min_horizontal(left, right),
            pl.max_horizontal(left, right),
            _port(protocol),
            separator=" ",
        )
        # A fixed seed: blocks must agree.
        numbers = flows.select(pair.hash(seed=0)).to_series().to_numpy()
        return (numbers >> np.uint64(1)).astype(np.int64)

    def _complain(self, index: int, block: Block, kind: str) -> NoReturn:
        """Raise the error that names the first row whose cell cannot be understood."""
        label = self._header.position[LABEL]
        clock = self._header.layout.clock

        def is_wrong(cells: list[str]) -> bool:
            if len(cells) <= max(index, label) or cells[label].strip() in ("", self._header.label):
                return False
            text = pl.Series([cells[index].strip() or None], dtype=pl.String)
            if kind == "time":
                return clocks.parse(text, clock).null_count() > 0
            return text.cast(pl.Float64, strict=False).null_count() > text.null_count()

        place, cells = block.find(is_wrong) or ("somewhere", [""] * self._header.width)
        name = next(name for name, at in self._header.position.items() if at == index)
        raise TableError(
            self._path,
            f"{shown(cells[index])} is no {kind}",
            remedy="correct or remove the line",
            where=f"{place}, column {self._header.layout.in_file(name)!r}",
        )


def _port(column: pl.Expr) -> pl.Expr:
    """A small number's text, the same whether it was read as text or as a number."""
    return (
        column.cast(pl.Float64, strict=False).cast(pl.Int64, strict=False).cast(pl.String)
    ).fill_null("")
