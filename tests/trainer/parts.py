"""Rows that can be learned from, for tests of models."""

from __future__ import annotations

import numpy as np

from trainer.models.base import Part

FEATURES = 24


def part(rows: int, seed: int, *, bins: bool = False) -> Part:
    """A quarter attacks, of two families, with the larger first half; no single feature says it."""
    rng = np.random.default_rng(seed)
    family = np.where(np.arange(rows) % 4 == 0, 1 + np.arange(rows) % 8 // 4, 0).astype(np.uint8)
    scaled = rng.random((rows, FEATURES), dtype=np.float32) * 0.7
    scaled[family > 0, : FEATURES // 2] += 0.3
    inputs = np.round(scaled * 255).astype(np.uint8) if bins else scaled
    return Part(
        raw=scaled * 1000, inputs=inputs, target=(family > 0).astype(np.uint8), family=family
    )
