"""What the tests of smaller networks need TensorFlow for, made in one process of its own.

python -m tests.converters.shrinking FOLDER
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from converters import worker
from converters._tensorflow import keras
from converters.cluster import clustered_copy
from converters.finetune import Lesson, Schedule, outputs
from converters.formats import Format
from converters.quantize import to_flatbuffer
from converters.shrink import Shrinking, shrunk_copy, without_least, worths
from converters.units import Anatomy
from edge_agent.contract.runs import Rows, Run, load_rows
from edge_agent.contract.scaling import rate_inputs
from tests.converters.toy_run import NAME, make_family_run
from tests.converters.workshop import sentence_of

if TYPE_CHECKING:
    from collections.abc import Callable

layers = keras.layers
N_FEATURES = 12
# Layer that makes units → (layer that reads them, number of its weight, axis of it, offset).
Readers = dict[str, list[tuple[str, int, int, int]]]


def main(folder: Path) -> None:
    refusals(folder)
    ramps(folder)
    exact(folder)
    on_the_toy_run(folder)


def perceptron() -> tuple[Any, Readers]:
    rows = keras.Input((N_FEATURES,))
    x = layers.Dense(9, use_bias=False, name="a")(rows)
    x = layers.ReLU()(layers.BatchNormalization()(x))
    x = layers.Dropout(0.1)(x)
    x = layers.Dense(7, activation="tanh", name="b")(x)
    score = layers.Activation("sigmoid")(layers.Dense(1, name="score")(x))
    shares = layers.Dense(3, activation="softmax", name="family")(x)
    model = keras.Model(rows, layers.Concatenate()([score, shares]))
    readers = {"a": [("b", 0, 0, 0)], "b": [("score", 0, 0, 0), ("family", 0, 0, 0)]}
    return model, readers


def sequence() -> tuple[Any, Readers]:
    """As the edge CNN-LSTM, with a second LSTM and a sum behind it."""
    rows = keras.Input((N_FEATURES,))
    seen = layers.ReLU(6.0)(layers.Dense(32, trainable=False, name="ramps")(rows))
    x = layers.Reshape((8, 4), name="steps")(seen)
    x = layers.Conv1D(6, 3, padding="same", use_bias=False, name="a")(x)
    x = layers.ReLU()(layers.BatchNormalization(name="norm")(x))
    x = layers.MaxPooling1D(2, padding="same")(x)
    x = layers.LSTM(5, return_sequences=True, name="b")(x)
    x = layers.LSTM(7, name="c")(x)
    y = layers.Dense(4, activation="relu", name="d")(seen)
    x = layers.Concatenate()([x, y])
    x = layers.Dense(8, activation="tanh", name="e")(x)
    model = keras.Model(rows, layers.Dense(1, activation="sigmoid", name="score")(x))
    readers: Readers = {
        "a": [("b", 0, 0, 0)],
        "b": [("b", 1, 0, 0), ("c", 0, 0, 0)],
        "c": [("c", 1, 0, 0), ("e", 0, 0, 0)],
        "d": [("e", 0, 0, 7)],
        "e": [("score", 0, 0, 0)],
    }
    return model, readers


def residual() -> tuple[Any, Readers]:
    rows = keras.Input((N_FEATURES,))
    x = layers.Dense(8, activation="relu", name="a")(rows)
    y = layers.Dense(8, activation="relu", name="b")(x)
    both = layers.Add()([x, y])
    less = layers.ReLU()(layers.Subtract()([both, y]))
    model = keras.Model(rows, layers.Dense(1, activation="sigmoid", name="score")(less))
    return model, {"a": [("b", 0, 0, 0), ("score", 0, 0, 0)]}


def autoencoder() -> tuple[Any, Readers]:
    rows = keras.Input((N_FEATURES,))
    x = layers.Dense(8, activation="relu", name="a")(rows)
    copy = layers.Dense(N_FEATURES, activation="sigmoid", name="copy")(x)
    above = layers.ReLU()(layers.Subtract()([rows, copy]))
    below = layers.ReLU()(layers.Subtract()([copy, rows]))
    logit = layers.Dense(1, trainable=False, name="score")(layers.Add()([above, below]))
    model = keras.Model(rows, layers.Activation("sigmoid")(logit))
    return model, {"a": [("copy", 0, 0, 0)]}


def sequential() -> tuple[Any, Readers]:
    model = keras.Sequential(
        [
            layers.Input((N_FEATURES,)),
            layers.Reshape((N_FEATURES, 1)),
            layers.Conv1D(6, 3, padding="same", activation="relu", name="a"),
            layers.MaxPooling1D(4),
            layers.LSTM(5, name="b"),
            layers.Dense(1, activation="sigmoid", name="score"),
        ]
    )
    return model, {"a": [("b", 0, 0, 0)], "b": [("b", 1, 0, 0), ("score", 0, 0, 0)]}


NETWORKS: dict[str, Callable[[], tuple[Any, Readers]]] = {
    made.__name__: made for made in (perceptron, sequence, residual, autoencoder, sequential)
}
SEEDS = range(2)


def exact(folder: Path) -> None:
    """Networks before and after units went that nothing reads, and after some that are read."""
    results: dict[str, np.ndarray] = {}
    facts: dict[str, Any] = {}
    for name, make in NETWORKS.items():
        for seed in SEEDS:
            rng = np.random.default_rng(seed)
            model, readers = make()
            model.set_weights([_drawn(rng, w) for w in model.get_weights()])
            for layer in model.layers:
                if isinstance(layer, layers.BatchNormalization):
                    layer.moving_variance.assign(rng.uniform(0.5, 2.0, layer.moving_variance.shape))
            dead = {maker: _dead(rng, model.get_layer(maker)) for maker in readers}
            for maker, units in dead.items():
                for reader in readers[maker]:
                    _unread(model, reader, units)
            rows = rng.random((64, N_FEATURES), dtype=np.float32)
            anatomy = Anatomy.of(model)
            gone = np.concatenate([anatomy.owners[maker][units] for maker, units in dead.items()])
            less = anatomy.without(gone)
            alive = next(iter(dead))
            read = np.setdiff1d(np.arange(len(anatomy.owners[alive])), dead[alive])[1:]
            spoiled = anatomy.without(np.append(gone, anatomy.owners[alive][read]))
            key = f"{name}-{seed}"
            for when, network in (("before", model), ("after", less), ("spoiled", spoiled)):
                results[f"{key}-{when}"] = np.asarray(network(rows, training=False))
            facts[key] = {
                "removed": {maker: len(units) for maker, units in dead.items()},
                "before": _widths(model),
                "after": _widths(less),
                "removable": {made: len(ids) for made, ids in anatomy.removable().items()},
                "least": seed != SEEDS[0] or _least_are(anatomy, rows, gone),
            }
    np.savez(folder / "exact.npz", **results)  # type: ignore[arg-type]
    (folder / "exact.json").write_text(json.dumps(facts))


def _least_are(anatomy: Anatomy, rows: np.ndarray, gone: np.ndarray) -> bool:
    """Whether units that nothing reads are worth less than any other."""
    worth = worths(anatomy, Lesson(rows, outputs(anatomy.model, rows)))
    dead = {group: value for group, value in worth.items() if group in gone}
    # A ReLU that is silent for all rows is worth as little; 1e-6 is for the sum's last digits.
    return max(dead.values()) <= 1e-6 + min(v for group, v in worth.items() if group not in gone)


def ramps(folder: Path) -> None:
    """A frozen layer of one feature a neuron, one feature a step; nothing reads 5, 6, 7 and 11."""
    keras.utils.set_random_seed(5)
    rows = keras.Input((N_FEATURES,))
    seen = layers.ReLU(6.0)(layers.Dense(32, trainable=False, name="ramps")(rows))
    x = layers.Reshape((8, 4), name="steps")(seen)
    x = layers.MaxPooling1D(2, padding="same")(layers.Conv1D(6, 3, padding="same", name="a")(x))
    x = layers.LSTM(5, name="b")(x)
    x = layers.Concatenate()([x, layers.Dense(4, activation="relu", name="d")(seen)])
    model = keras.Model(rows, layers.Dense(1, activation="sigmoid", name="score")(x))
    kernel = np.zeros((N_FEATURES, 32), np.float32)
    kernel[np.repeat([0, 1, 2, 3, 4, 8, 9, 10], 4), np.arange(32)] = np.linspace(1, 2, 32)
    bias = np.linspace(0.1, 0.4, 32, dtype=np.float32)
    # The steps of features 1 and 9 say nothing.
    kernel[[1, 9]] *= 1e-6
    bias[np.r_[4:8, 24:28]] = 0
    model.get_layer("ramps").set_weights([kernel, bias])
    # Each of the others counts.
    model.get_layer("d").set_weights([np.full((32, 4), 0.02), np.zeros(4)])
    scaled = np.random.default_rng(0).random((500, N_FEATURES), dtype=np.float32)
    lesson = Lesson(scaled, outputs(model, scaled))
    # Feature 0 needs 9, which nothing will read any more, and 11, which nothing ever did; what 1
    # needs counts for nothing once it is gone.
    facts = {}
    for name, needs in (("alone", {}), ("needy", {0: (9, 11), 1: (5,)})):
        smaller = without_least(model, Shrinking(0.25, needs), lesson)
        cut, places = smaller.model.get_layer("ramps").get_weights()
        facts[name] = {
            "columns": smaller.columns,
            "widths": _widths(smaller.model),
            "steps": smaller.model.get_layer("steps").output_shape[1:],
            "exact": bool(
                set(map(tuple, np.c_[cut.max(axis=0), places].tolist()))
                <= set(map(tuple, np.c_[kernel.max(axis=0), bias].tolist()))
            ),
            "one_feature_each": bool(((cut != 0).sum(axis=0) == 1).all()),
            "frozen": not smaller.model.get_layer("ramps").trainable,
            "input": smaller.model.input_shape[-1],
        }
    (folder / "ramps.json").write_text(json.dumps(facts))


def on_the_toy_run(folder: Path) -> None:
    """A trained network that names families, with half of its units and with few weights."""
    run = make_family_run(folder / "run")
    model = worker.load_model(folder / "run" / "models" / f"{NAME}.keras")
    parts = {part: load_rows(folder / "run", part) for part in ("train", "calibration", "test")}
    scaled = {part: run.scaler.transform(rows.raw) for part, rows in parts.items()}
    before = model.get_weights()
    told: list[str] = []
    shrunk = [_shrunk(run, model, scaled["train"], parts["train"], told) for _ in range(2)]
    clustered = clustered_copy(model, 8, scaled["train"], parts["train"])
    facts = {
        "told": told,
        "epochs": [Schedule(60, 1e-3, 600, 500, 5000).epochs_of(n) for n in (1000, 40_000, 10**7)],
        "untouched": _equal(before, model.get_weights()),
        "repeatable": _equal(*(each.get_weights() for each in shrunk)),
        "widths": {"full": _widths(model), "shrunk": _widths(shrunk[0])},
        "parameters": {"full": model.count_params(), "shrunk": shrunk[0].count_params()},
        "values": {
            layer.name: [len(np.unique(w)) for w in layer.get_weights() if w.ndim > 1]
            for layer in clustered.layers
            if layer.weights
        },
    }
    (folder / "toy.json").write_text(json.dumps(facts))
    for name, network in (("full", model), ("shrunk", shrunk[0]), ("clustered", clustered)):
        flatbuffer = to_flatbuffer(network, Format.INT8, scaled["calibration"])
        (folder / f"{name}.tflite").write_bytes(flatbuffer)
        np.save(folder / f"{name}.npy", outputs(network, scaled["test"]))


def _shrunk(run: Run, model: Any, scaled: np.ndarray, rows: Rows, told: list[str]) -> Any:
    needs = rate_inputs([feature.name for feature in run.features])
    return shrunk_copy(model, Shrinking(0.5, needs), scaled, rows, told.append).model


def refusals(folder: Path) -> None:
    rng = np.random.default_rng(0)
    scaled = rng.random((300, N_FEATURES), dtype=np.float32)
    rows = Rows(scaled, (scaled[:, 0] > 0.5).astype(np.uint8))
    inputs = keras.Input((N_FEATURES,))
    x = layers.Dense(6, activation="relu", name="a")(inputs)
    x = layers.LayerNormalization()(x)
    x = layers.Dense(6, activation="softmax", name="b")(x)
    x = layers.Dense(6, activation="relu", name="c")(x)
    shared = layers.Dense(6, activation="relu", name="shared")
    foreign = keras.Model(inputs, layers.Dense(1, activation="sigmoid")(shared(shared(x))))
    two = keras.Model(inputs, layers.Dense(1)(layers.Dense(2, name="pair")(inputs)), name="two")
    line = keras.Model(inputs, layers.Dense(1, activation="sigmoid")(inputs), name="line")
    sentences = {
        model.name: sentence_of(lambda m=model: shrunk_copy(m, Shrinking(0.3, {}), scaled, rows))
        for model in (two, line)
    }
    removable = list(Anatomy.of(foreign).removable())
    facts = {"sentences": sentences, "foreign": removable}
    (folder / "refusals.json").write_text(json.dumps(facts))


def _drawn(rng: np.random.Generator, weight: np.ndarray) -> np.ndarray:
    """Mostly positive, biases always: few of the ReLUs are silent for all rows."""
    low, high = (0.1, 0.5) if weight.ndim == 1 else (-0.3, 0.5)
    return rng.uniform(low, high, weight.shape)


def _dead(rng: np.random.Generator, layer: Any) -> np.ndarray:
    width = layer.filters if isinstance(layer, layers.Conv1D) else layer.units
    return np.sort(rng.choice(width, rng.integers(1, width - 1), replace=False))


def _unread(model: Any, reader: tuple[str, int, int, int], units: np.ndarray) -> None:
    name, number, axis, offset = reader
    weights = model.get_layer(name).get_weights()
    axis = weights[number].ndim - 2 if weights[number].ndim == 3 else axis
    weights[number][(slice(None),) * axis + (units + offset,)] = 0
    model.get_layer(name).set_weights(weights)


def _widths(model: Any) -> dict[str, int]:
    return {layer.name: int(layer.output_shape[-1]) for layer in model.layers if layer.weights}


def _equal(first: list[np.ndarray], second: list[np.ndarray]) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
