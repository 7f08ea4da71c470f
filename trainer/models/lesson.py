"""What a network takes over from boosted trees: where to cut, and how sure to be.

Quick and small: a hundred rounds on the rows' bins, a few seconds. The thresholds they find worth
most become the network's ramps; their scores of the training rows soften its targets, so that it
does not learn lone mislabelled rows by heart.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import lightgbm
import numpy as np

from edge_agent.contract.scaling import BINS
from trainer.models.base import scaled

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from trainer.models.base import Part

# More rows move no threshold by a bin.
_ROWS: Final = 300_000
_SCORED_AT_ONCE: Final = 65_536
_ROUNDS: Final = 100
# A ramp over the whole feature, and one of about five bins around a threshold: sharp enough to cut,
# wide enough to tell how far off a value is. In units of the activation's range of 6.
_WIDE_SLOPE: Final = 6.0
_SHARP_SLOPE: Final = 300.0


@dataclass(frozen=True, slots=True)
class Ramps:
    """Ramps over single features, ordered by feature and place; each of shape (n_ramps,).

    Attributes:
        column: int, the feature.
        middle: float32, scaled value at which the ramp is halfway up.
        slope: float32, its steepness.
    """

    column: NDArray[np.intp]
    middle: NDArray[np.float32]
    slope: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Lesson:
    """What the trees teach.

    Attributes:
        ramps: One over each feature that varies, then the trees' best thresholds.
        score: float32, the trees' scores of the training rows, shape (n_flows,).
    """

    ramps: Ramps
    score: NDArray[np.float32]


def learn_from_trees(train: Part, weight: NDArray[np.float32], n_ramps: int, seed: int) -> Lesson:
    """Grow the trees and take from them what the network wants.

    Args:
        train: Training rows.
        weight: How much each counts, shape (n_flows,).
        n_ramps: How many thresholds.
        seed: Of the trees, and of the rows they see if there are more than `_ROWS`.
    """
    rows = np.arange(len(train))
    if len(rows) > _ROWS:
        rows = np.sort(np.random.default_rng(seed).permutation(rows)[:_ROWS])
    sample = scaled(train.inputs[rows])
    booster = lightgbm.train(
        {
            "objective": "binary",
            "seed": seed,
            "verbosity": -1,
            # Equal seeds give equal trees only with both.
            "deterministic": True,
            "force_row_wise": True,
        },
        lightgbm.Dataset(sample, train.target[rows], weight=weight[rows]),
        num_boost_round=_ROUNDS,
    )
    score = [
        booster.predict(scaled(train.inputs[begin : begin + _SCORED_AT_ONCE]))
        for begin in range(0, len(train), _SCORED_AT_ONCE)
    ]
    return Lesson(_ramps(booster, sample, n_ramps), np.concatenate(score).astype(np.float32))


def _ramps(booster: Any, rows: NDArray[np.float32], n: int) -> Ramps:
    worth: dict[tuple[int, float], float] = {}
    for tree in booster.dump_model()["tree_info"]:
        for column, threshold, gain in _splits(tree["tree_structure"]):
            # Halfway between two bins, whichever of the values there the trees have named.
            middle = (np.floor(threshold * (BINS - 1)) + 0.5) / (BINS - 1)
            key = (column, float(middle))
            # The root keeps the first, huge gains from drowning all that refines them.
            worth[key] = worth.get(key, 0.0) + gain**0.5
    varies = np.flatnonzero(rows.min(axis=0) < rows.max(axis=0))
    chosen = [(int(column), 0.5, _WIDE_SLOPE) for column in varies][:n]
    best = sorted(worth, key=lambda key: (-worth[key], key))[: n - len(chosen)]
    chosen += [(column, middle, _SHARP_SLOPE) for column, middle in best]
    chosen += _spread(varies if len(varies) else np.arange(1), n - len(chosen))
    columns, middles, slopes = zip(*sorted(chosen), strict=True)
    return Ramps(
        column=np.array(columns, dtype=np.intp),
        middle=np.array(middles, dtype=np.float32),
        slope=np.array(slopes, dtype=np.float32),
    )


def _splits(node: dict[str, Any]) -> Iterator[tuple[int, float, float]]:
    """Feature, threshold and gain of every split below a node."""
    if "split_feature" in node:
        yield node["split_feature"], node["threshold"], node["split_gain"]
        yield from _splits(node["left_child"])
        yield from _splits(node["right_child"])


def _spread(columns: NDArray[np.intp], n: int) -> list[tuple[int, float, float]]:
    """Further ramps where the trees have too few thresholds, evenly over features and values."""
    laps = -(-n // len(columns)) if n > 0 else 0
    return [
        (int(column), (lap + 0.5) / laps, _SHARP_SLOPE / 4)
        for lap in range(laps)
        for column in columns
    ][: max(n, 0)]
