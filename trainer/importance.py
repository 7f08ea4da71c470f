"""Which columns a model leans on: permutation importance, the same for every kind of model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

# Bounded cost: at most 78 groups x 3 shuffles x 2,000 rows to score.
_ROWS_PER_CLASS: Final = 1000
_SHUFFLES: Final = 3
# Columns whose ranks agree so closely say the same. Shuffled alone, each would seem of no use, as
# the model reads the other.
_ALIKE: Final = 0.99


@dataclass(frozen=True, slots=True)
class Importance:
    """What the model loses without a group of columns.

    Attributes:
        columns: Names; the others say the same as the first.
        drop: Mean loss of average precision when they are shuffled together.
        spread: Standard deviation of that over the shuffles.
    """

    columns: tuple[str, ...]
    drop: float
    spread: float

    @property
    def title(self) -> str:
        """The first name, and how many more say the same."""
        more = len(self.columns) - 1
        return self.columns[0] + (f" (+{more} alike)" if more else "")


def importance(
    score: Callable[[NDArray[np.float32]], NDArray[np.float32]],
    rows: NDArray[np.float32],
    target: NDArray[np.uint8],
    names: Sequence[str],
    seed: int,
) -> list[Importance]:
    """Shuffle columns, those alike together, and see what average precision is lost.

    Source: L. Breiman, "Random forests", Machine Learning 45 (2001), p. 5-32, there of forests.
    At most 1,000 rows of each class are scored, drawn at random.

    Args:
        score: Rows such as `rows` → scores, shape (n_rows,), higher is more likely an attack.
        rows: Test rows as `score` takes them, shape (n_flows, n_features); not changed.
        target: Shape (n_flows,), 1 for attacks.
        names: Of the columns.
        seed: Of the draws.

    Returns:
        Most important first. Empty where a class is missing. Columns that are constant in the rows
        drawn are left out: shuffling them does nothing.
    """
    # scikit-learn takes a second to import: --help need not wait for it.
    from sklearn.metrics import average_precision_score  # noqa: PLC0415

    rng = np.random.default_rng(seed)
    chosen = [rng.permutation(np.flatnonzero(target == kind))[:_ROWS_PER_CLASS] for kind in (0, 1)]
    if not all(map(len, chosen)):
        return []
    index = np.sort(np.concatenate(chosen))
    sample, truth = rows[index], target[index]
    whole = average_precision_score(truth, score(sample))
    found = []
    for group in _alike(sample):
        drops = []
        for _ in range(_SHUFFLES):
            shuffled = sample.copy()
            shuffled[:, group] = sample[rng.permutation(len(sample))][:, group]
            drops.append(whole - average_precision_score(truth, score(shuffled)))
        columns = tuple(names[column] for column in group)
        found.append(Importance(columns, float(np.mean(drops)), float(np.std(drops))))
    return sorted(found, key=lambda item: -item.drop)


def _alike(rows: NDArray[np.float32]) -> list[list[int]]:
    """Groups of columns that say the same, constant ones left out.

    Each column joins the first group whose first column it agrees with, up or down.
    """
    varying = np.flatnonzero(rows.min(axis=0) < rows.max(axis=0))
    if not len(varying):
        return []
    ranks = np.stack([_ranks(rows[:, column]) for column in varying], axis=1)
    # Spearman's correlation: Pearson's of the ranks.
    agreement = np.abs(np.corrcoef(ranks, rowvar=False).reshape(len(varying), len(varying)))
    groups: list[list[int]] = []
    for place in range(len(varying)):
        for group in groups:
            if agreement[group[0], place] >= _ALIKE:
                group.append(place)
                break
        else:
            groups.append([place])
    return [[int(varying[place]) for place in group] for group in groups]


def _ranks(values: NDArray[np.float32]) -> NDArray[np.float64]:
    """Ranks from 0, equal values sharing their mean."""
    _, member, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    ranks: NDArray[np.float64] = (ends - (counts + 1) / 2)[member]
    return ranks
