"""Training on after surgery: the changed network learns to say again what the full one says.

The full network is the teacher: its scores and family shares, not the labels, are what the changed
one is fitted to (G. Hinton et al., "Distilling the Knowledge in a Neural Network", 2015). So
whatever the full network is - a classifier, or an autoencoder that never saw an attack - the
changed one is the same, only cheaper.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from converters._tensorflow import keras, tf

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from edge_agent.contract.runs import Rows

_PREDICT_ROWS: Final = 4096
_SEED: Final = 0
# As in training: families are learned beside the score, never at its cost.
_FAMILY_WEIGHT: Final = 0.2


@dataclass(frozen=True, slots=True)
class Schedule:
    """How long and how fast; the learning rate falls to zero along a cosine.

    Attributes:
        epochs: Passes over the rows.
        learning_rate: Of Adam, at the start.
        min_steps: Small runs get more epochs, up to so many steps.
        batch_rows: Rows a step.
        max_steps: Large runs get fewer epochs, at least one.
    """

    epochs: int
    learning_rate: float
    min_steps: int
    batch_rows: int = 256
    # So that millions of rows take minutes and not hours: 7,000 steps took two of them.
    max_steps: int = 50_000

    def epochs_of(self, n_rows: int) -> int:
        """Epochs over so many rows."""
        steps = self.steps_per_epoch(n_rows)
        enough = max(self.epochs, -(-self.min_steps // steps))
        return max(1, min(enough, self.max_steps // steps))

    def steps(self, n_rows: int) -> int:
        """Steps over so many rows in all."""
        return self.epochs_of(n_rows) * self.steps_per_epoch(n_rows)

    def steps_per_epoch(self, n_rows: int) -> int:
        """Batches of one pass."""
        return max(1, -(-n_rows // self.batch_rows))


# A tenth of the rate that training from nothing takes: the weights are good already. Small runs
# need 192 steps: after fewer the score still stands where the zeros put it.
GENTLE: Final = Schedule(epochs=4, learning_rate=5e-4, min_steps=192)
"""For a network whose weights were moved, but not taken away."""


@dataclass(frozen=True, slots=True)
class Lesson:
    """What a network is fitted to.

    Attributes:
        scaled: Rows after scaling, shape (n_rows, n_features).
        wanted: What its output should be, shape (n_rows, 1 + n_families).
    """

    scaled: NDArray[np.float32]
    wanted: NDArray[np.float32]

    @classmethod
    def of(cls, teacher: Any, scaled: NDArray[np.float32], rows: Rows) -> Lesson:
        """What the full network says of its training rows.

        Args:
            teacher: A Keras model.
            scaled: The rows after scaling, shape (n_rows, n_features).
            rows: The same rows, for their labels: only of attacks a family is worth learning.
        """
        wanted = outputs(teacher, scaled)
        wanted[:, 1:] *= rows.label[:, None] == 1
        return cls(scaled, wanted)

    def narrowed(self, columns: Sequence[int]) -> Lesson:
        """The same for a network that takes only some of the features."""
        return Lesson(self.scaled[:, list(columns)], self.wanted)


def begin() -> None:
    """Make what follows the same in every fresh process; to be called before any surgery."""
    keras.utils.set_random_seed(_SEED)
    tf.config.experimental.enable_op_determinism()


def fine_tune(
    model: Any,
    lesson: Lesson,
    schedule: Schedule,
    callbacks: Sequence[Any] = (),
    report: Callable[[str], None] | None = None,
) -> None:
    """Train a network on, in place.

    Args:
        model: A Keras model; what is frozen in it stays as it is.
        lesson: Its rows, and what to say of them.
        schedule: How long and how fast.
        callbacks: Of Keras, for surgery that goes on meanwhile.
        report: Told after each epoch how far it is.
    """
    epochs, steps = (count(len(lesson.scaled)) for count in (schedule.epochs_of, schedule.steps))
    rate = keras.optimizers.schedules.CosineDecay(schedule.learning_rate, steps)
    model.compile(keras.optimizers.Adam(rate), joint_loss)

    def told(epoch: int, _: Any) -> None:
        if report is not None:
            report(f"fine-tuning: epoch {epoch + 1} of {epochs}")

    model.fit(
        lesson.scaled,
        lesson.wanted,
        batch_size=schedule.batch_rows,
        epochs=epochs,
        verbose=0,
        callbacks=[*callbacks, keras.callbacks.LambdaCallback(on_epoch_end=told)],
    )


def wrapped_kernels(model: Any, wrap: Callable[[Any], Any]) -> Any:
    """A copy of a model in which each layer with a trainable kernel is wrapped.

    What is frozen in training was put there on purpose, and stays as it is.
    """
    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    kernels = (keras.layers.Conv1D, keras.layers.Dense, keras.layers.LSTM, keras.layers.GRU)

    def wrapped(layer: Any) -> Any:
        return wrap(layer) if isinstance(layer, kernels) and layer.trainable else layer

    return keras.models.clone_model(copy, clone_function=wrapped)


def outputs(model: Any, scaled: NDArray[np.float32]) -> NDArray[np.float32]:
    """What a network says of rows, shape (n_rows, 1 + n_families)."""
    return np.asarray(model.predict(scaled, batch_size=_PREDICT_ROWS, verbose=0))


def joint_loss(wanted: Any, output: Any) -> Any:
    """Cross-entropy of the score, and of the families over the rows that have one."""
    loss = keras.losses.binary_crossentropy(wanted[:, :1], output[:, :1])
    if output.shape[-1] > 1:
        # Rows that have none have a target of zeros, which costs nothing.
        families = keras.losses.categorical_crossentropy(wanted[:, 1:], output[:, 1:])
        loss += _FAMILY_WEIGHT * families
    return loss
