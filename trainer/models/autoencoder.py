"""A network that knows only benign flows: what it cannot reproduce is suspicious.

Trained on the benign rows of the training part, to give out what it was given through a bottleneck.
The saved model goes on from there: the mean absolute error of the reconstruction, through a sigmoid
whose slope and place are read off benign validation rows, is the score. So the file takes rows
and gives scores like any other network's, with built-in layers only, and converts like it.

The absolute error, not the square: squares of small errors vanish between two int8 codes. |d| is
ReLU(d) + ReLU(-d), operators that every interpreter has in int8.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from trainer._tensorflow import keras, tf
from trainer.evaluate import best_threshold
from trainer.models import tuning
from trainer.models.base import scaled
from trainer.models.feeding import Rows, scaled_in_graph
from trainer.models.fitting import Fitting, Judgement, Problem
from trainer.models.learner import Objective
from trainer.models.network import Scorer, load_keras, save_keras

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from trainer.models.base import FitSettings, History, Part

UNITS: Final = (64, 32)
BOTTLENECK: Final = 16

_CHUNK: Final = 65_536
# This share of benign validation rows scores below one half ...
_CENTRE_SHARE: Final = 0.95
# ... and half of them below this: low enough to tell ordinary from odd, high enough that int8
# still tells odd from odder.
_MEDIAN_SCORE: Final = 0.1


def make(settings: FitSettings) -> Autoencoder:
    """An unfitted autoencoder.

    Raises:
        ValueError: A hyper-parameter has no possible value.
    """
    return Autoencoder(settings)


class Autoencoder:
    """An anomaly detector; see `Classifier` for its methods.

    Args:
        settings: How to fit; families and losses of classifiers mean nothing here.
    """

    def __init__(self, settings: FitSettings) -> None:
        self._settings = settings
        self._units = tuning.integers(settings.tuning, "units", UNITS)
        self._bottleneck = tuning.integer(settings.tuning, "bottleneck", BOTTLENECK)
        self._scorer: Any = None

    @classmethod
    def load(cls, path: Path, settings: FitSettings) -> Autoencoder:
        """Read what `save` wrote; it only scores.

        Raises:
            RunError: It is no such file.
        """
        model = cls(settings)
        model._scorer = Scorer(load_keras(path, 1))
        return model

    def fit(self, train: Part, validation: Part) -> History:
        """See `Classifier.fit`."""
        n_features = train.inputs.shape[1]
        network = self._build(n_features)
        reconstruction = Scorer(network)
        benign = train.target == 0
        problem = Problem(
            network.to_json(),
            Objective(
                build=lambda: self._build(n_features),
                loss=lambda outputs, batch: tf.reduce_mean(
                    tf.square(outputs - scaled_in_graph(batch.inputs)), axis=1
                ),
                # Nothing here is right or wrong before a threshold is chosen.
                right=lambda _, batch: tf.zeros_like(batch.target, tf.bool),
            ),
            Rows(
                train.inputs[benign],
                train.target[benign],
                np.zeros(int(benign.sum()), np.uint8),
                np.ones(int(benign.sum()), np.float32)
                if train.weight is None
                else train.weight[benign],
                np.zeros(int(benign.sum()), np.float32),
            ),
            lambda weights: _judged(reconstruction, weights, validation),
        )
        outcome = Fitting(problem, self._settings).run()
        network.set_weights(outcome.weights)
        errors = _errors(reconstruction, validation)[0]
        self._scorer = Scorer(scoring(network, *calibrated(errors[validation.target == 0])))
        return outcome.history

    def scores(self, part: Part) -> NDArray[np.float32]:
        """See `Classifier.scores`."""
        scores: NDArray[np.float32] = self._scorer.outputs(part.inputs)[:, 0]
        return scores

    def family_shares(self, part: Part) -> None:  # noqa: ARG002  # the common shape
        """See `Classifier.family_shares`: it has never seen an attack."""
        return

    def save(self, stem: Path) -> Path:
        """See `Classifier.save`."""
        return save_keras(self._scorer.model, stem)

    @property
    def parameters(self) -> int:
        """Trained weights."""
        return int(self._scorer.parameters)

    def _build(self, n_features: int) -> Any:
        return build(n_features, units=self._units, bottleneck=self._bottleneck)


def build(n_features: int, *, units: Sequence[int] = UNITS, bottleneck: int = BOTTLENECK) -> Any:
    """Build the network: (n_flows, n_features) in [0, 1] → the same, through a bottleneck.

    Args:
        n_features: Width of a row.
        units: Widths of the layers before the bottleneck; behind it the same backwards.
        bottleneck: Width of the narrowest layer. It and `units` are cut to what is narrower than
            the layer before, so that small feature sets keep a bottleneck.
    """
    layers = keras.layers
    rows = keras.Input((n_features,), name="features")
    widths = [n_features]
    for width in (*units, bottleneck):
        widths.append(max(1, min(width, widths[-1] * 2 // 3 if width >= widths[-1] else width)))
    x = rows
    for number, width in enumerate(widths[1:-1], start=1):
        x = layers.Dense(width, activation="relu", name=f"encoder_{number}")(x)
    x = layers.Dense(widths[-1], activation="relu", name="bottleneck")(x)
    for number, width in enumerate(widths[-2:0:-1], start=1):
        x = layers.Dense(width, activation="relu", name=f"decoder_{number}")(x)
    # Inputs lie in [0, 1], and so does what a sigmoid gives. float32: its error is what counts.
    copy = layers.Dense(n_features, activation="sigmoid", dtype="float32", name="reconstruction")(x)
    return keras.Model(rows, copy, name="autoencoder")


def scoring(network: Any, slope: float, centre: float) -> Any:
    """The network with its reconstruction error as the score, shape (n_flows, 1).

    Args:
        network: Of `build`; its weights are shared.
        slope: Of the sigmoid, per unit of mean absolute error.
        centre: Error that scores one half.
    """
    layers = keras.layers
    rows, copy = network.input, network.output
    above = layers.ReLU(name="above")(layers.Subtract(name="rows_less_copy")([rows, copy]))
    below = layers.ReLU(name="below")(layers.Subtract(name="copy_less_rows")([copy, rows]))
    error = layers.Add(name="error")([above, below])
    logit = layers.Dense(1, trainable=False, name="score_logit")
    score = layers.Activation("sigmoid", name="score")(logit(error))
    n_features = network.input_shape[1]
    logit.set_weights(
        [
            np.full((n_features, 1), slope / n_features, np.float32),
            np.array([-slope * centre], np.float32),
        ]
    )
    return keras.Model(rows, score, name="autoencoder_score")


def calibrated(errors: NDArray[np.float32]) -> tuple[float, float]:
    """Slope and centre of the score's sigmoid.

    Args:
        errors: Mean absolute errors of benign rows the network was not trained on.
    """
    median, centre = np.quantile(errors.astype(np.float64), [0.5, _CENTRE_SHARE])
    # Rows that are all alike, as in a toy set, leave no spread to measure.
    spread = max(centre - median, 1e-6)
    return float(np.log(1 / _MEDIAN_SCORE - 1) / spread), float(centre)


def _errors(reconstruction: Scorer, part: Part) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Mean absolute and mean squared error of each row, both of shape (n_flows,)."""
    absolute, squared = np.empty(len(part), np.float32), np.empty(len(part), np.float32)
    # In chunks: the differences of all rows at once would be a second copy of the rows.
    for begin in range(0, len(part), _CHUNK):
        rows = slice(begin, begin + _CHUNK)
        inputs = part.inputs[rows]
        error = reconstruction.outputs(inputs) - scaled(inputs)
        absolute[rows] = np.abs(error).mean(axis=1)
        squared[rows] = np.square(error).mean(axis=1)
    return absolute, squared


def _judged(reconstruction: Scorer, weights: list[NDArray[Any]], validation: Part) -> Judgement:
    """How well benign rows are reproduced decides; how well attacks stand out is only told."""
    reconstruction.model.set_weights(weights)
    absolute, squared = _errors(reconstruction, validation)
    benign = validation.target == 0
    loss = float(squared[benign].mean())
    slope, centre = calibrated(absolute[benign])
    score = 1 / (1 + np.exp(-np.clip(slope * (absolute - centre), -60, 60)))
    score = score.astype(np.float32)
    found = best_threshold(score, validation.target)
    accuracy = float(((score >= found.value) == validation.target).mean())
    return Judgement((-loss, 0.0), loss, accuracy, found.f1)
