"""Flow rows on their way from metering to scoring: a fixed room, and what to do when it is full.

The rule of sampling, when flows come faster than the model can score them:

1. Every source keeps the same share of the room; one that has fewer rows than its share keeps all
   of them (max-min fairness), so a flood makes no other source invisible. Of a source that has
   more, every n-th row stays, in order, so that its ports and hosts stay represented.
2. Where there are more sources than places (a flood invents them), victims share the room instead.
3. Rows of sources that are part of an open incident come first: sampling begins with the others.
   Only where they alone fill the room do they share it among themselves; what is left out then
   is counted by source, and belongs to an incident that is already told.

Everything skipped is counted. The room is made once: a full queue takes no more memory than an
empty one.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from edge_agent.flow.rows import ROW, FlowRows

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

# A full queue is cut to this share of its room, so that the work of choosing is paid once for many
# rows that come. What is left is still a second's work or more.
_CUT_TO: Final = 0.5
# Odd, with bits all over: folds an address into one number whose equality is the address's.
_FOLD: Final = np.uint64(0x9E3779B97F4A7C15)


class RowQueue:
    """Rows between threads: several may put, one takes.

    Args:
        room: Rows it holds.
        columns: Values of a row.
        now_s: A clock that never goes back.
    """

    def __init__(
        self, room: int, columns: int, now_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._about = np.zeros(room, ROW)
        self._values = np.zeros((room, columns))
        self._sources = np.zeros(room, np.uint64)
        self._destinations = np.zeros(room, np.uint64)
        # Which row is where, oldest first from `_first` on; behind the last that waits, free ones.
        # Rows stay in their place until they are taken: a row is large, its number is not.
        self._order = np.arange(room)
        self._first = 0
        self._count = 0
        self._room = room
        self._cut_to = int(room * _CUT_TO)
        self._now_s = now_s
        self._oldest_s = 0.0
        self._changed = threading.Condition()
        self._favoured: NDArray[np.uint64] = np.empty(0, np.uint64)
        self._skipped = 0
        self._skipped_alerting = 0
        self._closed = False

    def put(self, rows: FlowRows, patience_s: float = 0.0) -> None:
        """Take rows in, copying them.

        Args:
            rows: Valid only now.
            patience_s: How long to wait for room, each time there is none, before rows are left
                out. On a live network waiting loses packets; at the end there are none to lose.
        """
        while len(rows):
            with self._changed:
                if patience_s:
                    self._changed.wait_for(lambda: self._count < self._room, patience_s)
                if self._closed:
                    self._skipped += len(rows)
                    return
                if self._count == self._room:
                    self._sample()
                taken, rows = rows.split(self._room - self._count)
                self._append(taken)
                self._changed.notify_all()

    def take(self, max_rows: int, wait_s: float, timeout_s: float) -> FlowRows | None:
        """The oldest rows, at most `max_rows`, to keep.

        Waits until there are so many, or the oldest has waited `wait_s`, or the queue is closed.

        Returns:
            None: there was nothing to give within `timeout_s`.
        """
        deadline_s = self._now_s() + timeout_s
        with self._changed:
            while self._count < max_rows and not (self._closed and self._count):
                now_s = self._now_s()
                due_s = self._oldest_s + wait_s if self._count else deadline_s
                if self._count and due_s <= now_s:
                    break
                if self._closed or now_s >= deadline_s:
                    return None
                self._changed.wait(min(due_s, deadline_s) - now_s)
            count = min(self._count, max_rows)
            places = self._waiting(count)
            rows = FlowRows(self._about[places], self._values[places])
            self._first = (self._first + count) % self._room
            self._count -= count
            self._oldest_s = self._now_s()
            self._changed.notify_all()
            return rows

    def favour(self, sources: NDArray[np.uint8]) -> None:
        """Name the sources of open incidents: shape (n, 16), as `ROW` has them."""
        with self._changed:
            self._favoured = _folded(sources)

    def close(self) -> None:
        """No more is taken in: `take` gives what is left at once, then None."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    @property
    def rows(self) -> int:
        """Rows that wait."""
        with self._changed:
            return self._count

    @property
    def skipped(self) -> int:
        """Rows left out so far."""
        with self._changed:
            return self._skipped

    @property
    def skipped_alerting(self) -> int:
        """Those of them whose source was part of an open incident."""
        with self._changed:
            return self._skipped_alerting

    def _waiting(self, count: int) -> NDArray[np.intp]:
        """Where the oldest rows are."""
        return self._order[(self._first + np.arange(count)) % self._room]

    def _append(self, rows: FlowRows) -> None:
        if not self._count:
            self._oldest_s = self._now_s()
        behind = self._first + self._count
        places = self._order[(behind + np.arange(len(rows))) % self._room]
        self._about[places] = rows.about
        self._values[places] = rows.values
        self._sources[places] = _folded(rows.about["source"])
        self._destinations[places] = _folded(rows.about["destination"])
        self._count += len(rows)

    def _sample(self) -> None:
        """Cut a full queue, see the rule above."""
        places = self._waiting(self._count)
        sources = self._sources[places]
        alerting = np.isin(sources, self._favoured)
        kept = np.zeros(len(places), dtype=bool)
        first = np.flatnonzero(alerting)
        kept[first[_fair(sources[first], self._cut_to)]] = True
        left = self._cut_to - int(kept.sum())
        others = np.flatnonzero(~alerting)
        if left and len(others):
            keys = sources[others]
            if len(np.unique(keys)) > left:
                keys = self._destinations[places[others]]
            kept[others[_fair(keys, left)]] = True
        self._skipped += int((~kept).sum())
        self._skipped_alerting += int((alerting & ~kept).sum())
        # The queue was full: there are no free places besides those that become free now.
        self._order = np.concatenate((places[kept], places[~kept]))
        self._first, self._count = 0, int(kept.sum())


def _folded(addresses: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """Addresses, shape (n, 16), as one number each. Two may share one; then they share a share."""
    halves = np.ascontiguousarray(addresses).view(np.uint64).reshape(-1, 2)
    folded: NDArray[np.uint64] = halves[:, 0] * _FOLD ^ halves[:, 1]
    return folded


def _fair(keys: NDArray[Any], room: int) -> NDArray[np.intp]:
    """Which of the rows stay when keys share the room: indices, in order, at most `room`."""
    if len(keys) <= room:
        return np.arange(len(keys))
    _, which, counts = np.unique(keys, return_inverse=True, return_counts=True)
    level = _water_level(counts, room)
    # Where even one row a key is too much, evenly spread keys have one.
    shares = np.minimum(counts, level)
    if level == 0:
        shares[np.linspace(0, len(counts) - 1, room).astype(np.intp)] = 1
    # A row's place among those of its key, in order of arrival.
    order = np.argsort(which, kind="stable")
    begins = np.concatenate(([0], np.cumsum(counts)[:-1]))
    place = np.empty(len(keys), np.intp)
    place[order] = np.arange(len(keys)) - np.repeat(begins, counts)
    # Of n rows m stay where floor(place * m / n) steps: evenly spread, the first among them.
    share, count = shares[which], counts[which]
    stays = (place * share + count - 1) // count != ((place + 1) * share + count - 1) // count
    return np.flatnonzero(stays)


def _water_level(counts: NDArray[np.intp], room: int) -> int:
    """The largest level at which `minimum(counts, level)` fits into the room."""
    ascending = np.sort(counts)
    below = np.concatenate(([0], np.cumsum(ascending)[:-1]))
    above = np.arange(len(ascending), 0, -1)
    # Filled up to each key's count, the keys below it whole and all others as high.
    fits = below + ascending * above <= room
    index = int(np.flatnonzero(fits)[-1]) + 1 if fits.any() else 0
    if index == len(ascending):
        return int(ascending[-1])
    return int((room - below[index]) // above[index])
