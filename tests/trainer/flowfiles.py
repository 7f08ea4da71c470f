"""Flow tables made by hand, small and with two classes that can be told apart.

Their numbers are as a build of the tool computes them, since readers look at that.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from benchmarks.large_table.flows import draw
from edge_agent.contract.profiles import PROFILES
from edge_agent.flow.rows import ROW_COLUMNS
from trainer.datasets.layouts import LAYOUTS

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
TRAFFIC_HEAD = (
    "Flow ID",
    "Source IP",
    "Source Port",
    "Destination IP",
    "Destination Port",
    "Protocol",
    "Timestamp",
)
SHORT = next(dict(layout.spelled) for layout in LAYOUTS if layout.name == "CSE-CIC-IDS2018")
"""Our names → the short ones."""


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

    def write_parquet(self, path: Path, texts: Sequence[str] = ("Label",)) -> Path:
        """Numbers as numbers, but for the columns named."""
        columns = [pl.Series(name, cells) for name, cells in zip(self.header, zip(*self.rows))]  # noqa: B905
        frame = pl.DataFrame(columns)
        numbers = [name for name in self.header if name not in texts]
        frame.with_columns(pl.col(numbers).cast(pl.Float64)).write_parquet(path)
        return path

    def renamed(self, names: dict[str, str]) -> Csv:
        """The same rows under other column names."""
        return Csv([names.get(name, name) for name in self.header], self.rows)

    def without(self, *names: str) -> Csv:
        """The same rows without some columns."""
        kept = [index for index, name in enumerate(self.header) if name not in names]
        return Csv(
            [self.header[index] for index in kept],
            [[row[index] for index in kept] for row in self.rows],
        )


def labels_of(**counts: int) -> list[str]:
    """`labels_of(BENIGN=3, Bot=2)`; underscores stand for blanks."""
    return [name.replace("_", " ") for name, count in counts.items() for _ in range(count)]


def _drawn(
    profile: str, labels: Sequence[str], seed: int
) -> tuple[dict[str, list[str]], list[str]]:
    """Feature → its column as text; and each row's protocol."""
    rng = np.random.default_rng(seed)
    is_attack = np.array([label.upper() != "BENIGN" for label in labels], dtype=bool)
    flows = draw(rng, is_attack, corrected=profile != "cic2017")
    counted = dict.fromkeys(("Bwd Act Data Pkts", "Bwd Seg Size Min"), flows.columns[4])
    columns = {}
    for feature in PROFILES[profile].features:
        if feature.number is None:
            values = counted.get(feature.name, flows.reset)
        else:
            values = flows.columns[feature.number]
        columns[feature.name] = [f"{value:.10g}" for value in values]
    return columns, [str(number) for number in flows.protocol]


def cve(labels: Sequence[str], seed: int = 0) -> Csv:
    """The MachineLearningCVE layout."""
    columns, _ = _drawn("cic2017", labels, seed)
    table = Csv([*CVE_COLUMNS, "Label"])
    table.rows = [
        [*(columns[name][row] for name in CVE_COLUMNS), label] for row, label in enumerate(labels)
    ]
    return table


def traffic(labels: Sequence[str], seed: int = 0) -> Csv:
    """The TrafficLabelling layout: 85 columns, one connection per row, a minute apart."""
    columns, protocol = _drawn("cic2017", labels, seed)
    features = [name for name in CVE_COLUMNS if name != "Destination Port"]
    table = Csv([*TRAFFIC_HEAD, *features, "Label"])
    for row, label in enumerate(labels):
        hour, minute = divmod(row, 60)
        head = [
            f"flow-{row}",
            "192.168.10.5",
            str(1024 + row),
            "192.168.10.3",
            columns["Destination Port"][row],
            protocol[row],
            f"7/7/2017 {hour + 8}:{minute:02}",
        ]
        table.rows.append([*head, *(columns[name][row] for name in features), label])
    return table


def cse(labels: Sequence[str], seed: int = 0, *, addresses: bool = False) -> Csv:
    """The CSE-CIC-IDS2018 layout: 80 columns, or 84 with addresses."""
    made = traffic(labels, seed).without("Fwd Header Length.1")
    made = made.renamed(
        SHORT | {"Source IP": "Src IP", "Source Port": "Src Port", "Destination IP": "Dst IP"}
    )
    for row in range(len(labels)):
        made.set(row, "Timestamp", f"14/02/2018 {8 + row // 60:02}:{row % 60:02}:01")
    return made if addresses else made.without("Flow ID", "Src IP", "Src Port", "Dst IP")


def improved(labels: Sequence[str], seed: int = 0) -> Csv:
    """The improved layout: 91 columns, one connection per row, a second apart."""
    columns, _ = _drawn("improved", labels, seed)
    features = [name for name in IMPROVED_COLUMNS if name != "Dst Port"]
    table = Csv([*IMPROVED_HEAD, *features, *IMPROVED_TAIL])
    for index, label in enumerate(labels):
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
            [*head, *(columns[name][index] for name in features), "-1", "-1", "0", label, "-1"]
        )
    return table


def java(labels: Sequence[str], seed: int = 0) -> Csv:
    """What the public Java tool writes today: 84 columns."""
    made = improved(labels, seed).without(
        "id", "Fwd RST Flags", "Bwd RST Flags", *IMPROVED_TAIL[:3], "Attempted Category"
    )
    for row in range(len(labels)):
        made.set(row, "Timestamp", f"06/07/2017 12:00:{row % 60:02} PM")
    return made


def extract(profile: str, labels: Sequence[str], seed: int = 0) -> Csv:
    """What `edge-agent extract` writes, with a Label column added."""
    columns, protocol = _drawn(profile, labels, seed)
    features = [name for name in PROFILES[profile].columns if name not in ROW_COLUMNS]
    table = Csv([*ROW_COLUMNS, *features, "IP Version", "Label"])
    for row, label in enumerate(labels):
        head = ["10.0.0.1", str(1024 + row), "10.0.0.2", "80", protocol[row]]
        time = str(1_499_342_400_000_001 + row * 1_000_000)
        table.rows.append([*head, time, *(columns[name][row] for name in features), "4", label])
    return table
