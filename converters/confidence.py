"""How far a difference between two models on the same rows may be chance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_DRAWS: Final = 4000
_SEED: Final = 0
_OUTSIDE: Final = (2.5, 97.5)


@dataclass(frozen=True, slots=True)
class Intervals:
    """95 % intervals of differences, in points (hundredths): lowest and highest.

    Attributes:
        f1_drop: Of the F1 that the converted model loses.
        false_alarm_rise: Of the false-alarm rate that it gains.
    """

    f1_drop: tuple[float, float]
    false_alarm_rise: tuple[float, float]


def intervals(
    labels: NDArray[np.uint8], full: NDArray[np.bool_], converted: NDArray[np.bool_]
) -> Intervals:
    """Paired bootstrap (Efron and Tibshirani 1993, chapter 13) of the rows.

    Both models judge the same rows, so rows are drawn with both verdicts: what they agree on
    cancels out. All that counts of a row is its label and two verdicts, one of eight cells, so a
    draw of all rows is one draw of eight counts.

    Args:
        labels: 1 = attack, shape (n_rows,).
        full: Verdicts of the full model, shape (n_rows,).
        converted: Those of the converted one.
    """
    if not len(labels):
        return Intervals((0.0, 0.0), (0.0, 0.0))
    cells = 4 * labels.astype(np.intp) + 2 * full + converted
    counts = np.bincount(cells, minlength=8)
    draws = np.random.default_rng(_SEED).multinomial(len(labels), counts / len(labels), _DRAWS)
    drawn = draws.reshape(_DRAWS, 2, 2, 2)  # by label, full verdict, converted verdict
    drop = _f1(drawn.sum(axis=3)) - _f1(drawn.sum(axis=2))
    rise = _false_alarms(drawn.sum(axis=2)) - _false_alarms(drawn.sum(axis=3))
    return Intervals(_points(drop), _points(rise))


def _f1(table: NDArray[np.intp]) -> NDArray[np.float64]:
    """F1 of tables by label and verdict, shape (n_draws, 2, 2)."""
    tp, fp, fn = table[:, 1, 1], table[:, 0, 1], table[:, 1, 0]
    whole = 2 * tp + fp + fn
    share: NDArray[np.float64] = 2 * tp / np.maximum(whole, 1)
    return share


def _false_alarms(table: NDArray[np.intp]) -> NDArray[np.float64]:
    benign = table[:, 0].sum(axis=1)
    share: NDArray[np.float64] = table[:, 0, 1] / np.maximum(benign, 1)
    return share


def _points(difference: NDArray[np.float64]) -> tuple[float, float]:
    low, high = np.percentile(100 * difference, _OUTSIDE)
    return float(low), float(high)
