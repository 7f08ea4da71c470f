"""The paper's architecture: Conv1D and max-pooling blocks → LSTM → dropout → dense → sigmoid.

The features of one flow are the sequence. Two blocks pool it by eight before the LSTM, because the
LSTM's steps are what a gateway pays for (9 steps for 78 features, 537 µs unpooled). Each
convolution is normalised before its ReLU: that halves the epochs, and the converter folds it into
the convolution's weights. Only built-in layers, so that the saved file needs no code of ours.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from trainer._tensorflow import keras
from trainer.models import fitting, heads, tuning
from trainer.models.network import Network

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trainer.models.base import FitSettings


@dataclass(frozen=True, slots=True)
class Size:
    """What the layers are like.

    Attributes:
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


SIZES: Final[dict[str, Size]] = {
    "edge": Size(filters=(32, 64), pools=(4, 2), lstm_units=32, dense_units=32),
    "paper": Size(filters=(64, 128), pools=(2, 2), lstm_units=100, dense_units=64),
}

TUNABLES: Final = (
    *fitting.TUNABLES,
    "focal_gamma",
    "filters",
    "kernel",
    "lstm_units",
    "dense_units",
    "dropout",
)

# Keras' default of 0.99 needs several epochs before validation scores mean anything.
_NORM_MOMENTUM: Final = 0.9


def make(settings: FitSettings) -> Network:
    """An unfitted network.

    Raises:
        ValueError: A hyper-parameter has no possible value.
    """
    size = tuned(SIZES[settings.size], settings.tuning)
    return Network(
        lambda n_features, n_families: build(n_features, size, n_families=n_families), settings
    )


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


def build(n_features: int, size: Size, *, n_families: int = 0, unrolled: bool = False) -> Any:
    """Build the network: (n_flows, n_features) in [0, 1] → (n_flows, 1 + n_families) in [0, 1].

    Args:
        n_features: Width of a row.
        size: What the layers are like.
        n_families: See `heads.verdict`.
        unrolled: Lay the LSTM's steps out one after the other. Same weights in the same order, so
            `set_weights` carries a trained model over; what a converter needs.
    """
    layers = keras.layers
    rows = keras.Input((n_features,), name="features")
    x = layers.Reshape((n_features, 1), name="sequence")(rows)
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
    x = layers.Dropout(size.dropout, name="dropout")(x)
    x = layers.Dense(size.dense_units, activation="relu", name="dense")(x)
    return keras.Model(rows, heads.verdict(x, n_families), name="cnn_lstm")
