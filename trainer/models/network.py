"""Fitting of Keras models: Adam, cosine decay, class weights, early stopping on validation F1."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from trainer._tensorflow import keras
from trainer.evaluate import best_threshold
from trainer.models.base import FitSettings, History, Part

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

# With batch normalisation twice Adam's usual rate still converges, and in half the epochs.
_LEARNING_RATE: Final = 3e-3
# The cosine ends at this share of the rate, so that the last epochs polish instead of standing.
_FINAL_SHARE: Final = 0.01
# Benign rows dominate 4 to 1 in the public data and more at home. The full inverse ratio buys
# recall with false alarms; its square root does not.
_CLASS_WEIGHT_POWER: Final = 0.5
# Epochs without a better validation F1 after which training stops; at least, and as a share of all.
_PATIENCE: Final = 4
_PATIENCE_SHARE: Final = 0.3
# Small data sets get smaller batches: fewer steps an epoch than this teach nothing.
_MIN_STEPS: Final = 40
_MIN_BATCH: Final = 32
_SCORING_BATCH: Final = 4096


class _Watch(keras.callbacks.Callback):  # type: ignore[misc]
    """Scores the validation rows after each epoch, keeps the best weights, and says stop."""

    def __init__(self, validation: Part, settings: FitSettings) -> None:
        super().__init__()
        self.history = History()
        self._validation = validation
        self._settings = settings
        self._patience = max(_PATIENCE, math.ceil(settings.epochs * _PATIENCE_SHARE))
        self._best: tuple[float, float] = (-1.0, 0.0)
        self._best_epoch = 0
        self._best_weights: list[NDArray[np.float32]] = []

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Record the epoch; stop when nothing got better for a while."""
        logs = logs or {}
        score = predict(self.model, self._validation.scaled)
        target = self._validation.target
        loss = _cross_entropy(score, target)
        f1 = best_threshold(score, target).f1
        self.history.loss.append(float(logs["loss"]))
        self.history.accuracy.append(float(logs["accuracy"]))
        self.history.validation_loss.append(loss)
        self.history.validation_accuracy.append(float(((score >= 0.5) == target).mean()))
        self.history.validation_f1.append(f1)
        # Equal F1 is common on small validation parts: the lower loss then decides.
        if (f1, -loss) > self._best:
            self._best = (f1, -loss)
            self._best_epoch = epoch + 1
            self._best_weights = self.model.get_weights()
        self._settings.report(epoch + 1, self._settings.epochs, loss, f1)
        if epoch + 1 - self._best_epoch >= self._patience:
            self.model.stop_training = True

    def restore(self) -> History:
        """Give the model its best weights back."""
        self.model.set_weights(self._best_weights)
        values = {name: getattr(self.history, name) for name in self.history.__slots__}
        return History(**(values | {"best_epoch": self._best_epoch}))


class Network:
    """A Keras model with one sigmoid output.

    Args:
        build: Number of features → model; called when fitting, after the seed is set.
        settings: How to fit.
    """

    def __init__(self, build: Callable[[int], Any], settings: FitSettings) -> None:
        self._build = build
        self._settings = settings
        self._model: Any = None

    def fit(self, train: Part, validation: Part) -> History:
        """See `Classifier.fit`."""
        settings = self._settings
        keras.utils.set_random_seed(settings.seed)
        self._model = self._build(train.scaled.shape[1])
        rows = len(train.target)
        batch = max(_MIN_BATCH, min(settings.batch_size, rows // _MIN_STEPS))
        steps = math.ceil(rows / batch) * settings.epochs
        rate = keras.optimizers.schedules.CosineDecay(_LEARNING_RATE, steps, alpha=_FINAL_SHARE)
        self._model.compile(
            optimizer=keras.optimizers.Adam(rate), loss="binary_crossentropy", metrics=["accuracy"]
        )
        watch = _Watch(validation, settings)
        self._model.fit(
            train.scaled,
            train.target.astype(np.float32),
            batch_size=batch,
            epochs=settings.epochs,
            class_weight=class_weight(train.target),
            callbacks=[watch],
            verbose=0,
        )
        return watch.restore()

    def scores(self, part: Part) -> NDArray[np.float32]:
        """See `Classifier.scores`."""
        return predict(self._model, part.scaled)

    def save(self, stem: Path) -> Path:
        """See `Classifier.save`."""
        path = stem.with_name(stem.name + ".keras")
        self._model.save(path)
        return path

    @property
    def parameters(self) -> int:
        """Trained weights."""
        return int(sum(np.prod(weight.shape) for weight in self._model.trainable_weights))


def predict(model: Any, scaled: NDArray[np.float32]) -> NDArray[np.float32]:
    """Scores of scaled rows, shape (n_flows,)."""
    # `predict` sets up a data pipeline at every call, which costs more than scoring 10,000 rows.
    chunks = [
        model.predict_on_batch(scaled[begin : begin + _SCORING_BATCH])
        for begin in range(0, len(scaled), _SCORING_BATCH)
    ]
    scores: NDArray[np.float32] = np.concatenate(chunks)[:, 0]
    return scores


def class_weight(target: NDArray[np.uint8]) -> dict[int, float]:
    """Weights that lift the rarer class, the mean over all rows being 1."""
    share = float(target.mean())
    weights = np.array([(1 - share), share]) ** -_CLASS_WEIGHT_POWER
    mean = weights[0] * (1 - share) + weights[1] * share
    return {0: float(weights[0] / mean), 1: float(weights[1] / mean)}


def _cross_entropy(score: NDArray[np.float32], target: NDArray[np.uint8]) -> float:
    chance = np.clip(np.where(target == 1, score, 1 - score).astype(np.float64), 1e-7, 1)
    return float(-np.log(chance).mean())
