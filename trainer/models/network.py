"""Classifiers that are Keras networks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from edge_agent.contract.errors import RunError
from trainer._tensorflow import keras, tf
from trainer.evaluate import best_threshold
from trainer.models import heads, tuning
from trainer.models.base import FitSettings, History, Part, scaled
from trainer.models.feeding import Rows
from trainer.models.fitting import Fitting, Judgement, Problem
from trainer.models.learner import Objective
from trainer.models.lesson import learn_from_trees
from trainer.models.losses import FOCAL_GAMMA, cross_entropy, verdict_loss, verdict_right
from trainer.models.weights import row_weights

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from trainer.models.lesson import Ramps

_SCORING_BATCH: Final = 4096
# Share of the trees' score in a target. Scores of rows that they grew on are nearly the labels,
# except where a row contradicts its neighbours.
_TREES_SHARE: Final = 0.7


class Network:
    """A Keras network with an output of `heads.verdict`.

    Args:
        build: Number of features and of families, and ramps where there is a lesson → network;
            called when fitting.
        settings: How to fit.
        ramps: How many thresholds it takes over from boosted trees, which then also soften its
            targets (`lesson`); 0: it learns from the labels alone.
    """

    def __init__(self, build: Callable[..., Any], settings: FitSettings, *, ramps: int = 0) -> None:
        self._build = build
        self._settings = settings
        self._ramps = ramps
        self._scorer: Any = None

    @classmethod
    def load(cls, path: Path, settings: FitSettings) -> Network:
        """Read what `save` wrote; it only scores.

        Raises:
            RunError: It is no such file, or of other families.
        """
        network = cls(_never_again, settings)
        network._scorer = Scorer(load_keras(path, 1 + len(settings.families)))
        return network

    def fit(self, train: Part, validation: Part) -> History:
        """See `Classifier.fit`."""
        settings = self._settings
        shape = (train.inputs.shape[1], len(settings.families))
        weight = row_weights(train, settings.loss)
        lesson: tuple[Ramps, ...] = ()
        aim = train.target.astype(np.float32)
        if self._ramps:
            taught = learn_from_trees(train, weight, self._ramps, settings.seed)
            lesson = (taught.ramps,)
            aim = (1 - _TREES_SHARE) * aim + _TREES_SHARE * taught.score
        # What is judged and saved is a plain float32 network beside the one that learns: no mixed
        # precision, no strategy of a cluster, the averaged weights where they are averaged.
        self._scorer = Scorer(self._build(*shape, *lesson))
        gamma = tuning.number(settings.tuning, "focal_gamma", FOCAL_GAMMA)
        objective = Objective(
            build=lambda: heads.logits(self._build(*shape, *lesson)),
            loss=verdict_loss(settings.loss, gamma),
            right=verdict_right,
        )
        rows = Rows(train.inputs, train.target, train.family, weight, aim)
        problem = Problem(
            self._scorer.model.to_json(),
            objective,
            rows,
            lambda weights: self._judged(weights, validation),
        )
        outcome = Fitting(problem, settings).run()
        self._scorer.model.set_weights(outcome.weights)
        return outcome.history

    def scores(self, part: Part) -> NDArray[np.float32]:
        """See `Classifier.scores`."""
        return self._outputs(part)[:, 0]

    def family_shares(self, part: Part) -> NDArray[np.float32] | None:
        """See `Classifier.family_shares`."""
        if not self._settings.families:
            return None
        return self._outputs(part)[:, 1:]

    def save(self, stem: Path) -> Path:
        """See `Classifier.save`."""
        return save_keras(self._scorer.model, stem)

    @property
    def parameters(self) -> int:
        """Trained weights."""
        return int(self._scorer.parameters)

    def _outputs(self, part: Part) -> NDArray[np.float32]:
        outputs: NDArray[np.float32] = self._scorer.outputs(part.inputs)
        return outputs

    def _judged(self, weights: list[NDArray[Any]], validation: Part) -> Judgement:
        self._scorer.model.set_weights(weights)
        score = self.scores(validation)
        target = validation.target
        loss = cross_entropy(score, target)
        f1 = best_threshold(score, target).f1
        accuracy = float(((score >= 0.5) == target).mean())
        # Equal F1 is common on small validation parts: the lower loss then decides.
        return Judgement((f1, -loss), loss, accuracy, f1)


class Scorer:
    """A network that only scores.

    Args:
        model: Its weights may change later on, its shapes may not.
    """

    def __init__(self, model: Any) -> None:
        self.model = model
        rows = tf.TensorSpec((None, model.input_shape[1]), tf.float32)
        # `predict` sets up a data pipeline at every call, which costs more than scoring 10,000
        # rows; and Keras compiles anew for the shorter last batch.
        self._forward = tf.function(
            lambda inputs: model(inputs, training=False), input_signature=(rows,)
        )

    def outputs(self, inputs: NDArray[np.uint8] | NDArray[np.float32]) -> NDArray[np.float32]:
        """Outputs for rows of `Part.inputs`, shape (n_flows, outputs)."""
        chunks = [
            self._forward(scaled(inputs[begin : begin + _SCORING_BATCH])).numpy()
            for begin in range(0, len(inputs), _SCORING_BATCH)
        ]
        empty = np.empty((0, self.model.output_shape[1]), np.float32)
        outputs: NDArray[np.float32] = np.concatenate([empty, *chunks])
        return outputs

    @property
    def parameters(self) -> int:
        """Trained weights."""
        return int(sum(np.prod(weight.shape) for weight in self.model.trainable_weights))


def save_keras(model: Any, stem: Path) -> Path:
    """Write a network beside `stem`; nothing of how it was trained goes with it."""
    path = stem.with_name(stem.name + ".keras")
    model.save(path)
    return path


def load_keras(path: Path, outputs: int) -> Any:
    """Read a network.

    Raises:
        RunError: It is none, or has another number of outputs.
    """
    try:
        model = keras.models.load_model(path, compile=False)
    # Keras lets through whatever its file formats raise; all of it means this one thing.
    except Exception as error:
        raise RunError(
            path, "is no Keras model that can be loaded", remedy="train the run again"
        ) from error
    if model.output_shape != (None, outputs):
        raise RunError(
            path,
            f"has an output of shape {model.output_shape}, not {outputs} numbers a row",
            remedy="train the run again",
        )
    return model


def _never_again(*_: int) -> Any:
    raise RuntimeError("a network that was read from a file is not fitted again")
