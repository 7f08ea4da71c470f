"""Every model by its name: what `--model` takes.

Makers import their libraries when called, so that asking for names costs nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from trainer.models.base import Classifier, FitSettings


@dataclass(frozen=True, slots=True)
class ModelKind:
    """An entry of the registry.

    Attributes:
        name: What `--model` takes.
        summary: For help and report.
        make: Settings → unfitted model.
        sizes: What `--size` takes, the default first; empty where there is only one.
        convertible: Whether edge-convert can make a TFLite file of it.
    """

    name: str
    summary: str
    make: Callable[[FitSettings], Classifier]
    sizes: tuple[str, ...] = ()
    convertible: bool = False


def _cnn_lstm(settings: FitSettings) -> Classifier:
    from trainer.models.cnn_lstm import SIZES, build  # noqa: PLC0415
    from trainer.models.network import Network  # noqa: PLC0415

    return Network(lambda n_features: build(n_features, SIZES[settings.size]), settings)


def _mlp(settings: FitSettings) -> Classifier:
    from trainer.models.mlp import build  # noqa: PLC0415
    from trainer.models.network import Network  # noqa: PLC0415

    return Network(build, settings)


def _forest(settings: FitSettings) -> Classifier:
    from trainer.models.trees import Forest  # noqa: PLC0415

    return Forest(settings)


def _boosted_trees(settings: FitSettings) -> Classifier:
    from trainer.models.trees import BoostedTrees  # noqa: PLC0415

    return BoostedTrees(settings)


MODELS: Final[dict[str, ModelKind]] = {
    kind.name: kind
    for kind in (
        ModelKind(
            "cnn-lstm",
            "convolutions, LSTM, dense layers",
            _cnn_lstm,
            sizes=("edge", "paper"),
            convertible=True,
        ),
        ModelKind("mlp", "three dense layers", _mlp, convertible=True),
        ModelKind("random-forest", "100 trees of scikit-learn, not saved", _forest),
        ModelKind("boosted-trees", "up to 300 rounds of LightGBM", _boosted_trees),
    )
}
