"""A network while it learns: one optimizer step at a time, on whatever device there is."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from trainer import distribution
from trainer._tensorflow import keras, tf
from trainer.models.feeding import Batch, scaled_in_graph

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from trainer.accelerator import Accelerator

# With batch normalisation twice Adam's usual rate still converges, and in half the epochs.
LEARNING_RATE: Final = 3e-3
# Parameters that only shift and stretch lose nothing to smallness.
_NO_DECAY: Final = ("bias", "gamma", "beta")
# Early averages forget the untrained weights fast: momentum (1 + t) / (10 + t) up to the one asked
# for, as tf.train.ExponentialMovingAverage does.
_AVERAGING_DELAY: Final = 10


@dataclass(frozen=True, slots=True)
class Objective:
    """What to learn.

    Attributes:
        build: → the network to train.
        loss: Its output and the batch → loss of each row, shape (n,).
        right: The same → whether each row is right, shape (n,), boolean.
    """

    build: Callable[[], Any]
    loss: Callable[[Any, Batch], Any]
    right: Callable[[Any, Batch], Any]


@dataclass(frozen=True, slots=True)
class Descent:
    """How Adam goes down.

    Attributes:
        learning_rate: Its highest.
        weight_decay: Decoupled, per step and unit of learning rate; 0: none.
        averaging: Momentum of the moving average of weights that is judged and kept instead of the
            weights themselves; 0: none.
    """

    learning_rate: float = LEARNING_RATE
    weight_decay: float = 0.0
    averaging: float = 0.0


@dataclass(frozen=True, slots=True)
class Totals:
    """Sums over the rows of an epoch so far.

    Attributes:
        loss: Of the losses.
        right: Rows that are right.
        rows: All of them.
        stop: Workers that want to stop.
    """

    loss: float
    right: float
    rows: float
    stop: float


class Learner:
    """The network, its optimizer, and one compiled step.

    Args:
        objective: What to learn.
        descent: How.
        accelerator: Where.
        signature: Of the batches, see `feeding.Feed.signature`.
    """

    def __init__(
        self, objective: Objective, descent: Descent, accelerator: Accelerator, signature: Batch
    ) -> None:
        self._objective = objective
        self._descent = descent
        self._strategy = distribution.strategy()
        with self._strategy.scope(), _policy(accelerator.precision), _own_dropout():
            self._model = objective.build()
            self._optimizer = _optimizer(descent, accelerator.precision)
            self._optimizer.build(self._model.trainable_variables)
        self._averages = self._average_variables()
        number = tf.TensorSpec((), tf.float32)
        totals = tf.TensorSpec((4,), tf.float64)
        self._step = tf.function(
            self._whole_step, input_signature=(signature, number, number, number, totals)
        )
        self._steps = 0
        self._totals = tf.zeros(4, tf.float64)

    def begin_epoch(self, seed: int, number: int) -> None:
        """Forget the totals and draw dropout anew; the same for the same seed and number."""
        self._totals = tf.zeros(4, tf.float64)
        draws = np.random.default_rng((seed, number, 1))
        for generator in self._generators():
            generator.reset_from_seed(int(draws.integers(2**31)))

    def step(self, batch: Batch, share_of_rate: float, *, stop: bool = False) -> None:
        """Learn from a batch.

        Args:
            batch: Of `feeding.Feed`.
            share_of_rate: Learning rate as a share of the highest.
            stop: Whether this worker wants to; see `Totals.stop`.
        """
        steps = self._steps
        momentum = min(self._descent.averaging, (1 + steps) / (_AVERAGING_DELAY + steps))
        self._totals = self._step(
            batch,
            tf.constant(share_of_rate * self._descent.learning_rate, tf.float32),
            tf.constant(momentum, tf.float32),
            tf.constant(float(stop), tf.float32),
            self._totals,
        )
        self._steps += 1

    def totals(self) -> Totals:
        """Sums since the epoch began; waits for the device."""
        return Totals(*self._totals.numpy().tolist())

    def weights(self) -> list[NDArray[Any]]:
        """What has been learned, in the order of Keras' `get_weights`."""
        if not self._averages:
            return list(self._model.get_weights())
        average = {
            variable.ref(): mean
            for variable, mean in zip(self._model.trainable_variables, self._averages, strict=True)
        }
        return [average.get(weight.ref(), weight).numpy() for weight in self._model.weights]

    def state(self) -> list[NDArray[Any]]:
        """All that a learner made alike needs to go on as this one would."""
        values = [variable.numpy() for variable in self._variables()]
        return [*values, np.array(self._steps, np.int64)]

    def restore(self, state: list[NDArray[Any]]) -> None:
        """Go on from there.

        Raises:
            ValueError: It is the state of another network.
        """
        *values, steps = state
        variables = list(self._variables())
        if [value.shape for value in values] != [tuple(each.shape) for each in variables]:
            raise ValueError("the state of another network")
        for variable, value in zip(variables, values, strict=True):
            variable.assign(value)
        self._steps = int(steps)

    def _variables(self) -> Iterator[Any]:
        yield from self._model.weights
        yield from self._averages
        yield from self._optimizer.variables
        # The scale of the loss, in half precision, is a variable that `variables` leaves out.
        known = {variable.ref() for variable in self._optimizer.variables}
        for found in tf.train.TrackableView(self._optimizer).descendants():
            if isinstance(found, tf.Variable) and found.ref() not in known:
                known.add(found.ref())
                yield found

    def _average_variables(self) -> list[Any]:
        if not self._descent.averaging:
            return []
        with self._strategy.scope():
            learned = self._model.trainable_variables
            return [tf.Variable(variable, trainable=False) for variable in learned]

    def _generators(self) -> Iterator[Any]:
        for layer in self._model.layers:
            # Keras keeps the generator of a layer to itself; but one that cannot be set back would
            # make a resumed run another one.
            random = getattr(layer, "_random_generator", None)
            generator = getattr(random, "_generator", None)
            if generator is not None:
                yield generator

    def _whole_step(self, batch: Batch, rate: Any, momentum: Any, stop: Any, totals: Any) -> Any:
        self._optimizer.learning_rate.assign(rate)
        own = self._strategy.run(self._replica_step, args=(batch, stop))
        summed = self._strategy.reduce(tf.distribute.ReduceOp.SUM, own, axis=None)
        if self._averages:
            learned = self._model.trainable_variables
            for mean, variable in zip(self._averages, learned, strict=True):
                self._strategy.extended.update(
                    mean,
                    lambda old, new: old.assign(momentum * old + (1 - momentum) * new),
                    args=(variable,),
                )
        return totals + tf.cast(summed, tf.float64)

    def _replica_step(self, batch: Batch, stop: Any) -> Any:
        rows = tf.cast(tf.shape(batch.target)[0], tf.float32)
        with tf.GradientTape() as tape:
            outputs = self._model(scaled_in_graph(batch.inputs), training=True)
            losses = self._objective.loss(outputs, batch) * batch.weight
            # The mean over all workers' rows: gradients are summed over workers.
            loss = tf.reduce_sum(losses) / tf.cast(batch.total, tf.float32)
            objective = self._scaled_loss(loss)
        gradients = tape.gradient(objective, self._model.trainable_variables)
        if isinstance(self._optimizer, keras.mixed_precision.LossScaleOptimizer):
            gradients = self._optimizer.get_unscaled_gradients(gradients)
        self._optimizer.apply_gradients(
            zip(gradients, self._model.trainable_variables, strict=True)
        )
        right = tf.cast(self._objective.right(outputs, batch), tf.float32)
        return tf.stack([tf.reduce_sum(losses), tf.reduce_sum(right), rows, stop])

    def _scaled_loss(self, loss: Any) -> Any:
        if isinstance(self._optimizer, keras.mixed_precision.LossScaleOptimizer):
            return self._optimizer.get_scaled_loss(loss)
        return loss


def _optimizer(descent: Descent, precision: str) -> Any:
    adam = keras.optimizers.Adam(
        descent.learning_rate, weight_decay=descent.weight_decay or None, jit_compile=False
    )
    if descent.weight_decay:
        adam.exclude_from_weight_decay(var_names=list(_NO_DECAY))
    # Gradients below half precision's smallest number would vanish; bfloat16 reaches as far down
    # as float32.
    if precision == "mixed_float16":
        return keras.mixed_precision.LossScaleOptimizer(adam)
    return adam


@contextlib.contextmanager
def _policy(name: str) -> Iterator[None]:
    """Layers built inside compute in this precision."""
    before = keras.mixed_precision.global_policy()
    keras.mixed_precision.set_global_policy(name)
    try:
        yield
    finally:
        keras.mixed_precision.set_global_policy(before)


@contextlib.contextmanager
def _own_dropout() -> Iterator[None]:
    """Layers built inside draw from generators of their own, which can be set back to a seed."""
    keras.backend.experimental.enable_tf_random_generator()
    try:
        yield
    finally:
        keras.backend.experimental.disable_tf_random_generator()
