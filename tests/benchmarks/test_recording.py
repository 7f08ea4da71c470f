"""Verdicts on a recording's flows against what was run in it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.recording import Recording, by_campaign, judge, naming, read_recording
from benchmarks.subjects import Verdicts
from edge_agent.contract.errors import TableError
from tests.benchmarks.subjects import tiny_run
from tests.detect.conftest import FAMILIES_MODEL
from tests.packets import Segment, write_capture
from trainer.datasets.truth import Campaign, Truth

MINUTE_US = 60_000_000


def campaign(name: str) -> Campaign:
    return Campaign(name, "scan", f"label-{name}", 0, 1, (), (), None, None)


A, B, UNSEEN = campaign("a"), campaign("b"), campaign("unseen")
FLOWS = (A, None, A, B, None, A, B, None, None)


def verdicts(*flagged: int, families: list[str] | None = None) -> Verdicts:
    return Verdicts(np.isin(np.arange(len(FLOWS)), flagged), families)


def recording(end_us: int = 30 * MINUTE_US) -> Recording:
    truth = Truth(Path("truth.json"), 0, end_us, (A, B, UNSEEN))
    return Recording(Path("x.pcap"), truth, np.zeros((len(FLOWS), 1)), FLOWS, learned_from=False)


def test_flows_are_counted_by_campaign_in_the_order_of_the_truth_file() -> None:
    found = by_campaign((B, A), FLOWS, verdicts(0, 1, 2, 3))
    assert [(item.campaign, item.flows, item.flagged) for item in found] == [(B, 2, 1), (A, 3, 2)]
    assert [item.flagged_share for item in found] == [1 / 2, 2 / 3]


def test_half_of_the_flows_are_not_most() -> None:
    found = by_campaign((A, B), FLOWS, verdicts(0, 2, 3))
    assert [item.most_flagged for item in found] == [True, False]


def test_a_campaign_without_flows_is_listed_and_not_found() -> None:
    (item,) = by_campaign((UNSEEN,), FLOWS, verdicts(*range(len(FLOWS))))
    assert (item.flows, item.flagged_share, item.most_flagged) == (0, 0.0, False)


def test_a_campaign_is_named_after_most_of_its_flagged_flows() -> None:
    # Flows 0, 2 and 5 are A's, 3 and 6 B's; what is not flagged has no say.
    families = ["scan", "web", "dos", "web", "web", "scan", "web", "web", "web"]
    found = by_campaign((A, B, UNSEEN), FLOWS, verdicts(0, 2, 5, families=families))
    assert [item.named for item in found] == ["scan", None, None]
    found = by_campaign((A, B), FLOWS, verdicts(2, 3, 6, families=families))
    assert [item.named for item in found] == ["dos", "web"]
    assert by_campaign((A,), FLOWS, verdicts(0))[0].named is None, "a model without families"


def test_families_are_counted_by_flow_and_by_campaign() -> None:
    families = ["scan", "web", "dos", "web", "web", "scan", "web", "web", "web"]
    result = judge(recording(), verdicts(0, 1, 2, 3, 5, families=families))
    # The false alarm in flow 1 is of no family.
    assert result["families"]["flows"] == {
        "named": 4,
        "right": 2,
        "accuracy": 0.5,
        "confusion": {"scan": {"scan": 2, "dos": 1, "web": 1}},
    }
    assert result["families"]["campaigns"]["confusion"] == {"scan": {"scan": 1, "web": 1}}
    assert "families" not in judge(recording(), verdicts(0))


def test_nothing_named_is_no_accuracy() -> None:
    assert naming([], []) == {"named": 0, "right": 0, "accuracy": None, "confusion": {}}


def test_false_alarms_count_per_hour() -> None:
    result = judge(recording(), verdicts(0, 2, 1, 8))
    assert result["confusion"] == {"tn": 2, "fp": 2, "fn": 3, "tp": 2}
    assert result["false_alarms_per_hour"] == 4.0
    assert result["false_alarm_rate"] == 0.5
    assert result["campaigns_found"] == 1
    assert [item["id"] for item in result["campaigns"]] == ["a", "b", "unseen"]


def test_a_recording_without_length_has_no_hourly_rate() -> None:
    assert judge(recording(end_us=0), verdicts(1))["false_alarms_per_hour"] is None


START_US = 1_700_000_000_000_000
ATTACKER, VICTIM, BYSTANDER = "10.0.0.66", "10.0.0.1", "10.0.0.7"


def probe(second: int, source: str) -> Segment:
    return Segment(START_US + second * 1_000_000, source, 40_000 + second, VICTIM, 80, "S")


@pytest.fixture
def capture(tmp_path: Path) -> Path:
    """Two probes of the attacker and one of somebody else."""
    return write_capture(
        tmp_path / "capture.pcap", [probe(1, ATTACKER), probe(2, BYSTANDER), probe(3, ATTACKER)]
    )


def truth_file(folder: Path, *, attacker: str = ATTACKER, start_us: int = START_US) -> Path:
    item = {
        "id": "a01",
        "family": "scan",
        "label": "probe",
        "start_us": start_us,
        "end_us": start_us + MINUTE_US,
        "attackers": [attacker],
        "victims": [VICTIM],
        "protocol": 6,
        "ports": None,
    }
    facts = {
        "schema_version": 1,
        "start_us": start_us,
        "end_us": start_us + MINUTE_US,
        "campaigns": [item],
    }
    path = folder / "truth.json"
    path.write_text(json.dumps(facts))
    return path


def test_a_capture_is_metered_with_the_columns_of_the_run(capture: Path) -> None:
    run = tiny_run()
    found = read_recording(capture, truth_file(capture.parent), run)
    assert found.raw.shape == (3, len(run.features))
    assert (
        found.raw[:, [f.name for f in run.features].index("Total Fwd Packet")].tolist() == [1] * 3
    )
    assert sorted(found.label.tolist()) == [0, 1, 1]
    assert found.hours == 1 / 60
    assert not found.learned_from


def test_flags_stand_where_the_model_wants_them(tmp_path: Path) -> None:
    queries = [
        Segment(START_US + second * 1_000_000, ATTACKER, 40_000 + second, VICTIM, 53, protocol=17)
        for second in (4, 5)
    ]
    capture = write_capture(tmp_path / "c.pcap", [probe(1, ATTACKER), *queries])
    run = tiny_run(FAMILIES_MODEL)
    names = [feature.name for feature in run.features]
    # Not at the end: the order is the run's.
    order = [names.index("Protocol=17"), *range(len(names) - 2), names.index("Protocol=6")]
    features = tuple(run.features[place] for place in order)
    found = read_recording(capture, truth_file(tmp_path), replace(run, features=features))
    assert sorted(found.raw[:, 0].tolist()) == [0, 1, 1]
    assert np.array_equal(found.raw[:, -1], 1 - found.raw[:, 0])
    plain = read_recording(capture, truth_file(tmp_path), tiny_run())
    assert np.array_equal(found.raw[:, 1:-1], plain.raw)


def test_a_recording_that_the_run_was_trained_on_is_recognised(capture: Path) -> None:
    sha256 = hashlib.sha256(capture.read_bytes()).hexdigest()
    run = tiny_run(provenance={"data": {"files": [{"path": "elsewhere", "sha256": sha256}]}})
    assert read_recording(capture, truth_file(capture.parent), run).learned_from


def test_the_truth_of_another_recording_is_refused(capture: Path) -> None:
    another_network = truth_file(capture.parent, attacker="192.168.1.1")
    with pytest.raises(TableError, match="holds none"):
        read_recording(capture, another_network, tiny_run())
    another_day = truth_file(capture.parent, start_us=START_US - 1_000 * MINUTE_US)
    with pytest.raises(TableError, match="describes"):
        read_recording(capture, another_day, tiny_run())


def test_a_capture_without_flows_is_refused(tmp_path: Path) -> None:
    empty = write_capture(tmp_path / "empty.pcap", [])
    with pytest.raises(TableError, match="no TCP or UDP flow"):
        read_recording(empty, truth_file(tmp_path), tiny_run())
