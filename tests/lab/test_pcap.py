"""The lab's own capture files: reading, cutting, sorting and writing."""

from __future__ import annotations

import gzip
import struct
from typing import TYPE_CHECKING

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from benchmarks.lab import pcap
from benchmarks.lab.capture import SNAP_BYTES, Recorder
from benchmarks.lab.errors import CaptureError
from tests.lab.house import house_segments, packets_of
from tests.packets import Segment
from tests.packets import pcap as pcap_bytes

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

FRAMES = st.binary(max_size=140)
PACKETS = st.lists(
    st.builds(
        lambda time_us, frame, more: pcap.Packet(time_us, len(frame) + more, frame),
        st.integers(0, 4_000_000_000_000_000),
        FRAMES,
        st.integers(0, 1500),
    ),
    max_size=8,
)
SEGMENTS = st.builds(
    lambda protocol, options, payload, flags: Segment(
        1, "10.1.0.3", 40_000, "10.1.0.2", 80, flags, payload, protocol, 20 + 4 * options
    ),
    st.sampled_from([6, 17]),
    st.integers(0, 10),
    st.integers(0, 1460),
    st.sampled_from(["S", "SA", "PA", "FA", "R"]),
)


@given(PACKETS)
def test_what_is_written_is_read(
    tmp_path_factory: pytest.TempPathFactory, packets: list[pcap.Packet]
) -> None:
    path = tmp_path_factory.getbasetemp() / "round.pcap.gz"
    pcap.write(path, packets, SNAP_BYTES)
    assert list(pcap.read(path)) == packets


def test_the_same_packets_give_the_same_bytes(tmp_path: Path) -> None:
    packets = packets_of(house_segments())
    for name in ("a.pcap.gz", "b.pcap.gz"):
        pcap.write(tmp_path / name, packets, SNAP_BYTES)
    assert (tmp_path / "a.pcap.gz").read_bytes() == (tmp_path / "b.pcap.gz").read_bytes()


@pytest.mark.parametrize("order", ["<", ">"])
def test_both_byte_orders_are_read(tmp_path: Path, order: str) -> None:
    path = tmp_path / "plain.pcap"
    frame = Segment(0, "10.1.0.3", 1, "10.1.0.2", 2, "S").frame()
    path.write_bytes(pcap_bytes([(1_700_000_000_123_456, frame)], order=order, snap=40))
    assert list(pcap.read(path)) == [pcap.Packet(1_700_000_000_123_456, len(frame), frame[:40])]


def test_other_captures_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.pcap"
    for data in (pcap_bytes([], nanoseconds=True), pcap_bytes([], link_type=101), bytes(24)):
        path.write_bytes(data)
        with pytest.raises(CaptureError, match="no Ethernet capture"):
            list(pcap.read(path))


def test_a_capture_cut_anywhere_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "cut.pcap"
    frame = Segment(0, "10.1.0.3", 1, "10.1.0.2", 2, "S").frame()
    whole = pcap_bytes([(1, frame), (2, frame)])
    ends = {24: 0, 40 + len(frame): 1, len(whole): 2}
    for length in range(len(whole) + 1):
        path.write_bytes(whole[:length])
        if length in ends:
            assert len(list(pcap.read(path))) == ends[length]
        else:
            with pytest.raises(CaptureError, match=r"cut\.pcap"):
                list(pcap.read(path))


def test_a_damaged_archive_is_a_capture_error(tmp_path: Path) -> None:
    path = tmp_path / "bad.pcap.gz"
    pcap.write(path, packets_of(house_segments()), SNAP_BYTES)
    whole = path.read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 0xFF
    for data in (whole[: len(whole) // 2], b"no archive at all, only text", bytes(flipped)):
        path.write_bytes(data)
        with pytest.raises(CaptureError, match=r"bad\.pcap"):
            list(pcap.read(path))
    with pytest.raises(CaptureError, match="FileNotFoundError"):
        list(pcap.read(tmp_path / "none.pcap.gz"))


@given(SEGMENTS)
def test_headers_are_read(segment: Segment) -> None:
    found = pcap.parse(segment.frame())
    assert found is not None
    assert pcap.dotted(found.source) == segment.source
    assert pcap.dotted(found.destination) == segment.destination
    assert (found.source_port, found.destination_port) == (40_000, 80)
    assert found.protocol == segment.protocol
    assert found.payload_bytes == segment.payload
    if segment.protocol == pcap.TCP:
        assert bool(found.flags & pcap.SYN) == ("S" in segment.flags)


@given(SEGMENTS, st.integers(1, 65_535), st.binary(min_size=1460, max_size=1460))
def test_cutting_drops_payload_and_checksum_and_nothing_else(
    segment: Segment, checksum: int, payload: bytes
) -> None:
    header = segment.header if segment.protocol == pcap.TCP else 8
    frame = bytearray(segment.frame())
    place = 34 + pcap.CHECKSUM_OFFSETS[segment.protocol]
    struct.pack_into(">H", frame, place, checksum)
    frame[34 + header :] = payload[: segment.payload]
    whole = pcap.Packet(5, len(frame), bytes(frame))
    cut = pcap.cut_to_headers(whole)
    frame[place : place + 2] = b"\0\0"
    assert cut == pcap.Packet(5, whole.wire_bytes, bytes(frame[: 34 + header]))
    assert pcap.parse(cut.frame) == pcap.parse(whole.frame)


@given(SEGMENTS, st.integers(0, 128))
def test_a_frame_cut_by_the_capture_is_never_lengthened(segment: Segment, snap: int) -> None:
    whole = pcap.Packet(1, len(segment.frame()), segment.frame()[:snap])
    cut = pcap.cut_to_headers(whole)
    assert len(cut.frame) <= len(whole.frame)
    assert cut.wire_bytes == whole.wire_bytes
    assert pcap.cut_to_headers(cut) == cut


@given(st.binary(max_size=140), st.booleans())
def test_no_frame_makes_the_reader_stumble(noise: bytes, ipv4: bool) -> None:
    frame = noise[:12] + b"\x08\x00" + noise[14:] if ipv4 and len(noise) > 14 else noise
    cut = pcap.cut_to_headers(pcap.Packet(1, 1500, frame))
    assert len(cut.frame) <= len(frame)


@given(st.integers(1, 0x1FFF))
def test_a_later_fragment_has_no_ports_and_is_left_alone(offset: int) -> None:
    frame = bytearray(Segment(1, "10.1.0.3", 1, "10.1.0.2", 2, payload=60, protocol=17).frame())
    struct.pack_into(">H", frame, 20, offset)
    found = pcap.parse(bytes(frame))
    assert found is not None
    assert (found.source_port, found.destination_port) == (0, 0)
    packet = pcap.Packet(1, len(frame), bytes(frame))
    assert pcap.cut_to_headers(packet) is packet


def test_what_is_not_ipv4_is_left_alone() -> None:
    arp = bytes(12) + b"\x08\x06" + bytes(46)
    assert pcap.parse(arp) is None
    packet = pcap.Packet(1, 60, arp)
    assert pcap.cut_to_headers(packet) is packet


class EndedProcess:
    """Stands for a tcpdump that has written its file."""

    def send_signal(self, number: int) -> None:
        """Take the order to stop."""

    def wait(self, timeout_s: float) -> int:
        """Be gone at once."""
        return 0


@given(st.permutations(range(12)))
def test_a_finished_recording_is_sorted_cut_and_compressed(
    tmp_path_factory: pytest.TempPathFactory, order: list[int]
) -> None:
    assume(order != sorted(order))
    folder = tmp_path_factory.getbasetemp()
    segments = [
        Segment(1_000_000 + n // 2, "10.1.0.3", 1000 + n, "10.1.0.2", 80, "PA", 400) for n in order
    ]
    raw = folder / "raw.pcap"
    raw.write_bytes(pcap_bytes(((s.time_us, s.frame()) for s in segments), snap=SNAP_BYTES))
    log = folder / "tcpdump.log"
    log.write_text("12 packets captured\n3 packets dropped by kernel\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("time.sleep", lambda seconds: None)
        recorder = Recorder.__new__(Recorder)
        recorder.raw, recorder.log = raw, log
        stand_in: subprocess.Popen[bytes] = EndedProcess()  # type: ignore[assignment]
        recorder.process = stand_in
        outcome = recorder.finish(folder / "done.pcap.gz")
    assert (outcome.packets, outcome.dropped) == (12, 3)
    done = list(pcap.read(folder / "done.pcap.gz"))
    # Equal times keep the order in which tcpdump saw them.
    expected = sorted(segments, key=lambda segment: segment.time_us)
    assert [(p.time_us, p.frame) for p in done] == [(s.time_us, s.frame()[:54]) for s in expected]
    assert all(packet.wire_bytes == 454 for packet in done)
    with gzip.open(folder / "done.pcap.gz") as stream:
        assert struct.unpack("<IHHiIII", stream.read(24))[5] == SNAP_BYTES
