"""The rows from which the converter learns each tensor's range."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from edge_agent.contract.errors import ConversionError

if TYPE_CHECKING:
    from numpy.typing import NDArray


def calibration_rows(scaled: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows that reach from 0 to 1 exactly, so that the input is quantised at 1/255 and -128.

    Where the given rows, shape (n_rows, n_features), do not, their smallest or largest number is
    moved in a copy of its row. Rows of all zeros or all ones would do the same, but no flow looks
    like that: they would widen the ranges of every layer behind.

    Raises:
        ConversionError: There are no rows, or a number lies outside [0, 1].
    """
    if not len(scaled):
        raise ConversionError(
            "the run has no calibration rows; train the run again with edge-train."
        )
    if not ((scaled >= 0) & (scaled <= 1)).all():
        raise ConversionError(
            "the run's calibration rows do not lie between 0 and 1 after scaling; train the run"
            " again with edge-train."
        )
    rows = [scaled]
    for position, bound in ((scaled.argmin(), 0.0), (scaled.argmax(), 1.0)):
        row, column = np.unravel_index(position, scaled.shape)
        if scaled[row, column] != bound:
            moved = scaled[row : row + 1].copy()
            moved[0, column] = bound
            rows.append(moved)
    return np.concatenate(rows)
