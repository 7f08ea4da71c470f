"""The models that are compared, all on the same balanced draws of flows."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np

from edge_agent.contract.scaling import Scaler

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from benchmarks.time_dimension.flows import Flows
    from benchmarks.time_dimension.variants import View

    Scores = Callable[[NDArray[np.int64]], NDArray[np.float32]]

# A flood of 5,000 equal flows says no more than some hundred of them, and drowns a scan of twelve.
_CAMPAIGN_FLOWS: Final = 400
_TREES: Final = 100
_ROUNDS: Final = 200
_BATCH: Final = 256
_SCORING_BATCH: Final = 2048
_LEARNING_RATE: Final = 3e-3
_FINAL_SHARE: Final = 0.01
_SWAPPED_SHARE: Final = 0.1
_NORM_MOMENTUM: Final = 0.9
_DROPOUT: Final = 0.2
# Features a step: so many neighbouring columns are one step of the sequence.
_GROUP: Final = 7


class Model(Protocol):
    """Learns from some flows and scores others."""

    def __call__(self, view: View, train: NDArray[np.int64], seed: int) -> Scores:
        """Fit; returns what scores flows by their indexes, in [0, 1]."""


def balanced(
    flows: Flows, train: NDArray[np.int64], rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Draw rows to learn from: all benign ones and some of every campaign.

    Args:
        flows: All.
        train: Which may be drawn.
        rng: Chooses among the flows of a large campaign.

    Returns:
        Indexes, and weights of mean 1: attacks weigh together what benign flows do, a campaign
        among them the root of its size.
    """
    attack = flows.attack[train]
    benign = train[attack < 0]
    campaigns = [train[attack == number] for number in np.unique(attack[attack >= 0])]
    roots = np.sqrt([len(campaign) for campaign in campaigns])
    totals = roots / roots.sum() * len(benign)
    rows, weights = [benign], [np.ones(len(benign))]
    for campaign, total in zip(campaigns, totals, strict=True):
        if len(campaign) > _CAMPAIGN_FLOWS:
            drawn = rng.choice(campaign, _CAMPAIGN_FLOWS, replace=False)
        else:
            drawn = campaign
        rows.append(drawn)
        weights.append(np.full(len(drawn), total / len(drawn)))
    weight = np.concatenate(weights)
    return np.concatenate(rows), (weight / weight.mean()).astype(np.float32)


def forest(view: View, train: NDArray[np.int64], seed: int) -> Scores:
    """A random forest; see `Model`."""
    from sklearn.ensemble import RandomForestClassifier

    table = view.for_trees
    rows, weight = balanced(view.flows, train, np.random.default_rng(seed))
    trees = RandomForestClassifier(n_estimators=_TREES, random_state=seed)
    trees.fit(table[rows], view.flows.target[rows], weight)
    return lambda rows: trees.predict_proba(table[rows])[:, 1].astype(np.float32)


def boosted_trees(view: View, train: NDArray[np.int64], seed: int) -> Scores:
    """Boosted trees; see `Model`."""
    import lightgbm

    table = view.for_trees
    rows, weight = balanced(view.flows, train, np.random.default_rng(seed))
    booster = lightgbm.train(
        {
            "objective": "binary",
            "seed": seed,
            "verbosity": -1,
            "deterministic": True,
            "force_row_wise": True,
        },
        lightgbm.Dataset(table[rows], view.flows.target[rows], weight=weight),
        num_boost_round=_ROUNDS,
    )
    return lambda rows: np.asarray(booster.predict(table[rows]), dtype=np.float32)


class CnnLstm:
    """The CNN-LSTM; over the columns of a flow, or over the flows of a window.

    Args:
        steps: Batches to learn from.
    """

    def __init__(self, steps: int) -> None:
        self._steps = steps

    def __call__(self, view: View, train: NDArray[np.int64], seed: int) -> Scores:
        """See `Model`."""
        from trainer._tensorflow import keras

        flows, rng = view.flows, np.random.default_rng(seed)
        keras.utils.set_random_seed(seed)
        drawn, _ = balanced(flows, train, rng)
        scaled = Scaler.fit("quantile", flows.raw[drawn]).transform(flows.raw)
        model = build(view.for_network(scaled, drawn[:1]).shape[1:])
        epochs = max(1, round(self._steps * _BATCH / len(drawn)))
        steps = math.ceil(len(drawn) / _BATCH) * epochs
        rate = keras.optimizers.schedules.CosineDecay(_LEARNING_RATE, steps, alpha=_FINAL_SHARE)
        model.compile(optimizer=keras.optimizers.Adam(rate), loss="binary_crossentropy")
        for _ in range(epochs):
            rows, weight = balanced(flows, train, rng)
            seen = swapped(view.for_network(scaled, rows), rng)
            model.fit(seen, flows.target[rows], sample_weight=weight, batch_size=_BATCH, verbose=0)
        return lambda rows: _scores(model, view, scaled, rows)


def swapped(rows: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Give some of each row's values those of other rows.

    A network that can never be sure of a single column learns to ask several, as a forest does.
    """
    others = rows[rng.permutation(len(rows))]
    result: NDArray[np.float32] = np.where(rng.random(rows.shape) < _SWAPPED_SHARE, others, rows)
    return result


def build(shape: tuple[int, ...]) -> Any:
    """Build the network for rows of that shape: (columns,) or (flows, columns)."""
    from trainer._tensorflow import keras

    layers = keras.layers
    rows = keras.Input(shape)
    if len(shape) == 1:
        missing = -shape[0] % _GROUP
        x = layers.Reshape((shape[0], 1))(rows)
        x = layers.ZeroPadding1D((0, missing))(x)
        x = layers.Reshape(((shape[0] + missing) // _GROUP, _GROUP))(x)
        x = _convolution(x, kernel=3)
        x = layers.MaxPooling1D(2, padding="same")(x)
    else:
        x = _convolution(rows, kernel=1)
        x = layers.Dropout(_DROPOUT)(x)
    x = layers.LSTM(24)(x)
    x = layers.Dropout(_DROPOUT)(x)
    x = layers.Dense(32, activation="relu")(x)
    return keras.Model(rows, layers.Dense(1, activation="sigmoid")(x))


def _convolution(x: Any, kernel: int) -> Any:
    from trainer._tensorflow import keras

    layers = keras.layers
    x = layers.Conv1D(48, kernel, padding="same", use_bias=False)(x)
    x = layers.BatchNormalization(momentum=_NORM_MOMENTUM)(x)
    return layers.ReLU()(x)


def _scores(
    model: Any, view: View, scaled: NDArray[np.float32], rows: NDArray[np.int64]
) -> NDArray[np.float32]:
    chunks = [
        model.predict_on_batch(view.for_network(scaled, rows[begin : begin + _SCORING_BATCH]))
        for begin in range(0, len(rows), _SCORING_BATCH)
    ]
    scores: NDArray[np.float32] = np.concatenate(chunks)[:, 0]
    return scores
