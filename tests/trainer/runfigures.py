"""A run's `metrics.json` as `edge-train` makes it, from scores drawn by the tests."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np

from trainer.evaluate import Outputs, Truth, evaluate
from trainer.models.base import History
from trainer.thresholds import choose_threshold

LABELS = ("BENIGN", "DDoS", "FTP-Patator", "Web Attack - <b>XSS</b>", "Heartbleed")
FAMILIES = {
    "BENIGN": "benign",
    "DDoS": "ddos",
    "FTP-Patator": "bruteforce",
    "Web Attack - <b>XSS</b>": "web",
    "Heartbleed": "exploit",
}
NAMED = ("ddos", "bruteforce", "web", "exploit")
ROWS = (600, 120, 80, 12, 1)
"""Rows of each label in the validation part and in the test part."""


def truth() -> Truth:
    label = np.repeat(np.arange(len(LABELS)), ROWS).astype(np.int16)
    return Truth((label > 0).astype(np.uint8), label, LABELS, FAMILIES)


def outputs(seed: int, *, named: bool = False, skill: float = 2.5) -> Outputs:
    """Scores that are better the greater `skill`, and names that are mostly right."""
    rng = np.random.default_rng(seed)
    known = truth()
    margin = rng.normal(skill * (2.0 * known.target - 1), 1.5)
    scores = (1 / (1 + np.exp(-margin))).astype(np.float32)
    if not named:
        return Outputs(scores)
    shares = rng.random((len(scores), len(NAMED))).astype(np.float32)
    shares[np.arange(len(scores)), np.maximum(known.label, 1) - 1] += 0.6
    shares /= shares.sum(axis=1, keepdims=True)
    return Outputs(scores, shares, NAMED)


def entry(seed: int, *, named: bool = False, skill: float = 2.5) -> dict[str, Any]:
    """A model of `metrics["models"]`."""
    known = truth()
    validation = outputs(seed + 1000, named=named, skill=skill)
    chosen = choose_threshold(validation.scores, known.target)
    test = outputs(seed, named=named, skill=skill)
    history = History([0.5, 0.2], [0.8, 0.9], [0.4, 0.3], [0.85, 0.9], [0.8, 0.88], best_epoch=2)
    return {
        "size": "",
        "test": evaluate(test, known, chosen.value),
        "validation": evaluate(validation, known, chosen.value),
        "threshold": chosen.value,
        "threshold_rule": chosen.rule,
        "threshold_met": chosen.met,
        "parameters": 1234,
        "training_s": 5.0,
        "history": asdict(history),
    }


def run_figures(**changes: Any) -> dict[str, Any]:
    """A whole run of two models; `changes` replace or add keys."""
    counts = dict(zip(LABELS, (2 * rows for rows in ROWS), strict=True))
    part = {"rows": sum(ROWS), "labels": dict(zip(LABELS, ROWS, strict=True))}
    metrics: dict[str, Any] = {
        "models": {
            "cnn-lstm": entry(1, named=True) | {"size": "edge"},
            "boosted-trees": entry(2, skill=4.0),
        },
        "data": {
            "layout": "MachineLearningCVE",
            "profile": "cic2017",
            "feature_set": "paper78",
            "files": [{"path": "days/<monday>&.csv", "sha256": "ab" * 32, "rows": 9000}],
            "rows_read": 9000,
            "rows": 2 * sum(ROWS),
            "dropped": {"negative duration": 7, "value beyond float32": 0},
            "duplicates": 40,
            "ambiguous_vectors": 3,
            "labels": counts,
            "families": {},
            "parts": {"train": part, "validation": part, "test": part},
        },
        "seed": 0,
        "split": "random",
        "scaler": "quantile",
        "attempted": "drop",
    }
    return metrics | changes
