"""Every model by its name: what `--model` takes.

A model's module is imported when one is made or read, so that asking for names costs nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Final

from trainer.models import tunables

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from trainer.models.base import Classifier, FitSettings
    from trainer.models.tunables import Tunable


@dataclass(frozen=True, slots=True)
class ModelKind:
    """An entry of the registry.

    Attributes:
        name: What `--model` takes.
        summary: For help and report.
        make: Settings → unfitted model; ValueError if `FitSettings.tuning` does not fit it.
        load: What `Classifier.save` wrote and settings → fitted model; RunError if it is no such
            file.
        sizes: Variants, the default first; empty where there is only one.
        convertible: Whether edge-convert can make a TFLite file of it.
        learns_from: "both" benign flows and attacks, or "benign" ones alone.
        tunables: Hyper-parameters by name.
    """

    name: str
    summary: str
    make: Callable[[FitSettings], Classifier]
    load: Callable[[Path, FitSettings], Classifier]
    sizes: tuple[str, ...] = ()
    convertible: bool = False
    learns_from: str = "both"
    tunables: Mapping[str, Tunable] = field(default_factory=dict)


def _made_by(module: str) -> Callable[[FitSettings], Classifier]:
    """The function `make` of a module below `trainer.models`."""

    def make(settings: FitSettings) -> Classifier:
        made: Classifier = import_module(f"trainer.models.{module}").make(settings)
        return made

    return make


def _read_by(module: str, name: str) -> Callable[[Path, FitSettings], Classifier]:
    """The class method `load` of a class in a module below `trainer.models`."""

    def load(path: Path, settings: FitSettings) -> Classifier:
        kind = getattr(import_module(f"trainer.models.{module}"), name)
        read: Classifier = kind.load(path, settings)
        return read

    return load


MODELS: Final[dict[str, ModelKind]] = {
    kind.name: kind
    for kind in (
        ModelKind(
            "cnn-lstm",
            "convolutions, LSTM, dense layers",
            _made_by("cnn_lstm"),
            _read_by("network", "Network"),
            sizes=("edge", "paper"),
            convertible=True,
            tunables=tunables.CNN_LSTM,
        ),
        ModelKind(
            "autoencoder",
            "learns benign flows alone, and alarms at what it cannot redraw",
            _made_by("autoencoder"),
            _read_by("autoencoder", "Autoencoder"),
            convertible=True,
            learns_from="benign",
            tunables=tunables.AUTOENCODER,
        ),
        ModelKind(
            "random-forest",
            "100 trees of scikit-learn",
            _made_by("forest"),
            _read_by("forest", "Forest"),
            tunables=tunables.FOREST,
        ),
        ModelKind(
            "svm",
            "support vector machine with an RBF kernel over landmarks, or linear",
            _made_by("svm"),
            _read_by("svm", "SupportVectorMachine"),
            sizes=("kernel", "linear"),
            tunables=tunables.SVM,
        ),
        ModelKind(
            "boosted-trees",
            "up to 300 rounds of LightGBM",
            _made_by("boosted"),
            _read_by("boosted", "BoostedTrees"),
            tunables=tunables.BOOSTED_TREES,
        ),
        ModelKind(
            "mlp",
            "three dense layers",
            _made_by("mlp"),
            _read_by("network", "Network"),
            convertible=True,
            tunables=tunables.MLP,
        ),
    )
}


def parse(text: str) -> tuple[ModelKind, str]:
    """Take a model's NAME or NAME:VARIANT apart.

    Returns:
        The model and its variant, the first one where none is named; "" where it has only one.

    Raises:
        ValueError: There is no such model or variant; the message is a sentence with the choices.
    """
    name, colon, size = text.partition(":")
    kind = MODELS.get(name)
    if kind is None:
        raise ValueError(f"There is no model {name!r}: choose one of {', '.join(choices())}.")
    if not colon:
        return kind, (*kind.sizes, "")[0]
    if size not in kind.sizes:
        there_are = (
            f"choose one of {', '.join(f'{name}:{known}' for known in kind.sizes)}"
            if kind.sizes
            else f"it has no variants, so say {name}"
        )
        raise ValueError(f"There is no variant {size!r} of the model {name}: {there_are}.")
    return kind, size


def choices() -> tuple[str, ...]:
    """All that `parse` takes, in full."""
    return tuple(
        f"{kind.name}:{size}" if size else kind.name
        for kind in MODELS.values()
        for size in kind.sizes or ("",)
    )
