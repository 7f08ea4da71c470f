"""Weight clustering: few different weights, the same verdicts, a file that packs better."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING

import numpy as np

from tests.converters.test_shrink import MIN_AGREEMENT, facts

if TYPE_CHECKING:
    from pathlib import Path


def test_no_kernel_has_more_values_than_asked(shrinking: Path) -> None:
    counts = facts(shrinking, "toy")["values"]
    assert counts["conv1d"] == [8]
    assert all(count <= 8 for layer in counts.values() for count in layer)


def test_clustering_keeps_verdicts(shrinking: Path) -> None:
    full, clustered = (np.load(shrinking / f"{name}.npy") for name in ("full", "clustered"))
    assert ((full[:, 0] >= 0.5) == (clustered[:, 0] >= 0.5)).mean() >= MIN_AGREEMENT


def test_a_clustered_file_packs_better(shrinking: Path) -> None:
    packed = {
        name: len(gzip.compress((shrinking / f"{name}.tflite").read_bytes()))
        for name in ("full", "clustered")
    }
    assert packed["clustered"] < packed["full"]
