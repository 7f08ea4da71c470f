"""Equal feature vectors among millions of rows, in little memory.

Sorting the rows themselves would need them twice over. So each is hashed to 128 bits and the
hashes are sorted; rows with equal hashes are then compared for real, so that no collision can ever
make two rows one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

# With 78 columns some 20 MB of intermediate results, whatever the table.
_CHUNK_ROWS: Final = 16_384


@dataclass(frozen=True, slots=True)
class Duplicates:
    """Which rows are equal.

    Attributes:
        first: int64, shape (n_flows,): index of the first row with the same feature vector.
    """

    first: NDArray[np.int64]

    @property
    def is_copy(self) -> NDArray[np.bool_]:
        """Rows, shape (n_flows,), that an earlier one equals."""
        copies: NDArray[np.bool_] = self.first != np.arange(len(self.first))
        return copies

    def ambiguous(self, label: NDArray[np.int16]) -> int:
        """Distinct feature vectors that occur with more than one label, shape (n_flows,)."""
        differs = label != label[self.first]
        return len(np.unique(self.first[differs]))


def find_duplicates(raw: NDArray[np.float32]) -> Duplicates:
    """Compare all rows with each other.

    Args:
        raw: Finite, shape (n_flows, n_features); -0.0 equals 0.0.
    """
    low, high = hashes(raw)
    # Stable, so that in each run of equal hashes the earliest row comes first.
    order = np.lexsort((low, high))
    starts = np.ones(len(order), dtype=bool)
    starts[1:] = (low[order[1:]] != low[order[:-1]]) | (high[order[1:]] != high[order[:-1]])
    del low, high
    leader = order[np.flatnonzero(starts)][np.cumsum(starts) - 1]
    first = np.empty(len(order), dtype=np.int64)
    first[order] = leader
    del order, starts, leader
    collided = _unequal(raw, first)
    if len(collided):
        _settle(raw, first, collided)
    return Duplicates(first)


def hashes(raw: NDArray[np.float32]) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """Two independent 64-bit hashes of each row, shape (n_flows,) each.

    Multilinear hashing: the sum of each 32-bit word times a random odd number, modulo 2**64
    (D. Lemire, O. Kaser, "Strongly universal string hashing is fast", Computer Journal 57, 2014).
    """
    rng = np.random.default_rng(0)
    shape = (raw.shape[1], 2)
    factors = rng.integers(0, 2**64, shape, dtype=np.uint64, endpoint=False) | np.uint64(1)
    found = np.empty((2, len(raw)), dtype=np.uint64)
    for rows in _chunks(len(raw)):
        # Adding zero makes -0.0 the 0.0 it equals.
        words = np.ascontiguousarray(raw[rows] + np.float32(0)).view(np.uint32)
        found[:, rows] = (words.astype(np.uint64) @ factors).T
    return found[0], found[1]


def _chunks(length: int) -> Iterator[slice]:
    for begin in range(0, length, _CHUNK_ROWS):
        yield slice(begin, min(begin + _CHUNK_ROWS, length))


def _unequal(raw: NDArray[np.float32], first: NDArray[np.int64]) -> NDArray[np.int64]:
    """Rows that differ from the first one of their hash."""
    candidates = np.flatnonzero(first != np.arange(len(first)))
    found = [np.empty(0, dtype=np.int64)]
    for part in _chunks(len(candidates)):
        rows = candidates[part]
        found.append(rows[(raw[rows] != raw[first[rows]]).any(axis=1)])
    return np.concatenate(found)


def _settle(
    raw: NDArray[np.float32], first: NDArray[np.int64], collided: NDArray[np.int64]
) -> None:
    """Give rows whose hash is another row's the first row that they really equal."""
    seen: dict[tuple[int, bytes], int] = {}
    for row in collided.tolist():
        key = (int(first[row]), (raw[row] + np.float32(0)).tobytes())
        first[row] = seen.setdefault(key, row)
