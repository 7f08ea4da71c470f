"""Which rows cannot be learned from, each rule with its count."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from edge_agent.contract.scaling import recompute_rates
from trainer.datasets.labels import BENIGN, is_attempted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

# Rules that drop.
REPEATED_HEADER: Final = "repeated header line"
EMPTY_ROW: Final = "empty row"
NO_LABEL: Final = "no label"
OVER_IPV6: Final = "over IPv6"
NOT_TCP_UDP: Final = "neither TCP nor UDP"
ATTEMPTED: Final = "attempted attack"
NOT_FINITE: Final = "NaN or Infinity outside the rates of a flow without duration"
TOO_LARGE: Final = "value beyond float32"

# What keeps a row but alters it.
RATES_RECOMPUTED: Final = "rates of a flow without duration recomputed"
ATTEMPTED_AS_BENIGN: Final = "attempted attack counted as BENIGN"
ATTEMPTED_AS_CLASS: Final = "attempted attack kept as a class of its own"

ATTEMPTED_CHOICES: Final = ("drop", "benign", "class")

# Times that ran backwards and header lengths that overflowed: faults of the tools, which no
# gateway reproduces. -1 as "no window" is honest and stays.
_NEGATIVE_RULES: Final[dict[str, tuple[str, ...]]] = {
    "negative duration": ("Flow Duration",),
    "negative inter-arrival time": tuple(
        f"{way} IAT {what}"
        for way in ("Flow", "Fwd", "Bwd")
        for what in ("Total", "Mean", "Std", "Max", "Min")
    ),
    "negative header length": (
        "Fwd Header Length",
        "Bwd Header Length",
        "Fwd Header Length.1",
        "min_seg_size_forward",
        "Fwd Seg Size Min",
        "Bwd Seg Size Min",
    ),
}


@dataclass(frozen=True, slots=True)
class CleaningSettings:
    """What the user may choose.

    Attributes:
        attempted: What becomes of rows labelled "Attempted": "drop", counted as "benign", or kept
            as a "class" of attacks of their own.
    """

    attempted: str = "drop"

    def __post_init__(self) -> None:
        if self.attempted not in ATTEMPTED_CHOICES:
            raise ValueError(f"attempted is one of {ATTEMPTED_CHOICES}, not {self.attempted!r}")


@dataclass(frozen=True, slots=True)
class Rows:
    """What became of some rows.

    Attributes:
        raw: float32, shape (n_kept, n_features): finite, with rates recomputed.
        keep: bool, shape (n_flows,): which of the rows handed in these are.
        dropped: Rule → rows dropped by it.
        changed: What was repaired → rows kept with it.
    """

    raw: NDArray[np.float32]
    keep: NDArray[np.bool_]
    dropped: Counter[str]
    changed: Counter[str]


@dataclass(frozen=True, slots=True)
class Settled:
    """Labels, once it is decided what "Attempted" means.

    Attributes:
        labels: BENIGN first, then those handed in.
        label: int16, shape (n_flows,): index into `labels`, for every row handed in.
        keep: bool, shape (n_flows,): which rows stay.
        dropped: Rule → rows dropped by it.
        changed: What was decided → rows kept with it.
    """

    labels: tuple[str, ...]
    label: NDArray[np.int16]
    keep: NDArray[np.bool_]
    dropped: Counter[str]
    changed: Counter[str]


def clean_chunk(
    raw: NDArray[np.float64], names: Sequence[str], keep: NDArray[np.bool_] | None = None
) -> Rows:
    """Repair rates, and drop rows no gateway could measure.

    A row is counted under the first rule that it breaks. Only the columns at hand are looked at.

    Args:
        raw: As read, shape (n_flows, n_features); stays as it is.
        names: Of the columns.
        keep: Rows still in question, shape (n_flows,); the others are not looked at. None: all.
    """
    stays = np.ones(len(raw), dtype=bool) if keep is None else keep.copy()
    # Damaged numbers may overflow here; what they become is dropped below.
    with np.errstate(over="ignore", invalid="ignore"):
        fixed = recompute_rates(raw, names)
    dropped: Counter[str] = Counter()

    def drop(wrong_cells: NDArray[np.bool_], rule: str) -> None:
        wrong = np.logical_or.reduce(wrong_cells, axis=1) & stays
        if count := int(wrong.sum()):
            dropped[rule] += count
            np.logical_and(stays, ~wrong, out=stays)

    drop(~np.isfinite(fixed), NOT_FINITE)
    # What rounds to float32's infinity is beyond it too.
    with np.errstate(over="ignore"):
        small = fixed.astype(np.float32)
    drop(~np.isfinite(small), TOO_LARGE)
    for rule, columns in _NEGATIVE_RULES.items():
        indices = [names.index(name) for name in columns if name in names]
        if indices:
            drop(fixed[:, indices] < 0, rule)
    altered = stays & ~np.equal(raw, fixed).all(axis=1)
    changed = Counter({RATES_RECOMPUTED: count} if (count := int(altered.sum())) else {})
    return Rows(small[stays], stays, dropped, changed)


def settle_attempted(labels: Sequence[str], label: NDArray[np.int16], choice: str) -> Settled:
    """Decide what rows labelled "Attempted" are, and put BENIGN first.

    Args:
        labels: Unified, each once, in any order.
        label: Index into them, shape (n_flows,).
        choice: One of `ATTEMPTED_CHOICES`.
    """
    ordered = tuple(dict.fromkeys((BENIGN, *labels)))
    codes = np.array([ordered.index(name) for name in labels], dtype=np.int16)
    concerned = np.array([is_attempted(name) for name in labels], dtype=bool)
    if choice == "benign":
        codes[concerned] = 0
    if not len(labels):
        concerned, codes = np.zeros(1, dtype=bool), np.zeros(1, dtype=np.int16)
    rows = concerned[label]
    count = int(rows.sum())
    dropped: Counter[str] = Counter()
    changed: Counter[str] = Counter()
    if count and choice == "drop":
        dropped[ATTEMPTED] = count
    elif count:
        changed[ATTEMPTED_AS_BENIGN if choice == "benign" else ATTEMPTED_AS_CLASS] = count
    keep = ~rows if choice == "drop" else np.ones(len(label), dtype=bool)
    return Settled(ordered, codes[label], keep, dropped, changed)
