"""Structured pruning: whole units go, and a smaller dense network takes the full one's place.

`shrunk_copy(model, 0.5, ...)` removes half of the units of every hidden layer: neurons, filters,
LSTM cells, and the steps of a sequence that is cut out of neurons (the edge network's ramps, eight
a step). Those go whose absence changes the full network's output least. What is left keeps its
weights and learns to repeat the full network's verdicts. Input features that nothing reads any more
are left out: a model file holds a table for each.

Unlike zeros among the weights this makes the flatbuffer smaller and faster: a network with half the
units has a quarter of the multiplications, and a shorter sequence has fewer LSTM steps to unroll.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from converters._tensorflow import tf
from converters.finetune import Lesson, Schedule, begin, fine_tune, joint_loss
from converters.units import Anatomy
from edge_agent.contract.errors import ConversionError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from converters.units import Ids
    from edge_agent.contract.runs import Rows

# Much of what was learned must be learned again, by fewer units: half as long a schedule costs a
# tenth of a point of F1. Large batches, because that is what a small network is quick with.
_SCHEDULE: Final = Schedule(epochs=60, learning_rate=3e-3, min_steps=600, batch_rows=512)
# The order of a layer's units settles with fewer; each unit costs a pass over them.
_WORTH_ROWS: Final = 2048


@dataclass(frozen=True, slots=True)
class Shrunk:
    """A smaller network.

    Attributes:
        model: A Keras model.
        columns: The input features that it still takes, by their place among all, in order.
    """

    model: Any
    columns: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Shrinking:
    """What to do.

    Attributes:
        share: Of the units of every hidden layer, how many go, rounded down; between 0 and 1. At
            least one unit stays.
        needs: Input feature → others that must be there for its sake, by their places; see
            `scaling.rate_inputs`.
    """

    share: float
    needs: Mapping[int, Sequence[int]]


def shrunk_copy(
    model: Any,
    shrinking: Shrinking,
    scaled: NDArray[np.float32],
    rows: Rows,
    report: Callable[[str], None] | None = None,
) -> Shrunk:
    """A fine-tuned copy of a Keras model with fewer units.

    Args:
        model: Stays as it is.
        shrinking: How many units go.
        scaled: Training rows after scaling, shape (n_rows, n_features).
        rows: The same rows, for their labels.
        report: Told after each epoch how far it is.

    Raises:
        ConversionError: The model has no unit that could go.
    """
    begin()
    lesson = Lesson.of(model, scaled, rows)
    smaller = without_least(model, shrinking, lesson)
    fine_tune(smaller.model, lesson.narrowed(smaller.columns), _SCHEDULE, report=report)
    return smaller


def without_least(model: Any, shrinking: Shrinking, lesson: Lesson) -> Shrunk:
    """The model without its least units, the others' weights as they were.

    Raises:
        ConversionError: The model has no unit that could go.
    """
    anatomy = Anatomy.of(model)
    removable = anatomy.removable()
    if all(_count(shrinking.share, groups) == 0 for groups in removable.values()):
        sizes = ", ".join(f"{name} has {len(groups)}" for name, groups in removable.items())
        raise ConversionError(
            f"no unit of the model {model.name!r} can be removed at a share of"
            f" {shrinking.share:g} ({sizes or 'all of its layers stand next to its output'});"
            " convert it without shrinking."
        )
    worth = worths(anatomy, lesson)
    least = [
        sorted(groups.tolist(), key=worth.__getitem__)[: _count(shrinking.share, groups)]
        for groups in removable.values()
    ]
    rest = Anatomy.of(anatomy.without(np.concatenate(least).astype(np.intp)))
    columns = _still_needed(rest, shrinking.needs)
    return Shrunk(rest.without(np.delete(rest.inputs, columns)), columns)


def worths(anatomy: Anatomy, lesson: Lesson) -> dict[int, float]:
    """What each removable group of units is worth: the loss on the lesson when it is silent."""
    count = min(_WORTH_ROWS, len(lesson.scaled))
    picked = np.linspace(0, len(lesson.scaled) - 1, count).astype(np.intp)
    scaled, wanted = tf.constant(lesson.scaled[picked]), tf.constant(lesson.wanted[picked])
    model = anatomy.model
    loss = tf.function(lambda: tf.reduce_mean(joint_loss(wanted, model(scaled, training=False))))
    whole = model.get_weights()
    worth = {}
    for group in np.concatenate(list(anatomy.removable().values())).tolist():
        model.set_weights(anatomy.silenced(group))
        worth[group] = float(loss())
        model.set_weights(whole)
    return worth


def _count(share: float, groups: Ids) -> int:
    return min(math.floor(share * len(groups)), len(groups) - 1)


def _still_needed(anatomy: Anatomy, needs: Mapping[int, Sequence[int]]) -> tuple[int, ...]:
    """The input features that are still read, and those that must be there for one of them."""
    read = np.flatnonzero(~np.isin(anatomy.inputs, anatomy.unread_inputs())).tolist()
    return tuple(sorted({*read, *(column for one in read for column in needs.get(one, ()))}))
