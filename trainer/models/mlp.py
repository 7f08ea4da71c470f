"""A plain multilayer perceptron, the rival every convolution should be held against."""

from __future__ import annotations

from typing import Any, Final

from trainer._tensorflow import keras

_UNITS: Final = (256, 128, 64)
_DROPOUT: Final = 0.1
# Keras' default of 0.99 needs several epochs before validation scores mean anything.
_NORM_MOMENTUM: Final = 0.9


def build(n_features: int) -> Any:
    """Build the network: (n_flows, n_features) in [0, 1] → (n_flows, 1) in [0, 1]."""
    layers = keras.layers
    rows = keras.Input((n_features,), name="features")
    x = rows
    for number, units in enumerate(_UNITS, start=1):
        # The normalisation has a bias of its own.
        x = layers.Dense(units, use_bias=False, name=f"dense_{number}")(x)
        x = layers.BatchNormalization(momentum=_NORM_MOMENTUM, name=f"normalisation_{number}")(x)
        x = layers.ReLU(name=f"relu_{number}")(x)
        x = layers.Dropout(_DROPOUT, name=f"dropout_{number}")(x)
    score = layers.Dense(1, activation="sigmoid", name="score")(x)
    return keras.Model(rows, score, name="mlp")
