"""Small detection problems with known answers, for the models in `data`. Seeded, numpy only.

Attacks come from sources that begin many flows and are rarely answered; everything else is the same
on both sides. Gateway columns. In `family_problem`, for `data/families.tflite`, some of the attacks
are floods: over UDP, on few ports, many packets between one pair of hosts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from edge_agent.contract.features import one_hot

if TYPE_CHECKING:
    from numpy.typing import NDArray

COLUMNS: Final = (
    "Flow Duration",
    "Total Fwd Packet",
    "Total Bwd packets",
    "Total Length of Fwd Packet",
    "Total Length of Bwd Packet",
    "Flow Bytes/s",
    "Flow Packets/s",
    "SYN Flag Count",
    "Src Flows 10s",
    "Src Ports",
    "Src Unanswered",
    "Pair Flows 60s",
)

FLAGS: Final = ("Protocol=6", "Protocol=17")
FAMILY_COLUMNS: Final = (*COLUMNS, *FLAGS)
FAMILIES: Final = ("dos", "scan")

BENIGN_ROW: Final = (250_000.0, 6, 5, 900, 4_000, 19_600.0, 44.0, 2, 1.5, 2, 0.02, 2)
ATTACK_ROW: Final = (40.0, 1, 1, 0, 0, 0.0, 50_000.0, 1, 400.0, 300, 0.97, 1.5)


def problem(rows: int, seed: int) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Raw rows, shape (rows, len(COLUMNS)), and labels, a third of them attacks."""
    rng = np.random.default_rng(seed)
    label = (rng.random(rows) < 1 / 3).astype(np.uint8)
    attack = label == 1

    def counts(benign: float, hostile: float, spread: float) -> NDArray[np.float64]:
        middle = np.where(attack, hostile, benign)
        drawn: NDArray[np.float64] = np.floor(middle * np.exp(rng.normal(0, spread, rows)))
        return drawn

    forward, backward = 1 + counts(5, 1, 0.6), counts(4, 1, 0.6)
    duration_us = counts(2e5, 60, 1.0)
    forward_bytes, backward_bytes = counts(600, 10, 1.0), counts(3000, 10, 1.0)
    seconds = np.maximum(duration_us, 1) / 1e6
    columns = (
        duration_us,
        forward,
        backward,
        forward_bytes,
        backward_bytes,
        (forward_bytes + backward_bytes) / seconds,
        (forward + backward) / seconds,
        np.minimum(forward, 2),
        np.exp(rng.normal(np.where(attack, 5.0, 0.7), 0.5)),
        1 + counts(2, 150, 0.5),
        np.clip(rng.normal(np.where(attack, 0.9, 0.05), 0.06), 0, 1),
        1 + counts(3, 3, 0.6),
    )
    return np.stack(columns, axis=1).astype(np.float32), label


def family_problem(
    rows: int, seed: int
) -> tuple[NDArray[np.float32], NDArray[np.uint8], NDArray[np.uint8]]:
    """Raw rows, shape (rows, len(FAMILY_COLUMNS)), labels, and families: k for FAMILIES[k - 1]."""
    raw, label = problem(rows, seed)
    rng = np.random.default_rng(seed + 1_000)
    flood = (label == 1) & (rng.random(rows) < 0.4)
    for name, middle in (
        ("Src Ports", 2),
        ("Pair Flows 60s", 150),
        ("Total Fwd Packet", 40),
        ("Total Length of Fwd Packet", 40_000),
    ):
        drawn = 1 + np.floor(middle * np.exp(rng.normal(0, 0.5, rows)))
        raw[flood, COLUMNS.index(name)] = drawn[flood]
    protocol = np.where(flood | (rng.random(rows) < 0.2), 17, 6)
    family = np.where(flood, 1, 2 * label).astype(np.uint8)
    return np.concatenate([raw, one_hot(protocol, FLAGS)], axis=1).astype(np.float32), label, family
