"""Labelled captures, metered by the agent's own code."""

from __future__ import annotations

import gzip
import hashlib
import json
import struct
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from click.testing import CliRunner

from edge_agent.contract.errors import CaptureError, TableError
from edge_agent.contract.features import FEATURE_SETS
from edge_agent.contract.profiles import PROFILES
from edge_agent.contract.runs import Run
from tests.packets import ETHERNET, Segment, pcap, write_capture
from trainer.cli import main
from trainer.datasets.captures import Talk, label_capture, read_capture
from trainer.datasets.cleaning import ATTEMPTED, OVER_IPV6, CleaningSettings
from trainer.datasets.flows import address_ids
from trainer.datasets.rulefile import SHIPPED
from trainer.datasets.rules import BETWEEN
from trainer.datasets.sources import plan, read

if TYPE_CHECKING:
    from pathlib import Path

    from trainer.datasets.flows import FlowTable

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


def counts(table: FlowTable) -> dict[str, int]:
    return {name: int((table.label == code).sum()) for code, name in enumerate(table.labels)}


def read_one(capture: Path, labels: Path, talk: Talk | None = None, **choice: str) -> FlowTable:
    return read_capture(capture, labels, "gateway", NAMES, CleaningSettings(**choice), talk)


def test_flows_are_labelled(capture: Path) -> None:
    table = read_one(capture, capture.parent / "truth.json")
    assert table.profile == "gateway"
    assert table.layout == "extract of gateway"
    assert table.raw.shape == (300, len(NAMES))
    assert table.raw.dtype == np.float32
    assert counts(table) == {"BENIGN": 200, "nmap-syn-scan": 100}
    assert table.families == {"BENIGN": "benign", "nmap-syn-scan": "scan"}
    assert table.files[0].rows == 300
    assert table.files[0].sha256 == hashlib.sha256(capture.read_bytes()).hexdigest()
    assert len(set(table.connection.tolist())) == 300
    client, attacker = address_ids([CLIENT, ATTACKER]).tolist()
    assert set(table.host[table.label == 0].tolist()) == {client}
    assert set(table.host[table.label == 1].tolist()) == {attacker}
    # Named columns, not positions: probes are TCP segments without payload.
    probes = table.raw[table.label == 1]
    assert (probes[:, NAMES.index("SYN Flag Count")] == 1).all()
    assert (probes[:, NAMES.index("Packet Length Max")] == 0).all()


def test_the_protocol_is_a_feature(capture: Path) -> None:
    names = ("Flow Duration", "Protocol=17", "Protocol=6")
    table = read_capture(
        capture, capture.parent / "truth.json", "gateway", names, CleaningSettings()
    )
    assert table.names == names
    assert table.raw[table.label == 0, 1:].tolist() == [[1, 0]] * 200
    assert table.raw[table.label == 1, 1:].tolist() == [[0, 1]] * 100


def test_reading_tells_how_far_it_is(capture: Path) -> None:
    told: list[tuple[int, int, int]] = []
    read_one(
        capture, capture.parent / "truth.json", Talk(progress=lambda *facts: told.append(facts))
    )
    size = capture.stat().st_size
    assert told[-1] == (size, size, 300)


def test_campaigns_are_found_with_raw_features(capture: Path) -> None:
    found = label_capture(capture, capture.parent / "truth.json", PROFILES["gateway"], NAMES)
    table = read_one(capture, capture.parent / "truth.json")
    assert [campaign is not None for campaign in found.campaigns] == (table.label > 0).tolist()
    assert {campaign.id for campaign in found.campaigns if campaign} == {"a01"}
    # Cleaning alters nothing but rates of flows without duration.
    column = NAMES.index("Flow Duration")
    assert np.array_equal(found.raw[:, column].astype(np.float32), table.raw[:, column])
    assert found.sha256 == table.files[0].sha256


def test_flows_over_ipv6_are_counted(capture: Path, tmp_path: Path) -> None:
    packet = struct.pack("!IHBB", 6 << 28, 8, 17, 64) + bytes(15) + b"\1" + bytes(15) + b"\2"
    frame = ETHERNET + b"\x86\xdd" + packet + struct.pack("!HHHH", 5, 53, 8, 0)
    plain = gzip.decompress(capture.read_bytes())
    late_us = START_US + 290 * SECOND_US
    (tmp_path / "six.pcap").write_bytes(plain + pcap([(late_us, frame)])[24:])
    table = read_one(tmp_path / "six.pcap", tmp_path / "truth.json")
    assert len(table) == 300
    assert table.dropped[OVER_IPV6] == 1
    assert table.files[0].rows == 301


RULES = f"""
schema = 1
profile = "improved"

[attempted_categories]
1 = "port closed"

[[rule]]
label = "Portscan"
start = 2023-11-14T22:14:57Z
end = 2023-11-14T22:16:00Z
src = ["{ATTACKER}"]
dst = ["{SERVER}"]
dst_port = [[1, 50]]
attempted_if = "dst_port > 40"
attempted_category = 1
"""


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    path = tmp_path / "rules.toml"
    path.write_text(RULES)
    return path


def test_rules_label_and_attempts_are_settled(capture: Path, rules: Path) -> None:
    told: list[str] = []
    table = read_one(capture, rules, Talk(tell=told.append))
    assert counts(table) == {"BENIGN": 250, "Portscan": 40}
    assert table.families == {"BENIGN": "benign", "Portscan": "scan"}
    assert table.dropped[ATTEMPTED] == 10
    assert told == [f"{capture}: attempted attacks: port closed: 10"]
    assert counts(read_one(capture, rules, attempted="benign")) == {"BENIGN": 260, "Portscan": 40}
    apart = read_one(capture, rules, attempted="class")
    assert counts(apart) == {"BENIGN": 250, "Portscan": 40, "Portscan - Attempted": 10}
    assert apart.families["Portscan - Attempted"] == "scan"


def test_flows_that_nobody_should_learn_from_are_left_out(capture: Path, rules: Path) -> None:
    rules.write_text(RULES.replace('profile = "improved"', "leave_out_unlabelled_between = true"))
    table = read_one(capture, rules)
    assert counts(table) == {"BENIGN": 200, "Portscan": 40}
    assert +table.dropped == {BETWEEN: 50, ATTEMPTED: 10}
    assert table.files[0].rows == 300


def test_rows_stay_together_when_some_are_left_out(capture: Path, rules: Path) -> None:
    names = ("Dst Port", "Protocol=6")
    settings = CleaningSettings(attempted="class")
    table = read_capture(capture, rules, "gateway", names, settings)
    port = table.raw[:, 0]
    tcp = table.raw[:, 1] == 1
    for code, low, high in ((1, 1, 40), (2, 41, 50)):
        assert sorted(port[table.label == code].tolist()) == list(range(low, high + 1))
    # Probe n goes to port n + 1, 50 ms after the last one.
    assert (table.start_us[tcp] == SCAN_US + (port[tcp].astype(int) - 1) * 50_000).all()


def test_the_rules_of_another_day(capture: Path, rules: Path) -> None:
    rules.write_text(RULES.replace("2023-11-14", "2023-11-15"))
    with pytest.raises(TableError, match=r"has rules for 2023-11-15 \(UTC\), but .*capture"):
        read_one(capture, rules)


def test_a_day_without_attacks_is_benign(capture: Path, rules: Path) -> None:
    later = RULES.replace("2023-11-14", "2023-11-15")
    rules.write_text(later.replace("[[rule]]", "[expected_flows.2023-11-14]\n[[rule]]"))
    assert counts(read_one(capture, rules)) == {"BENIGN": 300}


def test_one_rules_file_serves_all_captures(capture: Path, rules: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.pcap.gz"
    other.write_bytes(capture.read_bytes())
    table = read(plan([capture, other], [rules], None), NAMES)
    assert [int((table.label[table.file == number] > 0).sum()) for number in (0, 1)] == [40, 40]


@pytest.mark.shared
def test_the_excerpt_of_the_real_capture(shared: Path) -> None:
    capture = shared / "data" / "parity" / "WebattackSQLinj.pcap"
    names = FEATURE_SETS["edge-improved"][1]
    told: list[str] = []
    table = read_capture(
        capture,
        SHIPPED["cicids2017"],
        "improved",
        names,
        CleaningSettings(),
        Talk(tell=told.append),
    )
    assert counts(table) == {"BENIGN": 0, "Web Attack - SQL Injection": 9}
    assert len(set(table.connection.tolist())) == 9
    assert +table.dropped == {}
    assert told == []


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
    table = read(sources, NAMES)
    attacks = table.label > 0
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
        read_one(capture, path)


def test_the_truth_of_another_house(capture: Path, tmp_path: Path) -> None:
    other = facts()
    other["campaigns"][0]["victims"] = ["192.0.2.7"]
    path = tmp_path / "other.json"
    path.write_text(json.dumps(other))
    with pytest.raises(TableError, match="explains no flow"):
        read_one(capture, path)


def test_a_capture_without_flows(tmp_path: Path) -> None:
    path = write_capture(tmp_path / "empty.pcap", [])
    (tmp_path / "truth.json").write_text(json.dumps(facts()))
    with pytest.raises(TableError, match="holds no TCP or UDP flow"):
        read_one(path, tmp_path / "truth.json")


def test_a_cut_capture(capture: Path, tmp_path: Path) -> None:
    path = tmp_path / "cut.pcap"
    path.write_bytes(gzip.decompress(capture.read_bytes())[:-10])
    with pytest.raises(CaptureError):
        read_one(path, tmp_path / "truth.json")


def test_captures_and_public_tables_do_not_mix(capture: Path, tmp_path: Path) -> None:
    from tests.trainer.flowfiles import improved, labels_of

    table = improved(labels_of(BENIGN=3)).write(tmp_path / "a.csv")
    with pytest.raises(TableError, match="one layout at a time"):
        plan([capture, table], [], None)
