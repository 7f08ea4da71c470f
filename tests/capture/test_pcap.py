"""Capture files: every flavour reads alike, and whatever is broken is said in one sentence."""

from __future__ import annotations

import contextlib
import gzip
import struct
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.capture.pcap import Frame, read_frames
from edge_agent.contract.errors import CaptureError
from tests.packets import pcap

if TYPE_CHECKING:
    from pathlib import Path

TIMES = (1_700_000_000_123_456, 1_700_000_001_000_000)
FRAMES = [(TIMES[0], b"first frame"), (TIMES[1], b"second")]
EXPECTED = [Frame(t, 1, data, len(data)) for t, data in FRAMES]


def block(kind: int, body: bytes, order: str = "<") -> bytes:
    body += bytes(-len(body) % 4)
    length = struct.pack(order + "I", len(body) + 12)
    return struct.pack(order + "I", kind) + length + body + length


def pcapng(order: str = "<", resolution: bytes = b"", ticks: int = 1_000_000) -> bytes:
    options = struct.pack(order + "HH", 9, 1) + resolution + bytes(3) if resolution else b""
    out = block(0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1), order)
    out += block(1, struct.pack(order + "HHI", 1, 0, 0) + options, order)
    out += block(0x0BAD, b"a block nobody knows", order)
    for time_us, data in FRAMES:
        stamp = time_us * ticks // 1_000_000
        head = struct.pack(
            order + "IIIII", 0, stamp >> 32, stamp & 0xFFFFFFFF, len(data), len(data)
        )
        out += block(6, head + data, order)
    return out


VARIANTS = {
    "little endian": pcap(FRAMES),
    "big endian": pcap(FRAMES, order=">"),
    "nanoseconds": pcap(FRAMES, nanoseconds=True),
    "nanoseconds, big endian": pcap(FRAMES, order=">", nanoseconds=True),
    "gzip": gzip.compress(pcap(FRAMES)),
    "pcapng": pcapng(),
    "pcapng, big endian": pcapng(">"),
    "pcapng, nanoseconds": pcapng(resolution=b"\x09", ticks=10**9),
    "pcapng, powers of two": pcapng(resolution=b"\x94", ticks=2**20),
}


@pytest.mark.parametrize("name", VARIANTS)
def test_every_flavour_reads_alike(tmp_path: Path, name: str) -> None:
    path = tmp_path / "capture"
    path.write_bytes(VARIANTS[name])
    found = list(read_frames(path))
    if name == "pcapng, powers of two":  # 2^-20 s is coarser than a microsecond
        assert [f.data for f in found] == [f.data for f in EXPECTED]
        assert all(abs(f.time_us - e.time_us) <= 1 for f, e in zip(found, EXPECTED, strict=True))
    else:
        assert found == EXPECTED


def test_the_wire_length_of_a_snapped_frame_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "capture"
    path.write_bytes(pcap(FRAMES, snap=4))
    assert next(read_frames(path)) == Frame(TIMES[0], 1, b"firs", 11)


@pytest.mark.parametrize("name", VARIANTS)
def test_a_cut_anywhere_is_an_error_or_a_clean_end(tmp_path: Path, name: str) -> None:
    whole = VARIANTS[name]
    path = tmp_path / "capture"
    said = set()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        try:
            frames = list(read_frames(path))
        except CaptureError as error:
            said.add(str(error).replace(str(path), "FILE"))
        else:
            # A cut exactly between two packets cannot be told from a shorter capture.
            assert [f.data for f in frames] == [f.data for f in EXPECTED[: len(frames)]]
            assert len(frames) < len(EXPECTED)
        allowed = list(read_frames(path, allow_cut=True)) if length > 4 else []
        assert [f.data for f in allowed] == [f.data for f in EXPECTED[: len(allowed)]]
    assert all(sentence.startswith("FILE, byte ") for sentence in said)
    assert any("is cut" in sentence and "--allow-cut" in sentence for sentence in said) or (
        name == "gzip"
    )


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"PK\x03\x04 a zip file", "is not a capture: it begins with 50 4b 03 04"),
        (pcap([(0, b"x")])[:24] + struct.pack("<IIII", 0, 0, 1 << 30, 1 << 30), "cannot be"),
        (pcapng()[:28] + block(6, bytes(20)), "of no interface"),
        (pcapng()[:28] + struct.pack("<II", 6, 3), "says a block of 3 bytes"),
        (b"\x0a\x0d\x0d\x0a" + bytes(24), "unknown byte order"),
        (gzip.compress(pcap(FRAMES))[:-4], "cannot be decompressed"),
        (gzip.compress(pcap(FRAMES))[:-8] + bytes(8), "cannot be decompressed"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "capture"
    path.write_bytes(content)
    with pytest.raises(CaptureError, match="byte ") as caught:
        list(read_frames(path))
    assert words in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_missing_file_and_a_folder(tmp_path: Path) -> None:
    for path in (tmp_path / "none.pcap", tmp_path):
        with pytest.raises(CaptureError, match="cannot be opened"):
            list(read_frames(path))


@given(
    st.sampled_from(sorted(VARIANTS)),
    st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), min_size=1, max_size=4),
)
def test_garbled_files_end_in_frames_or_one_error(
    tmp_path_factory: pytest.TempPathFactory, name: str, flips: list[tuple[int, int]]
) -> None:
    data = bytearray(VARIANTS[name])
    for at, value in flips:
        data[at % len(data)] = value
    path = tmp_path_factory.mktemp("garbled") / "capture"
    path.write_bytes(data)
    with contextlib.suppress(CaptureError):
        for frame in read_frames(path):
            assert len(frame.data) <= 262_144
