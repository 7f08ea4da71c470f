"""Run folders as edge-train would leave them, made in seconds, for the converters' tests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from edge_agent.contract.bundle import ModelFeature
from edge_agent.contract.profiles import PROFILES
from edge_agent.contract.runs import Rows, Run, TrainedModel, save_rows
from edge_agent.contract.scaling import Scaler
from tests.detect.synthetic import COLUMNS, FAMILIES, FAMILY_COLUMNS, family_problem, problem

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

NAME = "cnn-lstm"


def make_run(folder: Path, epochs: int = 8) -> Run:
    """Train a CNN-LSTM of toy size on the synthetic problem and leave a run folder."""
    parts = [Rows(*problem(rows, seed)) for rows, seed in ((4000, 1), (1000, 2))]
    return _make(folder, parts, COLUMNS, (), epochs)


def make_family_run(folder: Path, epochs: int = 8) -> Run:
    """The same with families and protocol flags."""
    parts = [Rows(*family_problem(rows, seed)) for rows, seed in ((4000, 1), (1000, 2))]
    return _make(folder, parts, FAMILY_COLUMNS, FAMILIES, epochs)


def toy_model(n_features: int, n_families: int) -> Any:
    """Rows in [0, 1] to a score and, joined to it, the share of each family."""
    from converters._tensorflow import keras

    layers = keras.layers
    rows = layers.Input((n_features,))
    x = layers.Reshape((n_features, 1))(rows)
    x = layers.Conv1D(8, 3, padding="same", activation="relu")(x)
    x = layers.MaxPooling1D(4)(x)
    x = layers.LSTM(8)(x)
    x = layers.Dropout(0.1)(x)
    x = layers.Dense(8, activation="relu")(x)
    score = layers.Dense(1, activation="sigmoid")(x)
    if not n_families:
        return keras.Sequential([*keras.Model(rows, score).layers])
    shares = layers.Dense(n_families, activation="softmax")(x)
    return keras.Model(rows, layers.Concatenate()([score, shares]))


def _make(
    folder: Path,
    parts: Sequence[Rows],
    names: Sequence[str],
    families: tuple[str, ...],
    epochs: int,
) -> Run:
    from converters._tensorflow import keras, tf
    from converters.finetune import joint_loss

    train, test = parts
    scaler = Scaler.fit("quantile", train.raw)
    keras.utils.set_random_seed(3)
    tf.config.experimental.enable_op_determinism()
    model = toy_model(len(names), len(families))
    model.compile(keras.optimizers.Adam(0.01), joint_loss)
    wanted = _targets(train, 1 + len(families))
    model.fit(scaler.transform(train.raw), wanted, batch_size=64, epochs=epochs, verbose=0)
    file = folder / "models" / f"{NAME}.keras"
    file.parent.mkdir(parents=True)
    model.save(file)
    profile = PROFILES["gateway"]
    run = Run(
        profile=profile,
        feature_set="tiny",
        features=tuple(
            ModelFeature(feature.name, feature.unit) for feature in profile.select(names)
        ),
        scaler=scaler,
        models={
            NAME: TrainedModel(f"models/{NAME}.keras", "edge", True, 0.5, "fixed at 0.5"),
            "forest": TrainedModel("models/forest.bin", "", False, 0.5, "fixed at 0.5"),
        },
        provenance={"data": "tests.detect.synthetic", "seed": 3},
        families=families,
    )
    run.save(folder)
    calibration = Rows(train.raw[:500], train.label[:500], train.family[:500])
    for part, rows in (("train", train), ("calibration", calibration), ("test", test)):
        save_rows(folder, part, rows)
    return run


def _targets(rows: Rows, width: int) -> NDArray[np.float32]:
    """The model's output as it should be: the label, and a 1 for the family of an attack."""
    wanted = np.zeros((len(rows.label), width), dtype=np.float32)
    wanted[:, 0] = rows.label
    for family in range(1, width):
        wanted[:, family] = (rows.label == 1) & (rows.family == family)
    return wanted
