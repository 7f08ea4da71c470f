"""Files with the sizes, classes and faults of CICIDS2017, of made-up flows."""

from __future__ import annotations

import contextlib
import gzip
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Final, cast

import numpy as np
import polars as pl

from benchmarks.large_table.flows import draw
from edge_agent.contract.profiles import PROFILES
from trainer.datasets.layouts import LABEL, LAYOUTS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from trainer.datasets.layouts import Layout

# Rows per file and label, as published.
_FILES: Final[dict[str, dict[str, int]]] = {
    "Monday": {"BENIGN": 529_918},
    "Tuesday": {"BENIGN": 432_074, "FTP-Patator": 7_938, "SSH-Patator": 5_897},
    "Wednesday": {
        "BENIGN": 440_031,
        "DoS Hulk": 231_073,
        "DoS GoldenEye": 10_293,
        "DoS slowloris": 5_796,
        "DoS Slowhttptest": 5_499,
        "Heartbleed": 11,
    },
    "Thursday-Morning": {
        "BENIGN": 168_186,
        "Web Attack – Brute Force": 1_507,
        "Web Attack – XSS": 652,
        "Web Attack – Sql Injection": 21,
    },
    "Thursday-Afternoon": {"BENIGN": 288_566, "Infiltration": 36},
    "Friday-Morning": {"BENIGN": 189_067, "Bot": 1_966},
    "Friday-Afternoon-PortScan": {"BENIGN": 127_537, "PortScan": 158_930},
    "Friday-Afternoon-DDos": {"BENIGN": 97_718, "DDoS": 128_027},
}
PUBLISHED_ROWS: Final = sum(sum(labels.values()) for labels in _FILES.values())

# Lines without any value at the end of a file, in the layout with addresses.
_EMPTY_LINES: Final = {"Thursday-Morning": 288_602}
_EMPTY_LAYOUT: Final = "TrafficLabelling"
_REPEATING_LAYOUT: Final = "CSE-CIC-IDS2018"

# Shares of rows with a fault. Copies, and rates of flows without duration, as counted in the whole
# published set; the others as in the sample that was checked.
_COPIES: Final = 307_078 / 2_827_876
_NO_DURATION: Final = {"NaN": 1_358 / 2_830_743, "Infinity": 1_509 / 2_830_743}
_NEGATIVE: Final = {20: 129 / 96_497, 2: 4 / 96_497, 35: 25 / 96_497}

_CHUNK_ROWS: Final = 65_536
_GZIP_LEVEL: Final = 1
_DASH: Final = ("–".encode(), b"\x96")

LAYOUT_NAMES: Final = ("MachineLearningCVE", _EMPTY_LAYOUT, _REPEATING_LAYOUT)
FORMS: Final = ("csv", "csv.gz", "parquet")


@dataclass(frozen=True, slots=True)
class Order:
    """What files to write.

    Attributes:
        layout: One of `LAYOUT_NAMES`.
        rows: In all files, about.
        form: One of `FORMS`.
        seed: Of the rows.
    """

    layout: str
    rows: int = PUBLISHED_ROWS
    form: str = "csv"
    seed: int = 0


def write(order: Order, folder: Path, tell: Callable[[str], None]) -> list[Path]:
    """Write the files that are not there yet; the same order gives the same bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    layout = next(layout for layout in LAYOUTS if layout.name == order.layout)
    paths = []
    for number, (name, labels) in enumerate(_FILES.items()):
        path = folder / f"{name}-{order.rows}-{order.seed}.{order.form}"
        if not path.exists():
            tell(f"writing {path.name} ...")
            rng = np.random.default_rng([order.seed, number])
            share = order.rows / PUBLISHED_ROWS
            frames = _frames(layout, labels, share, rng)
            partial = path.with_suffix(".partial")
            if order.form == "parquet":
                pl.concat(frames).write_parquet(partial)
            else:
                empty = _EMPTY_LINES.get(name, 0) if layout.name == _EMPTY_LAYOUT else 0
                _write_csv(partial, frames, order, round(empty * share))
            partial.rename(path)
        paths.append(path)
    return paths


def _frames(
    layout: Layout, labels: dict[str, int], share: float, rng: np.random.Generator
) -> Iterator[pl.DataFrame]:
    """The rows of a file under their published names, some ten thousand at a time."""
    names = np.array(list(labels))
    counts = [max(round(count * share), 1) for count in labels.values()]
    chosen = rng.permutation(np.repeat(np.arange(len(names)), counts))
    first = 0
    while first < len(chosen):
        label = names[chosen[first : first + _CHUNK_ROWS]]
        yield _frame(layout, label, first, rng)
        first += len(label)


def _frame(
    layout: Layout, label: NDArray[np.str_], first: int, rng: np.random.Generator
) -> pl.DataFrame:
    flows = draw(rng, label != "BENIGN", corrected=False)
    columns, source = flows.columns, _with_copies(label, rng)
    columns = {number: column[source] for number, column in columns.items()}
    faults = rng.random(len(label))
    columns = _spoiled(columns, faults)
    profile = PROFILES[layout.profile]
    data: dict[str, object] = {}
    if layout.endpoints is not None:
        data = _about(layout, flows.protocol[source], first, rng)
    for feature in profile.features:
        name = feature.name
        if name in (*layout.required, *layout.optional):
            column = columns[cast("int", feature.number)]
            whole = name in profile.integral_columns
            data[layout.in_file(name)] = column.astype(np.int64) if whole else column
    # Blanks before names, and the second of two equal names, are as published.
    return pl.DataFrame({**data, LABEL: label})


def _with_copies(label: NDArray[np.str_], rng: np.random.Generator) -> NDArray[np.intp]:
    """For each row the row whose numbers it has: its own, or those of another of its label."""
    source = np.arange(len(label))
    for name in np.unique(label):
        rows = np.flatnonzero(label == name)
        copies = rows[rng.random(len(rows)) < _COPIES]
        source[copies] = rng.choice(rows, len(copies))
    return source


def _spoiled(
    columns: dict[int, NDArray[np.float64]], faults: NDArray[np.float64]
) -> dict[int, NDArray[np.float64]]:
    """Rows without duration, and with numbers below zero; `faults` says which, from 0 to 1."""
    begin = 0.0

    def rows(share: float) -> NDArray[np.bool_]:
        nonlocal begin
        chosen = (faults >= begin) & (faults < begin + share)
        begin += share
        return chosen

    for text, share in _NO_DURATION.items():
        chosen = rows(share)
        for number in (2, *range(17, 31), 37, 38):
            columns[number][chosen] = 0
        columns[15][chosen] = float(text)
        columns[16][chosen] = np.inf
    for number, share in _NEGATIVE.items():
        columns[number][rows(share)] = -1
    return columns


def _about(
    layout: Layout, protocol: NDArray[np.int64], first: int, rng: np.random.Generator
) -> dict[str, object]:
    """Columns with addresses and times."""
    ends = layout.endpoints
    if ends is None:
        return {}
    count = len(protocol)
    second = (first + np.arange(count)) // 50
    hour, minute = 8 + second // 3600 % 10, second // 60 % 60
    if layout.name == _REPEATING_LAYOUT:
        time = [f"14/02/2018 {h:02}:{m:02}:{s % 60:02}" for h, m, s in zip(hour, minute, second)]  # noqa: B905
        return {ends.protocol: protocol, layout.start: time}
    port = rng.integers(1024, 65_536, count)
    hosts = np.array([f"192.168.10.{host}" for host in range(1, 255)])
    return {
        ends.source: rng.choice(hosts, count),
        ends.source_port: port,
        ends.destination: rng.choice(hosts, count),
        ends.protocol: protocol,
        # A 12-hour clock.
        layout.start: [f"4/7/2017 {(h - 1) % 12 + 1}:{m:02}" for h, m in zip(hour, minute)],  # noqa: B905
    }


def _write_csv(path: Path, frames: Iterator[pl.DataFrame], order: Order, empty: int) -> None:
    with contextlib.ExitStack() as stack:
        stream: IO[bytes] = stack.enter_context(path.open("wb"))
        if order.form == "csv.gz":
            # The time in its head would make each file's bytes its own.
            packed = gzip.GzipFile("", "wb", _GZIP_LEVEL, stream, mtime=0)
            stream = cast("IO[bytes]", stack.enter_context(packed))
        width = 0
        for number, frame in enumerate(frames):
            # The published files of 2018 repeat their header now and then.
            header = number == 0 or (order.layout == _REPEATING_LAYOUT and number % 4 == 0)
            # Floats as published: infinities by that name.
            text = frame.with_columns(
                pl.col(pl.Float64).cast(pl.String).replace({"inf": "Infinity"})
            ).write_csv(include_header=header)
            stream.write(text.encode().replace(*_DASH))
            width = frame.width
        stream.write((b"," * (width - 1) + b"\r\n") * empty)
