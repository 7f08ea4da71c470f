"""A run folder as edge-train would leave it, made in seconds: the converters' tests feed on it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_agent.contract.bundle import ModelFeature
from edge_agent.contract.profiles import PROFILES
from edge_agent.contract.runs import Rows, Run, TrainedModel, save_rows
from edge_agent.contract.scaling import Scaler
from tests.detect.synthetic import COLUMNS, problem

if TYPE_CHECKING:
    from pathlib import Path

NAME = "cnn-lstm"


def make_run(folder: Path, epochs: int = 8) -> Run:
    """Train a CNN-LSTM of toy size on the synthetic problem and leave a run folder."""
    from converters._tensorflow import keras, tf

    train_raw, train_label = problem(4000, seed=1)
    test_raw, test_label = problem(1000, seed=2)
    scaler = Scaler.fit("quantile", train_raw)
    keras.utils.set_random_seed(3)
    tf.config.experimental.enable_op_determinism()
    layers = keras.layers
    model = keras.Sequential(
        [
            layers.InputLayer((len(COLUMNS),)),
            layers.Reshape((len(COLUMNS), 1)),
            layers.Conv1D(8, 3, padding="same", activation="relu"),
            layers.MaxPooling1D(4),
            layers.LSTM(8),
            layers.Dropout(0.1),
            layers.Dense(8, activation="relu"),
            layers.Dense(1, activation="sigmoid"),
        ]
    )
    model.compile(keras.optimizers.Adam(0.01), "binary_crossentropy")
    model.fit(scaler.transform(train_raw), train_label, batch_size=64, epochs=epochs, verbose=0)
    file = folder / "models" / f"{NAME}.keras"
    file.parent.mkdir(parents=True)
    model.save(file)
    profile = PROFILES["gateway"]
    run = Run(
        profile=profile,
        feature_set="tiny",
        features=tuple(
            ModelFeature(feature.name, feature.unit) for feature in profile.select(COLUMNS)
        ),
        scaler=scaler,
        models={
            NAME: TrainedModel(f"models/{NAME}.keras", "edge", True, 0.5, "fixed at 0.5"),
            "forest": TrainedModel("models/forest.bin", "", False, 0.5, "fixed at 0.5"),
        },
        provenance={"data": "tests.detect.synthetic", "seed": 3},
    )
    run.save(folder)
    save_rows(folder, "train", Rows(train_raw, train_label))
    save_rows(folder, "calibration", Rows(train_raw[:500], train_label[:500]))
    save_rows(folder, "test", Rows(test_raw, test_label))
    return run
