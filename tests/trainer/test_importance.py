"""Permutation importance."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from trainer.importance import importance

NAMES = ("signal", "noise", "copy", "constant", "weak")


def table(rows: int = 800) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    rng = np.random.default_rng(0)
    target = (rng.random(rows) < 0.4).astype(np.uint8)
    signal = target + rng.normal(0, 0.4, rows)
    weak = target + rng.normal(0, 2.0, rows)
    columns = [signal, rng.normal(size=rows), -3 * signal, np.ones(rows), weak]
    return np.stack(columns, axis=1).astype(np.float32), target


def score(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    mixed = rows[:, 0] - rows[:, 2] / 3 + 0.1 * rows[:, 4]
    return (1 / (1 + np.exp(-mixed))).astype(np.float32)


def test_what_matters_comes_first() -> None:
    rows, target = table()
    before = rows.copy()
    found = importance(score, rows, target, NAMES, seed=0)
    assert [item.columns for item in found] == [("signal", "copy"), ("weak",), ("noise",)]
    assert found[0].title == "signal (+1 alike)"
    assert found[0].drop > 0.2
    assert found[-1].drop == 0
    assert (rows == before).all()
    assert found == importance(score, rows, target, NAMES, seed=0)


def test_the_cost_is_bounded() -> None:
    rows, target = table(10_000)
    most = 0

    def counted(sample: NDArray[np.float32]) -> NDArray[np.float32]:
        nonlocal most
        most = max(most, len(sample))
        return score(sample)

    importance(counted, rows, target, NAMES, seed=0)
    assert most == 2000


def test_one_class_says_nothing() -> None:
    rows, target = table()
    assert importance(score, rows, np.zeros_like(target), NAMES, seed=0) == []


def test_only_constant_columns() -> None:
    rows, target = table()
    assert importance(score, np.ones_like(rows), target, NAMES, seed=0) == []
