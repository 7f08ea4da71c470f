"""Flow CSVs made by hand, small and with two classes that can be told apart."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from edge_agent.contract.profiles import PROFILES

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

CVE_COLUMNS = PROFILES["cic2017"].columns
IMPROVED_COLUMNS = tuple(
    name
    for name in PROFILES["improved"].columns
    if name not in ("Bwd Act Data Pkts", "Bwd Seg Size Min")
)
IMPROVED_HEAD = (
    "id",
    "Flow ID",
    "Src IP",
    "Src Port",
    "Dst IP",
    "Dst Port",
    "Protocol",
    "Timestamp",
)
IMPROVED_TAIL = ("ICMP Code", "ICMP Type", "Total TCP Flow Time", "Label", "Attempted Category")


@dataclass
class Csv:
    """A table as text, to be spoiled by a test before it is written."""

    header: list[str]
    rows: list[list[str]] = field(default_factory=list)

    def column(self, name: str) -> int:
        return self.header.index(name)

    def set(self, row: int, name: str, text: str) -> None:
        self.rows[row][self.column(name)] = text

    def text(self) -> str:
        return "".join(",".join(cells) + "\n" for cells in [self.header, *self.rows])

    def write(self, path: Path, encoding: str = "utf-8") -> Path:
        path.write_bytes(self.text().encode(encoding))
        return path


def labels_of(**counts: int) -> list[str]:
    """`labels_of(BENIGN=3, Bot=2)`; underscores stand for blanks."""
    return [name.replace("_", " ") for name, count in counts.items() for _ in range(count)]


def _values(columns: Sequence[str], label: str, rng: np.random.Generator) -> dict[str, str]:
    """A flow's features: attacks are short and send much, benign flows the other way round."""
    scale = 1.0 if label == "BENIGN" else 40.0
    values = {name: f"{rng.integers(1, 1000) * scale:.1f}" for name in columns}
    for name in columns:
        if name.endswith("Flow Duration"):
            values[name] = str(int(rng.integers(1000, 100_000) / scale))
    return values


def cve(labels: Sequence[str], seed: int = 0) -> Csv:
    """The MachineLearningCVE layout."""
    rng = np.random.default_rng(seed)
    table = Csv([*CVE_COLUMNS, "Label"])
    for label in labels:
        values = _values(CVE_COLUMNS, label, rng)
        table.rows.append([*(values[name] for name in CVE_COLUMNS), label])
    return table


def improved(labels: Sequence[str], seed: int = 0) -> Csv:
    """The improved layout: 91 columns, one connection per row, a second apart."""
    rng = np.random.default_rng(seed)
    features = [name for name in IMPROVED_COLUMNS if name != "Dst Port"]
    table = Csv([*IMPROVED_HEAD, *features, *IMPROVED_TAIL])
    for index, label in enumerate(labels):
        values = _values(features, label, rng)
        minute, second = divmod(index, 60)
        hour, minute = divmod(minute, 60)
        head = [
            str(index),
            f"flow-{index}",
            "192.168.10.5",
            str(1024 + index),
            "192.168.10.3",
            "53",
            "17",
            f"2017-07-06 {hour + 12:02}:{minute:02}:{second:02}.000001",
        ]
        table.rows.append(
            [*head, *(values[name] for name in features), "-1", "-1", "0", label, "-1"]
        )
    return table
