"""What one flow cannot say: how busy its neighbourhood is when it is given out.

One failed login looks the same in an attack and on a quiet day; forty of them in ten seconds do
not. For four neighbourhoods of a flow (its source; its destination; the pair with the service port;
the service, whoever asks) this keeps, from the packets alone:

- flows begun, in counters that decay exponentially with 10 s and 60 s: a steady rate r reads as
  10 r and 60 r, whatever the clock's phase;
- distinct peers and ports, by linear counting in 256 bits (Whang et al., 1990), in the current
  minute and the one before;
- the share of flows that ended without an answer, both counts decaying with 60 s;
- the time since the eighth-last flow began: a rate that needs no window.

Every neighbourhood costs the same few hundred bytes, each kind has a fixed number of them, and the
one longest untouched makes room. A flood can push others out but not grow the table.
"""

from __future__ import annotations

import math
from collections import OrderedDict, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeAlias

from edge_agent.flow.limits import DEFAULT_MAX_KEYS

if TYPE_CHECKING:
    from collections.abc import Hashable


_SHORT_US: Final = 10e6
_LONG_US: Final = 60e6
_GENERATION_US: Final = 60_000_000
_SKETCH_BITS: Final = 256
# The estimate of a full sketch: one less than infinity, where linear counting ends.
_SKETCH_FULL: Final = round(_SKETCH_BITS * math.log(_SKETCH_BITS))
_REMEMBERED_STARTS: Final = 8
# Ten minutes without eight flows is quiet enough; a larger number would say nothing more.
_QUIET_US: Final = 600_000_000

_MASK64: Final = (1 << 64) - 1

Columns: TypeAlias = tuple[float, ...]


def spread(value: int, seed: int) -> int:
    """Mix a number into 64 bits (SplitMix64's finaliser, Steele et al., 2014).

    Args:
        value: Up to 64 bits.
        seed: Secret on a live gateway, so that nobody can aim at a sketch's bits.
    """
    x = (value ^ seed) & _MASK64
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & _MASK64
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & _MASK64
    return x ^ (x >> 31)


def spread_address(address: bytes, seed: int) -> int:
    """Mix an IPv4 or IPv6 address into 64 bits."""
    high, low = int.from_bytes(address[:-8], "big"), int.from_bytes(address[-8:], "big")
    return spread(low ^ spread(high, seed) if len(address) > 8 else low, seed)


@dataclass(slots=True)
class Distinct:
    """How many different values in this minute and the last."""

    generation: int = 0
    current: int = 0
    previous: int = 0

    def add(self, mixed: int, now_us: int) -> None:
        """Note a value that went through `spread`."""
        self._turn(now_us)
        self.current |= 1 << (mixed % _SKETCH_BITS)

    def estimate(self, now_us: int) -> int:
        """Distinct values; exact for a few, within some percent for hundreds, at most 1,420."""
        self._turn(now_us)
        empty = _SKETCH_BITS - (self.current | self.previous).bit_count()
        if not empty:
            return _SKETCH_FULL
        return round(-_SKETCH_BITS * math.log(empty / _SKETCH_BITS))

    def _turn(self, now_us: int) -> None:
        generation = now_us // _GENERATION_US
        if generation != self.generation:
            follows = generation == self.generation + 1
            self.previous = self.current if follows else 0
            self.current = 0
            self.generation = generation


@dataclass(slots=True)
class Neighbourhood:
    """What is remembered of one source, destination, pair or service."""

    updated_us: int
    begun_short: float = 0.0
    begun_long: float = 0.0
    ended: float = 0.0
    unanswered: float = 0.0
    peers: Distinct = field(default_factory=Distinct)
    ports: Distinct = field(default_factory=Distinct)
    starts_us: deque[int] = field(default_factory=lambda: deque(maxlen=_REMEMBERED_STARTS))

    def decay(self, now_us: int) -> None:
        """Let the counters fade to `now_us`."""
        elapsed_us = now_us - self.updated_us
        if elapsed_us > 0:
            long = math.exp(-elapsed_us / _LONG_US)
            self.begun_short *= math.exp(-elapsed_us / _SHORT_US)
            self.begun_long *= long
            self.ended *= long
            self.unanswered *= long
            self.updated_us = now_us

    def begin(self, now_us: int) -> None:
        """Count a flow that begins."""
        self.decay(now_us)
        self.begun_short += 1
        self.begun_long += 1
        self.starts_us.append(now_us)

    def end(self, now_us: int, *, answered: bool) -> None:
        """Count a flow that is given out."""
        self.decay(now_us)
        self.ended += 1
        self.unanswered += not answered

    def eighth_ago_us(self, now_us: int) -> int:
        """Time since the eighth-last flow began, at most ten minutes."""
        if len(self.starts_us) < _REMEMBERED_STARTS:
            return _QUIET_US
        return min(now_us - self.starts_us[0], _QUIET_US)


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Who speaks to which service."""

    source: bytes
    destination: bytes
    port: int
    protocol: int


_Table: TypeAlias = "OrderedDict[Hashable, Neighbourhood]"


class ContextTable:
    """The neighbourhoods of all flows, in bounded memory.

    Args:
        max_keys: Neighbourhoods kept of each of the four kinds.
        seed: See `spread`. The default makes captures reproducible; a live agent draws its own.
    """

    def __init__(self, max_keys: int = DEFAULT_MAX_KEYS, seed: int = 0) -> None:
        self._max_keys = max_keys
        self._seed = seed
        self._tables: tuple[_Table, ...] = tuple(OrderedDict() for _ in range(4))
        self.evicted = 0

    def begin(self, ends: Endpoints, now_us: int) -> None:
        """Note that a flow begins."""
        source, destination, pair, service = (
            self._find(table, key) or self._make(table, key, now_us)
            for table, key in zip(self._tables, _keys(ends), strict=True)
        )
        for neighbourhood in (source, destination, pair, service):
            neighbourhood.begin(now_us)
        port = spread(ends.port, self._seed)
        caller = spread_address(ends.source, self._seed)
        source.peers.add(spread_address(ends.destination, self._seed), now_us)
        source.ports.add(port, now_us)
        destination.peers.add(caller, now_us)
        destination.ports.add(port, now_us)
        service.peers.add(caller, now_us)

    def end(self, ends: Endpoints, now_us: int, *, answered: bool) -> Columns:
        """Note that a flow is given out, and say how busy it is around it.

        A neighbourhood that was forgotten meanwhile is not made again: the ends of a flood push
        nobody out.

        Returns:
            The columns of `features.CONTEXT`, in order.
        """
        source, destination, pair, service = (
            self._find(table, key) or Neighbourhood(now_us)
            for table, key in zip(self._tables, _keys(ends), strict=True)
        )
        for neighbourhood in (source, destination, pair, service):
            neighbourhood.end(now_us, answered=answered)
        both = (source.peers, source.ports), (destination.peers, destination.ports)
        sketches: tuple[tuple[Distinct, ...], ...] = (*both, (), (service.peers,))
        columns: list[float] = []
        for neighbourhood, distinct in zip(
            (source, destination, pair, service), sketches, strict=True
        ):
            columns += (neighbourhood.begun_short, neighbourhood.begun_long)
            columns += (sketch.estimate(now_us) for sketch in distinct)
            columns += (
                neighbourhood.unanswered / neighbourhood.ended,
                neighbourhood.eighth_ago_us(now_us),
            )
        return tuple(columns)

    def clear(self) -> None:
        """Forget everything: time has begun anew."""
        for table in self._tables:
            table.clear()

    def _find(self, table: _Table, key: Hashable) -> Neighbourhood | None:
        """A neighbourhood, which thereby is the most recent."""
        if key in table:
            table.move_to_end(key)
        return table.get(key)

    def _make(self, table: _Table, key: Hashable, now_us: int) -> Neighbourhood:
        if len(table) >= self._max_keys:
            table.popitem(last=False)
            self.evicted += 1
        neighbourhood = table[key] = Neighbourhood(now_us)
        return neighbourhood


def _keys(ends: Endpoints) -> tuple[Hashable, ...]:
    return (
        ends.source,
        ends.destination,
        (ends.source, ends.destination, ends.port, ends.protocol),
        (ends.destination, ends.port, ends.protocol),
    )
