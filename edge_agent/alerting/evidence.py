"""Evidence before there is an incident: bounded windows that forget.

Time is cut into buckets of `window_s`; the present and the previous one count. Every table drops
its least recently used entry when full, so invented addresses cannot grow it.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Generic, TypeVar

from edge_agent.alerting.tally import Tally

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator

    from edge_agent.alerting.tally import Verdict

# A pending source has few flows, or it would be an incident.
_PENDING_TARGETS = 64

V = TypeVar("V")


class RecentTable(Generic[V]):
    """A dictionary with a bound, in order of last use."""

    __slots__ = ("_entries", "limit")

    def __init__(self, limit: int) -> None:
        self._entries: OrderedDict[Hashable, V] = OrderedDict()
        self.limit = limit

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[V]:
        return iter(self._entries.values())

    def peek(self, key: Hashable) -> V | None:
        """The entry, without counting as use."""
        return self._entries.get(key)

    def touch(self, key: Hashable) -> V | None:
        """The entry, now the most recently used."""
        entry = self._entries.get(key)
        if entry is not None:
            self._entries.move_to_end(key)
        return entry

    def put(self, key: Hashable, entry: V) -> V | None:
        """Add an entry; the one that had to leave for it, if any."""
        self._entries[key] = entry
        if len(self._entries) > self.limit:
            return self._entries.popitem(last=False)[1]
        return None

    def pop(self, key: Hashable) -> V | None:
        """Remove and return an entry."""
        return self._entries.pop(key, None)

    def oldest(self) -> tuple[Hashable, V] | None:
        """The least recently used entry."""
        return next(iter(self._entries.items()), None)


class Window:
    """A count over the present and the previous bucket."""

    __slots__ = ("bucket", "current", "previous")

    def __init__(self, bucket: int) -> None:
        self.bucket = bucket
        self.current = 0
        self.previous = 0

    def add(self, bucket: int, count: int = 1) -> None:
        """Count in the present bucket."""
        self._roll(bucket)
        self.current += count

    def total(self, bucket: int) -> int:
        """What still counts."""
        self._roll(bucket)
        return self.current + self.previous

    def _roll(self, bucket: int) -> None:
        if bucket != self.bucket:
            self.previous = self.current if bucket == self.bucket + 1 else 0
            self.current = 0
            self.bucket = bucket


class Pending:
    """Flagged flows of a source that are not an incident yet."""

    __slots__ = ("bucket", "current", "previous")

    def __init__(self, bucket: int) -> None:
        self.bucket = bucket
        self.current = Tally(1, _PENDING_TARGETS)
        # Most sources never have one, and a flood brings thousands of sources.
        self.previous: Tally | None = None

    @property
    def flows(self) -> int:
        """Flows held."""
        return self.current.flows + (self.previous.flows if self.previous else 0)

    @property
    def top_score(self) -> float:
        """Highest score held."""
        return max(part.top_score for part in self.parts())

    def roll(self, bucket: int) -> int:
        """Advance to a bucket; how many flows were forgotten."""
        if bucket == self.bucket:
            return 0
        before = self.flows
        self.previous = self.current if bucket == self.bucket + 1 else None
        self.current = Tally(1, _PENDING_TARGETS)
        self.bucket = bucket
        return before - self.flows

    def add(self, verdict: Verdict) -> None:
        """Hold a flow in the present bucket."""
        self.current.add(verdict)

    def parts(self) -> tuple[Tally, ...]:
        """Its tallies, the older one first."""
        return (self.current,) if self.previous is None else (self.previous, self.current)

    def only_targets(self, victim: str) -> bool:
        """Whether all flows went to one victim."""
        return all(part.targets.first(2) in ((), (victim,)) for part in self.parts())


class VictimWatch:
    """Which sources were flagged against one victim lately: as many as the rule needs to know."""

    __slots__ = ("_limit", "_sources", "bucket")

    def __init__(self, limit: int, bucket: int) -> None:
        self._sources: OrderedDict[str, int] = OrderedDict()
        self._limit = limit
        self.bucket = bucket

    def add(self, source: str, bucket: int) -> None:
        """Note a flagged flow."""
        self.bucket = bucket
        self._sources[source] = bucket
        self._sources.move_to_end(source)
        if len(self._sources) > self._limit:
            self._sources.popitem(last=False)

    def crowded(self, bucket: int) -> bool:
        """Whether as many sources as the limit were flagged lately."""
        if len(self._sources) < self._limit:
            return False
        # In order of last use: if the first one is recent, all are.
        return next(iter(self._sources.values())) >= bucket - 1

    @property
    def sources(self) -> tuple[str, ...]:
        """The last few sources."""
        return tuple(self._sources)
