"""A fit that was killed and goes on ends where one that was not does."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.contract.errors import RunError
from tests.trainer.toys import Job, finished, fitted, part, started
from trainer._tensorflow import tf
from trainer.models import mlp
from trainer.models.base import FitSettings, History
from trainer.models.checkpoints import FILE, Checkpoints, State
from trainer.models.learner import Learner

if TYPE_CHECKING:
    from pathlib import Path

    from trainer.models.network import Network

# Dropout, averages and half precision all have something to lose in a kill.
TUNING = {"dropout": 0.3, "averaging": 0.95, "weight_decay": 0.01, "units": [32, 16]}
SETTINGS = FitSettings("", 5, 64, seed=3, tuning={"units": [16]})


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "tuning"),
    [
        ("mlp", TUNING),
        ("mlp", {"units": [16], "precision": "mixed_float16"}),
        ("cnn-lstm", {"filters": [4, 8], "lstm_units": 8, "dense_units": 8}),
    ],
)
def test_a_killed_fit_goes_on_to_the_same_end(
    model: str, tuning: dict[str, Any], tmp_path: Path
) -> None:
    whole = Job(str(tmp_path / "whole.npz"), model, tuning=tuning)
    expected = fitted(whole, tmp_path, "whole")
    cut = replace(whole, result=str(tmp_path / "cut.npz"), checkpoints=str(tmp_path / "kept"))
    killed = started(cut, tmp_path, "killed")
    assert killed.stdout is not None
    for line in killed.stdout:
        # Its checkpoint is written; the next epoch is under way as soon as this is read.
        if line == "2 ended\n":
            killed.kill()
            break
    killed.communicate()
    assert killed.returncode < 0
    assert not (tmp_path / "cut.npz").exists()
    state = Checkpoints(tmp_path / "kept")._path
    assert state is not None
    reached = State.from_bytes(state.read_bytes())
    assert 2 <= reached.epoch < whole.epochs

    resumed = finished(started(cut, tmp_path, "resumed"), cut)
    assert resumed.history == expected.history
    for ours, theirs in zip(resumed.weights, expected.weights, strict=True):
        assert np.array_equal(ours, theirs)
    assert np.array_equal(resumed.scores, expected.scores)


def fit(settings: FitSettings) -> tuple[Network, History]:
    model = mlp.make(settings)
    return model, model.fit(part(800, 1), part(200, 2))


class Counter:
    """Says stop at the n-th question."""

    def __init__(self, stop_at: int) -> None:
        self.asked = 0
        self._stop_at = stop_at

    def __call__(self) -> bool:
        self.asked += 1
        return self.asked >= self._stop_at


def test_a_stopped_fit_keeps_its_best_weights_and_can_go_on(tmp_path: Path) -> None:
    expected, whole = fit(SETTINGS)
    assert not whole.stopped
    # 25 batches an epoch, asked before and after each: in the third epoch.
    stopped_settings = replace(SETTINGS, checkpoints=tmp_path, stopping=Counter(120))
    stopped, history = fit(stopped_settings)
    assert history.stopped
    assert len(history.loss) == 2
    assert history.loss == whole.loss[:2]
    best = State.from_bytes((tmp_path / FILE).read_bytes()).best
    for ours, theirs in zip(stopped._scorer.model.get_weights(), best, strict=True):
        assert np.array_equal(ours, theirs)
    resumed, end = fit(replace(SETTINGS, checkpoints=tmp_path))
    assert end == whole
    test = part(100, 9)
    assert np.array_equal(resumed.scores(test), expected.scores(test))


def test_a_fit_stopped_in_its_first_epoch_keeps_what_it_learned() -> None:
    model, history = fit(replace(SETTINGS, stopping=Counter(30)))
    untrained, nothing = fit(replace(SETTINGS, stopping=Counter(1)))
    assert history == nothing == History(stopped=True)
    before, after = (each._scorer.model.get_weights() for each in (untrained, model))
    assert any(not np.array_equal(ours, theirs) for ours, theirs in zip(before, after, strict=True))


def test_a_finished_fit_is_not_repeated(tmp_path: Path) -> None:
    first, history = fit(replace(SETTINGS, checkpoints=tmp_path))
    seen: list[object] = []
    again, same = fit(replace(SETTINGS, checkpoints=tmp_path, report=seen.append))
    assert same == history
    assert not seen
    test = part(100, 9)
    assert np.array_equal(first.scores(test), again.scores(test))


@pytest.mark.parametrize("change", [{"seed": 4}, {"epochs": 6}, {"tuning": {"units": [17]}}])
def test_a_checkpoint_of_another_fit_is_refused(change: dict[str, Any], tmp_path: Path) -> None:
    fit(replace(SETTINGS, checkpoints=tmp_path))
    with pytest.raises(RunError, match="made with other data, options"):
        fit(replace(SETTINGS, checkpoints=tmp_path, **change))


def test_a_checkpoint_of_other_rows_is_refused(tmp_path: Path) -> None:
    fit(replace(SETTINGS, checkpoints=tmp_path))
    model = mlp.make(replace(SETTINGS, checkpoints=tmp_path))
    with pytest.raises(RunError, match="made with other data, options"):
        model.fit(part(800, 7), part(200, 2))


def test_without_memory_batches_are_halved(monkeypatch: pytest.MonkeyPatch) -> None:
    _, whole = fit(SETTINGS)
    step = Learner.step
    sizes: list[int] = []

    def short_of_memory(self: Learner, batch: Any, *args: Any, **options: Any) -> None:
        sizes.append(int(batch.total))
        # In the middle of the second epoch: its first steps must be undone.
        if len(sizes) == 40:
            raise tf.errors.ResourceExhaustedError(None, None, "no memory")
        step(self, batch, *args, **options)

    monkeypatch.setattr(Learner, "step", short_of_memory)
    told: list[str] = []
    _, history = fit(replace(SETTINGS, tell=told.append))
    assert sizes[:39] == [32] * 39
    assert set(sizes[40:]) == {16}
    assert len(sizes) == 40 + 4 * 50
    assert history.loss[0] == whole.loss[0]
    assert len(history.loss) == 5
    lines = [line for line in told if "memory" in line]
    assert lines == ["out of memory: going on after epoch 1 with batches of 16 rows"]


arrays = st.lists(
    st.tuples(st.sampled_from([np.float32, np.int64]), st.lists(st.integers(0, 3), max_size=3)).map(
        lambda kind: np.ones(kind[1], kind[0])
    ),
    max_size=12,
)
curve = st.lists(st.floats(allow_nan=False), max_size=3)


@given(
    learner=arrays,
    best=arrays,
    rank=st.tuples(st.floats(allow_nan=False), st.floats(allow_nan=False)),
    loss=curve,
    finished=st.booleans(),
)
def test_states_survive_the_file(
    learner: list[Any],
    best: list[Any],
    rank: tuple[float, float],
    loss: list[float],
    finished: bool,
) -> None:
    state = State("x", 3, 64, learner, best, rank, History(loss=loss, best_epoch=2), finished)
    read = State.from_bytes(state.to_bytes())
    for ours, theirs in ((read.learner, learner), (read.best, best)):
        assert len(ours) == len(theirs)
        for one, other in zip(ours, theirs, strict=True):
            assert one.dtype == other.dtype
            assert np.array_equal(one, other)
    assert asdict(replace(read, learner=[], best=[])) == asdict(replace(state, learner=[], best=[]))


@given(cut=st.integers(0, 400), flip=st.booleans())
def test_damaged_files_are_named(cut: int, flip: bool, tmp_path_factory: Any) -> None:
    folder = tmp_path_factory.mktemp("kept")
    data = State("x", 3, 64, [np.ones(3)]).to_bytes()
    # Of another format, or cut anywhere.
    damaged = data[: -1 - cut] if flip else json.dumps({"cut": cut}).encode()
    (folder / FILE).write_bytes(damaged)
    with pytest.raises(RunError, match="remove it to train from the start"):
        Checkpoints(folder).load("x")
