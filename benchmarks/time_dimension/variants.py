"""What a model sees of a flow: its own columns, its context, the last flows of its source."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final

import numpy as np

from benchmarks.time_dimension.flows import N_CONTEXT, Flows, windows

if TYPE_CHECKING:
    from numpy.typing import NDArray

_NAME: Final = re.compile(r"own|context|window-(\d+)(-context)?")
# Ages of past flows spread over five decades; from here on they are all old.
_OLDEST_S: Final = 300.0
_AGE_UNIT_S: Final = 0.001


@dataclass(frozen=True, slots=True)
class Variant:
    """One way to look at a flow.

    Attributes:
        name: What `--variant` takes.
        context: Whether the context columns are in.
        window: Flows of the source that are seen; 1: the flow alone.
    """

    name: str
    context: bool
    window: int

    @classmethod
    def parse(cls, name: str) -> Variant:
        """Read `own`, `context`, `window-W` or `window-W-context`.

        Raises:
            ValueError: It is none of these.
        """
        match = _NAME.fullmatch(name)
        if match is None or match[1] in ("0", "1"):
            raise ValueError(
                f"{name!r} is no variant: own, context, window-W or window-W-context, W from 2"
            )
        return cls(name, name.endswith("context"), int(match[1] or 1))

    def columns(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Those columns of the feature set that are in."""
        return rows if self.context else rows[:, : rows.shape[1] - N_CONTEXT]


class View:
    """The flows as one variant shows them.

    Args:
        flows: All.
        variant: Which columns, and how many flows of the source.
    """

    def __init__(self, flows: Flows, variant: Variant) -> None:
        self.flows = flows
        self.variant = variant
        self._windows = windows(flows, variant.window)
        self._relations = _relations(flows, self._windows)

    @cached_property
    def for_trees(self) -> NDArray[np.float32]:
        """Raw columns; for a window also mean, deviation and maximum over it, of log1p.

        Trees have no use for order; 16 flows laid side by side are 1,300 columns.
        """
        raw = self.variant.columns(self.flows.raw)
        if self.variant.window == 1:
            return raw
        values = np.sign(raw) * np.log1p(np.abs(raw))
        count = (self._windows >= 0).sum(axis=1, keepdims=True).astype(np.float32)
        total, squares = np.zeros_like(values), np.zeros_like(values)
        largest = np.full_like(values, -np.inf)
        for step in self._windows.T:
            there = (step >= 0)[:, None]
            past = np.where(there, values[step], 0)
            total += past
            squares += past * past
            largest = np.where(there, np.maximum(largest, past), largest)
        mean = total / count
        deviation = np.sqrt(np.maximum(squares / count - mean**2, 0))
        relations = self._relations.sum(axis=1) / count
        return np.concatenate(
            [raw, mean, deviation, largest, count, relations, self._relations[:, 0]], axis=1
        )

    def for_network(
        self, scaled: NDArray[np.float32], rows: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        """Input of a network.

        Args:
            scaled: All flows, every column of the feature set in [0, 1].
            rows: Which flows are wanted.

        Returns:
            Shape (n_rows, n_columns), or (n_rows, window, n_columns + 4) for a window, where the
            last four are relations to the newest flow and a missing flow is all zeros.
        """
        columns = self.variant.columns(scaled)
        if self.variant.window == 1:
            return columns[rows]
        steps = self._windows[rows]
        past = np.where((steps >= 0)[:, :, None], columns[steps], np.float32(0))
        return np.concatenate([past, self._relations[rows]], axis=2)


def _relations(flows: Flows, steps: NDArray[np.int64]) -> NDArray[np.float32]:
    """For each step of each window: is there a flow; its age; same destination; same service.

    Ports and addresses are no features, but that twenty flows went to one service, or to twenty,
    is what makes a sequence of them.
    """
    there = steps >= 0
    age_s = np.abs(flows.start_us[:, None] - flows.start_us[steps]) / 1e6
    age = np.log1p(age_s / _AGE_UNIT_S) / np.log1p(_OLDEST_S / _AGE_UNIT_S)
    host = flows.destination[:, None] == flows.destination[steps]
    service = flows.service[:, None] == flows.service[steps]
    relations = np.stack([there, np.clip(age, 0, 1), host, service], axis=2).astype(np.float32)
    return relations * there[:, :, None]
