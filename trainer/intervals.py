"""95 % intervals of shares, F1, MCC and areas under curves.

All of them say how far chance in the drawing of the rows alone may have moved a figure. They know
nothing of rows that resemble each other: a thousand near-copies of one scan count as a thousand
observations here, so on public data the intervals are too narrow, never too wide.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

Interval = tuple[float, float]
"""Lower and upper bound."""

LEVEL: Final = 0.95
# The standard normal's 97.5 % quantile.
_Z: Final = 1.959963984540054
_PERCENTILES: Final = (50 * (1 - LEVEL), 50 * (1 + LEVEL))

# Enough for the second digit of a 95 % bound (Efron and Tibshirani 1993, section 14.5).
_REPLICATES: Final = 1000
# Scores fall into so many bins of equally many rows before they are drawn from: a replicate then
# costs as much for a million rows as for a thousand. What the bins round off is put back by
# centring on the exact figure.
_BINS: Final = 2048
# Replicates drawn at a time: 16 MB of counts instead of 64.
_CHUNK: Final = 250


def wilson(part: int, whole: int) -> Interval | None:
    """Interval of a share; it stays within [0, 1] and has width even at 0 and 1.

    Source: E. B. Wilson, "Probable inference, the law of succession, and statistical inference",
    JASA 22 (1927), p. 209-212; recommended over the textbook interval by Brown, Cai and DasGupta,
    Statistical Science 16 (2001), p. 101-133.

    Args:
        part: Rows that have the property.
        whole: Rows in all.

    Returns:
        None where there are no rows.
    """
    if not whole:
        return None
    share = part / whole
    weight = 1 + _Z**2 / whole
    centre = (share + _Z**2 / (2 * whole)) / weight
    reach = _Z / weight * math.sqrt(share * (1 - share) / whole + _Z**2 / (4 * whole**2))
    # At the ends the formula gives the end itself, but for rounding.
    low = 0.0 if part == 0 else max(0.0, centre - reach)
    high = 1.0 if part == whole else min(1.0, centre + reach)
    return low, high


def f1_interval(tp: int, false: int) -> Interval | None:
    """Interval of F1 = 2 tp / (2 tp + fp + fn).

    F1 = 2j / (1 + j) with j = tp / (tp + fp + fn): it grows with the share of true positives among
    the rows that are not true negatives, and that is a share like any other. So Wilson's bounds of
    j, mapped, are those of F1. Unlike a bootstrap this has width where no verdict was wrong.

    Args:
        tp: True positives.
        false: False positives and false negatives together.
    """
    bounds = wilson(tp, tp + false)
    if bounds is None:
        return None
    low, high = (2 * share / (1 + share) for share in bounds)
    return low, high


def mcc(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Matthews' correlation coefficient, in [-1, 1]; 0 where a row or column of counts is empty.

    Source: B. W. Matthews, BBA 405 (1975), p. 442-451.

    Args:
        counts: Shape (..., 4): tn, fp, fn, tp; or shares, which give the same.
    """
    tn, fp, fn, tp = np.moveaxis(counts, -1, 0)
    # Roots before products: four counts of a million would overflow nothing in float64, but lose
    # digits.
    below = np.sqrt(tp + fp) * np.sqrt(tp + fn) * np.sqrt(tn + fp) * np.sqrt(tn + fn)
    value: NDArray[np.float64] = np.divide(
        tp * tn - fp * fn, below, out=np.zeros_like(below), where=below > 0
    )
    # Roots round: a perfect table may end a digit beyond 1.
    return value.clip(-1, 1)


def mcc_interval(counts: tuple[int, int, int, int], seed: int) -> Interval:
    """Interval of Matthews' coefficient.

    Drawn from the posterior of the four shares (Dirichlet, Jeffreys' prior of half a row each): the
    Bayesian bootstrap (D. B. Rubin, Annals of Statistics 9 (1981), p. 130-134) of rows that differ
    in nothing but their cell. The half rows give width where a cell is empty.

    Args:
        counts: tn, fp, fn, tp.
        seed: Of the draws.
    """
    cells = np.array(counts, dtype=np.float64)
    shares = np.random.default_rng(seed).dirichlet(cells + 0.5, size=10 * _REPLICATES)
    low, high = np.percentile(mcc(shares), _PERCENTILES)
    point = float(mcc(cells))
    return min(float(low), point), max(float(high), point)


@dataclass(frozen=True, slots=True)
class Areas:
    """Intervals of the areas under the ROC curve and under the precision-recall steps.

    Attributes:
        roc_auc, average_precision: None where every replicate is alike, as without a single
            misranked row: a bootstrap then knows of no spread.
    """

    roc_auc: Interval | None
    average_precision: Interval | None


def areas(
    scores: NDArray[np.float32],
    target: NDArray[np.uint8],
    exact: tuple[float, float],
    seed: int,
) -> Areas:
    """Bootstrap both areas, each class for itself, so that both keep their share of the rows.

    The Bayesian bootstrap again: rows get random weights instead of random copies.

    Args:
        scores: Shape (n_flows,).
        target: Shape (n_flows,), both classes present.
        exact: Area under the ROC curve and average precision of all rows.
        seed: Of the draws.
    """
    attack, benign = _histograms(scores, target)
    rng = np.random.default_rng(seed)
    drawn = np.concatenate(
        [
            np.column_stack(_areas(some_attack, some_benign))
            for some_attack, some_benign in _replicates(attack, benign, rng)
        ]
    )
    binned = np.concatenate(_areas(attack[None], benign[None]))
    bounds = np.percentile(drawn - binned, _PERCENTILES, axis=0) + exact
    return Areas(*(_proper(bounds[:, column], exact[column]) for column in range(2)))


def _proper(bounds: NDArray[np.float64], point: float) -> Interval | None:
    low, high = float(bounds[0]), float(bounds[1])
    if high - low < 1e-12:  # less than the last digit of a sum of a million rows
        return None
    return max(0.0, min(low, point)), min(1.0, max(high, point))


def _histograms(
    scores: NDArray[np.float32], target: NDArray[np.uint8]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Attack and benign rows per bin, highest scores first; bins of about equally many rows."""
    ordered = np.sort(scores)
    places = np.linspace(0, len(ordered) - 1, min(_BINS, len(ordered))).astype(np.intp)
    edges = np.unique(ordered[places])
    member = np.searchsorted(edges, scores, side="right") - 1
    attack, benign = (
        np.bincount(member[target == kind], minlength=len(edges))[::-1].astype(np.float64)
        for kind in (1, 0)
    )
    return attack, benign


def _replicates(
    attack: NDArray[np.float64], benign: NDArray[np.float64], rng: np.random.Generator
) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    for _ in range(_REPLICATES // _CHUNK):
        yield _drawn(attack, rng), _drawn(benign, rng)


def _drawn(counts: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """Weight of each bin's rows when every row's weight is random; shape (_CHUNK, n_bins)."""
    # A sum of k weights of Gamma(1) is one of Gamma(k): as good as a draw for every row.
    weights = rng.standard_gamma(counts, size=(_CHUNK, len(counts)))
    scaled: NDArray[np.float64] = weights * (counts.sum() / weights.sum(axis=1, keepdims=True))
    return scaled


def _areas(
    attack: NDArray[np.float64], benign: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Area under the ROC curve and average precision per replicate; ties count half in the first.

    Args:
        attack: Rows or weights per bin, shape (n_replicates, n_bins), highest scores first.
        benign: Likewise.
    """
    true, false = np.cumsum(attack, axis=1), np.cumsum(benign, axis=1)
    positives, negatives = true[:, -1], false[:, -1]
    misranked = ((false - benign / 2) * attack).sum(axis=1)
    # Weights can be small, so no floor of 1: only where there is nothing yet.
    precision = true / np.maximum(true + false, np.finfo(np.float64).tiny)
    average = (precision * attack).sum(axis=1) / positives
    return 1 - misranked / (positives * negatives), average
