"""Rows to training, validation and test parts, 70/15/15.

Random splits are the paper's, and an upper bound: near-copies of one scan or flood stand on both
sides. `dedup` removes the exact copies first; `group` keeps the rows of a connection, a host, a day
or a file together; `time` trains on the past and tests on the future.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from edge_agent.contract.errors import TableError
from trainer.datasets.duplicates import find_duplicates
from trainer.datasets.flows import NO_TIME

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from trainer.datasets.flows import FlowTable

SPLITS: Final = ("random", "dedup", "time", "group")
GROUPS: Final = ("auto", "connection", "host", "day", "file")
PART_NAMES: Final = ("train", "validation", "test")
DUPLICATE: Final = "duplicate of an earlier row"

_PARTS: Final = len(PART_NAMES)
# 70/15/15 in twentieths.
_SLOTS: Final = np.repeat(np.arange(_PARTS, dtype=np.int8), (14, 3, 3))
_SHARES: Final[tuple[float, ...]] = tuple((np.bincount(_SLOTS) / len(_SLOTS)).tolist())
_DAY_US: Final = 86_400_000_000


@dataclass(frozen=True, slots=True)
class Split:
    """A table, dealt out.

    Attributes:
        table: The rows that were dealt; without duplicates for `dedup`.
        part: int8, shape (n_flows,): index into `PART_NAMES`.
        duplicates: Rows whose feature vector an earlier row has, left out by `dedup` or not.
        ambiguous: Distinct feature vectors that occur with more than one label.
        group_by: What `group` kept together, one of `GROUPS` but "auto"; empty for other splits.
    """

    table: FlowTable
    part: NDArray[np.int8]
    duplicates: int
    ambiguous: int
    group_by: str = ""


def split(table: FlowTable, kind: str, seed: int, group_by: str = "auto") -> Split:
    """Deal a cleaned table into parts.

    Args:
        table: At least one row.
        kind: One of `SPLITS`.
        seed: Of the shuffling.
        group_by: What `group` keeps together, one of `GROUPS`; "auto": connections where there are
            addresses, else days where there are times, else files.

    Raises:
        TableError: The table lacks what the split needs, or a part would lack a class.
        ValueError: The split or the group is unknown.
    """
    if kind not in SPLITS or group_by not in GROUPS:
        raise ValueError(f"no split {kind!r} by {group_by!r}")
    _check_classes(table)
    found = find_duplicates(table.raw)
    is_copy, ambiguous = found.is_copy, found.ambiguous(table.label)
    duplicates = int(is_copy.sum())
    if kind == "dedup":
        table = table.keep(~is_copy, DUPLICATE)
    del found, is_copy
    rng = np.random.default_rng(seed)
    used = ""
    if kind == "time":
        part = _by_time(table)
    elif kind == "group":
        used = _resolve(table, group_by)
        part = _by_group(table, used, rng)
    else:
        part = _stratified(table.label, rng)
    _check_parts(table, part, f"{kind} split" + (f" by {used}" if used else ""))
    return Split(table, part, duplicates, ambiguous, used)


def stratified_sample(
    label: NDArray[np.int16], rows: int, rng: np.random.Generator
) -> NDArray[np.intp]:
    """Indices of about `rows` rows, labels in their proportions, at least one of each, sorted."""
    if len(label) <= rows:
        return np.arange(len(label))
    order = _shuffled_by_label(label, rng)
    even = order[np.linspace(0, len(order) - 1, rows).astype(np.intp)]
    _, first = np.unique(label, return_index=True)
    return np.union1d(even, first)


def _shuffled_by_label(label: NDArray[np.int16], rng: np.random.Generator) -> NDArray[np.intp]:
    shuffled = rng.permutation(len(label))
    return shuffled[np.argsort(label[shuffled], kind="stable")]


def _stratified(label: NDArray[np.int16], rng: np.random.Generator) -> NDArray[np.int8]:
    """Parts such that every label is dealt 70/15/15, as nearly as its count allows."""
    hands = -(-len(label) // len(_SLOTS))
    # One shuffled hand of 14, 3 and 3 for every twenty rows in label order: exact over all, and
    # off by less than one hand in any label.
    slots = rng.permuted(np.tile(_SLOTS, (hands, 1)), axis=1).ravel()[: len(label)]
    part = np.empty(len(label), dtype=np.int8)
    part[_shuffled_by_label(label, rng)] = slots
    return part


def _resolve(table: FlowTable, group_by: str) -> str:
    """What is kept together.

    Raises:
        TableError: The table does not have it, or too few of it.
    """
    has_addresses = bool((table.connection >= 0).all())
    has_times = not (table.start_us == NO_TIME).any()
    if group_by == "auto":
        group_by = "connection" if has_addresses else "day" if has_times else "file"
    problem = ""
    if group_by in ("connection", "host") and not has_addresses:
        problem = f"has no addresses, so the rows of a {group_by} cannot be kept together"
    elif group_by == "day" and not has_times:
        problem = "has no times, so the rows of a day cannot be kept together"
    elif group_by == "file" and len(table.files) < _PARTS:
        problem = f"is {len(table.files)} of the three files that it takes to keep files whole"
        if not (has_addresses or has_times):
            problem = f"has no addresses and no times, and {problem}"
    if problem:
        raise TableError(
            _place(table),
            problem,
            remedy="give three files or more, each of which is then kept whole, or take --split"
            " dedup",
        )
    return group_by


def _by_group(table: FlowTable, group_by: str, rng: np.random.Generator) -> NDArray[np.int8]:
    """Parts that keep groups together, attack by attack as nearly 70/15/15 as their sizes allow."""
    _, member = np.unique(_groups(table, group_by), return_inverse=True)
    sizes = np.bincount(member)
    stratum = _strata(table.label, member, len(sizes))
    # Stratum by stratum, large groups first, among equals in any order.
    shuffled = rng.permutation(len(sizes))
    order = shuffled[np.lexsort((-sizes[shuffled], stratum[shuffled]))]
    part_of_group = np.empty(len(sizes), dtype=np.int8)
    begin = 0
    for length in np.bincount(stratum).tolist():
        chosen = order[begin : begin + length]
        part_of_group[chosen] = _greedy(sizes[chosen].tolist())
        begin += length
    dealt: NDArray[np.int8] = part_of_group[member]
    return dealt


def _groups(table: FlowTable, group_by: str) -> NDArray[np.int64]:
    """Which group each row is of, shape (n_flows,)."""
    if group_by == "day":
        return table.start_us // _DAY_US
    if group_by == "file":
        return table.file.astype(np.int64)
    return table.host if group_by == "host" else table.connection


def _strata(label: NDArray[np.int16], member: NDArray[np.intp], groups: int) -> NDArray[np.int64]:
    """What each group counts as, shape (n_groups,): its rarest attack, else BENIGN (0).

    Attacks with too few groups to reach every part are dealt together.
    """
    counts = np.bincount(label)
    attacks = np.flatnonzero(counts[1:]) + 1
    rank = np.zeros(len(counts), dtype=np.int64)
    rank[attacks[np.argsort(-counts[attacks], kind="stable")]] = np.arange(1, len(attacks) + 1)
    stratum = np.zeros(groups, dtype=np.int64)
    np.maximum.at(stratum, member, rank[label])
    sizes = np.bincount(stratum)
    few = np.flatnonzero(sizes < _PARTS)
    stratum[np.isin(stratum, few[few > 0])] = len(sizes)
    return stratum


def _greedy(sizes: list[int]) -> list[int]:
    """Part of each group: where rows are most wanting; none stays empty while groups are left."""
    dealt = [0] * _PARTS
    parts = []
    total, left = 0, len(sizes)
    for size in sizes:
        total += size
        left -= 1
        wanting = [share * total - rows for share, rows in zip(_SHARES, dealt, strict=True)]
        if dealt.count(0) > left:
            wanting = [
                rows if not given else -math.inf for rows, given in zip(wanting, dealt, strict=True)
            ]
        part = wanting.index(max(wanting))
        parts.append(part)
        dealt[part] += size
    return parts


def _by_time(table: FlowTable) -> NDArray[np.int8]:
    if (table.start_us == NO_TIME).any():
        raise TableError(
            _place(table),
            f"is of the layout {table.layout}, which has no time",
            remedy="take --split dedup, or files with times",
        )
    rank = np.empty(len(table), dtype=np.int64)
    rank[np.argsort(table.start_us, kind="stable")] = np.arange(len(table))
    edges = np.cumsum(_SHARES)[:-1] * len(table)
    return np.searchsorted(edges, rank, side="right").astype(np.int8)


def _place(table: FlowTable) -> Path | str:
    return table.files[0].path if len(table.files) == 1 else "the data"


def _check_classes(table: FlowTable) -> None:
    if not len(table):
        dropped = ", ".join(f"{rule}: {n:,}" for rule, n in table.dropped.items() if n)
        raise TableError(
            _place(table),
            f"holds no row to learn from (dropped: {dropped or 'none'})",
            remedy="give files with labelled flows",
        )
    attack = int((table.label != 0).sum())
    if attack in (0, len(table)):
        only = "attacks" if attack else "BENIGN rows"
        wanted = "BENIGN rows" if attack else "attacks"
        raise TableError(
            _place(table),
            f"holds only {only} ({len(table):,} rows)",
            remedy=f"add files with {wanted}",
        )


def _check_parts(table: FlowTable, part: NDArray[np.int8], name: str) -> None:
    attack = table.label != 0
    for number, part_name in enumerate(PART_NAMES):
        for flag, what in ((attack, "attacks"), (~attack, "BENIGN rows")):
            if not (flag & (part == number)).any():
                raise TableError(
                    _place(table),
                    f"leaves the {part_name} part of the {name} without {what}"
                    f" ({int(flag.sum()):,} in all)",
                    remedy="add rows of that class, or take another --split",
                )
