"""The autoencoder learns benign rows only, and its file gives scores."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from edge_agent.contract.errors import RunError
from tests.trainer.toys import FEATURES, ROOT
from trainer._tensorflow import keras
from trainer.evaluate import best_threshold
from trainer.models import autoencoder
from trainer.models.autoencoder import Autoencoder, build, calibrated, scoring
from trainer.models.base import FitSettings, Part

if TYPE_CHECKING:
    from pathlib import Path

    from trainer.models.base import History

SETTINGS = FitSettings("", 6, 64, seed=3, tuning={"units": [16], "bottleneck": 4})


def part(rows: int, seed: int) -> Part:
    """Benign rows have three numbers behind their 24 columns; attacks have 24 of their own."""
    rng = np.random.default_rng(seed)
    target = (np.arange(rows) % 4 == 0).astype(np.uint8)
    bins = np.repeat(rng.integers(0, 256, (rows, 3)), FEATURES // 3, axis=1)
    bins[target == 1] = rng.integers(0, 256, (int(target.sum()), FEATURES))
    return Part(bins.astype(np.float32), bins.astype(np.uint8), target, target)


@cache
def fitted() -> tuple[Autoencoder, History]:
    model = autoencoder.make(SETTINGS)
    return model, model.fit(part(4000, 1), part(800, 2))


def test_what_is_not_benign_stands_out() -> None:
    model, history = fitted()
    test = part(800, 3)
    scores = model.scores(test)
    assert scores.dtype == np.float32
    assert scores.min() >= 0
    assert scores.max() <= 1
    assert best_threshold(scores, test.target).f1 > 0.95
    # Where the calibration puts benign rows.
    benign = scores[test.target == 0]
    assert (benign < 0.5).mean() == pytest.approx(0.95, abs=0.03)
    assert np.median(benign) == pytest.approx(0.1, abs=0.03)
    as_any: Any = model
    assert as_any.family_shares(test) is None
    assert history.validation_loss[history.best_epoch - 1] == min(history.validation_loss)


def test_attacks_in_training_change_nothing() -> None:
    train, validation, test = part(800, 1), part(400, 2), part(100, 3)
    short = replace(SETTINGS, epochs=1)
    one, other = autoencoder.make(short), autoencoder.make(short)
    one.fit(train, validation)
    strange = train.inputs.copy()
    strange[train.target == 1] = 7
    other.fit(replace(train, inputs=strange), validation)
    assert np.array_equal(one.scores(test), other.scores(test))


def test_the_score_is_the_error_of_the_copy() -> None:
    network = build(FEATURES)
    rows = np.random.default_rng(0).random((50, FEATURES), dtype=np.float32)
    error = np.abs(network(rows).numpy() - rows).mean(axis=1)
    scores = scoring(network, 20.0, 0.25)(rows).numpy()[:, 0]
    assert np.allclose(scores, 1 / (1 + np.exp(-20 * (error - 0.25))), atol=1e-5)


def test_the_calibration_is_read_off_benign_errors() -> None:
    slope, centre = calibrated(np.linspace(0, 1, 101, dtype=np.float32))
    assert centre == pytest.approx(0.95)
    assert 1 / (1 + np.exp(-slope * (0.5 - centre))) == pytest.approx(0.1)
    # Rows that are all alike.
    assert np.isfinite(calibrated(np.zeros(5, np.float32))).all()


@pytest.mark.parametrize("n_features", [4, 24, 78])
def test_there_is_always_a_bottleneck(n_features: int) -> None:
    network = build(n_features)
    assert network.output_shape == (None, n_features)
    assert network.get_layer("bottleneck").units < n_features
    if n_features == 78:
        widths = [layer.units for layer in network.layers[1:]]
        assert widths == [64, 32, 16, 32, 64, 78]


def test_the_file_needs_no_code_of_ours(tmp_path: Path) -> None:
    model, _ = fitted()
    path = model.save(tmp_path / "net")
    test = part(100, 3)
    again = Autoencoder.load(path, SETTINGS)
    assert np.array_equal(again.scores(test), model.scores(test))
    read = keras.models.load_model(path, compile=False)
    assert {type(layer).__module__.split(".")[0] for layer in read.layers} == {"tf_keras"}
    assert again.parameters == model.parameters > 100
    (tmp_path / "broken.keras").write_bytes(b"no zip")
    with pytest.raises(RunError, match="is no Keras model"):
        Autoencoder.load(tmp_path / "broken.keras", SETTINGS)


CONVERSION = """
import sys
import numpy as np
from converters._tensorflow import keras
from converters.formats import Format
from converters.quantize import to_flatbuffer
model = keras.models.load_model(sys.argv[1], compile=False)
rows = np.load(sys.argv[2])["rows"]
open(sys.argv[3], "wb").write(to_flatbuffer(model, Format.INT8, rows))
"""


@pytest.mark.slow
def test_int8_finds_the_same(tmp_path: Path) -> None:
    from ai_edge_litert.interpreter import Interpreter

    model, _ = fitted()
    path = model.save(tmp_path / "net")
    np.savez(tmp_path / "rows.npz", rows=part(500, 4).scaled)
    # A fresh process, as edge-convert does it: converters and trainer do not meet.
    subprocess.run(
        [sys.executable, "-c", CONVERSION, path, tmp_path / "rows.npz", tmp_path / "net.tflite"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=True,
        capture_output=True,
    )
    test = part(400, 5)
    interpreter = Interpreter(str(tmp_path / "net.tflite"))
    (taken,), (given,) = interpreter.get_input_details(), interpreter.get_output_details()
    assert taken["quantization"] == (pytest.approx(1 / 255), -128)
    interpreter.resize_tensor_input(taken["index"], test.inputs.shape)
    interpreter.allocate_tensors()
    interpreter.set_tensor(taken["index"], (test.inputs.astype(np.int16) - 128).astype(np.int8))
    interpreter.invoke()
    scale, zero = given["quantization"]
    codes = interpreter.get_tensor(given["index"])[:, 0].astype(np.float32)
    scores = (codes - zero) * scale
    full = best_threshold(model.scores(test), test.target).f1
    # 400 rows: a verdict or two may change.
    assert best_threshold(scores, test.target).f1 > full - 0.02
