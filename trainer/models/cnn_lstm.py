"""The paper's architecture: Conv1D and max-pooling blocks → LSTM → dropout → dense → sigmoid.

The `paper` size runs it over the features of one flow as they are. The `edge` size puts a layer of
*ramps* in front: each looks at one feature and rises from 0 to 1 within a few bins around a
threshold. Trees are hard to beat on flow features because they cut at exact values; a convolution
over bare features learns such cuts slowly or never. So boosted trees of a few seconds' training say
where to cut (`lesson`), those cuts become the ramps, fixed, and the network learns how they
combine. Beside the sequence a dense layer sees all ramps at once (`shortcut`), because what belongs
together need not stand close together. benchmarks/results/cnn-lstm.md has what else was tried.

The LSTM's steps are what a gateway pays for, in time and in file size: the blocks leave five (78
features unpooled cost 537 µs). Each convolution is normalised before its ReLU: that halves the
epochs, and the converter folds it into the convolution's weights. Only built-in layers, so that the
saved file needs no code of ours.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from trainer._tensorflow import keras
from trainer.models import heads, tuning
from trainer.models.network import Network

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trainer.models.base import FitSettings
    from trainer.models.lesson import Ramps


@dataclass(frozen=True, slots=True)
class Size:
    """What the layers are like.

    Attributes:
        ramps: Of all features together, a multiple of `CHANNELS`; 0: the sequence is the features.
        shortcut_units: Width of the layer that sees all ramps; 0: there is none.
        filters: Widths of the convolutions.
        pools: Pooling after each convolution.
        lstm_units, dense_units: Widths of the layers behind them.
        kernel: Features that a convolution sees at once.
        dropout: Share of the LSTM's outputs that is dropped in training.
    """

    filters: tuple[int, ...]
    pools: tuple[int, ...]
    lstm_units: int
    dense_units: int
    kernel: int = 3
    dropout: float = 0.2
    ramps: int = 0
    shortcut_units: int = 0


SIZES: Final[dict[str, Size]] = {
    "edge": Size(
        filters=(16, 32),
        pools=(4, 2),
        lstm_units=24,
        dense_units=32,
        dropout=0.1,
        ramps=320,
        shortcut_units=48,
    ),
    "paper": Size(filters=(64, 128), pools=(2, 2), lstm_units=100, dense_units=64),
}

CHANNELS: Final = 8
"""Neighbouring ramps that make one step of the sequence."""

# Gentler than a perceptron's: ramps are steep.
_LEARNING_RATE: Final = 2e-3
# ReLU6 is the clipped activation that TFLite fuses, and its range is an int8 scale as it is.
_TOP: Final = 6.0
# Keras' default of 0.99 needs several epochs before validation scores mean anything.
_NORM_MOMENTUM: Final = 0.9


def make(settings: FitSettings) -> Network:
    """An unfitted network.

    Raises:
        ValueError: A hyper-parameter has no possible value.
    """
    size = tuned(SIZES[settings.size], settings.tuning)
    settings = replace(settings, tuning={"learning_rate": _LEARNING_RATE, **settings.tuning})

    def built(n_features: int, n_families: int, ramps: Ramps | None = None) -> Any:
        return build(n_features, size, ramps, n_families=n_families)

    return Network(built, settings, ramps=size.ramps)


def tuned(size: Size, changes: Mapping[str, object]) -> Size:
    """A size with some of its values replaced by those of `FitSettings.tuning`.

    Raises:
        ValueError: One is not possible.
    """
    filters = tuning.integers(changes, "filters", size.filters)
    if len(filters) != len(size.pools):
        raise ValueError(f"filters must be a list of {len(size.pools)} whole numbers")
    return replace(
        size,
        filters=filters,
        kernel=tuning.integer(changes, "kernel", size.kernel),
        lstm_units=tuning.integer(changes, "lstm_units", size.lstm_units),
        dense_units=tuning.integer(changes, "dense_units", size.dense_units),
        dropout=tuning.number(changes, "dropout", size.dropout),
    )


def build(
    n_features: int,
    size: Size,
    ramps: Ramps | None = None,
    *,
    n_families: int = 0,
    unrolled: bool = False,
) -> Any:
    """Build the network: (n_flows, n_features) in [0, 1] → (n_flows, 1 + n_families) in [0, 1].

    Args:
        n_features: Width of a row.
        size: What the layers are like.
        ramps: `size.ramps` thresholds in the order that the sequence has them; None where the size
            has no ramps.
        n_families: See `heads.verdict`.
        unrolled: Lay the LSTM's steps out one after the other. Same weights in the same order, so
            `set_weights` carries a trained model over; what a converter needs.

    Raises:
        ValueError: The size has ramps and none are given, or the other way round.
    """
    if (ramps is None) != (not size.ramps):
        raise ValueError(f"a size of {size.ramps} ramps needs them")
    layers = keras.layers
    rows = keras.Input((n_features,), name="features")
    if ramps is None:
        x = seen = layers.Reshape((n_features, 1), name="sequence")(rows)
    else:
        seen = _seen(rows, ramps)
        steps = size.ramps // CHANNELS
        x = layers.Reshape((steps, CHANNELS), name="sequence")(seen)
    for number, (filters, pool) in enumerate(zip(size.filters, size.pools, strict=True), start=1):
        # The normalisation has a bias of its own.
        x = layers.Conv1D(
            filters, size.kernel, padding="same", use_bias=False, name=f"convolution_{number}"
        )(x)
        x = layers.BatchNormalization(momentum=_NORM_MOMENTUM, name=f"normalisation_{number}")(x)
        x = layers.ReLU(name=f"relu_{number}")(x)
        # A sequence shorter than the pool would vanish: tiny feature sets keep one step.
        x = layers.MaxPooling1D(pool, padding="same", name=f"pooling_{number}")(x)
    x = layers.LSTM(size.lstm_units, unroll=unrolled, name="lstm")(x)
    if size.shortcut_units:
        y = layers.Dense(size.shortcut_units, use_bias=False, name="shortcut")(seen)
        y = layers.BatchNormalization(momentum=_NORM_MOMENTUM, name="shortcut_normalisation")(y)
        y = layers.ReLU(name="shortcut_relu")(y)
        x = layers.Concatenate(name="joined")([x, y])
    x = layers.Dropout(size.dropout, name="dropout")(x)
    x = layers.Dense(size.dense_units, activation="relu", name="dense")(x)
    return keras.Model(rows, heads.verdict(x, n_families), name="cnn_lstm")


def _seen(rows: Any, ramps: Ramps) -> Any:
    """What the ramps say of the features, shape (n_flows, n_ramps), from 0 to 6."""
    n_features, n_ramps = rows.shape[1], len(ramps.column)
    # One weight a column: int8 holds it without error, since every column has its own scale. In
    # float32 always: half precision has no digits left for a ramp of five bins.
    kernel = np.zeros((n_features, n_ramps), dtype=np.float32)
    kernel[ramps.column, np.arange(n_ramps)] = ramps.slope
    cut = keras.layers.Dense(n_ramps, trainable=False, dtype="float32", name="ramps")
    seen = keras.layers.ReLU(_TOP, dtype="float32", name="clipped")(cut(rows))
    cut.set_weights([kernel, _TOP / 2 - ramps.slope * ramps.middle])
    return seen
