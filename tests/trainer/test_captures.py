"""Labelled captures, metered by the agent's own code."""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from click.testing import CliRunner

from edge_agent.contract.errors import CaptureError, TableError
from edge_agent.contract.features import FEATURE_SETS
from edge_agent.contract.runs import Run
from tests.packets import Segment, write_capture
from trainer.cli import main
from trainer.datasets.captures import read_capture
from trainer.datasets.sources import plan, read

if TYPE_CHECKING:
    from pathlib import Path

NAMES = FEATURE_SETS["edge-gateway"][1]
SECOND_US = 1_000_000
START_US = 1_700_000_000 * SECOND_US
SCAN_US = START_US + 100 * SECOND_US
CLIENT, SERVER, ATTACKER = "10.0.0.1", "10.0.0.2", "10.0.0.66"


def look_up(number: int) -> list[Segment]:
    """A name looked up: a second's distance between questions."""
    time_us = START_US + number * SECOND_US
    ports = 20_000 + number
    return [
        Segment(time_us, CLIENT, ports, SERVER, 53, payload=30 + number % 7, protocol=17),
        Segment(time_us + 5000, SERVER, 53, CLIENT, ports, payload=200, protocol=17),
    ]


def probe(number: int) -> list[Segment]:
    """A closed port, 50 ms after the last one."""
    time_us = SCAN_US + number * 50_000
    return [
        Segment(time_us, ATTACKER, 50_000, SERVER, 1 + number, flags="S"),
        Segment(time_us + 100, SERVER, 1 + number, ATTACKER, 50_000, flags="RA"),
    ]


def facts(shift_us: int = 0) -> dict[str, Any]:
    return {
        "schema_version": 1,
        "start_us": START_US + shift_us,
        "end_us": START_US + 300 * SECOND_US + shift_us,
        "campaigns": [
            {
                "id": "a01",
                "family": "scan",
                "label": "nmap-syn-scan",
                "start_us": SCAN_US,
                "end_us": SCAN_US + 60 * SECOND_US,
                "attackers": [ATTACKER],
                "victims": ["10.0.0.0/24"],
                "protocol": 6,
                "ports": None,
            }
        ],
    }


@pytest.fixture
def capture(tmp_path: Path) -> Path:
    """200 look-ups and 100 probes, gzipped, with its truth beside it."""
    segments = [one for number in range(200) for one in look_up(number)]
    segments += [one for number in range(100) for one in probe(number)]
    segments.sort(key=lambda segment: segment.time_us)
    plain = write_capture(tmp_path / "plain.pcap", segments)
    path = tmp_path / "capture.pcap.gz"
    path.write_bytes(gzip.compress(plain.read_bytes()))
    plain.unlink()
    (tmp_path / "truth.json").write_text(json.dumps(facts()))
    return path


def test_flows_are_labelled(capture: Path) -> None:
    table = read_capture(capture, capture.parent / "truth.json", "gateway", NAMES)
    assert table.profile == "gateway"
    assert table.layout == "extract of gateway"
    assert table.raw.shape == (300, len(NAMES))
    names, counts = np.unique(table.label, return_counts=True)
    assert dict(zip(names.tolist(), counts.tolist(), strict=True)) == {
        "BENIGN": 200,
        "nmap-syn-scan": 100,
    }
    assert table.families == {"BENIGN": "benign", "nmap-syn-scan": "scan"}
    assert table.files[0].rows == 300
    assert len(set(table.connection.tolist())) == 300
    # Named columns, not positions: probes are TCP segments without payload.
    probes = table.raw[table.label != "BENIGN"]
    assert (probes[:, NAMES.index("SYN Flag Count")] == 1).all()
    assert (probes[:, NAMES.index("Packet Length Max")] == 0).all()


def test_training_on_a_capture(capture: Path, tmp_path: Path) -> None:
    words = ["--data", capture, "--model", "boosted-trees", "--output", tmp_path / "run"]
    result = CliRunner().invoke(main, [str(word) for word in words])
    assert result.exit_code == 0, result.stderr
    run = Run.open(tmp_path / "run")
    assert (run.profile.name, run.feature_set) == ("gateway", "edge-gateway")
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert metrics["models"]["boosted-trees"]["test"]["f1"] > 0.9
    per_class = metrics["models"]["boosted-trees"]["test"]["per_class"]
    assert per_class["nmap-syn-scan"]["family"] == "scan"


def test_several_captures_take_their_labels_in_order(capture: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.pcap.gz"
    other.write_bytes(capture.read_bytes())
    quiet = tmp_path / "quiet.json"
    quiet.write_text(json.dumps(facts() | {"campaigns": []}))
    sources = plan([capture, other], [tmp_path / "truth.json", quiet], None)
    table = read(sources, NAMES, lambda text: None)
    attacks = table.label != "BENIGN"
    assert [int(attacks[table.file == number].sum()) for number in (0, 1)] == [100, 0]
    # Connections of two files are never the same.
    assert len(set(table.connection.tolist())) == 600
    with pytest.raises(TableError, match="1 label files were given for 2 captures"):
        plan([capture, other], [quiet], None)


def test_a_capture_without_labels(capture: Path) -> None:
    (capture.parent / "truth.json").unlink()
    with pytest.raises(TableError, match="without labels"):
        plan([capture], [], None)


def test_the_truth_of_another_day(capture: Path, tmp_path: Path) -> None:
    path = tmp_path / "truth.json"
    path.write_text(json.dumps(facts(shift_us=86_400 * SECOND_US)))
    with pytest.raises(TableError, match=r"but .*capture\.pcap\.gz holds"):
        read_capture(capture, path, "gateway", NAMES)


def test_the_truth_of_another_house(capture: Path, tmp_path: Path) -> None:
    other = facts()
    other["campaigns"][0]["victims"] = ["192.0.2.7"]
    path = tmp_path / "other.json"
    path.write_text(json.dumps(other))
    with pytest.raises(TableError, match="explains no flow"):
        read_capture(capture, path, "gateway", NAMES)


def test_a_capture_without_flows(tmp_path: Path) -> None:
    path = write_capture(tmp_path / "empty.pcap", [])
    (tmp_path / "truth.json").write_text(json.dumps(facts()))
    with pytest.raises(TableError, match="holds no TCP or UDP flow"):
        read_capture(path, tmp_path / "truth.json", "gateway", NAMES)


def test_a_cut_capture(capture: Path, tmp_path: Path) -> None:
    path = tmp_path / "cut.pcap"
    path.write_bytes(gzip.decompress(capture.read_bytes())[:-10])
    with pytest.raises(CaptureError):
        read_capture(path, tmp_path / "truth.json", "gateway", NAMES)


def test_captures_and_public_tables_do_not_mix(capture: Path, tmp_path: Path) -> None:
    from tests.trainer.flowfiles import improved, labels_of

    table = improved(labels_of(BENIGN=3)).write(tmp_path / "a.csv")
    with pytest.raises(TableError, match="one layout at a time"):
        plan([capture, table], [], None)
