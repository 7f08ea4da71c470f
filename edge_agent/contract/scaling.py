"""Raw features → numbers a network can use; the same code in training and on the gateway.

The default is a quantile transform with 256 bins. Flow features span nine decades: min-max, the
paper's choice, leaves most rows in a few int8 codes, while 256 quantile bins are exactly what an
int8 input can hold. Equal values share a bin, and a value that many rows have gets one to itself:
where nine rows in ten hold a zero, plain quantiles would leave all that matters the last tenth of
the range. Bin k stands for the value k/255, and with the input quantised at scale 1/255
and zero point -128, its int8 code is k - 128: from raw value to code by one binary search.
"""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from numpy.typing import NDArray

BINS: Final = 256
SCALERS: Final = ("quantile", "minmax", "log1p")

# Up to here one search over all columns' edges at once beats a search per column, whose price is
# 78 calls: 14 against 440 µs for one flow. Beyond it the shorter tables win.
_ONE_SEARCH_ROWS: Final = 64

_LARGEST: Final = np.finfo(np.float32).max

# A rate's inputs in every layout, by position: duration, packets and bytes each way.
_DURATION: Final = ("Flow Duration",)
_RATES: Final[dict[str, tuple[tuple[str, ...], ...]]] = {
    "Flow Bytes/s": (
        ("Total Length of Fwd Packets", "Total Length of Fwd Packet"),
        ("Total Length of Bwd Packets", "Total Length of Bwd Packet"),
    ),
    "Flow Packets/s": (
        ("Total Fwd Packets", "Total Fwd Packet"),
        ("Total Backward Packets", "Total Bwd packets"),
    ),
    "Fwd Packets/s": (("Total Fwd Packets", "Total Fwd Packet"),),
    "Bwd Packets/s": (("Total Backward Packets", "Total Bwd packets"),),
}


def _find(names: Sequence[str], candidates: tuple[str, ...]) -> int:
    for candidate in candidates:
        if candidate in names:
            return names.index(candidate)
    raise KeyError(f"a rate needs its inputs in the same feature set; {candidates[0]!r} is missing")


@lru_cache(maxsize=64)
def rate_plan(names: tuple[str, ...]) -> tuple[int, tuple[tuple[int, tuple[int, ...]], ...]]:
    """Column of the duration, and of each rate with the counts it is made of.

    Cached, because a gateway asks for every batch, and a look-up by name costs as much as a model.
    """
    plan = tuple(
        (names.index(rate), tuple(_find(names, candidates) for candidates in inputs))
        for rate, inputs in _RATES.items()
        if rate in names
    )
    return (_find(names, _DURATION), plan) if plan else (-1, ())


def rate_inputs(names: Sequence[str]) -> dict[int, tuple[int, ...]]:
    """Which columns must be there because a rate is: the rate's place → its inputs' places.

    Args:
        names: Published names of the columns; either layout's.

    Raises:
        KeyError: A rate is among the names but not the counts it is made of.
    """
    duration, plan = rate_plan(tuple(names))
    return {rate: (duration, *inputs) for rate, inputs in plan}


def recompute_rates(raw: NDArray[Any], names: Sequence[str]) -> NDArray[np.float64]:
    """Give rows of no duration the rates they would have at 1 µs.

    The tools print NaN, Infinity, -1 or 0 there, depending on build and column; a network can use
    none of them, and training and serving must agree.

    Args:
        raw: Shape (n_flows, n_features), columns as in `names`.
        names: Published names of the columns; either layout's.

    Returns:
        A copy, shape (n_flows, n_features), with finite rates.

    Raises:
        KeyError: A rate is among the names but not the counts it is made of.
    """
    fixed = np.array(raw, dtype=np.float64)
    duration, plan = rate_plan(tuple(names))
    if not plan:
        return fixed
    instant = fixed[:, duration] < 1.0
    if instant.any():
        for rate, inputs in plan:
            fixed[instant, rate] = fixed[instant][:, inputs].sum(axis=1) * 1e6
    return fixed


@dataclass(frozen=True, slots=True, eq=False)
class Scaler:
    """One fitted transform per feature.

    Attributes:
        kind: One of `SCALERS`.
        table: float32. `quantile`: shape (n_features, 255), sorted bin edges; else shape
            (n_features, 2), minimum and maximum of the training rows (of their signed log1p).
    """

    kind: str
    table: NDArray[np.float32]
    _edge_keys: NDArray[np.int64] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        keys = _column_keys(self.table.T).T.ravel() if self.kind == "quantile" else np.empty(0)
        object.__setattr__(self, "_edge_keys", keys.astype(np.int64))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Scaler):
            return NotImplemented
        return self.kind == other.kind and np.array_equal(self.table, other.table)

    def __hash__(self) -> int:
        return hash((self.kind, self.table.tobytes()))

    @classmethod
    def fit(cls, kind: str, raw: NDArray[Any]) -> Scaler:
        """Fit on training rows, shape (n_flows, n_features), finite.

        Raises:
            ValueError: The kind is unknown, there are no rows, or a value is not finite.
        """
        if kind not in SCALERS:
            raise ValueError(f"unknown scaler {kind!r}: choose one of {', '.join(SCALERS)}")
        if not len(raw):
            raise ValueError("a scaler needs at least one row")
        # float32 on both sides of every comparison: training and serving then bin alike, however
        # a meter rounds the last bits of a mean.
        values = np.asarray(raw, dtype=np.float32)
        if not np.isfinite(values).all():
            raise ValueError("a scaler needs finite rows")
        if kind == "quantile":
            return cls(kind, np.stack([_column_edges(column) for column in values.T]))
        if kind == "log1p":
            values = _signed_log1p(values)
        return cls(kind, np.stack([values.min(axis=0), values.max(axis=0)], axis=1))

    @property
    def n_features(self) -> int:
        """How many columns it expects."""
        return int(self.table.shape[0])

    def bins(self, raw: NDArray[Any]) -> NDArray[np.uint8]:
        """Bin numbers 0 to 255 of a `quantile` scaler, shape (n_flows, n_features).

        A NaN lies above every edge, as numpy sorts it.

        Raises:
            ValueError: This scaler has no bins, or the rows have another number of columns.
        """
        if self.kind != "quantile":
            raise ValueError(f"a {self.kind} scaler has no bins")
        values = self._checked(raw)
        if len(values) <= _ONE_SEARCH_ROWS:
            found = np.searchsorted(self._edge_keys, _column_keys(values), side="right")
            below = np.arange(self.n_features) * (BINS - 1)
            return (found - below).astype(np.uint8)
        result = np.empty(values.shape, dtype=np.uint8)
        for column in range(self.n_features):
            result[:, column] = np.searchsorted(self.table[column], values[:, column], side="right")
        return result

    def transform(self, raw: NDArray[Any]) -> NDArray[np.float32]:
        """Scale raw features, shape (n_flows, n_features), to [0, 1].

        Raises:
            ValueError: The rows have another number of columns.
        """
        if self.kind == "quantile":
            return self.bins(raw).astype(np.float32) / np.float32(BINS - 1)
        values = self._checked(raw)
        if self.kind == "log1p":
            values = _signed_log1p(values)
        low, high = self.table[:, 0], self.table[:, 1]
        high = np.where(high > low, high, low + np.float32(1))
        span = np.where(high > low, high - low, np.float32(1))
        # Cut first: what is far beyond a range that is nearly nothing would overflow.
        scaled: NDArray[np.float32] = ((np.clip(values, low, high) - low) / span).astype(np.float32)
        return scaled

    def to_bytes(self) -> bytes:
        """Serialise the table as .npy; `from_bytes` with the same kind reads it."""
        buffer = io.BytesIO()
        # A table cut out of another may lie otherwise in memory, which .npy would tell.
        np.save(buffer, np.ascontiguousarray(self.table), allow_pickle=False)
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, kind: str, data: bytes) -> Scaler:
        """Read what `to_bytes` wrote.

        Raises:
            ValueError: The bytes are not such a table, or not sorted.
        """
        return cls._checked_table(kind, np.load(io.BytesIO(data), allow_pickle=False))

    @classmethod
    def _checked_table(cls, kind: str, table: NDArray[Any]) -> Scaler:
        width = BINS - 1 if kind == "quantile" else 2
        if kind not in SCALERS or table.dtype != np.float32 or table.shape[1:] != (width,):
            raise ValueError(f"not a {kind} table: {table.dtype}, shape {table.shape}")
        if not np.isfinite(table).all() or (np.diff(table, axis=1) < 0).any():
            raise ValueError("the table is not sorted")
        return cls(kind, table)

    def packed(self) -> bytes:
        """The table as a model file holds it: half of what .npy compresses to.

        Bit patterns as differences along each row, so that equal neighbours become zeros, and the
        four bytes of each apart, so that like bytes stand together.
        """
        pattern = self.table.view(np.int32).astype(np.int64)
        # Differences may exceed 32 bits: they wrap here, and wrap back in `from_packed`.
        steps = np.diff(pattern, axis=1, prepend=0).astype(np.int32)
        return np.ascontiguousarray(steps).view(np.uint8).reshape(-1, 4).T.tobytes()

    @classmethod
    def from_packed(cls, kind: str, data: bytes, n_features: int) -> Scaler:
        """Read what `packed` wrote.

        Raises:
            ValueError: The bytes are not such a table, or not sorted.
        """
        if len(data) % (4 * max(n_features, 1)) or not data:
            raise ValueError(f"not a {kind} table of {n_features} features: {len(data)} bytes")
        steps = np.ascontiguousarray(np.frombuffer(data, np.uint8).reshape(4, -1).T).view(np.int32)
        rows = np.cumsum(steps.reshape(n_features, -1).astype(np.int64), axis=1)
        return cls._checked_table(kind, rows.astype(np.int32).view(np.float32))

    def sha256(self) -> str:
        """Digest of the table, part of the fingerprint of a model."""
        return hashlib.sha256(self.kind.encode() + self.to_bytes()).hexdigest()

    def _checked(self, raw: NDArray[Any]) -> NDArray[np.float32]:
        # A count too large for float32 is still "more than any edge", which infinity says.
        with np.errstate(over="ignore"):
            values = np.asarray(raw, dtype=np.float32)
        if values.ndim != 2 or values.shape[1] != self.n_features:
            raise ValueError(f"expected rows of {self.n_features} features, got {values.shape}")
        return values


def _column_edges(column: NDArray[np.float32]) -> NDArray[np.float32]:
    """255 edges of one column: equal values share a bin, frequent ones have it to themselves.

    The groups lie evenly over the bins, so that a column of few values uses the whole range. Of all
    numbers that divide two groups alike the roundest is the edge: it packs better.
    """
    value, count = np.unique(column, return_counts=True)
    if len(value) == 1:
        # What never varied teaches nothing: whatever a gateway sees there is bin 0 too.
        return np.full(BINS - 1, _LARGEST, dtype=np.float32)
    starts = np.arange(len(value)) > 0
    if len(value) > BINS:
        # The smallest group size that needs no more than 256 groups.
        low, high = 0, len(column)
        while high - low > 1:
            size = (low + high) // 2
            if np.count_nonzero(_group_starts(count, size)) < BINS:
                high = size
            else:
                low = size
        starts = _group_starts(count, high)
    first = np.flatnonzero(starts)
    edges = _roundest(value[first - 1], value[first])
    place = np.rint(np.arange(1, len(edges) + 1) * ((BINS - 1) / len(edges)))
    spread: NDArray[np.float32] = edges[np.searchsorted(place, np.arange(1, BINS))]
    return spread


def _group_starts(count: NDArray[np.intp], size: int) -> NDArray[np.bool_]:
    """Which distinct values begin a group of about `size` rows; not the first value."""
    own = count >= size
    filled = np.cumsum(np.where(own, 0, count)) // size
    starts = np.zeros(len(count), dtype=bool)
    # A value with a group to itself ends the group before it and begins the one behind.
    starts[1:] = own[1:] | own[:-1] | (filled[1:] > filled[:-1])
    return starts


def _roundest(below: NDArray[np.float32], value: NDArray[np.float32]) -> NDArray[np.float32]:
    """For each pair the number in (below, value] with the most trailing zero bits."""
    low, high = _sortable(below), _sortable(value)
    # The highest bit in which they differ: all below it may be zero.
    bit = np.frexp((low ^ high).astype(np.float64))[1] - 1
    ordered = ((high >> bit) << bit) - (1 << 31)
    pattern = np.where(ordered < 0, -ordered | (1 << 31), ordered)
    edges: NDArray[np.float32] = pattern.astype(np.uint32).view(np.float32) + np.float32(0)
    return edges


def _sortable(values: NDArray[np.float32]) -> NDArray[np.int64]:
    """Integers from 0 that sort as the values do."""
    # Adding zero makes -0.0 the 0.0 it equals.
    pattern = (values + np.float32(0)).view(np.int32).astype(np.int64)
    return np.where(pattern < 0, -(pattern & 0x7FFFFFFF), pattern) + (1 << 31)


def _column_keys(values: NDArray[np.float32]) -> NDArray[np.int64]:
    """Integers that sort first by column, then as the float32 values do; shape as `values`."""
    # Adding zero makes -0.0 the 0.0 it equals.
    pattern = (values + np.float32(0)).view(np.int32)
    # The bit patterns of negative floats sort backwards; every NaN counts as the largest value.
    ordered = pattern ^ ((pattern >> 31) & np.int32(0x7FFFFFFF))
    ordered = np.where(np.isnan(values), np.int32(0x7FFFFFFF), ordered)
    return ordered + (np.arange(values.shape[1], dtype=np.int64) << 33)


def _signed_log1p(values: NDArray[np.float32]) -> NDArray[np.float32]:
    scaled: NDArray[np.float32] = np.sign(values) * np.log1p(np.abs(values))
    return scaled
