"""The models that are no networks: they learn, repeat themselves, and can be read back."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any

import lightgbm
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.ensemble import RandomForestClassifier
from sklearn.svm import LinearSVC

from edge_agent.contract.errors import RunError
from tests.trainer.parts import FEATURES, part
from trainer.evaluate import best_threshold
from trainer.models import forest, svm
from trainer.models.base import FitSettings, Part, Progress
from trainer.models.landmarks import Columns, choose_landmarks
from trainer.models.registry import MODELS, choices, parse
from trainer.models.tunables import Tunable
from trainer.models.weights import class_weight, row_weights

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from trainer.models.base import Classifier

RIVALS = ("random-forest", "svm:linear", "svm:kernel", "boosted-trees")
QUICK: dict[str, dict[str, object]] = {
    "random-forest": {"trees": 25},
    "svm:linear": {},
    "svm:kernel": {"components": 60, "gamma": 0.3},
    "boosted-trees": {"rounds": 40},
}


def settings(name: str, **changes: Any) -> FitSettings:
    kind, size = parse(name)
    del kind
    return replace(
        FitSettings(size=size, epochs=4, batch_size=64, seed=5, tuning=QUICK[name]), **changes
    )


def fit(name: str, train: Part | None = None, **changes: Any) -> Classifier:
    model = parse(name)[0].make(settings(name, **changes))
    history = model.fit(part(800, 1) if train is None else train, part(200, 2))
    assert history.best_epoch == 0
    return model


fitted = cache(fit)
"""The same, once for all tests that only look."""


@pytest.mark.parametrize("name", RIVALS)
def test_it_learns(name: str) -> None:
    model = fitted(name)
    test = part(400, 3)
    scores = model.scores(test)
    assert scores.shape == (400,)
    assert scores.dtype == np.float32
    assert scores.min() >= 0
    assert scores.max() <= 1
    assert best_threshold(scores, test.target).f1 > 0.9
    assert model.parameters >= FEATURES
    assert model.family_shares(test) is None
    assert model.scores(part(0, 3)).shape == (0,)


@pytest.mark.parametrize("name", RIVALS)
def test_equal_seeds_give_equal_scores_on_any_number_of_cores(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    test = part(9000, 3)
    first = fitted(name).scores(test)
    for cores in (1, 3):
        monkeypatch.setattr(os, "cpu_count", lambda cores=cores: cores)
        assert np.array_equal(fit(name).scores(test), first)


@pytest.mark.parametrize("name", ["random-forest", "svm:kernel"])
def test_the_seed_matters(name: str) -> None:
    test = part(400, 3)
    assert not np.array_equal(fit(name, seed=6).scores(test), fitted(name).scores(test))


@pytest.mark.parametrize("name", RIVALS)
def test_what_is_read_back_scores_the_same(name: str, tmp_path: Path) -> None:
    model = fitted(name)
    path = model.save(tmp_path / "some.model")
    assert path.parent == tmp_path
    assert path.stem == "some.model"
    read = parse(name)[0].load(path, settings(name))
    test = part(400, 3)
    assert np.array_equal(read.scores(test), model.scores(test))
    assert read.parameters == model.parameters
    # And what is read can be written again.
    assert read.save(tmp_path / "again").read_bytes() == path.read_bytes()


@pytest.mark.parametrize("name", RIVALS)
def test_damaged_files_are_refused(name: str, tmp_path: Path) -> None:
    kind = parse(name)[0]
    path = fitted(name).save(tmp_path / "model")
    whole = path.read_bytes()
    for spoiled in (b"", b"tree", b"tree\n", whole[: len(whole) // 2], os.urandom(300)):
        path.write_bytes(spoiled)
        with pytest.raises(RunError, match=r"model\.\w+: .*; train the run again"):
            kind.load(path, settings(name))
    with pytest.raises(RunError, match="No such file"):
        kind.load(tmp_path / "none.npz", settings(name))


def test_any_lightgbm_reads_the_boosted_trees(tmp_path: Path) -> None:
    path = fitted("boosted-trees").save(tmp_path / "model")
    test = part(400, 3)
    read = np.asarray(lightgbm.Booster(model_file=path).predict(test.raw), np.float32)
    assert np.array_equal(read, fitted("boosted-trees").scores(test))


def test_a_file_of_another_model_is_refused(tmp_path: Path) -> None:
    path = fitted("svm:linear").save(tmp_path / "model")
    with pytest.raises(RunError, match="holds 'edge-ids support vector machine 1' instead"):
        forest.Forest.load(path, settings("random-forest"))


@pytest.mark.parametrize("name", RIVALS)
def test_rows_of_no_weight_do_not_count(name: str) -> None:
    good, bad = part(800, 1), part(800, 4)
    both = Part(
        raw=np.concatenate([good.raw, bad.raw]),
        inputs=np.concatenate([good.inputs, bad.inputs]),
        target=np.concatenate([good.target, 1 - bad.target]),
        family=np.concatenate([good.family, bad.family]),
    )
    test = part(400, 3)
    confused = fit(name, both).scores(test)
    weight = np.repeat(np.array([1, 0], np.float32), 800)
    told = fit(name, replace(both, weight=weight)).scores(test)
    assert best_threshold(told, test.target).f1 > 0.9
    # Averages, because a threshold on chance scores has an F1 as well.
    attack = test.target == 1
    gap = [float(s[attack].mean() - s[~attack].mean()) for s in (confused, told)]
    assert gap[0] < gap[1] / 2


@pytest.mark.parametrize("name", RIVALS)
def test_progress_is_told_and_the_last_is_the_end(name: str) -> None:
    seen: list[Progress] = []
    fit(name, report=seen.append)
    assert seen
    assert [p.epoch for p in seen] == sorted({p.epoch for p in seen})
    assert all(p.epoch <= p.epochs and p.epoch_ended for p in seen)
    assert all(p.left_s is not None and p.left_s >= 0 for p in seen)
    if name != "random-forest":
        assert all(p.f1 is not None and 0 <= p.f1 <= 1 for p in seen)


@pytest.mark.parametrize("name", RIVALS)
def test_it_stops_when_asked_and_keeps_what_it_has(name: str) -> None:
    whole: list[Progress] = []
    quick = {**QUICK[name], **({"trees": 100} if name == "random-forest" else {})}
    fit(name, tuning=quick, report=whole.append)
    seen: list[Progress] = []
    model = fit(name, tuning=quick, report=seen.append, stopping=lambda: bool(seen))
    assert 0 < len(seen) < len(whole)
    assert np.isfinite(model.scores(part(50, 3))).all()


@pytest.mark.parametrize("name", ["svm:linear", "svm:kernel"])
def test_an_svm_takes_bins_as_it_takes_shares(name: str) -> None:
    binned = part(800, 1, bins=True)
    shares = replace(binned, inputs=binned.scaled)
    test = part(400, 3, bins=True)
    scores = fit(name, binned).scores(test)
    assert np.array_equal(scores, fit(name, shares).scores(test))
    assert np.array_equal(scores, fit(name, shares).scores(replace(test, inputs=test.scaled)))


def test_the_linear_svm_finds_what_liblinear_finds() -> None:
    """scikit-learn's LinearSVC solves the same problem another way."""
    rng = np.random.default_rng(0)
    rows = rng.random((500, FEATURES), dtype=np.float32)
    target = (rows[:, 0] + rng.normal(0, 0.3, 500) > 0.6).astype(np.uint8)
    train = Part(raw=rows, inputs=rows, target=target, family=target)
    model = svm.make(
        FitSettings("linear", 1, 1, seed=0, loss="plain", tuning={"regularisation": 1e-3})
    )
    model.fit(train, train)
    # Its loss is a sum and ours a mean, and it charges half the squared weights where we charge
    # all of them; a large scaling keeps it from charging for the offset.
    rival = LinearSVC(C=0.5 / (1e-3 * 500), dual=False, intercept_scaling=1000.0, tol=1e-8)
    rival.fit(2 * rows - 1, target)
    share = model.scores(train)
    decision = np.log(share / (1 - share)) / np.log(9)
    assert np.allclose(decision, rival.decision_function(2 * rows - 1), atol=0.01)


def test_the_kernel_bends_where_a_plane_cannot() -> None:
    rng = np.random.default_rng(0)
    rows = rng.random((1000, 2), dtype=np.float32)
    target = ((rows[:, 0] > 0.5) != (rows[:, 1] > 0.5)).astype(np.uint8)
    train = Part(raw=rows, inputs=rows, target=target, family=target)
    f1 = {}
    for size in ("linear", "kernel"):
        tuning: dict[str, object] = {} if size == "linear" else {"components": 100, "gamma": 20.0}
        model = svm.make(FitSettings(size, 1, 1, seed=0, tuning=tuning))
        model.fit(train, train)
        f1[size] = best_threshold(model.scores(train), target).f1
    assert f1["linear"] < 0.75
    assert f1["kernel"] > 0.95


def test_many_rows_begin_where_few_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    test = part(400, 3)
    whole: list[Progress] = []
    slow = fit("svm:linear", part(4000, 1), report=whole.append).scores(test)
    monkeypatch.setattr(svm, "_ROUGH_ROWS", 500)
    fast = fit("svm:linear", part(4000, 1)).scores(test)
    assert not np.array_equal(fast, slow)
    # Both end when the loss has come to rest within a thousandth.
    assert np.allclose(fast, slow, atol=0.05)


@given(st.integers(1, 80), st.integers(0, 2**32 - 1))
def test_landmarks_stand_for_every_family(count: int, seed: int) -> None:
    family = np.repeat(np.array([0, 1, 2, 3], np.uint8), [500, 100, 80, 3])
    rows = np.zeros((len(family), 2), np.float32)
    few = Part(rows, rows, (family > 0).astype(np.uint8), family)
    chosen = choose_landmarks(few, count, np.random.default_rng(seed))
    assert len(np.unique(chosen)) == count
    counts = np.bincount(family[chosen], minlength=4)
    # Half benign as long as every family has enough; the rare one is there from the first round.
    assert counts[3] == min(3, counts[1]) or count < 8
    assert abs(int(counts[1]) - int(counts[2])) <= 1
    assert counts[0] >= count // 2 - 3


def test_landmarks_are_likest_to_themselves() -> None:
    rows = part(50, 1).inputs.astype(np.float32)
    likeness = Columns(rows, 2.0).of(rows)
    assert np.allclose(np.diag(likeness), 1, atol=1e-5)
    assert likeness.max() <= 1
    wanted = np.exp(-2.0 * ((rows[3] - rows[7]) ** 2).sum())
    assert likeness[3, 7] == pytest.approx(wanted, rel=1e-4)


def test_a_forest_scores_as_scikit_learn_does() -> None:
    train, test = part(800, 1), part(400, 3)
    rival = RandomForestClassifier(25, random_state=5).fit(train.raw, train.target)
    wanted = rival.predict_proba(test.raw)[:, 1]
    assert np.allclose(fitted("random-forest").scores(test), wanted, atol=1e-7)
    assert fitted("random-forest").parameters == sum(t.get_n_leaves() for t in rival.estimators_)


def test_a_forest_that_saw_no_attack_scores_nothing() -> None:
    train = part(100, 1)
    calm = replace(train, target=np.zeros(100, np.uint8), family=np.zeros(100, np.uint8))
    assert not fit("random-forest", calm).scores(train).any()


def spoil(nodes: forest.Nodes, name: str, index: int, value: float) -> forest.Nodes:
    array = getattr(nodes, name).copy()
    array[index] = value
    return replace(nodes, **{name: array})


SPOILED: dict[str, Callable[[forest.Nodes], forest.Nodes]] = {
    "a column that is not there": lambda nodes: spoil(nodes, "features", 0, FEATURES),
    "leads out of its tree": lambda nodes: spoil(nodes, "left", 0, 10**6),
    "leads out": lambda nodes: spoil(nodes, "right", 1, 0),
    "a share is not": lambda nodes: spoil(nodes, "shares", 0, 1.5),
    "do not follow": lambda nodes: spoil(nodes, "roots", 1, 0),
    "unequal length": lambda nodes: replace(nodes, left=nodes.left[:-1]),
}


@pytest.mark.parametrize("fault", SPOILED)
def test_a_forest_with_wild_indices_is_refused(fault: str, tmp_path: Path) -> None:
    model: Any = fitted("random-forest")
    assert model._nodes.fault() is None
    wild = forest.Forest(settings("random-forest"), SPOILED[fault](model._nodes))
    with pytest.raises(RunError, match=fault):
        forest.Forest.load(wild.save(tmp_path / "wild"), settings("random-forest"))


@pytest.mark.parametrize("name", RIVALS)
def test_unknown_hyper_parameters_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="no hyper-parameter 'wings'; there are "):
        fit(name, tuning={"wings": 2})


def test_hyper_parameters_are_taken() -> None:
    stumps = fit("random-forest", tuning={"trees": 7, "depth": 1})
    assert stumps.parameters == 14
    assert fit("boosted-trees", tuning={"rounds": 3, "leaves": 2}).parameters == 6
    kernel = fit("svm:kernel", tuning={"components": 10, "gamma": 0.3})
    assert kernel.parameters == 11 + 10 * FEATURES
    with pytest.raises(ValueError, match="no hyper-parameter 'gamma'; there are regularisation"):
        fit("svm:linear", tuning={"gamma": 0.3})


@pytest.mark.parametrize(
    ("kind", "value", "problem"),
    [
        ("integer", 1.5, "1.5 is not a whole number"),
        ("integer", True, "true is not a whole number"),
        ("integer", 11, "11 is not within 1 to 10"),
        ("number", "2", "'2' is not a number"),
        ("number", float("nan"), "nan is not within"),
        ("integers", 3, "3 is not a list"),
        ("integers", [], r"\[\] is not a list"),
        ("integers", [3, 0], "0 is not within"),
    ],
)
def test_values_are_checked(kind: str, value: object, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        Tunable(kind, 1, 10, None, "").check(value)


def test_values_take_their_type() -> None:
    taken = Tunable("number", 1, 10, None, "").check(2)
    assert (taken, type(taken)) == (2.0, float)
    assert Tunable("integers", 1, 10, None, "").check([2, 3]) == (2, 3)


@pytest.mark.parametrize("kind", MODELS.values(), ids=MODELS)
def test_defaults_are_within_their_own_limits(kind: Any) -> None:
    assert kind.tunables
    for tunable in kind.tunables.values():
        assert tunable.default is None or tunable.check(tunable.default) == tunable.default
        assert set(tunable.sizes) <= set(kind.sizes)


def test_models_are_named_with_their_variants() -> None:
    assert list(MODELS) == [
        "cnn-lstm", "autoencoder", "random-forest", "svm", "boosted-trees", "mlp"
    ]  # fmt: skip
    assert parse("svm") == (MODELS["svm"], "kernel")
    assert parse("cnn-lstm:paper") == (MODELS["cnn-lstm"], "paper")
    assert parse("mlp") == (MODELS["mlp"], "")
    for name in choices():
        kind, size = parse(name)
        assert name == (f"{kind.name}:{size}" if size else kind.name)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("lstm", "no model 'lstm': choose one of cnn-lstm:edge, cnn-lstm:paper, autoencoder, "),
        ("", "no model ''"),
        ("svm:", "no variant '' of the model svm: choose one of svm:kernel, svm:linear"),
        ("svm:paper", "no variant 'paper' of the model svm: choose one of svm:kernel, svm:linear"),
        ("mlp:edge", "no variant 'edge' of the model mlp: it has no variants, so say mlp"),
    ],
)
def test_other_names_are_refused_with_the_choices(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        parse(text)


def test_names_cost_no_library() -> None:
    code = (
        "import sys; from trainer.models.registry import parse; parse('svm:kernel');"
        "print({'tensorflow', 'tf_keras', 'sklearn', 'lightgbm', 'optuna'} & set(sys.modules))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "set()"


def test_class_weights_lift_the_rarer_class() -> None:
    target = np.array([0] * 90 + [1] * 10, np.uint8)
    weights = class_weight(target)
    assert weights[1] / weights[0] == pytest.approx(3)
    assert np.mean([weights[int(value)] for value in target]) == pytest.approx(1)
    assert class_weight(target[:50]) == {0: 1.0, 1: 1.0}


def test_row_weights_multiply_class_weights() -> None:
    rows = np.zeros((4, 1), np.float32)
    target = np.array([0, 0, 0, 1], np.uint8)
    weight = np.array([1, 2, 0, 1], np.float32)
    some = Part(rows, rows, target, target, weight)
    by_class = class_weight(target)
    wanted = [by_class[0], 2 * by_class[0], 0, by_class[1]]
    assert np.allclose(row_weights(some, "weighted"), wanted)
    assert np.array_equal(row_weights(some, "plain"), weight)
    assert np.array_equal(row_weights(replace(some, weight=None), "focal"), np.ones(4))
