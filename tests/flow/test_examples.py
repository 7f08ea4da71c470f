"""The worked examples of the feature specification, through real frames."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import pytest

from edge_agent.contract.profiles import PROFILES, Padding
from edge_agent.flow.meter import open_meter
from tests.packets import Segment, both_forms, frame_block

if TYPE_CHECKING:
    from pathlib import Path

CASES = [
    "tcp_nopad",
    "tcp",
    "dns",
    "scan_rst",
    "scan_linux",
    "single",
    "long",
    "long_bwd",
    "idle",
    "synackfirst",
    "zero",
    "bulk",
    "ecn",
]

VARIANTS = {
    "cic2017_padding_stripped": ("cic2017", Padding.STRIP),
    "cic2017_padding_counted": ("cic2017", Padding.COUNT),
    "improved": ("improved", Padding.STRIP),
}


def _segment(packet: dict[str, Any]) -> Segment:
    return Segment(
        time_us=packet["t"],
        source=packet["src"],
        source_port=packet["sport"],
        destination=packet["dst"],
        destination_port=packet["dport"],
        protocol=packet["proto"],
        flags=packet["flags"],
        header=packet["l4_hdr"],
        payload=packet["payload"],
        window=max(packet["window"], 0),
        padding=packet["pad"],
    )


def _number(value: float | str) -> float:
    return float(value)  # "NaN" and "Infinity" are spelled as float() reads them


@pytest.mark.shared
@both_forms
@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("name", CASES)
def test_worked_example(shared: Path, name: str, variant: str, compiled: bool) -> None:
    examples = json.loads((shared / "spec" / "cicflow-examples.json").read_text())
    case = next(case for case in examples["cases"] if case["name"] == name)
    expected = case[variant]
    if isinstance(expected, str):
        expected = case["cic2017_padding_stripped"]
    profile_name, padding = VARIANTS[variant]
    profile = PROFILES[profile_name]
    meter = open_meter(profile, padding=padding, compiled=compiled)
    block = frame_block((s.time_us, s.frame()) for s in map(_segment, case["packets"]))
    rows = [row for batch in meter.add(block) for row in batch]
    rows += [row for batch in meter.flush() for row in batch]
    assert meter.counts()["packets"] == len(case["packets"])
    rows.sort(key=lambda row: row.start_us)

    assert len(rows) == len(expected)
    for row, wanted in zip(rows, expected, strict=True):
        flow = wanted["flow"]
        assert (row.source_address, row.source_port) == (flow["src"], flow["sport"])
        assert (row.destination_address, row.destination_port) == (flow["dst"], flow["dport"])
        assert row.start_us == flow["first_t"]
        found = dict(zip(profile.columns, row.values, strict=True))
        wrong = {
            column: (found[column], value)
            for column, value in wanted["values"].items()
            if not _close(found[column], _number(value))
        }
        assert not wrong, f"(ours, expected) {wrong}"


def _close(found: float, expected: float) -> bool:
    if math.isnan(expected):
        return math.isnan(found)
    return found == expected or math.isclose(found, expected, rel_tol=1e-6)
