"""Rows to batches: shuffled anew in every epoch, the same way for the same seed.

Bins stay bins until they are in the graph: 2.8 million rows of 78 features are 220 MB as bins and
880 MB as float32. What is shuffled are row numbers, so that any epoch can be dealt out without the
ones before it, and each worker of a cluster takes its rows out of the same batches that one machine
would see.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from edge_agent.contract.scaling import BINS
from trainer._tensorflow import tf

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from trainer.distribution import Share

# Batches made ready while one is learned from. Left to itself, TensorFlow keeps more threads busy
# with it than a small machine has.
_READY: Final = 4


@dataclass(frozen=True, slots=True)
class Rows:
    """What a network learns from.

    Attributes:
        inputs: Shape (n_flows, n_features): bins 0 to 255, or values in [0, 1].
        target: Shape (n_flows,): 0 benign, 1 attack.
        family: Shape (n_flows,): 0 none, k the k-th family.
        weight: Shape (n_flows,): how much a row counts.
        aim: Shape (n_flows,): score that a row should get; about its target.
    """

    inputs: NDArray[np.uint8] | NDArray[np.float32]
    target: NDArray[np.uint8]
    family: NDArray[np.uint8]
    weight: NDArray[np.float32]
    aim: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.target)

    @property
    def arrays(self) -> tuple[NDArray[Any], ...]:
        """In their order."""
        return self.inputs, self.target, self.family, self.weight, self.aim

    def checksum(self) -> int:
        """Tells these rows from others."""
        value = 0
        for array in self.arrays:
            value = zlib.crc32(np.ascontiguousarray(array).data, value)
        return value


class Batch(NamedTuple):
    """Tensors of some rows, as in `Rows`; `total` is the number of rows in the whole batch.

    On one machine that is how many there are here; in a cluster each worker has its share of them.
    """

    inputs: Any
    target: Any
    family: Any
    weight: Any
    aim: Any
    total: Any


def scaled_in_graph(inputs: Any) -> Any:
    """Bins or values → float32 values in [0, 1], as `base.scaled` does."""
    if inputs.dtype == tf.uint8:
        return tf.cast(inputs, tf.float32) / float(BINS - 1)
    return inputs


class Feed:
    """Batches of an epoch.

    Args:
        rows: All of them.
        seed: Of the shuffling.
        share: Which part of every batch this worker takes.
        swapped_share: Share of values that are those of another row of the batch. A network that
            can never be sure of one column learns to ask several, as a forest does.
    """

    def __init__(self, rows: Rows, seed: int, share: Share, swapped_share: float = 0.0) -> None:
        self._swapped_share = swapped_share
        self._seed = seed
        self._share = share
        self._n_rows = len(rows)
        # In the computer's memory, not in a GPU's.
        with tf.device("CPU"):
            self._rows = tuple(tf.constant(array) for array in rows.arrays)

    @property
    def signature(self) -> Batch:
        """Shapes and types of the tensors of a batch."""
        specs = [tf.TensorSpec((None, *array.shape[1:]), array.dtype) for array in self._rows]
        inputs, target, family, weight, aim = specs
        return Batch(inputs, target, family, weight, aim, tf.TensorSpec((), tf.int64))

    def steps(self, batch_rows: int) -> int:
        """Batches in an epoch."""
        whole, rest = divmod(self._n_rows, batch_rows)
        # Every worker needs a row of the last batch; rows left out once come again shuffled.
        return whole + (rest >= self._share.count) if whole else 1

    def epoch(self, number: int, batch_rows: int) -> Any:
        """A `tf.data.Dataset` of `Batch`es.

        Args:
            number: Of the epoch, from 1.
            batch_rows: Rows of a batch, over all workers.
        """
        order = np.random.default_rng((self._seed, number)).permutation(self._n_rows)
        index, count = self._share.index, self._share.count
        with tf.device("CPU"):
            numbers = tf.constant(order)

        def deal(step: Any) -> Batch:
            begin = step * batch_rows
            end = tf.minimum(begin + batch_rows, self._n_rows)
            chosen = numbers[begin + index : end : count]
            inputs, target, family, weight, aim = (tf.gather(a, chosen) for a in self._rows)
            if self._swapped_share:
                inputs = _swapped(inputs, self._swapped_share, (self._seed, number, step, index))
            return Batch(inputs, target, family, weight, aim, end - begin)

        steps = tf.data.Dataset.range(self.steps(batch_rows))
        return steps.map(deal, num_parallel_calls=1, deterministic=True).prefetch(_READY)


def _swapped(inputs: Any, share: float, seed: tuple[Any, ...]) -> Any:
    """Rows in which some values, the same for the same seed, are those of the row before."""
    first, epoch, step, index = (tf.cast(number, tf.int64) for number in seed)
    # Primes far apart: no two steps of a training share a seed.
    pair = tf.stack([first * 1_000_003 + epoch, step * 1_009 + index])
    draw = tf.random.stateless_uniform(tf.shape(inputs), pair)
    # Batches are shuffled: the row before is any row.
    return tf.where(draw < share, tf.roll(inputs, 1, axis=0), inputs)
