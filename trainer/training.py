"""The whole of a training run: read, clean, split, scale, fit, evaluate, write."""

from __future__ import annotations

import json
import time
from collections import Counter
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timezone
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from edge_agent import __version__
from edge_agent.contract.bundle import ModelFeature
from edge_agent.contract.features import FEATURE_SETS
from edge_agent.contract.files import write_atomically
from edge_agent.contract.profiles import PROFILES
from edge_agent.contract.runs import Rows, Run, TrainedModel, save_rows
from edge_agent.contract.scaling import Scaler
from trainer import plots
from trainer.datasets.cleaning import clean
from trainer.datasets.labels import BENIGN
from trainer.datasets.sources import Source, feature_set, find_files, plan, read
from trainer.datasets.splits import PART_NAMES, Split, split, stratified_sample
from trainer.evaluate import THRESHOLD_RULE, best_threshold, evaluate
from trainer.folder import check_free, whole_folder
from trainer.models.base import FitSettings, History, Part
from trainer.models.registry import MODELS
from trainer.report import page

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from trainer.datasets.flows import FlowTable
    from trainer.models.base import Classifier

CALIBRATION_ROWS: Final = 1000
_PACKAGES: Final = ("edge-ids", "tensorflow", "tf-keras", "scikit-learn", "lightgbm", "numpy")


@dataclass(frozen=True, slots=True)
class Options:
    """What the user asked for; see `edge-train --help`."""

    data: tuple[str, ...]
    output: Path
    labels: tuple[Path, ...] = ()
    profile: str | None = None
    features: str | None = None
    models: tuple[str, ...] = ("cnn-lstm",)
    size: str = "edge"
    scaler: str = "quantile"
    split: str = "random"
    attempted: str = "drop"
    epochs: int = 15
    batch_size: int = 256
    seed: int = 0
    force: bool = False


@dataclass(frozen=True, slots=True)
class Talk:
    """How the run tells what it does.

    Attributes:
        step: Called with a line for every step.
        epoch: Called with model, epoch, epochs, validation loss and validation F1.
    """

    step: Callable[[str], None]
    epoch: Callable[[str, int, int, float, float], None]


@dataclass(frozen=True, slots=True)
class Labelled:
    """A part with the labels its figures are broken down by."""

    part: Part
    label: NDArray[np.str_]


@dataclass(frozen=True, slots=True)
class Task:
    """Options that were held against the data.

    Attributes:
        options: As the user gave them.
        sources: The files, all of one layout.
        profile, features: Names of the flow profile and of the feature set.
    """

    options: Options
    sources: tuple[Source, ...]
    profile: str
    features: str


def prepare(options: Options) -> Task:
    """Find out what the data are, from their first lines.

    Raises:
        TableError: The data do not fit together.
        OutputError: The output is not free.
        ValueError: The feature set is of another profile.
    """
    check_free(options.output, force=options.force)
    sources = plan(find_files(options.data), options.labels, options.profile)
    profile = sources[0].layout.profile
    return Task(options, tuple(sources), profile, feature_set(profile, options.features))


def train(task: Task, talk: Talk) -> dict[str, Any]:
    """Train and write the run folder.

    Returns:
        What `metrics.json` holds.

    Raises:
        InputError: The data cannot be used.
        OutputError: The run folder cannot be written.
    """
    options = task.options
    names = FEATURE_SETS[task.features][1]
    table = clean(read(task.sources, names, talk.step), options.attempted)
    dealt = split(table, options.split, options.seed)
    facts = _data_facts(dealt, task.features)
    talk.step(
        f"{facts['rows']:,} of {facts['rows_read']:,} rows kept; "
        + ", ".join(f"{name} {part['rows']:,}" for name, part in facts["parts"].items())
    )
    raw = dealt.table.raw.astype(np.float32)
    scaler = Scaler.fit(options.scaler, raw[dealt.part == 0])
    parts = _parts(dealt, raw, scaler)
    with whole_folder(options.output, force=options.force) as folder:
        entries, trained, histories = _fit_all(folder, options, parts, talk, table.families)
        metrics = {
            "models": entries,
            "data": facts,
            "seed": options.seed,
            "split": options.split,
            "scaler": options.scaler,
            "attempted": options.attempted,
        }
        _save_parts(folder, parts, options.seed)
        _save_report(folder, metrics, histories)
        profile = PROFILES[task.profile]
        Run(
            profile=profile,
            feature_set=task.features,
            features=tuple(
                ModelFeature(feature.name, feature.unit) for feature in profile.select(names)
            ),
            scaler=scaler,
            models=trained,
            provenance=_provenance(options, facts),
        ).save(folder)
    return metrics


def _fit_all(
    folder: Path,
    options: Options,
    parts: Mapping[str, Labelled],
    talk: Talk,
    families: dict[str, str],
) -> tuple[dict[str, Any], dict[str, TrainedModel], dict[str, History]]:
    """Fit and save every model: entries of `metrics.json` and of `run.json`, and the curves."""
    entries: dict[str, Any] = {}
    trained: dict[str, TrainedModel] = {}
    histories: dict[str, History] = {}
    (folder / "models").mkdir()
    for name in options.models:
        model, entry, histories[name] = _fit(name, options, parts, talk, families)
        path = model.save(folder / "models" / name)
        entries[name] = entry | {"saved": path is not None}
        trained[name] = TrainedModel(
            file=str(path.relative_to(folder)) if path else "",
            size=entry["size"],
            convertible=MODELS[name].convertible,
            threshold=entry["threshold"],
            threshold_rule=entry["threshold_rule"],
        )
    return entries, trained, histories


def _parts(dealt: Split, raw: NDArray[np.float32], scaler: Scaler) -> dict[str, Labelled]:
    target = (dealt.table.label != BENIGN).astype(np.uint8)
    scaled = scaler.transform(raw)
    parts = {}
    for number, name in enumerate(PART_NAMES):
        chosen = dealt.part == number
        part = Part(raw=raw[chosen], scaled=scaled[chosen], target=target[chosen])
        parts[name] = Labelled(part, dealt.table.label[chosen])
    return parts


def _fit(
    name: str,
    options: Options,
    parts: Mapping[str, Labelled],
    talk: Talk,
    families: dict[str, str],
) -> tuple[Classifier, dict[str, Any], History]:
    """Fit one model; its entry in `metrics.json`."""
    kind = MODELS[name]
    size = options.size if options.size in kind.sizes else ""
    model = kind.make(
        FitSettings(
            size=size,
            epochs=options.epochs,
            batch_size=options.batch_size,
            seed=options.seed,
            report=lambda *facts: talk.epoch(name, *facts),
        )
    )
    talk.step(f"{name}: training on {len(parts['train'].label):,} rows")
    begin = time.monotonic()
    history = model.fit(parts["train"].part, parts["validation"].part)
    training_s = time.monotonic() - begin
    validation = parts["validation"].part
    threshold = best_threshold(model.scores(validation), validation.target).value
    entry: dict[str, Any] = {"size": size}
    for part_name in ("test", "validation"):
        labelled = parts[part_name]
        entry[part_name] = evaluate(
            model.scores(labelled.part), labelled.label, labelled.part.target, threshold, families
        )
    entry |= {
        "threshold": threshold,
        "threshold_rule": THRESHOLD_RULE,
        "parameters": model.parameters,
        "training_s": round(training_s, 1),
        "history": asdict(history),
    }
    talk.step(f"{name}: test F1 {entry['test']['f1']:.4f} after {training_s:.0f} s")
    return model, entry, history


def _save_parts(folder: Path, parts: Mapping[str, Labelled], seed: int) -> None:
    train = parts["train"]
    sample = stratified_sample(train.label, CALIBRATION_ROWS, np.random.default_rng(seed))
    for name in ("train", "test"):
        save_rows(folder, name, Rows(parts[name].part.raw, parts[name].part.target))
    save_rows(folder, "calibration", Rows(train.part.raw[sample], train.part.target[sample]))


def _save_report(folder: Path, metrics: dict[str, Any], histories: Mapping[str, History]) -> None:
    images = {what: plots.curves(histories, what) for what in ("accuracy", "loss")}
    for name, entry in metrics["models"].items():
        images[f"confusion-{name}"] = plots.confusion(name, entry["test"]["confusion"])
    for name, png in images.items():
        write_atomically(folder / "plots" / f"{name}.png", png)
    write_atomically(folder / "report.html", page(metrics, images).encode())
    write_atomically(folder / "metrics.json", json.dumps(metrics, indent=1).encode())


def _data_facts(dealt: Split, features: str) -> dict[str, Any]:
    """The `data` of `metrics.json`."""
    table = dealt.table
    return {
        "layout": table.layout,
        "profile": table.profile,
        "feature_set": features,
        "files": [
            # The file travels to gateways inside the model: the digest says which data it was, and
            # two names are enough for people; where a workstation keeps it is nobody's business.
            {"path": "/".join(file.path.parts[-2:]), "sha256": file.sha256, "rows": file.rows}
            for file in table.files
        ],
        "rows_read": sum(file.rows for file in table.files),
        "rows": len(table),
        "dropped": dict(table.dropped),
        "duplicates": dealt.duplicates,
        "ambiguous_vectors": dealt.ambiguous,
        "labels": _counts(table.label),
        "families": _family_counts(table),
        "parts": {
            name: {
                "rows": int((dealt.part == number).sum()),
                "labels": _counts(table.label[dealt.part == number]),
            }
            for number, name in enumerate(PART_NAMES)
        },
    }


def _counts(label: NDArray[np.str_]) -> dict[str, int]:
    names, counts = np.unique(label, return_counts=True)
    return dict(zip(names.tolist(), counts.tolist(), strict=True))


def _family_counts(table: FlowTable) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for label, rows in _counts(table.label).items():
        counts[table.families[label]] += rows
    return dict(counts)


def _provenance(options: Options, facts: dict[str, Any]) -> dict[str, Any]:
    settings = asdict(replace(options, labels=()))
    return {
        "command": "edge-train",
        "version": __version__,
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "options": {
            name: value
            for name, value in settings.items()
            if name not in ("data", "labels", "output", "force")
        },
        "data": {
            key: facts[key] for key in ("layout", "files", "rows_read", "rows", "dropped", "labels")
        },
        "split": options.split,
        "seed": options.seed,
        "packages": {name: version(name) for name in _PACKAGES},
    }
