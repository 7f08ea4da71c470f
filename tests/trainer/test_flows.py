"""Tables, and how they grow."""

from __future__ import annotations

import tracemalloc
from collections import Counter
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.datasets.flows import (
    NO_ENDPOINT,
    NO_TIME,
    Chunk,
    FlowTable,
    SourceFile,
    TableBuilder,
    address_ids,
    join,
)

NAMES = ("Flow Duration", "Idle Mean")


def chunk(rng: np.random.Generator, count: int, labels: tuple[str, ...]) -> Chunk:
    return Chunk(
        raw=rng.random((count, 2)).astype(np.float32),
        labels=labels,
        label=rng.integers(0, len(labels), count).astype(np.int16),
        start_us=rng.integers(0, 1000, count),
        connection=rng.integers(0, 5, count),
        host=rng.integers(0, 5, count),
    )


def table(seed: int = 0, count: int = 6, *, weighted: bool = False) -> FlowTable:
    """Two files."""
    rng = np.random.default_rng(seed)
    builder = TableBuilder("cic2017", "MachineLearningCVE", NAMES)
    for number in range(2):
        builder.add(chunk(rng, count, ("BENIGN", "DDoS", f"own {seed}")), {"rule": 1})
        builder.end_file(SourceFile(Path(f"{seed}-{number}.csv"), "0" * 64, count + 1))
    built = builder.build({f"own {seed}": "scan"})
    if not weighted:
        return built
    weight = rng.random(len(built)).astype(np.float32)
    values = {field.name: getattr(built, field.name) for field in fields(built)}
    return FlowTable(**{**values, "weight": weight})


@given(st.lists(st.integers(0, 40), max_size=12), st.integers(0, 2**32 - 1))
def test_a_builder_holds_what_it_was_given(counts: list[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = [("DDoS", "BENIGN"), ("BENIGN", "Botnet", "DDoS"), ("Portscan",)]
    builder = TableBuilder("cic2017", "MachineLearningCVE", NAMES)
    chunks = [chunk(rng, count, labels[number % 3]) for number, count in enumerate(counts)]
    for number, rows in enumerate(chunks):
        builder.add(rows, {"a": number}, {"b": 2})
        if number % 2:
            builder.end_file(SourceFile(Path("x.csv"), "", 7))
    assert len(builder) == sum(counts)
    assert builder.rows_read == 7 * (len(counts) // 2)
    built = builder.build()
    empty = np.empty((0, 2), dtype=np.float32)
    assert np.array_equal(built.raw, np.concatenate([empty, *(rows.raw for rows in chunks)]))
    assert [built.labels[code] for code in built.label] == [
        rows.labels[code] for rows in chunks for code in rows.label
    ]
    assert built.file.tolist() == [
        number // 2 for number, count in enumerate(counts) for _ in range(count)
    ]
    assert built.labels[0] == "BENIGN"
    assert built.raw.base is None
    dtypes = {name: getattr(built, name).dtype for name in ("raw", "label", "file", "host")}
    assert dtypes == {"raw": np.float32, "label": np.int16, "file": np.int16, "host": np.int64}
    assert built.dropped["a"] == sum(range(len(counts)))
    assert built.changed["b"] == 2 * len(counts)
    assert built.weight is None


def test_a_builder_never_holds_its_rows_twice() -> None:
    """Where a list of chunks, or an array that doubles, would."""
    rows = chunk(np.random.default_rng(0), 5000, ("BENIGN",))
    builder = TableBuilder("cic2017", "MachineLearningCVE", NAMES)
    tracemalloc.start()
    try:
        for _ in range(45):
            builder.add(rows)
        built = builder.build()
        held_bytes, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(built) == 225_000
    assert held_bytes >= built.raw.nbytes
    # A sixteenth of room to grow, and one chunk's small columns.
    assert peak_bytes < 1.15 * held_bytes


def test_take_and_keep() -> None:
    whole = table(weighted=True)
    mask = np.arange(len(whole)) % 3 > 0
    kept = whole.keep(mask, "third")
    taken = whole.take(np.flatnonzero(mask)[::-1])
    assert kept.dropped == whole.dropped + Counter(third=4)
    assert taken.dropped == whole.dropped
    for name in ("raw", "label", "file", "start_us", "connection", "host", "weight"):
        assert np.array_equal(getattr(kept, name), getattr(whole, name)[mask])
        assert np.array_equal(getattr(taken, name)[::-1], getattr(kept, name))
    assert len(whole) == 12


def test_join() -> None:
    parts = [table(1), table(2, weighted=True)]
    both = join(parts)
    assert np.array_equal(both.raw, np.concatenate([part.raw for part in parts]))
    assert [both.labels[code] for code in both.label] == [
        part.labels[code] for part in parts for code in part.label
    ]
    assert both.files == parts[0].files + parts[1].files
    assert both.file.tolist() == [0] * 6 + [1] * 6 + [2] * 6 + [3] * 6
    assert both.families == {
        "BENIGN": "benign",
        "DDoS": "ddos",
        "own 1": "scan",
        "own 2": "scan",
    }
    assert both.dropped == Counter(rule=4)
    assert both.weight is not None
    assert parts[1].weight is not None
    assert both.weight.tolist() == [1.0] * 12 + parts[1].weight.tolist()


def groups(ids: list[int]) -> list[int]:
    """Where each value stands first: the same for every numbering of the same groups."""
    return [ids.index(value) for value in ids]


def test_connections_stay_together_in_a_file_and_apart_between_files() -> None:
    parts = [table(1), table(2)]
    both = join(parts)
    before = [
        (number, value) for number, part in enumerate(parts) for value in part.connection.tolist()
    ]
    assert groups(both.connection.tolist()) == [before.index(value) for value in before]
    assert (both.connection >= 0).all()


def test_rows_without_addresses_stay_so() -> None:
    builder = TableBuilder("cic2017", "MachineLearningCVE", NAMES)
    none = np.full(3, NO_ENDPOINT, dtype=np.int64)
    rows = Chunk(
        np.zeros((3, 2), dtype=np.float32),
        ("BENIGN",),
        np.zeros(3, dtype=np.int16),
        np.full(3, NO_TIME, dtype=np.int64),
        none,
        none,
    )
    builder.add(rows)
    builder.end_file(SourceFile(Path("a.csv"), "", 3))
    both = join([builder.build(), table(1)])
    assert (both.connection[:3] == NO_ENDPOINT).all()
    assert (both.host[:3] == NO_ENDPOINT).all()
    assert (both.start_us[:3] == NO_TIME).all()
    assert (both.connection[3:] >= 0).all()


def test_address_ids_are_the_same_everywhere() -> None:
    ids = address_ids(["192.168.10.5", "fd00::1", "192.168.10.5", ""])
    assert ids.dtype == np.int64
    assert ids[0] == ids[2]
    assert len(set(ids.tolist())) == 3
    # Written down once: another run and another machine must agree.
    assert ids.tolist()[0] == IDS_OF_A_HOST
    assert (ids >= 0).all()
    assert not len(address_ids([]))


IDS_OF_A_HOST = 6340991088664206108


@pytest.mark.parametrize("count", [0, 1, 1000])
def test_growing_keeps_no_room(count: int) -> None:
    builder = TableBuilder("cic2017", "MachineLearningCVE", NAMES)
    for _ in range(3):
        builder.add(chunk(np.random.default_rng(0), count, ("BENIGN",)))
    assert builder.build().raw.shape == (3 * count, 2)
