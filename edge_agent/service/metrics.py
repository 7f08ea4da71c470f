"""Metrics for Prometheus: its text format, version 0.0.4."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric and its present values.

    Attributes:
        name: As the Grafana dashboard asks for it.
        kind: "counter", "gauge" or "histogram".
        summary: One line of help.
        samples: Suffix of the name, labels, value.
    """

    name: str
    kind: str
    summary: str
    samples: Sequence[tuple[str, Mapping[str, str], float]]

    @classmethod
    def of(cls, name: str, kind: str, summary: str, value: float) -> Metric:
        """A metric without labels."""
        return cls(name, kind, summary, (("", {}, value),))

    @classmethod
    def by(
        cls, name: str, kind: str, summary: str, label: str, values: Mapping[str, float]
    ) -> Metric:
        """A metric with one label."""
        samples = tuple(("", {label: key}, value) for key, value in values.items())
        return cls(name, kind, summary, samples)

    def text(self) -> str:
        """Its lines."""
        lines = [f"# HELP {self.name} {self.summary}", f"# TYPE {self.name} {self.kind}"]
        for suffix, labels, value in self.samples:
            inner = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels.items())
            number = repr(float(value)) if value != int(value) else str(int(value))
            lines.append(f"{self.name}{suffix}{'{' + inner + '}' if inner else ''} {number}")
        return "\n".join(lines) + "\n"


class Histogram:
    """Counts durations in fixed buckets. For one thread that adds; any may read.

    Args:
        bounds_s: Upper bounds of the buckets, ascending; one without a bound follows.
    """

    def __init__(self, bounds_s: Sequence[float]) -> None:
        self._bounds_s = np.array(bounds_s)
        self._counts = np.zeros(len(bounds_s) + 1, np.int64)
        self._sum_s = 0.0

    def add(self, durations_s: NDArray[np.float64]) -> None:
        """Count durations, shape (n,)."""
        places = np.searchsorted(self._bounds_s, durations_s, side="left")
        self._counts += np.bincount(places, minlength=len(self._counts))
        self._sum_s += float(durations_s.sum())

    def metric(self, name: str, summary: str) -> Metric:
        """Its present counts."""
        cumulated = np.cumsum(self._counts)
        bounds = [*(f"{bound:g}" for bound in self._bounds_s), "+Inf"]
        buckets: list[tuple[str, Mapping[str, str], float]] = [
            ("_bucket", {"le": bound}, float(count))
            for bound, count in zip(bounds, cumulated, strict=True)
        ]
        total = float(cumulated[-1])
        return Metric(
            name, "histogram", summary, (*buckets, ("_sum", {}, self._sum_s), ("_count", {}, total))
        )

    def quantile_s(self, share: float) -> float | None:
        """The bound below which this share lies; None: nothing was counted, or beyond all."""
        cumulated = np.cumsum(self._counts)
        if not cumulated[-1]:
            return None
        place = int(np.searchsorted(cumulated, share * cumulated[-1]))
        return float(self._bounds_s[place]) if place < len(self._bounds_s) else None


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
