"""Networks: what they are fed, how they learn, what they give out."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.contract.errors import RunError
from tests.trainer.toys import FAMILIES, FEATURES, Job, fitted, part
from trainer import accelerator
from trainer._tensorflow import keras, tf
from trainer.distribution import Share
from trainer.evaluate import best_threshold
from trainer.models import cnn_lstm, heads, mlp, tuning
from trainer.models.base import FitSettings, Part, Progress, scaled
from trainer.models.feeding import Feed, Rows, scaled_in_graph
from trainer.models.fitting import rate_share
from trainer.models.lesson import Ramps
from trainer.models.losses import verdict_loss
from trainer.models.network import Network

if TYPE_CHECKING:
    from pathlib import Path

    from trainer.models.base import History

SETTINGS = FitSettings("", 3, 64, seed=3, families=FAMILIES, tuning={"units": [32, 16]})
SMALL = {"filters": [4, 8], "lstm_units": 8, "dense_units": 8}


def fit(settings: FitSettings) -> tuple[Network, History]:
    model = mlp.make(settings)
    return model, model.fit(part(1200, 1), part(300, 2))


@cache
def named() -> tuple[Network, History]:
    return fit(SETTINGS)


def rows(count: int) -> Rows:
    numbers = np.arange(count)
    return Rows(
        (numbers % 256).astype(np.uint8)[:, None].repeat(3, axis=1),
        (numbers % 2).astype(np.uint8),
        np.zeros(count, np.uint8),
        numbers.astype(np.float32),
        (numbers % 2).astype(np.float32),
    )


# Feeding


@given(count=st.integers(4, 60), batch=st.integers(2, 20), workers=st.integers(1, 2))
def test_an_epoch_deals_every_row_once(count: int, batch: int, workers: int) -> None:
    seen: list[float] = []
    shares = [Feed(rows(count), 1, Share(index, workers)) for index in range(workers)]
    for dealt in zip(*(feed.epoch(1, batch) for feed in shares), strict=True):
        sizes = [len(each.target) for each in dealt]
        assert sum(sizes) == int(dealt[0].total) <= batch
        assert max(sizes) - min(sizes) <= 1
        assert min(sizes) >= 1
        for each in dealt:
            numbers = each.weight.numpy()
            assert np.array_equal(each.inputs.numpy()[:, 0], numbers % 256)
            assert np.array_equal(each.target.numpy(), numbers % 2)
            seen += numbers.tolist()
    assert len(set(seen)) == len(seen)
    # A last row that not every worker would have one of is left out.
    assert len(seen) == count - (count % batch if count % batch < workers else 0)


def test_epochs_are_shuffled_and_repeat_themselves() -> None:
    def order(seed: int, number: int) -> list[float]:
        feed = Feed(rows(50), seed, Share())
        return [row for batch in feed.epoch(number, 16) for row in batch.weight.numpy().tolist()]

    assert order(1, 1) == order(1, 1)
    assert order(1, 1) != order(1, 2)
    assert order(1, 1) != order(2, 1)


def test_bins_are_scaled_alike_in_and_out_of_the_graph() -> None:
    bins = np.arange(256, dtype=np.uint8)[:, None]
    assert np.allclose(scaled_in_graph(tf.constant(bins)), scaled(bins), rtol=1e-6)
    values = scaled(bins)
    assert np.array_equal(scaled_in_graph(tf.constant(values)), values)


def test_bins_and_their_values_teach_the_same() -> None:
    one, two = part(400, 1), part(200, 2)
    plain = replace(SETTINGS, epochs=2, families=(), tuning={"units": [8]})
    by_bins, by_values = mlp.make(plain), mlp.make(plain)
    by_bins.fit(one, two)
    by_values.fit(replace(one, inputs=one.scaled), replace(two, inputs=two.scaled))
    # Two ways to divide by 255 differ in the last bit, which training carries on.
    assert np.allclose(by_bins.scores(two), by_values.scores(two), atol=1e-3)


# Losses


def test_rows_of_no_weight_teach_nothing() -> None:
    good, bad = part(600, 1), part(600, 4, noise=True)
    both = Part(
        np.concatenate([good.raw, bad.raw]),
        np.concatenate([good.inputs, bad.inputs]),
        np.concatenate([good.target, 1 - bad.target]),
        np.concatenate([good.family, np.zeros_like(bad.family)]),
        np.repeat([1, 0], 600).astype(np.float32),
    )
    model = mlp.make(replace(SETTINGS, families=()))
    model.fit(both, part(300, 2))
    test = part(300, 3)
    assert best_threshold(model.scores(test), test.target).f1 > 0.9
    # And it would be worse with them.
    model.fit(replace(both, weight=None), part(300, 2))
    plain = ((model.scores(test) >= 0.5) == test.target).mean()
    assert plain < 0.9


def losses(kind: str, logits: list[list[float]], target: list[int], family: list[int]) -> Any:
    feed = Feed(
        Rows(
            np.zeros((len(target), 1), np.uint8),
            np.array(target, np.uint8),
            np.array(family, np.uint8),
            np.ones(len(target), np.float32),
            np.array(target, np.float32),
        ),
        0,
        Share(),
    )
    (batch,) = feed.epoch(1, len(target))
    order = np.random.default_rng((0, 1)).permutation(len(target))
    result = np.empty(len(target))
    result[order] = verdict_loss(kind)(tf.constant(np.array(logits, np.float32)[order]), batch)
    return result


def test_the_loss_is_cross_entropy() -> None:
    found = losses("plain", [[0.0], [2.0], [2.0], [100.0]], [1, 1, 0, 0], [0, 0, 0, 0])
    expected = [math.log(2), math.log1p(math.exp(-2)), math.log1p(math.exp(2)), 100]
    assert np.allclose(found, expected, rtol=1e-5)


def test_focal_loss_forgives_what_is_nearly_right() -> None:
    sure, wrong = losses("focal", [[3.0], [3.0]], [1, 0], [0, 0])
    chance = 1 / (1 + math.exp(-3))
    assert sure == pytest.approx(-math.log(chance) * (1 - chance) ** 2, rel=1e-4)
    assert wrong == pytest.approx(-math.log(1 - chance) * chance**2, rel=1e-4)


def test_families_count_for_attacks_of_a_named_family_only() -> None:
    alone = losses("plain", [[1.0]] * 3, [0, 1, 1], [0, 0, 0])
    both = losses("plain", [[1.0, 0.0, 1.0]] * 3, [0, 1, 1], [0, 0, 2])
    assert np.allclose(both[:2], alone[:2])
    # A fifth of the cross-entropy of the second of two families.
    assert both[2] - alone[2] == pytest.approx(0.2 * math.log1p(math.exp(-1)), rel=1e-4)


# Learning


@pytest.mark.parametrize(
    ("loss", "extra"),
    [
        ("weighted", {}),
        ("plain", {"averaging": 0.95, "weight_decay": 0.01}),
        ("focal", {"precision": "mixed_float16"}),
        ("focal", {"precision": "mixed_bfloat16", "averaging": 0.95}),
    ],
)
def test_it_learns_score_and_families(loss: str, extra: dict[str, object], tmp_path: Path) -> None:
    model, history = fit(
        replace(SETTINGS, loss=loss, epochs=4, tuning={**SETTINGS.tuning, **extra})
    )
    test = part(400, 3)
    scores = model.scores(test)
    assert scores.dtype == np.float32
    assert scores.min() >= 0
    assert scores.max() <= 1
    assert best_threshold(scores, test.target).f1 > 0.9
    shares = model.family_shares(test)
    assert shares is not None
    assert shares.shape == (400, 2)
    assert np.allclose(shares.sum(axis=1), 1, atol=1e-5)
    attack = test.target == 1
    assert (shares.argmax(axis=1)[attack] + 1 == test.family[attack]).mean() > 0.7
    assert len(history.loss) == len(history.validation_f1) == 4
    # However it was trained, the file holds plain float32 layers of Keras and computes the same.
    path = model.save(tmp_path / "net")
    read = keras.models.load_model(path, compile=False)
    assert {layer.dtype_policy.name for layer in read.layers} == {"float32"}
    assert {type(layer).__module__.split(".")[0] for layer in read.layers} == {"tf_keras"}
    again = Network.load(path, SETTINGS)
    assert np.array_equal(again.scores(test), scores)
    again_shares = again.family_shares(test)
    assert again_shares is not None
    assert np.array_equal(again_shares, shares)
    assert again.parameters == model.parameters


def test_what_was_judged_is_what_is_kept() -> None:
    model, history = fit(replace(SETTINGS, tuning={"units": [16], "averaging": 0.9}))
    validation = part(300, 2)
    kept = best_threshold(model.scores(validation), validation.target).f1
    assert kept == history.validation_f1[history.best_epoch - 1] == max(history.validation_f1)


def test_averaged_weights_are_others() -> None:
    plain, _ = fit(replace(SETTINGS, epochs=1))
    averaged, _ = fit(replace(SETTINGS, epochs=1, tuning={**SETTINGS.tuning, "averaging": 0.95}))
    test = part(50, 3)
    assert not np.allclose(plain.scores(test), averaged.scores(test), atol=1e-3)


def test_training_stops_early_and_keeps_the_best_epoch() -> None:
    train, other = part(400, 1), part(200, 2)
    # What is learned makes it worse here, from the first epoch on.
    other = replace(other, target=1 - other.target)
    seen: list[Progress] = []
    model = mlp.make(replace(SETTINGS, epochs=20, families=(), report=seen.append))
    history = model.fit(train, other)
    ended = [now.epoch for now in seen if now.epoch_ended]
    assert ended == list(range(1, len(ended) + 1))
    assert len(ended) < 20
    assert len(history.loss) == len(history.validation_f1) == len(ended)
    assert history.best_epoch == 1 + int(np.argmax(history.validation_f1))
    assert len(ended) - history.best_epoch == 10
    assert seen[-1].left_s == 0


def test_progress_says_what_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainer.models.fitting._REPORT_S", 0.0)
    seen: list[Progress] = []
    fit(replace(SETTINGS, epochs=2, report=seen.append))
    first, second = ([now for now in seen if now.epoch == epoch] for epoch in (1, 2))
    assert all(now.epochs == 2 and now.loss is not None and now.left_s is not None for now in seen)
    assert [now.epoch_ended for now in first] == [False] * (len(first) - 1) + [True]
    assert len(first) > 10
    assert {now.f1 for now in first[:-1]} == {None}
    assert {now.f1 for now in second[:-1]} == {first[-1].f1}


def test_the_rate_rises_then_falls() -> None:
    shares = [rate_share(done / 1000) for done in range(1001)]
    top = int(np.argmax(shares))
    assert shares[top] == pytest.approx(1)
    assert 0 < top <= 50
    assert shares[:top] == sorted(shares[:top])
    assert shares[top:] == sorted(shares[top:], reverse=True)
    assert shares[0] == shares[-1] == pytest.approx(0.01)


@pytest.mark.slow
def test_two_processes_learn_the_same(tmp_path: Path) -> None:
    one, two = (
        fitted(
            Job(str(tmp_path / f"{name}.npz"), "cnn-lstm", epochs=2, tuning=SMALL), tmp_path, name
        )
        for name in ("one", "two")
    )
    assert one.history == two.history
    assert np.array_equal(one.scores, two.scores)
    other = Job(str(tmp_path / "o.npz"), "cnn-lstm", epochs=2, seed=6, tuning=SMALL)
    assert fitted(other, tmp_path, "other").history != one.history


# Layers


def ramps(n_features: int, count: int) -> Ramps | None:
    if not count:
        return None
    rng = np.random.default_rng(0)
    return Ramps(
        column=np.sort(np.arange(count) % n_features),
        middle=rng.random(count, dtype=np.float32),
        slope=np.full(count, 60, np.float32),
    )


def built(size: str, n_features: int, **options: Any) -> Any:
    kind = cnn_lstm.SIZES[size]
    return cnn_lstm.build(n_features, kind, ramps(n_features, kind.ramps), **options)


def test_a_ramp_rises_around_its_threshold_and_learns_nothing() -> None:
    size = replace(cnn_lstm.SIZES["edge"], ramps=8)
    eight = Ramps(np.full(8, 1), np.full(8, 0.5, np.float32), np.full(8, 60, np.float32))
    model = cnn_lstm.build(3, size, eight)
    seen = keras.Model(model.input, model.get_layer("clipped").output)
    rows = np.array([[0, 0.44, 0], [9, 0.5, 9], [0, 0.56, 0]], np.float32)
    assert np.allclose(seen(rows).numpy()[:, 0], [0, 3, 6], atol=1e-3)
    assert not model.get_layer("ramps").trainable_weights
    with pytest.raises(ValueError, match="ramps"):
        cnn_lstm.build(3, size)


@pytest.mark.parametrize("n_families", [0, 1, 5])
def test_the_output_is_score_and_shares(n_families: int) -> None:
    for model in (
        mlp.build(FEATURES, n_families=n_families),
        built("edge", FEATURES, n_families=n_families),
    ):
        assert model.output_shape == (None, 1 + n_families)
        values = np.random.default_rng(0).random((9, FEATURES), dtype=np.float32)
        outputs, logits = model(values).numpy(), heads.logits(model)(values).numpy()
        assert np.allclose(outputs[:, 0], 1 / (1 + np.exp(-logits[:, 0])), atol=1e-6)
        if n_families:
            powers = np.exp(logits[:, 1:])
            shares = powers / powers.sum(axis=1, keepdims=True)
            assert np.allclose(outputs[:, 1:], shares, atol=1e-6)


@pytest.mark.parametrize("size", list(cnn_lstm.SIZES))
def test_the_unrolled_twin_has_the_same_weights(size: str) -> None:
    rolled = built(size, 78, n_families=3)
    twin = built(size, 78, n_families=3, unrolled=True)
    twin.set_weights(rolled.get_weights())
    values = np.random.default_rng(0).random((20, 78), dtype=np.float32)
    # Two orders of the same float32 sums.
    assert np.allclose(twin(values), rolled(values), atol=1e-5)


def test_a_size_can_be_tuned() -> None:
    size = cnn_lstm.tuned(cnn_lstm.SIZES["edge"], {**SMALL, "kernel": 5, "dropout": 0})
    model = cnn_lstm.build(FEATURES, size, ramps(FEATURES, size.ramps))
    assert model.get_layer("convolution_1").kernel_size == (5,)
    assert [model.get_layer(f"convolution_{n}").filters for n in (1, 2)] == [4, 8]
    assert model.get_layer("lstm").units == 8
    assert model.get_layer("dropout").rate == 0
    with pytest.raises(ValueError, match="filters must be a list of 2"):
        cnn_lstm.tuned(cnn_lstm.SIZES["edge"], {"filters": [1, 2, 3]})


@pytest.mark.parametrize(
    ("read", "value"),
    [
        (tuning.number, "much"),
        (tuning.number, True),
        (tuning.integer, 0),
        (tuning.integer, 1.5),
        (tuning.integers, []),
        (tuning.integers, [1, "2"]),
    ],
)
def test_impossible_hyper_parameters_are_named(read: Any, value: object) -> None:
    with pytest.raises(ValueError, match="width must be"):
        read({"width": value}, "width", 1)


# Files and devices


def test_files_that_are_no_such_network_are_refused(tmp_path: Path) -> None:
    model, _ = named()
    path = model.save(tmp_path / "net")
    with pytest.raises(RunError, match="not 1 numbers a row"):
        Network.load(path, replace(SETTINGS, families=()))
    (tmp_path / "broken.keras").write_bytes(path.read_bytes()[:1000])
    with pytest.raises(RunError, match="is no Keras model"):
        Network.load(tmp_path / "broken.keras", SETTINGS)


def test_the_device_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accelerator, "_told", set())
    monkeypatch.setattr(accelerator, "_first_gpu", lambda: None)
    told: list[str] = []
    assert accelerator.find(tell=told.append).precision == "float32"
    accelerator.find(tell=told.append)
    assert told == ["networks learn on the CPU"]
    monkeypatch.setattr(accelerator, "_first_gpu", lambda: "GPU of 2026")
    assert accelerator.find(tell=told.append).precision == "mixed_float16"
    assert accelerator.find("float32").precision == "float32"
    assert told[1:] == ["networks learn on GPU of 2026, in mixed precision (mixed_float16)"]
    with pytest.raises(ValueError, match="unknown precision 'single'"):
        accelerator.find("single")
