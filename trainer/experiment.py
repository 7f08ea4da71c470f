"""Fitting of every chosen model on one deal of rows, so that a kill costs at most an epoch.

What a fitted model is needed for later, its scores, is kept beside its file: whoever goes on with
an unfinished run neither fits nor loads it again.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np

from edge_agent.contract.files import atomic_output, write_atomically
from trainer.distribution import from_chief, is_chief
from trainer.importance import Importance, importance
from trainer.models.base import FitSettings, History, Part
from trainer.models.registry import parse

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from trainer.models.base import Classifier, Progress
    from trainer.models.registry import ModelKind
    from trainer.parts import Deal

_SCORED: Final = ("validation", "test")


@dataclass(frozen=True, slots=True)
class Choice:
    """A model as `--model` names it.

    Attributes:
        name: NAME or NAME:VARIANT, as given; what its figures are filed under.
        kind: Its entry in the registry.
        size: Its variant, or "".
    """

    name: str
    kind: ModelKind
    size: str

    @classmethod
    def of(cls, text: str) -> Choice:
        """Look a model up.

        Raises:
            ValueError: There is no such model or variant.
        """
        kind, size = parse(text)
        return cls(text, kind, size)

    @property
    def stem(self) -> str:
        """Its file's name without suffix."""
        return self.name.replace(":", "-")


class Talk(Protocol):
    """How a run tells what it does; `telling.Teller` is one."""

    def step(self, text: str) -> None:
        """A line for every step."""

    def reading(self, done_bytes: int, total_bytes: int, rows: int) -> None:
        """How far reading is."""

    def progress(self, name: str, progress: Progress) -> None:
        """How far a model's fitting is."""


@dataclass(frozen=True, slots=True)
class Fitting:
    """How the models of an experiment are fitted.

    Attributes:
        epochs, batch_size, seed, loss: See `FitSettings`.
        tuning: Model name → hyper-parameters.
        stopping: Whether the user asked to stop.
        talk: How to tell.
    """

    epochs: int
    batch_size: int
    seed: int
    loss: str
    stopping: Callable[[], bool]
    talk: Talk
    tuning: Mapping[str, Mapping[str, object]] = field(default_factory=dict)

    def settings(self, choice: Choice, deal: Deal, checkpoints: Path | None) -> FitSettings:
        """For one model."""
        return FitSettings(
            size=choice.size,
            epochs=self.epochs,
            batch_size=self.batch_size,
            seed=self.seed,
            families=deal.families,
            loss=self.loss,
            tuning=self.tuning.get(choice.name, {}),
            checkpoints=checkpoints,
            report=lambda progress: self.talk.progress(choice.name, progress),
            stopping=self.stopping,
            tell=lambda text: self.talk.step(f"{choice.name}: {text}"),
        )


@dataclass(frozen=True, slots=True)
class Places:
    """Where an experiment leaves its files.

    Attributes:
        work: Checkpoints and scores.
        models: The fitted models; None: they are not kept.
    """

    work: Path
    models: Path | None = None


@dataclass(frozen=True, slots=True)
class Fitted:
    """What came of one model.

    Attributes:
        choice: The model.
        file: Its file below `Places.models`; "" where it is not kept.
        parameters: Trained numbers.
        training_s: How long fitting took; of a resumed fit, what came after the resumption.
        history: Curves.
        scores: Part name → shape (n_flows,).
        shares: Part name → family shares, shape (n_flows, n_families); empty without them.
        importance: What shuffling columns costs; empty where the model is not kept.
    """

    choice: Choice
    file: str
    parameters: int
    training_s: float
    history: History
    scores: dict[str, NDArray[np.float32]]
    shares: dict[str, NDArray[np.float32]]
    importance: list[Importance]


def fit_all(
    deal: Deal,
    choices: Sequence[Choice],
    fitting: Fitting,
    places: Places,
    others: Mapping[str, Part] | None = None,
) -> list[Fitted]:
    """Fit, save and score models, one after the other, on the very same rows.

    Stops early, with the models it has, when the user asks for it.

    Args:
        deal: The rows.
        choices: Which models.
        fitting: How.
        places: Where to; what is there already is not done again.
        others: Further rows to score, by name.
    """
    fitted = []
    # What the chief has from an earlier attempt, no worker fits again; and only networks are
    # fitted together.
    finished = _finished(choices, places.work)
    for choice in choices:
        if not is_chief() and (choice.name in finished or not choice.kind.convertible):
            continue
        record = places.work / f"{choice.stem}.json"
        if record.exists():
            fitted.append(_recalled(choice, record))
            fitting.talk.step(f"{choice.name}: was fitted before the interruption")
            continue
        if fitting.stopping():
            break
        fitted.append(_fit(deal, choice, fitting, places, others or {}))
    return fitted


def _finished(choices: Sequence[Choice], work: Path) -> set[str]:
    own = [choice.name for choice in choices if (work / f"{choice.stem}.json").exists()]
    return set(json.loads(from_chief(json.dumps(own).encode())))


def _fit(
    deal: Deal, choice: Choice, fitting: Fitting, places: Places, others: Mapping[str, Part]
) -> Fitted:
    train = deal.parts["train"].part
    fitting.talk.step(f"{choice.name}: training on {len(train):,} rows")
    checkpoints = places.work / "checkpoints" / choice.stem
    model = choice.kind.make(fitting.settings(choice, deal, checkpoints))
    begun = time.monotonic()
    history = model.fit(train, deal.parts["validation"].part)
    training_s = time.monotonic() - begun
    file = ""
    if places.models is not None:
        places.models.mkdir(exist_ok=True)
        file = model.save(places.models / choice.stem).name
    parts = {name: deal.parts[name].part for name in _SCORED} | dict(others)
    shares = {name: model.family_shares(part) for name, part in parts.items()}
    fitted = Fitted(
        choice=choice,
        file=file,
        parameters=model.parameters,
        training_s=round(training_s, 1),
        history=history,
        scores={name: model.scores(part) for name, part in parts.items()},
        shares={name: share for name, share in shares.items() if share is not None},
        importance=_importance(model, deal, fitting.seed) if places.models else [],
    )
    _record(fitted, places.work)
    return fitted


def _importance(model: Classifier, deal: Deal, seed: int) -> list[Importance]:
    test = deal.parts["test"].part

    def score(raw: NDArray[np.float32]) -> NDArray[np.float32]:
        nothing = np.zeros(len(raw), dtype=np.uint8)
        return model.scores(Part(raw, deal.scaled(raw), nothing, nothing))

    return importance(score, test.raw, test.target, deal.names, seed)


def _record(fitted: Fitted, work: Path) -> None:
    stem = fitted.choice.stem
    arrays = {f"scores/{name}": array for name, array in fitted.scores.items()}
    arrays |= {f"shares/{name}": array for name, array in fitted.shares.items()}
    with atomic_output(work / f"{stem}.npz") as stream:
        np.savez(stream, **arrays)  # type: ignore[arg-type]
    facts = {
        "file": fitted.file,
        "parameters": fitted.parameters,
        "training_s": fitted.training_s,
        "history": asdict(fitted.history),
        "importance": [asdict(item) for item in fitted.importance],
    }
    # Last of all: what it speaks of is there.
    write_atomically(work / f"{stem}.json", json.dumps(facts).encode())


def _recalled(choice: Choice, record: Path) -> Fitted:
    facts: dict[str, Any] = json.loads(record.read_bytes())
    kept: dict[str, dict[str, NDArray[np.float32]]] = {"scores": {}, "shares": {}}
    with np.load(record.with_suffix(".npz"), allow_pickle=False) as arrays:
        for key in arrays.files:
            what, _, name = key.partition("/")
            kept[what][name] = arrays[key]
    return Fitted(
        choice=choice,
        history=History(**facts.pop("history")),
        scores=kept["scores"],
        shares=kept["shares"],
        importance=[
            Importance(tuple(item.pop("columns")), **item) for item in facts.pop("importance")
        ],
        **facts,
    )
