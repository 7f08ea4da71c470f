"""Predictors with a fault, to show that the faults would be found."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edge_agent.detect.interpreter import Predictor, Tensor


class Spoiled:
    """A sound model behind a fault; this one has none."""

    def __init__(self, model: Predictor) -> None:
        self._model = model

    @property
    def input(self) -> Tensor:
        return self._model.input

    @property
    def output(self) -> Tensor:
        return self._model.output

    def predict(self, rows: NDArray[Any]) -> NDArray[Any]:
        return self._model.predict(rows)


class Offset(Spoiled):
    """Every output is some steps too high, as from a wrong zero point."""

    def __init__(self, model: Predictor, steps: int) -> None:
        super().__init__(model)
        self._steps = steps

    def predict(self, rows: NDArray[Any]) -> NDArray[Any]:
        output = super().predict(rows)
        limits = np.iinfo(output.dtype)
        moved = np.clip(output.astype(int) + self._steps, limits.min, limits.max)
        return np.asarray(moved, dtype=output.dtype)


class Leaking(Spoiled):
    """Part of the last flow's output stays in the next, as in an LSTM that is never reset."""

    def __init__(self, model: Predictor) -> None:
        super().__init__(model)
        self._last = 0.0

    def predict(self, rows: NDArray[Any]) -> NDArray[Any]:
        output = super().predict(rows).astype(float)
        for row in range(len(output)):
            output[row] = 0.7 * output[row] + 0.3 * self._last
            self._last = float(output[row, 0])
        return np.asarray(np.rint(output), dtype=self.output.dtype)


class Stuck(Spoiled):
    """Beyond a row's place in a batch of 64 nothing is computed."""

    def predict(self, rows: NDArray[Any]) -> NDArray[Any]:
        output = super().predict(rows)
        output[64:] = output[0] if len(output) else 0
        return output
