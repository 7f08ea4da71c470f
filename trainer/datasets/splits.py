"""Rows to training, validation and test parts, 70/15/15.

Random splits are the paper's, and an upper bound: near-copies of one scan or flood stand on both
sides. `dedup` removes the exact copies first; `group` keeps the rows of a connection together;
`time` trains on the past and tests on the future.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from edge_agent.contract.errors import TableError
from trainer.datasets.flows import NO_TIME
from trainer.datasets.labels import BENIGN

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from trainer.datasets.flows import FlowTable

SPLITS: Final = ("random", "dedup", "time", "group")
PART_NAMES: Final = ("train", "validation", "test")
DUPLICATE: Final = "duplicate of an earlier row"

# 70/15/15 in twentieths.
_SLOTS: Final = np.repeat(np.arange(3), (14, 3, 3))


@dataclass(frozen=True, slots=True)
class Split:
    """A table, dealt out.

    Attributes:
        table: The rows that were dealt; without duplicates for `dedup`.
        part: int8, shape (n_flows,): index into `PART_NAMES`.
        duplicates: Rows whose feature vector an earlier row has, left out by `dedup` or not.
        ambiguous: Distinct feature vectors that occur both as BENIGN and as an attack.
    """

    table: FlowTable
    part: NDArray[np.int8]
    duplicates: int
    ambiguous: int


def split(table: FlowTable, kind: str, seed: int) -> Split:
    """Deal a cleaned table into parts.

    Args:
        table: At least one row.
        kind: One of `SPLITS`.
        seed: Of the shuffling.

    Raises:
        TableError: The table lacks what the split needs, or a part would lack a class.
    """
    _check_classes(table)
    vector, first = _vectors(table.raw)
    attack = table.label != BENIGN
    both = np.intersect1d(vector[attack], vector[~attack])
    is_copy = np.ones(len(table), dtype=bool)
    is_copy[first] = False
    duplicates = int(is_copy.sum())
    if kind == "dedup":
        table = table.keep(~is_copy, DUPLICATE)
    rng = np.random.default_rng(seed)
    if kind == "time":
        part = _by_time(table)
    elif kind == "group":
        part = _by_group(table, rng)
    else:
        part = _stratified(table.label, rng)
    _check_parts(table, part, kind)
    return Split(table, part, duplicates, len(both))


def _vectors(raw: NDArray[np.float64]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Number of each row's feature vector, and the first row of every vector."""
    # As float32, the precision a model sees; adding zero makes -0.0 the 0.0 it equals.
    rows = np.ascontiguousarray(raw.astype(np.float32) + np.float32(0))
    keys = rows.view(np.dtype((np.void, rows.dtype.itemsize * rows.shape[1]))).ravel()
    _, first, vector = np.unique(keys, return_index=True, return_inverse=True)
    return vector, first


def _stratified(label: NDArray[np.str_], rng: np.random.Generator) -> NDArray[np.int8]:
    """Parts such that every label is dealt 70/15/15, as nearly as its count allows."""
    shuffled = rng.permutation(len(label))
    order = shuffled[np.argsort(label[shuffled], kind="stable")]
    hands = -(-len(label) // len(_SLOTS))
    # One shuffled hand of 14, 3 and 3 for every twenty rows in label order: exact over all, and
    # off by less than one hand in any label.
    slots = rng.permuted(np.tile(_SLOTS, (hands, 1)), axis=1).ravel()[: len(label)]
    part = np.empty(len(label), dtype=np.int8)
    part[order] = slots
    return part


def _by_group(table: FlowTable, rng: np.random.Generator) -> NDArray[np.int8]:
    """Parts that keep the rows of a connection together, or of a file without addresses."""
    if (table.connection < 0).any():
        if len(table.files) < 3:
            raise TableError(
                table.files[0].path,
                "has no addresses, so the rows of a connection cannot be kept together",
                remedy="give three files or more, which are then kept whole, or take --split dedup",
            )
        group = table.file.astype(np.int64)
    else:
        group = table.connection
    _, first, member = np.unique(group, return_index=True, return_inverse=True)
    sizes = np.bincount(member)
    part_of_group = np.empty(len(sizes), dtype=np.int8)
    # Label by label, large groups first: each group goes where rows are most wanting.
    label_of_group = table.label[first]
    shuffled = rng.permutation(len(sizes))
    order = shuffled[np.lexsort((-sizes[shuffled], label_of_group[shuffled]))]
    share = np.bincount(_SLOTS) / len(_SLOTS)
    dealt, total, label = np.zeros(3), 0, None
    for index in order.tolist():
        if label_of_group[index] != label:
            dealt, total, label = np.zeros(3), 0, label_of_group[index]
        total += sizes[index]
        part = int(np.argmax(share * total - dealt))
        part_of_group[index] = part
        dealt[part] += sizes[index]
    return part_of_group[member]


def _by_time(table: FlowTable) -> NDArray[np.int8]:
    if (table.start_us == NO_TIME).any():
        raise TableError(
            table.files[0].path,
            f"is of the layout {table.layout}, which has no time",
            remedy="take --split dedup, or files with times",
        )
    rank = np.empty(len(table), dtype=np.int64)
    rank[np.argsort(table.start_us, kind="stable")] = np.arange(len(table))
    shares = np.cumsum(np.bincount(_SLOTS))[:2] / len(_SLOTS)
    return np.searchsorted(shares * len(table), rank, side="right").astype(np.int8)


def _check_classes(table: FlowTable) -> None:
    place = table.files[0].path if len(table.files) == 1 else "the data"
    if not len(table):
        dropped = ", ".join(f"{rule}: {n:,}" for rule, n in table.dropped.items() if n)
        raise TableError(
            place,
            f"holds no row to learn from (dropped: {dropped or 'none'})",
            remedy="give files with labelled flows",
        )
    attack = int((table.label != BENIGN).sum())
    if attack in (0, len(table)):
        only = "attacks" if attack else "BENIGN rows"
        wanted = "BENIGN rows" if attack else "attacks"
        raise TableError(
            place,
            f"holds only {only} ({len(table):,} rows)",
            remedy=f"add files with {wanted}",
        )


def _check_parts(table: FlowTable, part: NDArray[np.int8], kind: str) -> None:
    attack = table.label != BENIGN
    for number, name in enumerate(PART_NAMES):
        for flag, what in ((attack, "attacks"), (~attack, "BENIGN rows")):
            if not (flag & (part == number)).any():
                place = table.files[0].path if len(table.files) == 1 else "the data"
                raise TableError(
                    place,
                    f"leaves the {name} part of the {kind} split without {what}"
                    f" ({int(flag.sum()):,} in all)",
                    remedy="add rows of that class, or take another --split",
                )


def stratified_sample(
    label: NDArray[np.str_], rows: int, rng: np.random.Generator
) -> NDArray[np.intp]:
    """Indices of about `rows` rows, labels in their proportions, at least one of each, sorted."""
    if len(label) <= rows:
        return np.arange(len(label))
    shuffled = rng.permutation(len(label))
    order = shuffled[np.argsort(label[shuffled], kind="stable")]
    even = order[np.linspace(0, len(order) - 1, rows).astype(np.intp)]
    _, first = np.unique(label, return_index=True)
    return np.union1d(even, first)
