"""Trials of hyper-parameters: every combination of a grid, or what Optuna's TPE thinks worthwhile.

A trial that ends is written down at once, so that a search which was killed goes on with the trial
it was at. What is tried next depends only on the seed and on the trials so far: a search that was
interrupted and one that was not make the same trials.

Optuna proposes and prunes from memory; the journal is ours, a line of JSON a trial, because its
own storages bring a database or cannot seed a resumed sampler.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from trainer.trials import Journal, Trial, plain

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    import optuna

    from trainer.search_space import Dimension, SearchSpace

    Report = Callable[[float, int], bool]
    """Validation F1 after an epoch (from 1) → whether to end the trial."""

    Objective = Callable[[Mapping[str, object], Report | None], "Outcome"]

# Drawn at random before TPE has anything to go by; Optuna's 10 would be half of a short search.
_RANDOM_TRIALS: Final = 6
# The median of fewer trials says little, and nor does a first epoch.
_UNPRUNED_TRIALS: Final = 4
_UNPRUNED_EPOCHS: Final = 1


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a trial came to.

    Attributes:
        f1: On the validation rows.
        loss: The lower decides between equal F1s, which small validation parts are full of; None:
            the earlier trial does.
    """

    f1: float
    loss: float | None = None


@dataclass(frozen=True, slots=True)
class SearchResult:
    """A search, over.

    Attributes:
        space: What was searched.
        trials: In their order; fewer than asked for if the user stopped it.
    """

    space: SearchSpace
    trials: tuple[Trial, ...]

    @property
    def winner(self) -> Trial | None:
        """The best finished trial, the earlier of equals; None: none finished."""
        finished = [trial for trial in self.trials if trial.state == "finished"]
        return max(finished, key=lambda trial: trial.rank, default=None)

    @property
    def best(self) -> dict[str, object]:
        """Hyper-parameters of the best trial, for `FitSettings.tuning`; empty: none finished."""
        return dict(self.winner.parameters) if self.winner else {}

    @property
    def value(self) -> float | None:
        """Validation F1 of the best trial."""
        return self.winner.f1 if self.winner else None

    def to_json(self) -> dict[str, Any]:
        """For `metrics.json`."""
        winner = self.winner
        return self.space.to_json() | {
            "best": {name: plain(value) for name, value in self.best.items()},
            "best_trial": winner.number if winner else None,
            "f1": self.value,
            "done": [trial.to_json() for trial in self.trials],
        }


def search(
    space: SearchSpace,
    objective: Objective,
    seed: int,
    storage: Path | None = None,
    tell: Callable[[str], None] = lambda _: None,
    stopping: Callable[[], bool] = lambda: False,
) -> SearchResult:
    """Try hyper-parameters.

    Args:
        space: What to try.
        objective: Trains with the hyper-parameters and says how well; given equal ones it must
            come to the same. Its second argument is None where nothing is pruned; else it is to be
            called after every epoch, and when it returns True the trial is to end.
        seed: Of what is tried; not handed to the objective.
        storage: File of the trials; one that is there already is gone on with.
        tell: Called with a line for each trial.
        stopping: Asked between trials, and after each: one that ended under it does not count.

    Raises:
        SearchSpaceError: The storage is of another search.
        RunError: The storage is damaged.
        OutputError: The storage cannot be written.
    """
    journal = Journal(storage, space, seed)
    trials = journal.begin()[: space.trials]
    if trials:
        tell(f"search: going on after {len(trials)} of {space.trials} trials")
    proposals = _Proposals(space, seed)
    for trial in trials:
        proposals.learn(trial)
    while len(trials) < space.trials and not stopping():
        trial = _run(proposals, objective, trials)
        if stopping():
            break
        journal.add(trial)
        trials.append(trial)
        tell(_line(trial, space, SearchResult(space, tuple(trials)).winner))
    return SearchResult(space, tuple(trials))


def _run(proposals: _Proposals, objective: Objective, trials: list[Trial]) -> Trial:
    number = len(trials) + 1
    asked, parameters = proposals.ask(number)
    for earlier in trials:
        if earlier.parameters == parameters:
            # Nothing new would come of it; TPE likes to propose the best of few choices again.
            trial = Trial(
                number, parameters, earlier.state, earlier.f1, earlier.loss, earlier.epochs, 0.0
            )
            proposals.close(asked, trial)
            return trial
    epochs: list[tuple[int, float]] = []
    pruned = False

    def report(f1: float, epoch: int) -> bool:
        nonlocal pruned
        epochs.append((epoch, f1))
        asked.report(f1, epoch)
        pruned = pruned or asked.should_prune()
        return pruned

    begin = time.monotonic()
    outcome = objective(dict(parameters), report if proposals.space.prune else None)
    failed = not math.isfinite(outcome.f1)
    trial = Trial(
        number=number,
        parameters=parameters,
        state="failed" if failed else "pruned" if pruned else "finished",
        f1=None if failed else float(outcome.f1),
        loss=_finite(outcome.loss),
        epochs=tuple((epoch, f1) for epoch, f1 in epochs if math.isfinite(f1)),
        took_s=round(time.monotonic() - begin, 3),
    )
    proposals.close(asked, trial)
    return trial


class _Proposals:
    """Optuna's study, in memory."""

    def __init__(self, space: SearchSpace, seed: int) -> None:
        import optuna  # noqa: PLC0415  # half a second, and only searches need it

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._optuna = optuna
        self.space = space
        self._seed = seed
        self._grid = list(space.combinations()) if space.method == "grid" else []
        self._distributions = {
            dimension.name: self._distribution(dimension) for dimension in space.dimensions
        }
        self._study = optuna.create_study(
            direction="maximize",
            pruner=optuna.pruners.MedianPruner(
                n_startup_trials=_UNPRUNED_TRIALS, n_warmup_steps=_UNPRUNED_EPOCHS
            ),
        )

    def ask(self, number: int) -> tuple[optuna.Trial, dict[str, object]]:
        """Begin trial `number`, from 1."""
        # A sampler of its own for every trial: one that is resumed draws as one that was not.
        state = np.random.SeedSequence([self._seed, number]).generate_state(1)
        self._study.sampler = self._optuna.samplers.TPESampler(
            seed=int(state[0]), n_startup_trials=_RANDOM_TRIALS
        )
        if self._grid:
            self._study.enqueue_trial(self._encoded(self._grid[number - 1]))
        asked = self._study.ask(self._distributions)
        return asked, {
            dimension.name: self._decoded(dimension, asked.params[dimension.name])
            for dimension in self.space.dimensions
        }

    def close(self, asked: optuna.Trial, trial: Trial) -> None:
        """Tell how a trial ended that `ask` began."""
        states = self._optuna.trial.TrialState
        if trial.state == "finished":
            self._study.tell(asked, trial.f1)
        else:
            self._study.tell(asked, state=states.PRUNED if trial.state == "pruned" else states.FAIL)

    def learn(self, trial: Trial) -> None:
        """Tell a trial of an earlier process."""
        states = self._optuna.trial.TrialState
        state = {"finished": states.COMPLETE, "pruned": states.PRUNED, "failed": states.FAIL}
        self._study.add_trial(
            self._optuna.create_trial(
                state=state[trial.state],
                value=trial.f1 if trial.state == "finished" else None,
                params=self._encoded(trial.parameters),
                distributions=self._distributions,
                intermediate_values=dict(trial.epochs),
            )
        )

    def _distribution(self, dimension: Dimension) -> Any:
        known = self._optuna.distributions
        if self._by_position(dimension):
            return known.CategoricalDistribution(tuple(range(dimension.count)))
        if dimension.whole:
            return known.IntDistribution(
                int(dimension.low),
                int(dimension.high),
                log=dimension.log,
                step=int(dimension.step) or 1,
            )
        return known.FloatDistribution(
            dimension.low, dimension.high, log=dimension.log, step=dimension.step or None
        )

    def _encoded(self, parameters: Mapping[str, object]) -> dict[str, Any]:
        return {
            dimension.name: dimension.values().index(parameters[dimension.name])
            if self._by_position(dimension)
            else parameters[dimension.name]
            for dimension in self.space.dimensions
        }

    def _decoded(self, dimension: Dimension, value: Any) -> object:
        return dimension.values()[value] if self._by_position(dimension) else value

    def _by_position(self, dimension: Dimension) -> bool:
        # Optuna takes no lists for choices, and a grid has nothing between its values.
        return bool(dimension.choices or self._grid)


def _finite(value: float | None) -> float | None:
    return float(value) if value is not None and math.isfinite(value) else None


def _line(trial: Trial, space: SearchSpace, winner: Trial | None) -> str:
    asked = ", ".join(f"{name} {_shown(value)}" for name, value in trial.parameters.items())
    f1 = "no F1" if trial.f1 is None else f"F1 {trial.f1:.4f}"
    state = "" if trial.state == "finished" else f", {trial.state}"
    best = f" (best {winner.f1:.4f}, trial {winner.number})" if winner else ""
    return f"search: trial {trial.number} of {space.trials}: {asked}: {f1}{state}{best}"


def _shown(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return "-".join(map(str, value)) if isinstance(value, tuple) else str(value)
