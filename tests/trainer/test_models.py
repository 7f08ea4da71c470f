"""Every model of the registry learns, repeats itself, and can be read back."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import lightgbm
import numpy as np
import pytest

from trainer._tensorflow import keras
from trainer.evaluate import best_threshold
from trainer.models import cnn_lstm
from trainer.models.base import FitSettings, Part
from trainer.models.network import class_weight, predict
from trainer.models.registry import MODELS

if TYPE_CHECKING:
    from pathlib import Path

    from trainer.models.base import Classifier

FEATURES = 24


def part(rows: int, seed: int) -> Part:
    """Attacks have the larger first half; no single feature says it."""
    rng = np.random.default_rng(seed)
    target = (np.arange(rows) % 4 == 0).astype(np.uint8)
    scaled = rng.random((rows, FEATURES), dtype=np.float32) * 0.7
    scaled[target == 1, : FEATURES // 2] += 0.3
    return Part(raw=scaled * 1000, scaled=scaled, target=target)


def fit(name: str, size: str) -> Classifier:
    model = MODELS[name].make(
        FitSettings(size=size, epochs=4, batch_size=64, seed=5, report=lambda *facts: None)
    )
    model.fit(part(800, 1), part(200, 2))
    return model


fitted = cache(fit)
"""The same, once for all tests that only look."""


SIZES = [(kind.name, size) for kind in MODELS.values() for size in kind.sizes or ("",)]


@pytest.mark.parametrize(("name", "size"), SIZES)
def test_it_learns(name: str, size: str) -> None:
    model = fitted(name, size)
    test = part(400, 3)
    scores = model.scores(test)
    assert scores.shape == (400,)
    assert scores.dtype == np.float32
    assert scores.min() >= 0
    assert scores.max() <= 1
    assert best_threshold(scores, test.target).f1 > 0.9
    assert model.parameters > 100


@pytest.mark.parametrize("name", list(MODELS))
def test_equal_seeds_give_equal_models(name: str) -> None:
    size = (*MODELS[name].sizes, "")[0]
    test = part(400, 3)
    # The order in which threads add up may differ in the last bits.
    again = fit(name, size).scores(test)
    assert np.allclose(again, fitted(name, size).scores(test), atol=1e-5)


@pytest.mark.parametrize("name", [name for name, kind in MODELS.items() if kind.convertible])
def test_saved_networks_need_no_code_of_ours(name: str, tmp_path: Path) -> None:
    kind = MODELS[name]
    model = fitted(name, (*kind.sizes, "")[0])
    path = model.save(tmp_path / name)
    assert path == tmp_path / f"{name}.keras"
    read: Any = keras.models.load_model(path, compile=False)
    test = part(50, 3)
    assert np.array_equal(predict(read, test.scaled), model.scores(test))
    assert {type(layer).__module__.split(".")[0] for layer in read.layers} == {"tf_keras"}


def test_saved_trees_are_text(tmp_path: Path) -> None:
    model = fitted("boosted-trees", "")
    path = model.save(tmp_path / "trees")
    assert path is not None
    test = part(50, 3)
    read = lightgbm.Booster(model_file=path).predict(test.raw)
    assert np.allclose(np.asarray(read), model.scores(test), atol=1e-6)


def test_a_forest_is_not_saved(tmp_path: Path) -> None:
    model = fitted("random-forest", "")
    assert model.save(tmp_path / "forest") is None
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("size", list(cnn_lstm.SIZES))
@pytest.mark.parametrize("n_features", [40, 78])
def test_the_unrolled_twin_has_the_same_weights(size: str, n_features: int) -> None:
    rolled = cnn_lstm.build(n_features, cnn_lstm.SIZES[size])
    twin = cnn_lstm.build(n_features, cnn_lstm.SIZES[size], unrolled=True)
    twin.set_weights(rolled.get_weights())
    rows = np.random.default_rng(0).random((20, n_features), dtype=np.float32)
    # Two orders of the same float32 sums.
    assert np.allclose(predict(twin, rows), predict(rolled, rows), atol=1e-5)


def test_the_edge_size_pays_for_few_steps() -> None:
    model = cnn_lstm.build(78, cnn_lstm.SIZES["edge"])
    assert model.get_layer("lstm").input_shape[1] <= 10
    assert model.output_shape == (None, 1)
    assert model.count_params() < 25_000


def test_training_stops_early_and_keeps_the_best_epoch() -> None:
    rng = np.random.default_rng(0)
    noise = Part(
        raw=rng.random((300, FEATURES), dtype=np.float32),
        scaled=rng.random((300, FEATURES), dtype=np.float32),
        target=(np.arange(300) % 2).astype(np.uint8),
    )
    seen: list[int] = []
    model = MODELS["mlp"].make(
        FitSettings("", 20, 64, seed=0, report=lambda epoch, *rest: seen.append(epoch))
    )
    history = model.fit(noise, noise_like(noise))
    assert len(seen) < 20
    assert len(history.loss) == len(history.validation_f1) == len(seen)
    assert history.best_epoch == 1 + int(np.argmax(history.validation_f1))
    kept = best_threshold(model.scores(noise_like(noise)), noise_like(noise).target)
    assert kept.f1 == pytest.approx(max(history.validation_f1))


def noise_like(noise: Part) -> Part:
    """Rows that have nothing to do with their labels, so that learning must stop."""
    return Part(noise.raw[::-1], noise.scaled[::-1], noise.target)


def test_class_weights_lift_the_rarer_class() -> None:
    target = np.array([0] * 90 + [1] * 10, np.uint8)
    weights = class_weight(target)
    assert weights[1] / weights[0] == pytest.approx(3)
    assert np.mean([weights[int(value)] for value in target]) == pytest.approx(1)
