"""Plots: images, the same every time, also of awkward scores."""

from __future__ import annotations

import struct
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import roc_curve

from tests.trainer.runfigures import outputs, truth
from trainer import figures, plots
from trainer.evaluate import Confusion
from trainer.gallery import Trained, gallery
from trainer.importance import Importance
from trainer.models.base import History

HISTORY = History([0.5, 0.2], [0.8, 0.9], [0.4, 0.3], [0.85, 0.9], [0.8, 0.88], best_epoch=2)
FOUND = [Importance(("Flow Duration", "Idle Max"), 0.2, 0.01), Importance(("Bwd <b>",), 0.0, 0.0)]


def trained(name_seed: int, history: History = HISTORY) -> Trained:
    scored = figures.Scored(outputs(name_seed).scores, truth().target, 0.5)
    return Trained(scored, history, FOUND)


def size_of(png: bytes) -> tuple[int, int]:
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = struct.unpack(">II", png[16:24])
    return width, height


def test_the_gallery() -> None:
    models = {"cnn-lstm:paper": trained(1), "boosted-trees": trained(2, History())}
    images = gallery(models, truth())
    assert list(images) == [
        "accuracy",
        "loss",
        "precision-recall",
        "roc",
        *(
            f"{kind}-{name}"
            for name in ("cnn-lstm-paper", "boosted-trees")
            for kind in ("confusion", "calibration", "scores", "importance")
        ),
    ]
    for png in images.values():
        width, height = size_of(png)
        assert 600 <= width <= 1300
        assert 250 <= height <= 1300
    assert images["roc"] != images["precision-recall"]
    assert images["scores-boosted-trees"] != images["scores-cnn-lstm-paper"]
    assert figures.roc({name: model.scored for name, model in models.items()}) == images["roc"]


def test_a_run_without_networks_has_empty_curves() -> None:
    size_of(plots.curves({"boosted-trees": History()}, "loss"))


def test_the_confusion_matrix_shows_its_counts() -> None:
    first = plots.confusion("a", Confusion(90, 10, 5, 95))
    assert first == plots.confusion("a", Confusion(90, 10, 5, 95))
    assert first != plots.confusion("a", Confusion(90, 10, 4, 96))
    size_of(plots.confusion("a", Confusion(0, 0, 0, 5)))


@pytest.mark.parametrize(
    "scores",
    [
        np.zeros,
        np.ones,
        lambda n: truth().target.astype(float),
        lambda n: 1.0 - truth().target,
    ],
    ids=["all zero", "all one", "perfect", "reversed"],
)
def test_awkward_scores_can_be_drawn(scores: Callable[[int], NDArray[np.float64]]) -> None:
    known = truth()
    awkward = figures.Scored(scores(len(known.target)).astype(np.float32), known.target, 0.5)
    for png in (
        figures.precision_recall({"a": awkward}),
        figures.roc({"a": awkward}),
        figures.histograms("a", awkward, known),
        figures.calibration("a", awkward),
    ):
        size_of(png)


def test_thinned_curves_stay_on_the_curve() -> None:
    rng = np.random.default_rng(0)
    target = (rng.random(30_000) < 0.3).astype(np.uint8)
    scores = rng.normal(2.0 * target, 1.0).astype(np.float32)
    true, false = figures.steps(figures.Scored(scores, target, 0.5))
    assert len(true) < 4100
    assert (true[0], false[0]) == (0, 0)
    assert (true[-1], false[-1]) == (target.sum(), len(target) - target.sum())
    rates, recall, _ = roc_curve(target, scores, drop_intermediate=False)
    known = set(zip((rates * false[-1]).round(), (recall * true[-1]).round(), strict=True))
    assert set(zip(false.astype(float), true.astype(float), strict=True)) <= known
    # What is left out moves recall by less than can be seen.
    assert np.diff(true).max() <= 0.002 * true[-1]
