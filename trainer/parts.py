"""A dealt table in the form that models take: parts side by side in one matrix."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from edge_agent.contract.alerts import FAMILIES
from edge_agent.contract.scaling import Scaler
from trainer.datasets.splits import PART_NAMES
from trainer.models.base import Part

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from trainer.datasets.flows import FlowTable

# Fewer training rows than this teach no family's name, only these rows.
_MIN_FAMILY_ROWS: Final = 10


@dataclass(frozen=True, slots=True)
class Labelled:
    """A part with the labels that its figures are broken down by.

    Attributes:
        part: What models see.
        label: int16, shape (n_flows,), index into `Deal.labels`.
    """

    part: Part
    label: NDArray[np.int16]


@dataclass(frozen=True, slots=True)
class Deal:
    """Rows for models.

    Attributes:
        names: Feature columns in model order.
        labels: Unified labels; the first is BENIGN.
        label_families: Label → family.
        families: Attack families that the training rows can teach, in the order of a second
            output; empty where there are fewer than two.
        scaler: Fitted on the training rows.
        parts: Part name → its rows.
    """

    names: tuple[str, ...]
    labels: tuple[str, ...]
    label_families: dict[str, str]
    families: tuple[str, ...]
    scaler: Scaler
    parts: dict[str, Labelled]

    def scaled(self, raw: NDArray[np.float32]) -> NDArray[np.uint8] | NDArray[np.float32]:
        """Raw rows as `Part.inputs` holds them."""
        return scale(self.scaler, raw)

    def without(self, left_out: Sequence[str]) -> Deal:
        """The same rows in the same parts, without some columns, as for an ablation."""
        kept = [index for index, name in enumerate(self.names) if name not in left_out]

        def narrow(rows: Any) -> Any:
            return np.ascontiguousarray(rows[:, kept])

        scaler = Scaler(self.scaler.kind, np.ascontiguousarray(self.scaler.table[kept]))
        parts = {
            name: Labelled(
                Part(
                    raw=narrow(labelled.part.raw),
                    inputs=narrow(labelled.part.inputs),
                    target=labelled.part.target,
                    family=labelled.part.family,
                    weight=labelled.part.weight,
                ),
                labelled.label,
            )
            for name, labelled in self.parts.items()
        }
        names = tuple(self.names[index] for index in kept)
        return Deal(names, self.labels, self.label_families, self.families, scaler, parts)


def deal(
    table: FlowTable, part: NDArray[np.int8], scaler_kind: str, *, families: bool = True
) -> Deal:
    """Lay a split table out for models.

    Args:
        table: Cleaned rows.
        part: Shape (n_flows,): index into `PART_NAMES`, as `splits.split` gives it.
        scaler_kind: One of `contract.scaling.SCALERS`; fitted on the training rows.
        families: Whether models are to name attack families.
    """
    # One copy in the order of the parts; every part is then a view.
    ordered = table.take(np.argsort(part, kind="stable"))
    ends = np.cumsum(np.bincount(part, minlength=len(PART_NAMES)))
    spans = dict(zip(PART_NAMES, zip([0, *ends[:-1]], ends, strict=True), strict=True))
    scaler = Scaler.fit(scaler_kind, ordered.raw[: ends[0]])
    taught = _taught(ordered, int(ends[0])) if families else ()
    parts = {
        name: _labelled(ordered, slice(begin, end), scaler, taught)
        for name, (begin, end) in spans.items()
    }
    return Deal(ordered.names, ordered.labels, ordered.families, taught, scaler, parts)


def scale(scaler: Scaler, raw: NDArray[np.float32]) -> NDArray[np.uint8] | NDArray[np.float32]:
    """Raw rows as `Part.inputs` holds them."""
    return scaler.bins(raw) if scaler.kind == "quantile" else scaler.transform(raw)


def rows_of(table: FlowTable, like: Deal) -> Labelled:
    """Rows of other data, scaled as a deal's, for evaluation only."""
    return _labelled(table, slice(0, len(table)), like.scaler, like.families)


def _labelled(table: FlowTable, span: slice, scaler: Scaler, families: tuple[str, ...]) -> Labelled:
    raw, label = table.raw[span], table.label[span]
    weight = None if table.weight is None else table.weight[span]
    part = Part(
        raw=raw,
        inputs=scale(scaler, raw),
        target=(label > 0).astype(np.uint8),
        family=_family_codes(table, families)[label],
        weight=weight,
    )
    return Labelled(part, label)


def _family_codes(table: FlowTable, families: tuple[str, ...]) -> NDArray[np.uint8]:
    """Label code → k for the k-th family, 0 for BENIGN and for what is not taught."""
    number: dict[str, Any] = {family: index for index, family in enumerate(families, start=1)}
    codes = [number.get(table.families[label], 0) for label in table.labels]
    return np.array(codes, dtype=np.uint8)


def _taught(table: FlowTable, training_rows: int) -> tuple[str, ...]:
    rows = np.bincount(table.label[:training_rows], minlength=len(table.labels))
    count = dict.fromkeys(FAMILIES, 0)
    for label, number in zip(table.labels[1:], rows[1:].tolist(), strict=True):
        count[table.families[label]] += number
    taught = tuple(
        family for family in FAMILIES if family != "unknown" and count[family] >= _MIN_FAMILY_ROWS
    )
    # Where there is but one, its name would be given to whatever else comes along.
    return taught if len(taught) > 1 else ()
