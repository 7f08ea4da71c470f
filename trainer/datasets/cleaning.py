"""Which rows cannot be learned from, each rule with its count."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np

from edge_agent.contract.scaling import recompute_rates
from trainer.datasets.labels import ATTEMPTED_SUFFIX, BENIGN, is_attempted

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from trainer.datasets.flows import FlowTable

ATTEMPTED: Final = "attempted attack"
NOT_FINITE: Final = "NaN or Infinity outside the rates of a flow without duration"
TOO_LARGE: Final = "value beyond float32"

ATTEMPTED_CHOICES: Final = ("drop", "benign", "attack")

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


def clean(table: FlowTable, attempted: str = "drop") -> FlowTable:
    """Repair rates, drop rows no gateway could measure, and settle "Attempted" labels.

    Only columns of the table's feature set are looked at.

    Args:
        table: Rows as read.
        attempted: "drop" such rows, or count them as "benign" or as "attack".
    """
    table = replace(table, raw=recompute_rates(table.raw, table.names))
    table = _settle_attempted(table, attempted)
    table = table.keep(_everywhere(np.isfinite(table.raw)), NOT_FINITE)
    limit = float(np.finfo(np.float32).max)
    table = table.keep(_everywhere(np.abs(table.raw) <= limit), TOO_LARGE)
    for rule, columns in _NEGATIVE_RULES.items():
        indices = [table.names.index(name) for name in columns if name in table.names]
        if indices:
            table = table.keep(_everywhere(table.raw[:, indices] >= 0), rule)
    return table


def _everywhere(cells: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Rows, shape (n_flows,), all of whose cells hold."""
    rows: NDArray[np.bool_] = np.logical_and.reduce(cells, axis=1)
    return rows


def _settle_attempted(table: FlowTable, attempted: str) -> FlowTable:
    labels = np.unique(table.label).tolist()
    concerned = [label for label in labels if is_attempted(label)]
    if not concerned:
        return table
    is_concerned: NDArray[np.bool_] = np.isin(table.label, concerned)
    if attempted == "drop":
        return table.keep(~is_concerned, ATTEMPTED)
    label = table.label.copy()
    if attempted == "benign":
        label[is_concerned] = BENIGN
    else:
        for name in concerned:
            label[table.label == name] = name.removesuffix(ATTEMPTED_SUFFIX)
    return replace(table, label=label)
