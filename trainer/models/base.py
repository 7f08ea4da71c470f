"""What a model is to the rest of the trainer."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Part:
    """Rows of one part, in both forms a model may want.

    Attributes:
        raw: float32, shape (n_flows, n_features), rates finite.
        scaled: float32, the same rows in [0, 1].
        target: uint8, shape (n_flows,): 0 benign, 1 attack.
    """

    raw: NDArray[np.float32]
    scaled: NDArray[np.float32]
    target: NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class FitSettings:
    """How to fit.

    Attributes:
        size: One of the model's sizes; "" for models that have only one.
        epochs: At most so many passes over the training rows; networks only.
        batch_size: Rows in a step; networks only.
        seed: Of every random draw.
        report: Called with (epoch, epochs, validation loss, validation F1) after each epoch.
    """

    size: str
    epochs: int
    batch_size: int
    seed: int
    report: Callable[[int, int, float, float], None]


@dataclass(frozen=True, slots=True)
class History:
    """Training curves, one value per epoch; empty for models that know no epochs.

    Attributes:
        loss, accuracy: On the training rows, while they are learned from.
        validation_loss, validation_accuracy, validation_f1: After the epoch.
        best_epoch: The epoch, from 1, whose weights were kept; 0 without epochs.
    """

    loss: list[float] = field(default_factory=list)
    accuracy: list[float] = field(default_factory=list)
    validation_loss: list[float] = field(default_factory=list)
    validation_accuracy: list[float] = field(default_factory=list)
    validation_f1: list[float] = field(default_factory=list)
    best_epoch: int = 0


class Classifier(Protocol):
    """A model that tells attacks from benign flows."""

    def fit(self, train: Part, validation: Part) -> History:
        """Learn from `train`; `validation` only says when to stop."""

    def scores(self, part: Part) -> NDArray[np.float32]:
        """Scores in [0, 1], shape (n_flows,); higher is more likely an attack."""

    def save(self, stem: Path) -> Path | None:
        """Write the model beside `stem` with its own suffix; None: it has no file form."""

    @property
    def parameters(self) -> int:
        """Trained numbers: weights of a network, leaves of trees."""
