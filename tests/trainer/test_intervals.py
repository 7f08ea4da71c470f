"""Intervals, against published values and other people's code."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest  # type: ignore[import-untyped]
from sklearn.metrics import average_precision_score, roc_auc_score

from trainer import intervals
from trainer.intervals import areas, f1_interval, mcc, mcc_interval, wilson


@given(st.integers(1, 10**6).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_agrees_with_scipy(counts: tuple[int, int]) -> None:
    part, whole = counts
    theirs = binomtest(part, whole).proportion_ci(method="wilson")
    assert wilson(part, whole) == pytest.approx((theirs.low, theirs.high), abs=1e-12)


def test_wilson_of_a_textbook() -> None:
    # R. G. Newcombe, Statistics in Medicine 17 (1998), p. 857-872, table I: 81 of 263.
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    # ... and 0 of 20.
    assert wilson(0, 20) == pytest.approx((0.0, 0.1611), abs=5e-5)


def test_no_rows_have_no_interval() -> None:
    assert wilson(0, 0) is None
    assert f1_interval(0, 0) is None


def test_f1_covers_what_it_promises() -> None:
    """Of many drawn tables of counts, the interval of about 95 % holds the true F1."""
    rng = np.random.default_rng(0)
    shares = np.array([0.78, 0.02, 0.03, 0.17])  # tn, fp, fn, tp
    true_f1 = 2 * 0.17 / (2 * 0.17 + 0.02 + 0.03)
    held = 0
    for _, fp, fn, tp in rng.multinomial(1000, shares, size=4000):
        bounds = f1_interval(int(tp), int(fp + fn))
        assert bounds is not None
        held += bounds[0] <= true_f1 <= bounds[1]
    # Four standard errors of a share of 4,000 draws are 1.4 points.
    assert held / 4000 == pytest.approx(0.95, abs=0.014)


def test_f1_agrees_with_a_bootstrap_of_the_counts() -> None:
    counts = np.array([7800, 20, 40, 2140])
    drawn = np.random.default_rng(0).multinomial(counts.sum(), counts / counts.sum(), size=20_000)
    _, fp, fn, tp = drawn.T
    theirs = np.percentile(2 * tp / (2 * tp + fp + fn), (2.5, 97.5))
    # Wilson's centre lies a little nearer to one half than the bootstrap's.
    assert f1_interval(2140, 60) == pytest.approx(tuple(theirs), abs=0.0005)


def test_perfect_verdicts_still_leave_doubt() -> None:
    bounds = f1_interval(100, 0)
    assert bounds is not None
    assert 0.95 < bounds[0] < 0.99
    assert bounds[1] == 1
    low, high = mcc_interval((100, 0, 0, 100), seed=0)
    assert 0.9 < low < 0.99
    assert high == 1


def test_mcc_agrees_with_a_bootstrap_of_the_counts() -> None:
    counts = (7800, 20, 40, 2140)
    cells = np.array(counts)
    drawn = np.random.default_rng(1).multinomial(cells.sum(), cells / cells.sum(), size=20_000)
    theirs = np.percentile(mcc(drawn.astype(float)), (2.5, 97.5))
    assert mcc_interval(counts, seed=0) == pytest.approx(tuple(theirs), abs=0.0005)


def draws(rows: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    target = (rng.random(rows) < 0.2).astype(np.uint8)
    return rng.normal(2.0 * target, 1.0).astype(np.float32), target


def exact(scores: np.ndarray, target: np.ndarray) -> tuple[float, float]:
    return (
        float(roc_auc_score(target, scores)),
        float(average_precision_score(target, scores)),
    )


@pytest.mark.parametrize("levels", [1000, 1], ids=["few ties", "many ties"])
def test_binned_areas_are_exact_where_every_score_has_its_bin(levels: int) -> None:
    scores, target = draws(500, 0)
    scores = (np.round(scores * levels) / levels).astype(np.float32)
    attack, benign = intervals._histograms(scores, target)
    binned = np.concatenate(intervals._areas(attack[None], benign[None]))
    assert tuple(binned) == pytest.approx(exact(scores, target))


def test_areas_agree_with_a_bootstrap_of_the_rows() -> None:
    scores, target = draws(2000, 0)
    found = areas(scores, target, exact(scores, target), seed=0)
    rng = np.random.default_rng(1)
    attack, benign = np.flatnonzero(target == 1), np.flatnonzero(target == 0)
    replicates = []
    for _ in range(400):
        rows = np.concatenate([rng.choice(attack, len(attack)), rng.choice(benign, len(benign))])
        replicates.append(exact(scores[rows], target[rows]))
    theirs = np.percentile(replicates, (2.5, 97.5), axis=0)
    # A bound of 400 replicates wobbles by about a tenth of the interval's width.
    for ours, (low, high) in zip((found.roc_auc, found.average_precision), theirs.T, strict=True):
        assert ours == pytest.approx((low, high), abs=0.15 * (high - low))


def test_more_rows_than_bins_change_little() -> None:
    scores, target = draws(40_000, 2)
    point = exact(scores, target)
    wide = areas(scores[:10_000], target[:10_000], point, seed=0).roc_auc
    narrow = areas(scores, target, point, seed=0).roc_auc
    assert wide is not None
    assert narrow is not None
    # Four times the rows, half the width.
    assert (wide[1] - wide[0]) / (narrow[1] - narrow[0]) == pytest.approx(2, rel=0.15)


def test_no_misranked_row_no_interval() -> None:
    scores = np.array([0.1, 0.2, 0.8, 0.9], np.float32)
    found = areas(scores, np.array([0, 0, 1, 1], np.uint8), (1.0, 1.0), seed=0)
    assert found.roc_auc is None
    assert found.average_precision is None


def test_equal_scores_are_ties() -> None:
    scores = np.full(200, 0.5, np.float32)
    target = np.repeat([0, 1], 100).astype(np.uint8)
    assert areas(scores, target, (0.5, 0.5), seed=0).roc_auc is None
