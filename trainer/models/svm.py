"""Support vector machines that finish on millions of rows.

The `linear` one separates the scaled features by a plane. The `kernel` one is the Nyström form of
an RBF machine: a thousand training rows, the landmarks, stand for all, and a flow's decision is
a weighted sum of its likeness to them, exp(-gamma · squared distance).

Both minimise the squared hinge loss (as LinearSVC does) in the primal, by Newton's method with an
exact line search: Keerthi and DeCoste, "A Modified Finite Newton Method for Fast Solution of Large
Scale Linear SVMs", JMLR 6, 2005; for kernels Chapelle, "Training a Support Vector Machine in the
Primal", Neural Computation 19, 2007. A step reads the rows once, a chunk at a time, and keeps one
number per row and one matrix over the columns; a dozen steps suffice, there is no rate to tune,
and no order of the rows to depend on. Stochastic gradients, the other way to do it in bounded
memory, stop two points of F1 short of the same plane on CICIDS2017 (SGDClassifier, averaged).
"""

from __future__ import annotations

import contextlib
import os
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Any, Final, TypeVar

import numpy as np
from threadpoolctl import threadpool_limits

from edge_agent.contract.errors import RunError
from trainer.evaluate import best_threshold
from trainer.models.arrays import REMEDY, Layout, load_arrays, save_arrays
from trainer.models.base import FitSettings, History, Part, Progress, scaled
from trainer.models.landmarks import Columns, choose_landmarks
from trainer.models.tunables import SVM, tuned
from trainer.models.weights import row_weights

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

_CHUNK_ROWS: Final = 8192
_MAX_STEPS: Final = 50
# Steps end when the loss falls by less than this share: F1 no longer moves then.
_TOLERANCE: Final = 1e-3
# So many rows show where the plane roughly is; with many more, steps on all of them start there.
_ROUGH_ROWS: Final = 50_000
_ROUGH_PAYS: Final = 4
# Halvings of a step's length: finer than float32 tells apart.
_HALVINGS: Final = 25
# Keeps the equations solvable; the offset must be free to be anything otherwise.
_OFFSET_REGULARISATION: Final = 1e-9
# A score is the logistic function of this times the decision: flows at the edges of the margin,
# where the decision is 1 or -1, score .9 and .1. Monotone, no probability.
_SLOPE: Final = float(np.log(9.0))

_LAYOUT: Final = Layout(
    "support vector machine",
    1,
    {"weights": ("float64", 1), "landmarks": ("float32", 2), "gamma": ("float64", 0)},
)


@dataclass(frozen=True, slots=True)
class Problem:
    """Rows to separate.

    Attributes:
        inputs: As `Part.inputs`.
        side: float64, shape (n_flows,): 1 attack, -1 benign.
        weight: float64, shape (n_flows,), how much a row's loss counts; sums to 1.
    """

    inputs: NDArray[np.uint8] | NDArray[np.float32]
    side: NDArray[np.float64]
    weight: NDArray[np.float64]

    @classmethod
    def of(cls, part: Part, loss: str, index: NDArray[np.intp] | None = None) -> Problem:
        """The rows of a part, or those at `index`."""
        weight = row_weights(part, "plain" if loss == "plain" else "weighted").astype(np.float64)
        chosen = slice(None) if index is None else index
        weight = weight[chosen]
        side = np.where(part.target[chosen] == 1, 1.0, -1.0)
        return cls(part.inputs[chosen], side, weight / weight.sum())


_Result = TypeVar("_Result")


class _Stopped(Exception):
    """The user wants no further step."""


class SupportVectorMachine:
    """A linear machine, or an RBF machine over landmarks."""

    def __init__(
        self,
        settings: FitSettings,
        columns: Columns | None = None,
        weights: NDArray[np.float64] | None = None,
    ) -> None:
        self._settings = settings
        self._values = tuned(SVM, settings)
        self._columns = columns
        self._weights = weights

    def fit(self, train: Part, validation: Part) -> History:
        """See `Classifier.fit`; the validation rows only tell how far it has come."""
        settings = self._settings
        rng = np.random.default_rng(settings.seed)
        self._columns = columns = self._choose_columns(train, rng)
        self._weights = np.zeros(columns.count + 1)
        with _one_thread_each():
            basis = columns.basis()
        problems = [Problem.of(train, settings.loss)]
        if len(train) >= _ROUGH_PAYS * _ROUGH_ROWS:
            sample = np.sort(rng.choice(len(train), _ROUGH_ROWS, replace=False))
            problems.insert(0, Problem.of(train, settings.loss, sample))
        begin = time.monotonic()
        numbers = count(1)

        def after_step(within: NDArray[np.float64], loss: float) -> None:
            self._weights = basis @ within
            self._report(next(numbers), loss, validation, time.monotonic() - begin)

        within = np.zeros(basis.shape[1])
        with contextlib.suppress(_Stopped), _one_thread_each():
            for problem in problems:
                within = self._solve(problem, basis, within, after_step)
        return History()

    def scores(self, part: Part) -> NDArray[np.float32]:
        """See `Classifier.scores`."""
        with _one_thread_each():
            decision = self._decisions(part.inputs, self._fitted[1])
        decision = np.clip(_SLOPE * decision, -50, 50)
        return (1 / (1 + np.exp(-decision))).astype(np.float32)

    def family_shares(self, part: Part) -> None:  # noqa: ARG002  # the common shape
        """See `Classifier.family_shares`: there are none."""
        return

    def save(self, stem: Path) -> Path:
        """See `Classifier.save`."""
        columns, weights = self._fitted
        return save_arrays(
            stem,
            _LAYOUT,
            {
                "weights": weights,
                "landmarks": columns.landmarks,
                "gamma": np.asarray(columns.gamma),
            },
        )

    @classmethod
    def load(cls, path: Path, settings: FitSettings) -> SupportVectorMachine:
        """Read what `save` wrote.

        Raises:
            RunError: The file is damaged or of another kind of model.
        """
        arrays = load_arrays(path, _LAYOUT)
        columns = Columns(arrays["landmarks"], float(arrays["gamma"]))
        if columns.count + 1 != len(arrays["weights"]):
            raise RunError(path, "its weights do not fit its landmarks", remedy=REMEDY)
        return cls(settings, columns, arrays["weights"])

    @property
    def parameters(self) -> int:
        """Weights, and the landmarks' features."""
        columns, weights = self._fitted
        return int(weights.size + columns.landmarks.size)

    @property
    def _fitted(self) -> tuple[Columns, NDArray[np.float64]]:
        if self._columns is None or self._weights is None:
            raise RuntimeError("the machine is not fitted")
        return self._columns, self._weights

    def _choose_columns(self, train: Part, rng: np.random.Generator) -> Columns:
        width = train.inputs.shape[1]
        if self._settings.size != "kernel":
            return Columns(np.zeros((0, width), dtype=np.float32), 0.0)
        index = choose_landmarks(train, self._values["components"], rng)
        return Columns(scaled(train.inputs[index]), self._values["gamma"])

    def _solve(
        self,
        problem: Problem,
        basis: NDArray[np.float64],
        start: NDArray[np.float64],
        after_step: Callable[[NDArray[np.float64], float], None],
    ) -> NDArray[np.float64]:
        """Newton's steps until the loss rests.

        Args:
            problem: The rows.
            basis: See `Columns.basis`.
            start: Weights in the basis to start from.
            after_step: Called with the weights in the basis and the loss.

        Returns:
            Weights in the basis.
        """
        ridge = np.full(basis.shape[1], self._values["regularisation"])
        ridge[-1] = _OFFSET_REGULARISATION
        now = start
        decision = self._decisions(problem.inputs, basis @ now)
        before = _loss(problem, decision) + ridge @ now**2
        for _ in range(_MAX_STEPS):
            matrix, slope = self._curvature(problem, decision)
            matrix = basis.T @ matrix @ basis + 2 * np.diag(ridge)
            step = -np.linalg.solve(matrix, basis.T @ slope + 2 * ridge * now)
            change = self._decisions(problem.inputs, basis @ step)
            length = _length(
                problem, decision, change, (float(ridge @ (now * step)), float(ridge @ step**2))
            )
            now = now + length * step
            decision += length * change
            loss = _loss(problem, decision) + ridge @ now**2
            after_step(now, float(loss))
            if before - loss < _TOLERANCE * before:
                break
            before = loss
        return now

    def _curvature(
        self, problem: Problem, decision: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Second and first derivatives of the loss by the weights over columns and offset."""
        columns, weights = self._fitted

        def of_chunk(chunk: slice) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
            missing = 1 - problem.side[chunk] * decision[chunk]
            short = missing > 0  # Rows beyond the margin have no loss and no say.
            # float64, because millions of products are added up.
            values = np.ones((int(short.sum()), len(weights)))
            values[:, :-1] = columns.of(scaled(problem.inputs[chunk][short]))
            weight = 2 * problem.weight[chunk][short]
            slope = -values.T @ (weight * problem.side[chunk][short] * missing[short])
            values *= np.sqrt(weight)[:, None]
            return values.T @ values, slope

        matrix = np.zeros((len(weights), len(weights)))
        slope = np.zeros(len(weights))
        for its_matrix, its_slope in _by_chunk(of_chunk, len(decision)):
            matrix += its_matrix
            slope += its_slope
            if self._settings.stopping():
                raise _Stopped
        return matrix, slope

    def _decisions(self, inputs: NDArray[Any], weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """Positive for attacks, shape (n_flows,); ±1 at the edges of the margin."""
        columns = self._fitted[0]

        def of_chunk(chunk: slice) -> NDArray[np.float64]:
            decision: NDArray[np.float64] = columns.of(scaled(inputs[chunk])) @ weights[:-1]
            decision += weights[-1]
            return decision

        return np.concatenate([np.zeros(0), *_by_chunk(of_chunk, len(inputs))])

    def _report(self, number: int, loss: float, validation: Part, passed_s: float) -> None:
        f1 = best_threshold(self.scores(validation), validation.target).f1
        left_s = passed_s / number * max(_MAX_STEPS - number, 0)
        self._settings.report(
            Progress(number, max(_MAX_STEPS, number), loss, f1, left_s, epoch_ended=True)
        )


def _one_thread_each() -> threadpool_limits:
    """Leave the cores to `_by_chunk`.

    Sums that a library spreads over the cores end in other last bits on another number of them,
    and small products wait longer for each other than they take.
    """
    return threadpool_limits(1, user_api="blas")


def _by_chunk(function: Callable[[slice], _Result], rows: int) -> Iterator[_Result]:
    """What the function gives for each chunk of rows, in their order, on all cores."""
    chunks = [slice(begin, begin + _CHUNK_ROWS) for begin in range(0, rows, _CHUNK_ROWS)]
    cores = os.cpu_count() or 1
    with ThreadPoolExecutor(cores) as pool:
        # Never more results at hand than cores: each may be a matrix.
        for begin in range(0, len(chunks), cores):
            yield from pool.map(function, chunks[begin : begin + cores])


def _loss(problem: Problem, decision: NDArray[np.float64]) -> float:
    """Weighted mean of the squared hinge loss."""
    missing = np.maximum(1 - problem.side * decision, 0)
    return float(problem.weight @ missing**2)


def _length(
    problem: Problem,
    decision: NDArray[np.float64],
    change: NDArray[np.float64],
    ridge: tuple[float, float],
) -> float:
    """How much of a step to go, 0 to 1: where the loss along it is least.

    Args:
        problem: The rows.
        decision: Of the rows, before the step.
        change: What the whole step adds to it.
        ridge: Half the slope of the regularisation at the start, and half its curvature.
    """

    def slope(length: float) -> float:
        missing = 1 - problem.side * (decision + length * change)
        short = missing > 0
        lost = (problem.weight * problem.side * change * missing)[short].sum()
        return float(ridge[0] + length * ridge[1] - lost)

    low, high = 0.0, 1.0
    if slope(high) <= 0:
        return high
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if slope(middle) > 0 else (middle, high)
    return high


def make(settings: FitSettings) -> SupportVectorMachine:
    """An unfitted machine."""
    return SupportVectorMachine(settings)
