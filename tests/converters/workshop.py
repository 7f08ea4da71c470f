"""Everything the converters' tests need TensorFlow for, made in one process of its own.

    python -m tests.converters.workshop FOLDER

So pytest's process never imports TensorFlow, and its seconds are paid once.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from converters import worker
from converters._tensorflow import keras, tf
from converters.formats import Format, Recurrence
from converters.prune import pruned_copy, zero_share
from converters.quantize import check_shape, to_flatbuffer
from converters.twin import fusible_twin, unrolled_twin
from edge_agent.contract.errors import EdgeIdsError
from edge_agent.contract.runs import load_rows
from tests.converters.toy_run import NAME, make_family_run, make_run
from tests.detect.synthetic import COLUMNS, FAMILIES

layers = keras.layers

# Name behind the format's, and what `to_flatbuffer` is asked for.
WAYS = (
    ("", Recurrence.UNROLLED, None),
    ("-static", Recurrence.UNROLLED, 1),
    ("-fused", Recurrence.FUSED, None),
)


def main(folder: Path) -> None:
    run = make_run(folder / "run")
    model = keras.models.load_model(folder / "run" / "models" / f"{NAME}.keras", compile=False)
    scaled = {
        part: run.scaler.transform(load_rows(folder / "run", part).raw)
        for part in ("train", "calibration", "test")
    }
    for form in Format:
        for name, recurrence, batch in WAYS:
            if batch and form is not Format.INT8:
                continue
            flatbuffer = to_flatbuffer(model, form, scaled["calibration"], recurrence, batch)
            (folder / f"{form.value}{name}.tflite").write_bytes(flatbuffer)

    before = model.get_weights()
    pruned = pruned_copy(model, 0.5, scaled["train"], load_rows(folder / "run", "train"))
    shares = {"full": zero_share(model), "pruned": zero_share(pruned)}
    shares["moved"] = float(
        any((old != new).any() for old, new in zip(before, model.get_weights(), strict=True))
    )
    (folder / "shares.json").write_text(json.dumps(shares))
    (folder / "pruned.tflite").write_bytes(
        to_flatbuffer(pruned, Format.INT8, scaled["calibration"])
    )
    branched = branched_model()
    (folder / "branched.tflite").write_bytes(
        to_flatbuffer(branched, Format.INT8, scaled["calibration"])
    )
    rows = scaled["test"]
    twins = {
        name: np.abs(scores(twin(original), rows) - scores(original, rows)).max()
        for name, twin, original in (
            ("unrolled", unrolled_twin, model),
            ("fusible", fusible_twin, model),
            ("branched", unrolled_twin, branched),
            ("stacked", unrolled_twin, stacked_model()),
            ("backwards", unrolled_twin, stacked_model(go_backwards=True)),
            ("without bias", unrolled_twin, stacked_model(use_bias=False)),
            ("blocks", unrolled_twin, banded_model()),
            ("no ceiling", unrolled_twin, banded_model(ceiling=None)),
            ("silent units", unrolled_twin, banded_model(silent=True)),
            ("hard sigmoid", unrolled_twin, stacked_model(recurrent_activation="hard_sigmoid")),
        )
    }
    cut = {
        name: [type(layer).__name__ for layer in unrolled_twin(whole).layers]
        for name, whole in (
            ("banded", banded_model()),
            ("full", banded_model(band=len(COLUMNS))),
            ("leaky", banded_model(slope=0.1)),
            ("seen twice", banded_model(twice=True)),
        )
    }
    (folder / "cut.json").write_text(json.dumps(cut))
    banded = to_flatbuffer(banded_model(), Format.INT8, scaled["calibration"])
    (folder / "banded.tflite").write_bytes(banded)
    (folder / "twins.json").write_text(json.dumps(twins, default=float))
    np.savez(
        folder / "scores.npz",
        test=scores(model, scaled["test"]),
        train=scores(model, scaled["train"]),
        branched=scores(branched, scaled["test"]),
    )
    make_families(folder)
    inputs = keras.Input((len(COLUMNS),))
    garbage = folder / "garbage.keras"
    garbage.write_bytes(b"no model")
    failures = {
        "two scores": lambda: check_shape(keras.Model(inputs, layers.Dense(2)(inputs))),
        "one family too many": lambda: check_shape(
            keras.Model(inputs, layers.Dense(4)(inputs)), FAMILIES
        ),
        "pictures": lambda: check_shape(keras.Sequential([layers.Input((4, 4, 1))])),
        "no such operator": lambda: to_flatbuffer(
            keras.Model(inputs, layers.Lambda(foreign_operator)(inputs)),
            Format.INT8,
            scaled["calibration"],
        ),
        "no operator for a GRU": lambda: to_flatbuffer(
            branched, Format.FLOAT32, scaled["calibration"], Recurrence.FUSED
        ),
        "no operator without a bias": lambda: fusible_twin(stacked_model(use_bias=False)),
        "garbage": lambda: worker.load_model(garbage),
    }
    sentences = {name: sentence_of(attempt) for name, attempt in failures.items()}
    (folder / "sentences.json").write_text(json.dumps(sentences))


def make_families(folder: Path) -> None:
    """A model that names families: as floats, as integers, and pruned."""
    run = make_family_run(folder / "family-run")
    model = worker.load_model(folder / "family-run" / "models" / f"{NAME}.keras")
    rows = {part: load_rows(folder / "family-run", part) for part in ("train", "calibration")}
    scaled = {part: run.scaler.transform(rows[part].raw) for part in rows}
    for form in (Format.FLOAT32, Format.INT8):
        flatbuffer = to_flatbuffer(model, form, scaled["calibration"])
        (folder / f"families-{form.value}.tflite").write_bytes(flatbuffer)
    pruned = pruned_copy(model, 0.5, scaled["train"], rows["train"])
    (folder / "families-pruned.tflite").write_bytes(
        to_flatbuffer(pruned, Format.INT8, scaled["calibration"])
    )
    # What exceeds 1 is no share: the table needs a wider range, and so a coarser scale.
    score, shares = model.output[:, :1], model.output[:, 1:]
    wide = keras.Model(model.input, layers.Concatenate()([score, shares * 3.0]))
    (folder / "families-wide.tflite").write_bytes(
        to_flatbuffer(wide, Format.INT8, scaled["calibration"])
    )
    test = run.scaler.transform(load_rows(folder / "family-run", "test").raw)
    np.savez(
        folder / "family-outputs.npz",
        test=np.asarray(model(test, training=False)),
        train=np.asarray(model(scaled["train"], training=False)),
    )


def branched_model() -> Any:
    """Functional, nested, bidirectional: nothing of it is known to the converter."""
    keras.utils.set_random_seed(5)
    head_input = keras.Input((len(COLUMNS) // 2, 4))
    head = keras.Model(head_input, layers.Bidirectional(layers.GRU(4))(head_input), name="head")
    inputs = keras.Input((len(COLUMNS),))
    steps = layers.Reshape((len(COLUMNS), 1))(inputs)
    steps = layers.MaxPooling1D(2)(layers.Conv1D(4, 3, padding="same", activation="relu")(steps))
    joined = layers.Concatenate()([head(steps), layers.Dense(4, activation="relu")(inputs)])
    return keras.Model(inputs, layers.Dense(1, activation="sigmoid")(joined))


def banded_model(
    *,
    band: int = 2,
    ceiling: float | None = 6.0,
    slope: float = 0.0,
    twice: bool = False,
    silent: bool = False,
) -> Any:
    """A wide layer whose units each look at a few neighbouring columns, with a ReLU behind it."""
    rng = np.random.default_rng(7)
    inputs = keras.Input((len(COLUMNS),))
    wide = layers.Dense(60, name="wide")
    x = wide(inputs)
    seen = layers.ReLU(ceiling, slope, name="clip")(x)
    if twice:
        seen = layers.Concatenate()([seen, x])
    model = keras.Model(inputs, layers.Dense(1, activation="sigmoid")(seen))
    kernel = np.zeros((len(COLUMNS), 60), np.float32)
    for unit in range(60):
        first = unit * (len(COLUMNS) - band) // 59
        kernel[first : first + band, unit] = rng.normal(0, 3, band)
    if silent:
        kernel[:, 15:30] = 0
    wide.set_weights([kernel, rng.normal(0, 1, 60).astype(np.float32)])
    return model


def stacked_model(**lstm: Any) -> Any:
    """One LSTM behind another, which needs all of the first one's steps."""
    keras.utils.set_random_seed(6)
    inputs = keras.Input((len(COLUMNS),))
    steps = layers.Reshape((len(COLUMNS) // 2, 2))(inputs)
    steps = layers.LSTM(4, return_sequences=True, **lstm)(steps)
    return keras.Model(inputs, layers.Dense(1, activation="sigmoid")(layers.LSTM(3)(steps)))


def foreign_operator(rows: Any) -> Any:
    return tf.cast(tf.strings.length(tf.strings.as_string(rows[:, :1])), tf.float32)


def scores(model: Any, scaled: np.ndarray) -> np.ndarray:
    return np.asarray(model(scaled, training=False))[:, 0]


def sentence_of(attempt: Any) -> str:
    try:
        attempt()
    except EdgeIdsError as error:
        return f"{type(error).__name__}: {error}"
    return "no error"


if __name__ == "__main__":
    main(Path(sys.argv[1]))
