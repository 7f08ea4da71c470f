"""The check of recordings must find what a test has spoiled in a faultless one."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.lab import pcap
from benchmarks.lab.cli import lab
from benchmarks.lab.errors import CaptureError
from tests.lab.house import (
    CAMERA,
    LAPTOP,
    SERVER,
    Recording,
    at,
    conversation,
    house_segments,
    packets_of,
    with_identification,
)
from tests.packets import Segment

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def recording(tmp_path: Path) -> Recording:
    return Recording(tmp_path)


def add(recording: Recording, *segments: Segment) -> None:
    together = [*house_segments(), *segments]
    recording.packets = packets_of(sorted(together, key=lambda segment: segment.time_us))


def the_fault(recording: Recording) -> str:
    """The only fault."""
    faults = recording.check().faults
    assert len(faults) == 1, faults
    return faults[0]


def test_the_faultless_recording_is_counted(recording: Recording) -> None:
    report = recording.check()
    assert report.faults == []
    assert (report.benign_flows, report.benign_packets) == (58, 58 * 8)
    assert [(w.id, w.packets, w.flows) for w in report.waves] == [
        ("h01", 200, 100),
        ("h02", 99, 99),
    ]
    assert (report.attack_flows, report.flows) == (199, 257)
    assert (report.packets, report.duplicates, report.merged_frames) == (763, 0, 0)
    assert report.resets_in_benign_flows == 0
    assert report.capture_bytes == (recording.folder / "capture.pcap.gz").stat().st_size


@settings(max_examples=20)
@given(st.integers(0, 760), st.integers(1, 2))
def test_unsorted_times_are_found(
    tmp_path_factory: pytest.TempPathFactory, place: int, distance: int
) -> None:
    recording = Recording(tmp_path_factory.getbasetemp())
    first, second = recording.packets[place], recording.packets[place + distance]
    recording.packets[place], recording.packets[place + distance] = second, first
    assert any("packets out of order" in fault for fault in recording.check().faults)


@settings(max_examples=20)
@given(st.integers(0, 299))
def test_frames_seen_twice_are_found(
    tmp_path_factory: pytest.TempPathFactory, later_us: int
) -> None:
    recording = Recording(tmp_path_factory.getbasetemp())
    again = [dataclasses.replace(p, time_us=p.time_us + later_us) for p in recording.packets]
    together = recording.packets + again
    recording.packets = sorted(together, key=lambda packet: packet.time_us)
    report = recording.check()
    assert report.duplicates == 763
    assert "763 duplicated frames" in report.faults


def test_a_retransmission_and_equal_resets_of_a_kernel_are_no_duplicates(
    recording: Recording,
) -> None:
    first = recording.packets[0]
    twin = dataclasses.replace(first, frame=with_identification(first.frame, 60_000))
    kernels = dataclasses.replace(first, frame=with_identification(first.frame, 0))
    later = dataclasses.replace(first, time_us=first.time_us + 300)
    recording.packets[1:1] = [twin, kernels, kernels, later]
    report = recording.check()
    assert (report.duplicates, report.faults) == (0, [])


def test_merged_segments_are_found(recording: Recording) -> None:
    add(recording, Segment(at(1.005), LAPTOP, 40_000, SERVER, 80, "PA", 1460))
    assert recording.check().faults == []
    add(recording, Segment(at(1.005), LAPTOP, 40_000, SERVER, 80, "PA", 1461))
    assert the_fault(recording) == "1 merged frames"


def test_payload_left_in_a_frame_is_found(recording: Recording) -> None:
    place = next(n for n, p in enumerate(recording.packets) if p.wire_bytes > 100)
    cut = recording.packets[place]
    recording.packets[place] = dataclasses.replace(cut, frame=cut.frame + b"secret")
    assert the_fault(recording) == "1 packets not cut to headers"


def test_a_wrong_wire_length_is_found(recording: Recording) -> None:
    place = next(n for n, p in enumerate(recording.packets) if p.wire_bytes > 100)
    cut = recording.packets[place]
    recording.packets[place] = dataclasses.replace(cut, wire_bytes=cut.wire_bytes - 1)
    assert the_fault(recording) == "1 packets with a wrong wire length"


def test_lost_packets_are_found(recording: Recording) -> None:
    recording.truth = dataclasses.replace(recording.truth, packets=764)
    assert the_fault(recording) == "763 packets, but truth.json says 764"
    recording.truth = dataclasses.replace(recording.truth, packets=763, dropped_by_kernel=3)
    assert the_fault(recording) == "the kernel dropped 3 packets"


def test_a_campaign_without_packets_is_found(recording: Recording) -> None:
    recording.packets = [p for p in recording.packets if not at(200) <= p.time_us <= at(200.99)]
    assert the_fault(recording) == "h02 has no packets in its window"


def test_a_campaign_that_escapes_its_window_is_found(recording: Recording) -> None:
    recording.move("h02", 200, 200.52)
    faults = recording.check().faults
    assert [fault.partition(" flows ")[2] for fault in faults] == [
        "unexplained: camera to server, protocol 6, port 22"
    ]


@pytest.mark.parametrize(("begin_s", "rested"), [(169.9, 59.9), (130, 20.0), (170, None)])
def test_attackers_rest_a_minute(
    recording: Recording, begin_s: float, rested: float | None
) -> None:
    recording.move("h02", begin_s, 210)
    faults = recording.check().faults
    assert faults == ([] if rested is None else [f"h02: {CAMERA} rested only {rested} s"])


def test_overlapping_campaigns_are_found(recording: Recording) -> None:
    recording.move("h01", 100, 200.2)
    assert "h02 began before the campaign before it ended" in recording.check().faults


def test_a_campaign_outside_the_recording_is_found(recording: Recording) -> None:
    recording.truth = dataclasses.replace(recording.truth, end_us=at(205))
    faults = recording.check().faults
    assert "h02 does not lie inside the recording" in faults
    assert any("before and -5 s after" in fault for fault in faults)


def test_too_little_benign_traffic_around_is_found(recording: Recording) -> None:
    recording.plan_changes = (("opening_s = 60", "opening_s = 101"),)
    assert the_fault(recording) == "benign only for 100 s before and 90 s after"
    recording.plan_changes = (("closing_s = 40", "closing_s = 91"),)
    assert the_fault(recording) == "benign only for 100 s before and 90 s after"


@pytest.mark.parametrize("part", ['id = "h01"', 'label = "scan"', 'family = "scan"'])
def test_a_plan_of_another_recording_is_found(recording: Recording, part: str) -> None:
    recording.plan_changes = ((part, part.partition(" ")[0] + ' = "botnet"'),)
    assert the_fault(recording) == "the plan has other campaigns than the recording"


def test_a_recording_without_campaigns_cannot_be_checked(recording: Recording) -> None:
    recording.truth = dataclasses.replace(recording.truth, campaigns=())
    with pytest.raises(CaptureError, match="without campaigns"):
        recording.check()


def test_a_benign_flow_under_a_campaigns_label_is_found(recording: Recording) -> None:
    """The camera reads pages on a port that the scan covers, while it scans."""
    recording.plan_changes = (("port = 8080", "port = 90"),)
    add(recording, *conversation(105, CAMERA, SERVER, (44_000, 90)))
    faults = recording.check().faults
    assert any("both h01 and benign: camera to server, protocol 6, port 90" in f for f in faults)


def test_a_flow_that_nobody_planned_is_found(recording: Recording) -> None:
    add(recording, *conversation(50, LAPTOP, SERVER, (44_000, 25)))
    assert the_fault(recording) == "1 flows unexplained: laptop to server, protocol 6, port 25"
    add(recording, Segment(at(50), "10.1.0.99", 5, SERVER, 80, "S"))
    assert the_fault(recording) == "1 flows unexplained: 10.1.0.99 to server, protocol 6, port 5"


@pytest.mark.parametrize(
    ("source", "group", "fine"),
    [(LAPTOP, "239.255.255.250", True), ("192.0.2.5", "239.255.255.250", False)],
)
def test_multicast_is_benign_from_the_house_only(
    recording: Recording, source: str, group: str, fine: bool
) -> None:
    add(recording, Segment(at(50), source, 1900, group, 1900, payload=100, protocol=17))
    assert (recording.check().faults == []) == fine


@pytest.mark.parametrize(("silence_s", "flows"), [(60.0, 257), (60.000001, 258)])
def test_a_minute_of_silence_parts_two_flows(
    recording: Recording, silence_s: float, flows: int
) -> None:
    add(
        recording,
        Segment(at(220), LAPTOP, 40_000, SERVER, 80, "PA", 10),
        Segment(at(220) + round(silence_s * 1e6), LAPTOP, 40_000, SERVER, 80, "PA", 10),
    )
    assert recording.check().flows == flows + 1


def test_a_new_connection_on_the_same_ports_is_a_new_flow(recording: Recording) -> None:
    add(recording, *conversation(1.5, LAPTOP, SERVER, (40_000, 80)))
    report = recording.check()
    assert (report.benign_flows, report.faults) == (59, [])


def test_frames_that_are_not_ipv4_are_counted_apart(recording: Recording) -> None:
    arp = bytes(12) + b"\x08\x06" + bytes(46)
    recording.packets.insert(0, pcap.Packet(at(0.5), 60, arp))
    report = recording.check()
    assert (report.packets_not_ipv4, report.flows, report.faults) == (1, 257, [])


def test_the_command_prints_figures_and_fails_on_faults(recording: Recording) -> None:
    folder = str(recording.write())
    good = CliRunner().invoke(lab, ["check", folder])
    assert (good.exit_code, good.output.splitlines()[-1]) == (0, "no faults")
    figures = json.loads(CliRunner().invoke(lab, ["check", folder, "--json"]).output)
    assert (figures["flows"], figures["faults"]) == (257, [])
    recording.move("h02", 150, 210)
    recording.write()
    bad = CliRunner().invoke(lab, ["check", folder])
    assert bad.exit_code == 1
    assert bad.output.splitlines()[-1] == f"FAULT: h02: {CAMERA} rested only 40.0 s"


@pytest.mark.parametrize("name", ["capture.pcap.gz", "truth.json", "plan.toml"])
@pytest.mark.parametrize("damage", ["missing", "halved"])
def test_an_unreadable_recording_is_told_in_a_sentence(
    recording: Recording, name: str, damage: str
) -> None:
    path = recording.write() / name
    data = path.read_bytes()
    path.unlink()
    if damage == "halved":
        path.write_bytes(data[: len(data) // 2])
    done = CliRunner().invoke(lab, ["check", str(recording.folder)])
    assert done.exit_code == 1
    assert done.output.startswith("Error: ")
    assert name in done.output
