"""What a model is to the rest of the trainer."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np

from edge_agent.contract.scaling import BINS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

LOSSES: Final = ("weighted", "focal", "plain")


@dataclass(frozen=True, slots=True)
class Part:
    """Rows of one part, in both forms a model may want.

    Attributes:
        raw: float32, shape (n_flows, n_features), rates finite.
        inputs: The same rows as a network takes them: uint8 bins of a quantile scaler, a quarter
            of the memory, or float32 in [0, 1] of another one.
        target: uint8, shape (n_flows,): 0 benign, 1 attack.
        family: uint8, shape (n_flows,): 0 benign, k the k-th of `FitSettings.families`.
        weight: float32, shape (n_flows,), how much a row counts in training; None: all alike.
    """

    raw: NDArray[np.float32]
    inputs: NDArray[np.uint8] | NDArray[np.float32]
    target: NDArray[np.uint8]
    family: NDArray[np.uint8]
    weight: NDArray[np.float32] | None = None

    def __len__(self) -> int:
        return len(self.target)

    @property
    def scaled(self) -> NDArray[np.float32]:
        """The rows in [0, 1], float32; a copy where they are kept as bins."""
        return scaled(self.inputs)


def scaled(inputs: NDArray[np.uint8] | NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows of `Part.inputs` in [0, 1]; bin k stands for k/255 (`contract.scaling`)."""
    if inputs.dtype == np.uint8:
        return inputs.astype(np.float32) / np.float32(BINS - 1)
    return inputs.astype(np.float32, copy=False)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the fitting of a model has come.

    Attributes:
        epoch, epochs: From 1; for trees and the like, rounds.
        loss: Mean over the epoch so far; None where the model has none.
        f1: On the validation rows, after the last whole epoch; None before.
        left_s: Seconds until the last epoch ends, should none be spared; None where unknown.
        epoch_ended: Whether the epoch is over; else it is under way.
    """

    epoch: int
    epochs: int
    loss: float | None
    f1: float | None
    left_s: float | None
    epoch_ended: bool


@dataclass(frozen=True, slots=True)
class FitSettings:
    """How to fit.

    Attributes:
        size: One of the model's variants; "" for models that have only one.
        epochs: At most so many passes over the training rows; networks only.
        batch_size: Rows in a step; networks only.
        seed: Of every random draw.
        families: What the second output names, in its order; empty: no second output.
        loss: One of `LOSSES`: classes weighted, focal, or every row alike.
        tuning: Hyper-parameters by name, each one of `ModelKind.tunables`.
        checkpoints: Folder for what a fit needs to go on after a kill; a fit that finds something
            there goes on from it. None: no checkpoints.
        report: Called now and then.
        stopping: Asked between batches: stop, and keep the best weights so far.
        tell: Called with a line for the user.
    """

    size: str
    epochs: int
    batch_size: int
    seed: int
    families: tuple[str, ...] = ()
    loss: str = "weighted"
    tuning: Mapping[str, object] = field(default_factory=dict)
    checkpoints: Path | None = None
    report: Callable[[Progress], None] = lambda _: None
    stopping: Callable[[], bool] = lambda: False
    tell: Callable[[str], None] = lambda _: None


@dataclass(frozen=True, slots=True)
class History:
    """Training curves, one value per epoch; empty for models that know no epochs.

    Attributes:
        loss, accuracy: On the training rows, while they are learned from.
        validation_loss, validation_accuracy, validation_f1: After the epoch.
        best_epoch: The epoch, from 1, whose weights were kept; 0 without epochs.
        stopped: Whether the user ended it early.
    """

    loss: list[float] = field(default_factory=list)
    accuracy: list[float] = field(default_factory=list)
    validation_loss: list[float] = field(default_factory=list)
    validation_accuracy: list[float] = field(default_factory=list)
    validation_f1: list[float] = field(default_factory=list)
    best_epoch: int = 0
    stopped: bool = False


class Classifier(Protocol):
    """A model that tells attacks from benign flows."""

    def fit(self, train: Part, validation: Part) -> History:
        """Learn from `train`; `validation` only says when to stop."""

    def scores(self, part: Part) -> NDArray[np.float32]:
        """Scores in [0, 1], shape (n_flows,); higher is more likely an attack."""

    def family_shares(self, part: Part) -> NDArray[np.float32] | None:
        """Share of each family, should the flow be an attack: shape (n_flows, n_families).

        None where the model has no such output.
        """

    def save(self, stem: Path) -> Path:
        """Write the model beside `stem` with its own suffix."""

    @property
    def parameters(self) -> int:
        """Trained numbers: weights of a network, leaves of trees."""
