"""The paper's architecture: Conv1D and max-pooling blocks → LSTM → dropout → dense → sigmoid.

The features of one flow are the sequence. Two blocks pool it by eight before the LSTM, because the
LSTM's steps are what a gateway pays for (9 steps for 78 features, 537 µs unpooled). Each
convolution is normalised before its ReLU: that halves the epochs, and the converter folds it into
the convolution's weights. Only built-in layers, so that the saved file needs no code of ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from trainer._tensorflow import keras


@dataclass(frozen=True, slots=True)
class Size:
    """Widths of the layers.

    Attributes:
        filters: Of each convolution.
        pools: Pooling after each convolution.
        lstm_units, dense_units: Of the layers behind them.
    """

    filters: tuple[int, ...]
    pools: tuple[int, ...]
    lstm_units: int
    dense_units: int


SIZES: Final[dict[str, Size]] = {
    "edge": Size(filters=(32, 64), pools=(4, 2), lstm_units=32, dense_units=32),
    "paper": Size(filters=(64, 128), pools=(2, 2), lstm_units=100, dense_units=64),
}

_KERNEL: Final = 3
_DROPOUT: Final = 0.2
# Keras' default of 0.99 needs several epochs before validation scores mean anything.
_NORM_MOMENTUM: Final = 0.9


def build(n_features: int, size: Size, *, unrolled: bool = False) -> Any:
    """Build the network: (n_flows, n_features) in [0, 1] → (n_flows, 1) in [0, 1].

    Args:
        n_features: Width of a row.
        size: Widths of the layers.
        unrolled: Lay the LSTM's steps out one after the other. Same weights in the same order, so
            `set_weights` carries a trained model over; what a converter needs.
    """
    layers = keras.layers
    rows = keras.Input((n_features,), name="features")
    x = layers.Reshape((n_features, 1), name="sequence")(rows)
    for number, (filters, pool) in enumerate(zip(size.filters, size.pools, strict=True), start=1):
        # The normalisation has a bias of its own.
        x = layers.Conv1D(
            filters, _KERNEL, padding="same", use_bias=False, name=f"convolution_{number}"
        )(x)
        x = layers.BatchNormalization(momentum=_NORM_MOMENTUM, name=f"normalisation_{number}")(x)
        x = layers.ReLU(name=f"relu_{number}")(x)
        # A sequence shorter than the pool would vanish: tiny feature sets keep one step.
        x = layers.MaxPooling1D(pool, padding="same", name=f"pooling_{number}")(x)
    x = layers.LSTM(size.lstm_units, unroll=unrolled, name="lstm")(x)
    x = layers.Dropout(_DROPOUT, name="dropout")(x)
    x = layers.Dense(size.dense_units, activation="relu", name="dense")(x)
    score = layers.Dense(1, activation="sigmoid", name="score")(x)
    return keras.Model(rows, score, name="cnn_lstm")
