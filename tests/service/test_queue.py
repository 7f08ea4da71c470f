"""What happens to flow rows when they come faster than they are scored."""

from __future__ import annotations

import threading
from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.flow.rows import ROW, FlowRows
from edge_agent.service.queue import RowQueue

COLUMNS = 3


def rows_of(sources: list[int], destinations: list[int] | None = None) -> FlowRows:
    about = np.zeros(len(sources), ROW)
    low, high = np.array(sources, int) & 255, np.array(sources, int) >> 8
    about["source"][:, 0], about["source"][:, 1] = low, high
    about["destination"][:, 0] = 1 if destinations is None else np.array(destinations, int) & 255
    about["start_us"] = np.arange(len(sources))
    return FlowRows(about, np.arange(len(sources) * COLUMNS, dtype=float).reshape(-1, COLUMNS))


def everything(queue: RowQueue) -> FlowRows:
    queue.close()
    parts = []
    while (rows := queue.take(7, 0, 0)) is not None:
        parts.append(rows)
    return FlowRows.join(parts)


def numbers(rows: FlowRows) -> list[int]:
    low, high = rows.about["source"][:, 0], rows.about["source"][:, 1]
    return [int(a) + 256 * int(b) for a, b in zip(low, high, strict=True)]


@given(
    st.lists(st.lists(st.integers(0, 9), max_size=12), max_size=8),
    st.lists(st.integers(1, 5), max_size=8),
)
def test_what_fits_comes_out_as_it_went_in(puts: list[list[int]], takes: list[int]) -> None:
    queue = RowQueue(128, COLUMNS)
    expected: list[int] = []
    got: list[int] = []
    for index, sources in enumerate(puts):
        queue.put(rows_of(sources))
        expected += sources
        if index < len(takes):
            taken = queue.take(takes[index], 0, 0)
            got += numbers(taken) if taken is not None else []
    if queue.rows:
        got += numbers(everything(queue))
    assert got == expected
    assert queue.skipped == 0


def test_values_stay_with_their_rows_beyond_the_end_of_the_room() -> None:
    queue = RowQueue(8, COLUMNS)
    queue.put(rows_of([1] * 6))
    queue.take(5, 0, 0)
    queue.put(rows_of([2] * 6))
    rows = everything(queue)
    assert numbers(rows) == [1] + [2] * 6
    assert rows.values[1:].tolist() == rows_of([2] * 6).values.tolist()


@given(st.lists(st.integers(0, 400), min_size=1, max_size=3000), st.integers(1, 64))
def test_every_row_is_kept_or_counted_and_none_gets_more_than_its_share(
    sources: list[int], room: int
) -> None:
    queue = RowQueue(room, COLUMNS)
    queue.put(rows_of(sources, sources))
    assert queue.rows <= room
    kept = everything(queue)
    assert len(kept) + queue.skipped == len(sources)
    # In order of arrival, and each at most once.
    assert (np.diff(kept.about["start_us"]) > 0).all()


def test_a_flood_hides_nobody() -> None:
    queue = RowQueue(400, COLUMNS)
    quiet = [10, 11, 12, 13, 14]
    for _ in range(20):
        # A source with a thousand flows for one of each other.
        queue.put(rows_of([1] * 500 + quiet + [1] * 500))
    counts = Counter(numbers(everything(queue)))
    for source in quiet:
        assert counts[source] == 20
    assert counts[1] >= 100


def test_of_a_flood_every_nth_row_stays() -> None:
    queue = RowQueue(100, COLUMNS)
    queue.put(rows_of([1] * 101))
    starts = everything(queue).about["start_us"]
    assert len(starts) == 51
    assert np.diff(starts).max() <= 3


def test_invented_sources_do_not_hide_another_victim() -> None:
    queue = RowQueue(200, COLUMNS)
    for begin in range(0, 50_000, 1000):
        queue.put(rows_of(list(range(begin, begin + 1000)), [1] * 1000))
        queue.put(rows_of([60_000], [2]))
    kept = everything(queue)
    assert (kept.about["destination"][:, 0] == 2).sum() == 50


def test_sources_of_open_incidents_come_first() -> None:
    queue = RowQueue(400, COLUMNS)
    queue.favour(rows_of([7]).about["source"])
    for _ in range(10):
        queue.put(rows_of([7] * 20 + list(range(100, 300))))
    assert queue.skipped > 0
    assert queue.skipped_alerting == 0
    assert Counter(numbers(everything(queue)))[7] == 200


def test_where_they_alone_fill_the_room_they_share_it() -> None:
    queue = RowQueue(100, COLUMNS)
    queue.favour(rows_of([7, 8]).about["source"])
    queue.put(rows_of([7] * 1000 + [8] * 10))
    counts = Counter(numbers(everything(queue)))
    assert counts[8] == 10
    assert counts[7] + 10 == 1010 - queue.skipped
    assert queue.skipped_alerting == queue.skipped


def test_take_waits_for_a_batch_or_for_its_oldest_row() -> None:
    now_s = 0.0
    queue = RowQueue(100, COLUMNS, lambda: now_s)
    queue.put(rows_of([1, 2]))
    assert queue.take(10, 0.25, 0) is None
    now_s = 0.25
    rows = queue.take(10, 0.25, 0)
    assert rows is not None
    assert len(rows) == 2
    queue.put(rows_of([1] * 10))
    assert queue.take(10, 0.25, 0) is not None


def test_a_full_batch_and_the_end_wake_who_waits() -> None:
    queue = RowQueue(100, COLUMNS)
    got: list[FlowRows | None] = []

    def wait() -> None:
        got.append(queue.take(10, 60, 60))
        got.append(queue.take(10, 60, 60))

    thread = threading.Thread(target=wait)
    thread.start()
    queue.put(rows_of([1] * 10))
    queue.close()
    thread.join(30)
    assert not thread.is_alive()
    assert [len(rows) if rows else None for rows in got] == [10, None]


def test_who_has_patience_loses_no_row() -> None:
    queue = RowQueue(16, COLUMNS)
    thread = threading.Thread(target=queue.put, args=(rows_of([1] * 100), 60))
    thread.start()
    got = 0
    while got < 100:
        rows = queue.take(16, 0, 30)
        assert rows is not None
        got += len(rows)
    thread.join(30)
    assert queue.skipped == 0


def test_what_comes_after_the_end_is_counted() -> None:
    queue = RowQueue(16, COLUMNS)
    queue.close()
    queue.put(rows_of([1] * 5), 60)
    assert (queue.rows, queue.skipped) == (0, 5)
