"""Epochs: learn, judge, keep the best, write a checkpoint, stop in time.

Everything random is drawn anew in each epoch from the seed and the epoch's number, so a fit that
was killed and goes on from its checkpoint ends with the weights of one that was not.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from trainer import accelerator, distribution
from trainer._tensorflow import keras, tf
from trainer.models import tuning
from trainer.models.base import History, Progress
from trainer.models.checkpoints import Checkpoints, State
from trainer.models.feeding import Feed, Rows
from trainer.models.learner import LEARNING_RATE, Descent, Learner, Objective, Totals

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from trainer.models.base import FitSettings

# The cosine ends at this share of the rate, so that the last epochs polish instead of standing.
_FINAL_SHARE: Final = 0.01
# Share of all steps over which the rate rises: Adam's first steps know no second moments.
_WARM_UP_SHARE: Final = 0.05
# Epochs without a better judgement after which training stops; at least, and as a share of all.
_PATIENCE: Final = 4
_PATIENCE_SHARE: Final = 0.5
# Small data sets get smaller batches: fewer steps an epoch than this teach nothing.
_MIN_STEPS: Final = 40
_MIN_BATCH: Final = 32
# Reading the running loss waits for the device: a few times a second is as much as anyone sees.
_REPORT_S: Final = 0.25


@dataclass(frozen=True, slots=True)
class Judgement:
    """What weights are worth on the validation rows.

    Attributes:
        rank: Higher is better, compared number by number.
        loss, accuracy, f1: For the history.
    """

    rank: tuple[float, float]
    loss: float
    accuracy: float
    f1: float


@dataclass(frozen=True, slots=True)
class Problem:
    """What is to be fitted.

    Attributes:
        description: Tells this network from others; layers and their options.
        objective: The network and its loss.
        rows: To learn from.
        judge: Weights, as of `get_weights` → their worth.
    """

    description: str
    objective: Objective
    rows: Rows
    judge: Callable[[list[NDArray[Any]]], Judgement]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of it.

    Attributes:
        weights: The best ones, as of `get_weights`.
        history: Curves of whole epochs.
    """

    weights: list[NDArray[Any]]
    history: History


class _Stopped(Exception):
    """The user wants no more."""


class Fitting:
    """One fit of one network.

    Args:
        problem: What to fit.
        settings: How.

    Raises:
        ValueError: A hyper-parameter has no possible value.
    """

    def __init__(self, problem: Problem, settings: FitSettings) -> None:
        self._problem = problem
        self._settings = settings
        asked = settings.tuning
        self._device = accelerator.find(asked.get("precision"), settings.tell)
        self._descent = Descent(
            learning_rate=tuning.number(asked, "learning_rate", LEARNING_RATE),
            weight_decay=tuning.number(asked, "weight_decay", 0.0),
            averaging=tuning.number(asked, "averaging", 0.0),
        )
        if not (self._descent.learning_rate > 0 and 0 <= self._descent.averaging < 1):
            raise ValueError("learning_rate must be above 0, and averaging from 0 to below 1")
        swapped = tuning.number(asked, "swap_noise", 0.0)
        self._feed = Feed(problem.rows, settings.seed, distribution.share(), swapped)
        self._checkpoints = Checkpoints(settings.checkpoints if distribution.is_chief() else None)
        self._patience = max(_PATIENCE, math.ceil(settings.epochs * _PATIENCE_SHARE))
        self._clock = _Clock()

    def run(self) -> Outcome:
        """Fit, from the start or from the checkpoint.

        Raises:
            RunError: The checkpoint is of another fit.
            OutputError: A checkpoint cannot be written.
            ClusterError: A worker was lost, or does something else.
        """
        tf.config.experimental.enable_op_determinism()
        fingerprint = self._fingerprint()
        distribution.agree(fingerprint)
        with distribution.losses_told():
            learner = self._learner()
            state = self._begun(learner, fingerprint)
            try:
                while not state.finished:
                    state = self._next(learner, state)
                    if distribution.is_chief():
                        self._checkpoints.save(state)
                    self._report_end(state)
            except _Stopped:
                state = replace(state, history=replace(state.history, stopped=True))
            return Outcome(state.best or learner.weights(), state.history)

    def _learner(self) -> Learner:
        keras.utils.set_random_seed(self._settings.seed)
        return Learner(self._problem.objective, self._descent, self._device, self._feed.signature)

    def _begun(self, learner: Learner, fingerprint: str) -> State:
        """The state to go on from: the chief's checkpoint, or that of the untrained network."""
        found = self._checkpoints.load(fingerprint)
        data = distribution.from_chief(found.to_bytes() if found else b"")
        if not data:
            batch = tuning.integer(self._settings.tuning, "batch_size", self._settings.batch_size)
            batch = max(_MIN_BATCH, min(batch, len(self._problem.rows) // _MIN_STEPS))
            return State(fingerprint, 0, batch, learner.state())
        state = State.from_bytes(data)
        learner.restore(state.learner)
        if not state.finished:
            self._settings.tell(f"going on after epoch {state.epoch} of {self._settings.epochs}")
        return state

    def _next(self, learner: Learner, state: State) -> State:
        """One more epoch, with smaller batches where memory does not suffice."""
        while True:
            try:
                return self._epoch(learner, state)
            except tf.errors.ResourceExhaustedError:  # noqa: PERF203  # a loop of whole epochs
                # In a cluster the others would wait for a step that never comes.
                if state.batch_rows <= 1 or distribution.share().count > 1:
                    raise
                state = replace(state, batch_rows=state.batch_rows // 2)
                learner.restore(state.learner)
                self._settings.tell(
                    f"out of memory: going on after epoch {state.epoch} with batches of"
                    f" {state.batch_rows} rows"
                )

    def _epoch(self, learner: Learner, state: State) -> State:
        settings = self._settings
        number = state.epoch + 1
        steps = self._feed.steps(state.batch_rows)
        learner.begin_epoch(settings.seed, number)
        self._clock.begin()
        for step, batch in enumerate(self._feed.epoch(number, state.batch_rows)):
            done = (state.epoch + step / steps) / settings.epochs
            learner.step(batch, rate_share(done), stop=settings.stopping())
            self._look(learner, state, (step + 1) / steps)
        totals = learner.totals()
        self._clock.learned()
        weights = learner.weights()
        judged = self._judged(weights)
        self._clock.end()
        better = judged.rank > state.rank
        history = _extended(state.history, totals, judged)
        best_epoch = number if better else history.best_epoch
        return replace(
            state,
            epoch=number,
            learner=learner.state(),
            best=weights if better else state.best,
            rank=judged.rank if better else state.rank,
            history=replace(history, best_epoch=best_epoch),
            finished=number >= settings.epochs or number - best_epoch >= self._patience,
        )

    def _judged(self, weights: list[NDArray[Any]]) -> Judgement:
        own = self._problem.judge(weights)
        # Machines may differ in the last bits: one opinion, or some would stop without the others.
        first, second, loss, accuracy, f1 = distribution.numbers_from_chief(
            (*own.rank, own.loss, own.accuracy, own.f1)
        )
        return Judgement((first, second), loss, accuracy, f1)

    def _look(self, learner: Learner, state: State, share: float) -> None:
        """Report, and stop if that is wanted, amid an epoch."""
        alone = distribution.share().count == 1
        if alone and self._settings.stopping():
            raise _Stopped
        due = self._clock.due()
        if alone and not due:
            return
        totals = learner.totals()
        # All workers see the same sum after the same step, so that all leave together.
        if totals.stop:
            raise _Stopped
        if due:
            f1 = state.history.validation_f1
            self._settings.report(
                Progress(
                    epoch=state.epoch + 1,
                    epochs=self._settings.epochs,
                    loss=totals.loss / totals.rows,
                    f1=f1[-1] if f1 else None,
                    left_s=self._clock.left_s(share, self._settings.epochs - state.epoch),
                    epoch_ended=False,
                )
            )

    def _report_end(self, state: State) -> None:
        self._settings.report(
            Progress(
                epoch=state.epoch,
                epochs=self._settings.epochs,
                loss=state.history.loss[-1],
                f1=state.history.validation_f1[-1],
                left_s=0.0
                if state.finished
                else self._clock.left_s(0.0, self._settings.epochs - state.epoch),
                epoch_ended=True,
            )
        )

    def _fingerprint(self) -> str:
        """Of all that decides what comes out, but for the machine."""
        settings = self._settings
        asked = {
            "network": self._problem.description,
            "size": settings.size,
            "epochs": settings.epochs,
            "batch_size": settings.batch_size,
            "seed": settings.seed,
            "families": settings.families,
            "loss": settings.loss,
            "tuning": dict(settings.tuning),
            "rows": self._problem.rows.checksum(),
        }
        text = json.dumps(asked, sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()


def rate_share(done: float) -> float:
    """Learning rate as a share of the highest: a short rise, then a cosine.

    Args:
        done: Share of all steps that are over.
    """
    if done < _WARM_UP_SHARE:
        return max(_FINAL_SHARE, done / _WARM_UP_SHARE)
    angle = math.pi * (done - _WARM_UP_SHARE) / (1 - _WARM_UP_SHARE)
    return _FINAL_SHARE + (1 - _FINAL_SHARE) * (1 + math.cos(angle)) / 2


def _extended(history: History, totals: Totals, judged: Judgement) -> History:
    return replace(
        history,
        loss=[*history.loss, totals.loss / totals.rows],
        accuracy=[*history.accuracy, totals.right / totals.rows],
        validation_loss=[*history.validation_loss, judged.loss],
        validation_accuracy=[*history.validation_accuracy, judged.accuracy],
        validation_f1=[*history.validation_f1, judged.f1],
    )


class _Clock:
    """How long epochs take, and when something is to be said."""

    def __init__(self) -> None:
        self._began = self._told = time.monotonic()
        self._judging_s = 0.0
        self._epoch_s: float | None = None
        self._after_learning = 0.0

    def begin(self) -> None:
        self._began = time.monotonic()

    def learned(self) -> None:
        self._after_learning = time.monotonic()

    def end(self) -> None:
        now = time.monotonic()
        self._judging_s = now - self._after_learning
        self._epoch_s = now - self._began

    def due(self) -> bool:
        """Whether to report; at most so often."""
        now = time.monotonic()
        if now - self._told < _REPORT_S:
            return False
        self._told = now
        return True

    def left_s(self, share: float, epochs: int) -> float | None:
        """Seconds to the end.

        Args:
            share: Of the running epoch that is over.
            epochs: How many are not over, with the running one.
        """
        if self._epoch_s is None:
            gone = time.monotonic() - self._began
            return gone / share * (epochs - share) if share else None
        return self._epoch_s * (epochs - share)
