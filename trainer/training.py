"""The whole of a training run: read, clean, split, scale, fit, evaluate, write."""

from __future__ import annotations

import contextlib
import json
import tempfile
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from edge_agent.contract.bundle import ModelFeature
from edge_agent.contract.profiles import PROFILES
from edge_agent.contract.runs import Rows, Run, TrainedModel, save_rows
from trainer.balance import SWAPPED_SHARE, campaign_weights
from trainer.datasets.captures import Talk as ReadingTalk
from trainer.datasets.sources import read
from trainer.datasets.splits import Split, split, stratified_sample
from trainer.distribution import agree, from_chief, is_chief
from trainer.evaluate import Truth
from trainer.experiment import Fitting, Places, fit_all
from trainer.facts import data_facts, packages, provenance, table_facts, told_options
from trainer.folder import Workplace, whole_folder
from trainer.interruption import Interruption
from trainer.judging import Judged, truth_of
from trainer.parts import Deal, deal, rows_of
from trainer.reporting import save_report
from trainer.searching import tuned
from trainer.traffic import Traffic

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trainer.datasets.flows import FlowTable
    from trainer.experiment import Talk
    from trainer.task import Task

CALIBRATION_ROWS: Final = 1000
# Enough to fine-tune a pruned model and to carry a threshold over. All of 2.8 million rows would
# make every run folder 300 MB.
KEPT_TRAINING_ROWS: Final = 200_000
_CROSS: Final = "cross"
_SWAP_NOISE: Final = "swap_noise"
# Of the plan: a worker may keep its copy of the data elsewhere.
_PATHS: Final = frozenset({"data", "labels", "test_data", "test_labels", "files"})


def train(task: Task, talk: Talk) -> dict[str, Any] | None:
    """Train and write the run folder.

    Returns:
        What `metrics.json` holds; "interrupted" is true where the user stopped it early, and the
        run then holds what was fitted so far. None for a worker that is not the chief, which
        helps and writes nothing.

    Raises:
        InputError: The data cannot be used.
        OutputError: The run folder cannot be written.
        KeyboardInterrupt: The user stopped it before anything was learned.
    """
    with _place(task) as place:
        splits = _splits(task, talk)
        tests = _tests(task, talk)
        agree(_fingerprint(task, splits))
        place.work.mkdir(exist_ok=True)
        interruption = Interruption()
        run = _Running(task, talk, place, interruption)
        with interruption.listening(talk.step):
            metrics = run.main(splits.pop(task.options.splits[0]), tests)
            run.others(splits, metrics)
        metrics["interrupted"] = interruption()
        if is_chief():
            save_report(place.folder, metrics, run.judged, run.rows)
        # A worker that leaves while the chief still grows trees would be taken for a lost one.
        from_chief(b"")
    return metrics if is_chief() else None


@contextlib.contextmanager
def _place(task: Task) -> Iterator[Workplace]:
    if is_chief():
        options = task.options
        with whole_folder(
            options.output, force=options.force, resume=options.resume, plan=task.plan()
        ) as place:
            yield place
        return
    with tempfile.TemporaryDirectory(prefix="edge-train-") as name:
        yield Workplace(Path(name), resumed=False)


def _fingerprint(task: Task, splits: dict[str, Split]) -> str:
    """What all workers must have alike."""
    facts = [
        [name, [file.sha256 for file in dealt.table.files], len(dealt.table)]
        for name, dealt in splits.items()
    ]
    settings = {name: value for name, value in task.plan().items() if name not in _PATHS}
    return json.dumps([facts, settings], sort_keys=True, default=str)


def _splits(task: Task, talk: Talk) -> dict[str, Split]:
    """Every split asked for: what cannot be dealt is told before hours go into what can."""
    options = task.options
    table = read(task.sources, task.names, task.cleaning, _reading(talk))
    splits = {
        name: split(table, name, options.seed, options.group_by)
        for name in dict.fromkeys(options.splits)
    }
    main = splits[options.splits[0]]
    rows_read = sum(file.rows for file in table.files)
    parts = data_facts(main, task.features)["parts"].items()
    counts = ", ".join(f"{name} {part['rows']:,}" for name, part in parts)
    talk.step(f"{len(main.table):,} of {rows_read:,} rows kept; {counts}")
    return splits


def _reading(talk: Talk) -> ReadingTalk:
    return ReadingTalk(progress=talk.reading, tell=talk.step)


def _tests(task: Task, talk: Talk) -> FlowTable | None:
    if not task.test_sources:
        return None
    table = read(task.test_sources, task.names, task.cleaning, _reading(talk))
    talk.step(f"{len(table):,} rows of other data to measure on")
    return table


class _Running:
    """A run under way.

    Args:
        task: What to do.
        talk: How to tell.
        place: Where it is made.
        interruption: Whether the user asked to stop.

    Attributes:
        judged: The models of the main experiment.
        rows: Its rows.
    """

    def __init__(
        self, task: Task, talk: Talk, place: Workplace, interruption: Interruption
    ) -> None:
        options = task.options
        self._task, self._talk, self._place = task, talk, place
        self._stopping = interruption
        self._fitting = Fitting(
            epochs=options.epochs,
            batch_size=options.batch_size,
            seed=options.seed,
            loss=options.loss,
            stopping=interruption,
            talk=talk,
            tuning=_tuning(task),
        )
        self.judged: list[Judged] = []
        self.rows: Deal

    def main(self, dealt: Split, tests: FlowTable | None) -> dict[str, Any]:
        """Fit what is kept, measure it, and write all but the report.

        Returns:
            `metrics.json`, but for other splits.
        """
        task, options = self._task, self._task.options
        rows = self.rows = self._deal(dealt)
        searched = None
        if task.space is not None:
            self._fitting, searched = tuned(
                task.choices[0], task.space, rows, self._fitting, self._place.work
            )
        others = {} if tests is None else {_CROSS: rows_of(tests, rows)}
        fitted = fit_all(
            rows,
            task.choices,
            self._fitting,
            Places(self._place.work / options.splits[0], self._place.folder / "models"),
            {name: labelled.part for name, labelled in others.items()},
        )
        if not fitted and self._stopping():
            raise KeyboardInterrupt
        self.judged = [Judged.of(model, rows, options.max_far) for model in fitted]
        traffic = Traffic(flows_per_hour=options.flows_per_hour)
        metrics: dict[str, Any] = {
            "models": {item.name: item.entry(rows, options.seed, traffic) for item in self.judged},
            "data": data_facts(dealt, task.features),
            "split": options.splits[0],
            "seed": options.seed,
            "scaler": options.scaler,
            "attempted": options.attempted,
            "loss": options.loss,
            "traffic": asdict(traffic),
            "options": told_options(options),
            "packages": packages(),
        }
        if searched:
            metrics["search"] = searched
        if tests is not None:
            truth = Truth(others[_CROSS].part.target, tests.label, tests.labels, tests.families)
            metrics["cross"] = {
                "data": table_facts(tests),
                "models": {
                    item.name: item.summary(_CROSS, truth, options.seed) for item in self.judged
                },
            }
        self._save(metrics)
        if options.ablation and not task.leaky:
            self._talk.step(f"{task.features} has no leaky columns to leave out")
        elif options.ablation and not self._stopping():
            self._talk.step(f"without {', '.join(task.leaky)}:")
            metrics["ablation"] = {
                "left_out": list(task.leaky),
                "models": self._measured(rows.without(task.leaky), "ablation"),
            }
        return metrics

    def others(self, splits: dict[str, Split], metrics: dict[str, Any]) -> None:
        """Measure the models on other splits of the same rows."""
        for name, dealt in splits.items():
            if self._stopping():
                return
            self._talk.step(f"split {name}:")
            metrics.setdefault("splits", {})[name] = {
                "models": self._measured(self._deal(dealt), name),
                "data": data_facts(dealt, self._task.features),
            }

    def _deal(self, dealt: Split) -> Deal:
        options, table = self._task.options, dealt.table
        if self._task.by_campaign:
            weight = np.ones(len(table), dtype=np.float32)
            train = dealt.part == 0
            weight[train] = campaign_weights(table.file[train], table.label[train])
            table = replace(table, weight=weight)
        return deal(table, dealt.part, options.scaler, families=options.families)

    def _measured(self, rows: Deal, name: str) -> dict[str, Any]:
        """Fit models that are not kept: their figures."""
        options = self._task.options
        places = Places(self._place.work / name)
        fitted = fit_all(rows, self._task.choices, self._fitting, places)
        test = rows.parts["test"]
        truth = truth_of(test, rows)
        return {
            model.choice.name: Judged.of(model, rows, options.max_far).summary(
                "test", truth, options.seed
            )
            for model in fitted
        }

    def _save(self, metrics: dict[str, Any]) -> None:
        """Write rows and `run.json`: what edge-convert takes."""
        task, rows, folder = self._task, self.rows, self._place.folder
        profile = PROFILES[task.profile]
        _save_rows(folder, rows, task.options.seed)
        Run(
            profile=profile,
            feature_set=task.features,
            features=tuple(
                ModelFeature(feature.name, feature.unit) for feature in profile.select(task.names)
            ),
            scaler=rows.scaler,
            families=rows.families,
            models={
                item.name: TrainedModel(
                    file=f"models/{item.fitted.file}",
                    size=item.fitted.choice.size,
                    convertible=item.fitted.choice.kind.convertible,
                    threshold=item.threshold.value,
                    threshold_rule=item.threshold.rule,
                )
                for item in self.judged
            },
            provenance=provenance(task.options, metrics["data"]),
        ).save(folder)


def _tuning(task: Task) -> dict[str, dict[str, object]]:
    """Hyper-parameters that follow from the data."""
    if not task.by_campaign:
        return {}
    return {
        choice.name: {_SWAP_NOISE: SWAPPED_SHARE}
        for choice in task.choices
        if _SWAP_NOISE in choice.kind.tunables and choice.kind.learns_from == "both"
    }


def _save_rows(folder: Path, rows: Deal, seed: int) -> None:
    rng = np.random.default_rng(seed)
    for name, part, at_most in (
        ("train", "train", KEPT_TRAINING_ROWS),
        ("test", "test", None),
        ("calibration", "train", CALIBRATION_ROWS),
    ):
        labelled = rows.parts[part]
        chosen: Any = slice(None)
        if at_most is not None:
            chosen = stratified_sample(labelled.label, at_most, rng)
        own = labelled.part
        save_rows(folder, name, Rows(own.raw[chosen], own.target[chosen], own.family[chosen]))
