"""A search of hyper-parameters on the rows of a run, before the run's models are fitted."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from trainer.datasets.splits import stratified_sample
from trainer.models.base import Part
from trainer.search import Outcome, search
from trainer.thresholds import best_threshold

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from trainer.experiment import Choice, Fitting
    from trainer.models.base import Progress
    from trainer.parts import Deal, Labelled
    from trainer.search_space import SearchSpace


def tuned(
    choice: Choice, space: SearchSpace, rows: Deal, fitting: Fitting, work: Path
) -> tuple[Fitting, dict[str, Any]]:
    """Search, and take the best hyper-parameters for a model.

    Args:
        choice: The model.
        space: What to try.
        rows: Trials learn from its training rows, or a sample of them, and are judged by the
            validation rows; the test rows are not looked at.
        fitting: How models are fitted.
        work: Folder for the record of trials, which an interrupted search goes on with.

    Returns:
        How models are fitted from now on, and what `metrics.json` says of the search.
    """
    train = _sampled(rows.parts["train"], space.rows, fitting.seed)
    validation = rows.parts["validation"].part
    trial_fitting = replace(fitting, epochs=space.epochs or fitting.epochs)

    def objective(
        parameters: Mapping[str, object], report: Callable[[float, int], bool] | None
    ) -> Outcome:
        pruned = False

        def watch(progress: Progress) -> None:
            nonlocal pruned
            fitting.talk.progress(f"search, {choice.name}", progress)
            if report is not None and progress.epoch_ended and progress.f1 is not None:
                pruned = report(progress.f1, progress.epoch)

        settings = replace(
            trial_fitting.settings(choice, rows, None),
            tuning=parameters,
            report=watch,
            stopping=lambda: pruned or fitting.stopping(),
            tell=lambda _: None,
        )
        model = choice.kind.make(settings)
        history = model.fit(train, validation)
        f1 = best_threshold(model.scores(validation), validation.target).f1
        return Outcome(f1, min(history.validation_loss, default=None))

    result = search(
        space,
        objective,
        fitting.seed,
        storage=work / "search.jsonl",
        tell=fitting.talk.step,
        stopping=fitting.stopping,
    )
    tuning = {**fitting.tuning, choice.name: result.best}
    facts = result.to_json()
    facts["asked"], facts["trials"] = facts["trials"], facts.pop("done")
    for trial in facts["trials"]:
        trial["epochs"] = len(trial["epochs"])
    return replace(fitting, tuning=tuning), {"model": choice.name} | facts


def _sampled(labelled: Labelled, rows: int | None, seed: int) -> Part:
    part = labelled.part
    if rows is None or rows >= len(part):
        return part
    chosen = stratified_sample(labelled.label, rows, np.random.default_rng(seed))
    return Part(
        raw=part.raw[chosen],
        inputs=part.inputs[chosen],
        target=part.target[chosen],
        family=part.family[chosen],
        weight=None if part.weight is None else part.weight[chosen],
    )
