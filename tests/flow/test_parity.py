"""The reference meter equals the original tools, row by row, on real captures."""

from __future__ import annotations

import csv
import itertools
import math
from collections import defaultdict
from typing import TYPE_CHECKING

import pytest

from edge_agent.contract.profiles import PROFILES
from edge_agent.metering import CaptureMeter

if TYPE_CHECKING:
    from pathlib import Path

CAPTURES = [
    "WebattackRCE",
    "WebattackSQLinj",
    "bot",
    "coap_mqtt",
    "doup123_test",
    "emotet",
    "evgenii_syn_flood",
    "ftp",
    "mabidm_hulk",
    "malariados",
    "miuref",
    "modbus",
    "mqtt",
    "padmavatisb_portscan",
    "slowite",
    "ssh",
    "synscan",
    "telnet",
    "trickbot",
    "vnc",
    "zeus",
]

# Both sides compute in double precision; the tools print 16 digits or fewer.
RELATIVE = 1e-6

Row = tuple[float, ...]
Key = tuple[str, int, str, int, int]

# Ports stand in the key; the repeated column 56 is not in the tools' files.
_IN_KEY = ("Destination Port", "Dst Port", "Fwd Header Length.1")


def _expected(path: Path, columns: list[str], profile: str) -> dict[Key, list[Row]]:
    rows: dict[Key, list[Row]] = defaultdict(list)
    with path.open(newline="") as stream:
        table = csv.DictReader(stream)
        names = list(table.fieldnames or [])
        # The oldest public build has names of its own: its columns match by position.
        wanted = names[7:-1] if profile == "cic2017" else columns
        for row in table:
            if row["Protocol"] in ("6", "17") and ":" not in row["Src IP"]:
                key = (
                    row["Src IP"],
                    int(row["Src Port"]),
                    row["Dst IP"],
                    int(row["Dst Port"]),
                    int(row["Protocol"]),
                )
                rows[key].append(tuple(float(row[name]) for name in wanted))
    return rows


def _sortable(row: Row) -> Row:
    """Rows of one key are paired by value; digits beyond the tolerance must not decide."""
    return tuple(0 if math.isnan(value) else float(f"{value:.5g}") for value in row)


def _equal(found: float, expected: float) -> bool:
    if math.isnan(expected):
        return math.isnan(found)
    return found == expected or math.isclose(found, expected, rel_tol=RELATIVE)


@pytest.mark.shared
@pytest.mark.parametrize("name", CAPTURES)
@pytest.mark.parametrize("profile", ["cic2017", "improved"])
def test_every_row_equals_the_original_tool(shared: Path, profile: str, name: str) -> None:
    folder = shared / "data" / "parity"
    kept = [
        (i, column) for i, column in enumerate(PROFILES[profile].columns) if column not in _IN_KEY
    ]
    columns = [column for _, column in kept]
    expected = _expected(folder / f"{name}.{profile}.csv", columns, profile)

    found: dict[Key, list[Row]] = defaultdict(list)
    capture = CaptureMeter([folder / f"{name}.pcap"], PROFILES[profile])
    for row in itertools.chain.from_iterable(capture.batches()):
        if ":" in row.source_address:
            continue  # the public tools do not measure IPv6 (spec A.3)
        key = (
            row.source_address,
            row.source_port,
            row.destination_address,
            row.destination_port,
            row.protocol,
        )
        found[key].append(tuple(row.values[i] for i, _ in kept))

    assert {key: len(rows) for key, rows in found.items()} == {
        key: len(rows) for key, rows in expected.items()
    }
    for key, rows in expected.items():
        pairs = zip(sorted(found[key], key=_sortable), sorted(rows, key=_sortable), strict=True)
        for ours, theirs in pairs:
            wrong = {
                column: (a, b)
                for column, a, b in zip(columns, ours, theirs, strict=True)
                if not _equal(a, b)
            }
            assert not wrong, f"{key}: (ours, theirs) {wrong}"
