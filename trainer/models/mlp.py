"""A plain multilayer perceptron, the rival every convolution should be held against."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from trainer._tensorflow import keras
from trainer.models import heads, tuning
from trainer.models.network import Network

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trainer.models.base import FitSettings

UNITS: Final = (256, 128, 64)
DROPOUT: Final = 0.1

# Keras' default of 0.99 needs several epochs before validation scores mean anything.
_NORM_MOMENTUM: Final = 0.9


def make(settings: FitSettings) -> Network:
    """An unfitted perceptron."""
    units = tuning.integers(settings.tuning, "units", UNITS)
    dropout = tuning.number(settings.tuning, "dropout", DROPOUT)
    return Network(
        lambda n_features, n_families: build(
            n_features, units=units, dropout=dropout, n_families=n_families
        ),
        settings,
    )


def build(
    n_features: int,
    *,
    units: Sequence[int] = UNITS,
    dropout: float = DROPOUT,
    n_families: int = 0,
) -> Any:
    """Build the network: (n_flows, n_features) in [0, 1] → (n_flows, 1 + n_families) in [0, 1].

    Args:
        n_features: Width of a row.
        units: Widths of the layers.
        dropout: Share of their outputs that is dropped in training.
        n_families: See `heads.verdict`.
    """
    layers = keras.layers
    rows = keras.Input((n_features,), name="features")
    x = rows
    for number, width in enumerate(units, start=1):
        # The normalisation has a bias of its own.
        x = layers.Dense(width, use_bias=False, name=f"dense_{number}")(x)
        x = layers.BatchNormalization(momentum=_NORM_MOMENTUM, name=f"normalisation_{number}")(x)
        x = layers.ReLU(name=f"relu_{number}")(x)
        x = layers.Dropout(dropout, name=f"dropout_{number}")(x)
    return keras.Model(rows, heads.verdict(x, n_families), name="mlp")
