"""Traces that throughput is measured on: the same everywhere, valid, and what they say they are."""

from __future__ import annotations

import dataclasses
import gzip
import struct
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from benchmarks.throughput.records import PCAP_HEADER, parse
from benchmarks.throughput.traces import (
    SESSIONS,
    Trace,
    empty_trace,
    flood_trace,
    large_trace,
    prefix,
)
from edge_agent.capture.pcap import read_frames
from edge_agent.contract.errors import CaptureError
from edge_agent.flow.packets import SYN, PacketReader

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_agent.flow.packets import Packet

# The second house begins after two minutes: some 7,000 packets are of both.
TWO_HOUSES = 25_000


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Trace:
    return large_trace(tmp_path_factory.mktemp("traces"), TWO_HOUSES)


def decoded(path: Path) -> list[Packet]:
    reader = PacketReader()
    packets = [
        reader.decode(frame.time_us, frame.link_type, frame.data, frame.wire_length_bytes)
        for frame in read_frames(path)
    ]
    return [packet for packet in packets if packet is not None]


def conversation(packet: Packet) -> object:
    ends = sorted(
        [(packet.source, packet.source_port), (packet.destination, packet.destination_port)]
    )
    return packet.protocol, *ends


def internet_sum(data: bytes) -> int:
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def test_traces_are_the_same_bytes_everywhere(large: Trace, tmp_path: Path) -> None:
    # Figures are compared between machines: another digest means another benchmark.
    assert large.sha256.startswith("69d3771ba295")
    assert large_trace(tmp_path, TWO_HOUSES).sha256 == large.sha256
    assert flood_trace(tmp_path, 1000).sha256.startswith("0c76447b28d4")


def test_large_is_what_it_says(large: Trace) -> None:
    frames = list(read_frames(large.path))
    assert len(frames) == large.packets == TWO_HOUSES
    assert sum(len(frame.data) for frame in frames) == large.captured_bytes
    assert sum(frame.wire_length_bytes for frame in frames) == large.wire_bytes
    times = [frame.time_us for frame in frames]
    assert times == sorted(times)
    assert times[-1] - times[0] == round(large.duration_s * 1_000_000)
    packets = decoded(large.path)
    assert len(packets) > 0.95 * TWO_HOUSES
    assert len({conversation(packet) for packet in packets}) == large.conversations


def test_checksums_of_moved_houses_are_right(large: Trace) -> None:
    second = [frame for frame in read_frames(large.path) if frame.data[12:14] == b"\x08\x00"][-500:]
    assert {internet_sum(frame.data[14:34]) for frame in second} == {0xFFFF}


def test_houses_are_live_at_once_and_share_no_address(large: Trace) -> None:
    # Session a's house is 10.44.0.0/24, session b's 192.168.178.0/24; the latter is copy 1.
    tail = decoded(large.path)[-3000:]
    networks = Counter(packet.source[:3] for packet in tail)
    assert networks[bytes((10, 44, 0))] > 100
    assert networks[bytes((192, 168, 178 ^ 1))] > 100
    assert bytes((192, 168, 178)) not in networks


def test_multicast_stays_and_arp_moves_too(large: Trace) -> None:
    sources = {packet.source for packet in decoded(large.path) if packet.destination[0] >= 224}
    assert any(source[:3] == bytes((192, 168, 178 ^ 1)) for source in sources)
    arp = [frame.data for frame in read_frames(large.path) if frame.data[12:14] == b"\x08\x06"]
    senders = {frame[28:31] for frame in arp}
    assert {bytes((10, 44, 0)), bytes((192, 168, 178 ^ 1))} <= senders
    assert bytes((192, 168, 178)) not in senders


def test_a_prefix_is_the_beginning(large: Trace, tmp_path: Path) -> None:
    begin = prefix(large, 2000)
    shorter = large_trace(tmp_path, 2000)
    assert dataclasses.replace(begin, path=shorter.path) == shorter
    assert prefix(large, TWO_HOUSES) is large
    assert large.path.read_bytes().startswith(begin.path.read_bytes())


def test_the_flood_has_one_packet_a_flow(tmp_path: Path) -> None:
    flood = flood_trace(tmp_path, 3000)
    packets = decoded(flood.path)
    assert len({conversation(packet) for packet in packets}) == 3000 == flood.conversations
    assert {packet.flags for packet in packets} == {SYN}
    assert len({(packet.destination, packet.destination_port) for packet in packets}) == 1
    assert {128 <= packet.source[0] < 224 for packet in packets} == {True}
    assert packets[-1].time_us - packets[0].time_us == 2999 * 5
    for frame in list(read_frames(flood.path))[:100]:
        assert internet_sum(frame.data[14:34]) == 0xFFFF
        assert internet_sum(frame.data[26:54] + struct.pack("!HH", 6, 20)) == 0xFFFF


def test_traces_are_kept_until_something_is_wrong_with_them(tmp_path: Path) -> None:
    first = flood_trace(tmp_path, 500)
    written = first.path.stat().st_mtime_ns
    assert flood_trace(tmp_path, 500) == first
    assert first.path.stat().st_mtime_ns == written
    whole = first.path.read_bytes()
    first.path.write_bytes(whole[:-1] + b"\xff")
    assert flood_trace(tmp_path, 500) == first
    assert first.path.read_bytes() == whole
    first.path.with_name("flood-500.pcap.json").write_text("[]")
    assert flood_trace(tmp_path, 500) == first


def test_an_empty_trace_is_a_capture(tmp_path: Path) -> None:
    assert list(read_frames(empty_trace(tmp_path))) == []


@pytest.mark.parametrize(
    "spoil", [lambda d: b"\0" + d[1:], lambda d: d[:-1], lambda _: PCAP_HEADER]
)
def test_a_recording_that_cannot_be_used_is_one_sentence(
    spoil: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    session = tmp_path / "capture.pcap.gz"
    frame = struct.pack("<IIII", 1, 0, 60, 60) + bytes(60)
    session.write_bytes(gzip.compress(spoil(PCAP_HEADER + frame)))
    with pytest.raises(CaptureError, match="take a recording of the lab"):
        large_trace(tmp_path, 10, [session])


def test_stamps_that_go_backwards_are_refused() -> None:
    frames = b"".join(struct.pack("<IIII", second, 0, 60, 60) + bytes(60) for second in (2, 1))
    with pytest.raises(CaptureError, match="go backwards"):
        parse(PCAP_HEADER + frames, Path("x"))


def test_the_sessions_that_traces_are_made_of_are_there() -> None:
    assert all(session.is_file() for session in SESSIONS)
