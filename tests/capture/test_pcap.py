"""Capture files: every flavour reads alike, and whatever is broken is said in one sentence."""

from __future__ import annotations

import contextlib
import gzip
import lzma
import struct
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.capture.pcap import Frame, read_frames
from edge_agent.contract.errors import CaptureError
from tests.capture.captures import (
    MODIFIED,
    TSOFFSET,
    TSRESOL,
    block,
    by_blocks,
    enhanced,
    interface,
    old_packet,
    option,
    oracle,
    section,
    simple,
)
from tests.packets import both_forms, pcap

if TYPE_CHECKING:
    from pathlib import Path

TIMES = (1_700_000_000_123_456, 1_700_000_001_000_000)
FRAMES = [(TIMES[0], b"first frame"), (TIMES[1], b"second")]
EXPECTED = [Frame(t, 1, data, len(data)) for t, data in FRAMES]


def pcapng(order: str = "<", resolution: int = 6, ticks: int = 1_000_000) -> bytes:
    out = section(order)
    out += interface(order, options=option(TSRESOL, bytes([resolution]), order))
    out += block(0x0BAD, b"a block nobody knows", order)
    for time_us, data in FRAMES:
        out += enhanced(time_us * ticks // 1_000_000, data, order)
    return out


def modified(order: str) -> bytes:
    """Kuznetzov's pcap: eight bytes more in each record's head."""
    out = MODIFIED[order] + pcap([], order=order)[4:]
    for time_us, data in FRAMES:
        head = (*divmod(time_us, 1_000_000), len(data), len(data), 0xFFFFFFFF, 0xFFFFFFFF)
        out += struct.pack(order + "IIIIII", *head) + data
    return out


VARIANTS = {
    "little endian": pcap(FRAMES),
    "big endian": pcap(FRAMES, order=">"),
    "nanoseconds": pcap(FRAMES, nanoseconds=True),
    "nanoseconds, big endian": pcap(FRAMES, order=">", nanoseconds=True),
    "gzip": gzip.compress(pcap(FRAMES)),
    "pcapng": pcapng(),
    "pcapng, big endian": pcapng(">"),
    "pcapng, nanoseconds": pcapng(resolution=9, ticks=10**9),
    "pcapng, powers of two": pcapng(resolution=0x94, ticks=2**20),
    "modified": modified("<"),
    "modified, big endian": modified(">"),
    "xz": lzma.compress(pcap(FRAMES)),
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
        name in ("gzip", "xz")
    )


WRONG = [
    (b"", "is empty"),
    (b"PK\x03\x04 a zip file", "is not a capture: it begins with 50 4b 03 04"),
    (pcap([(0, b"x")])[:24] + struct.pack("<IIII", 0, 0, 1 << 30, 1 << 30), "cannot be"),
    (pcap([(0, bytes(262_145))], snap=262_145), "says a packet of 262,145 bytes"),
    (section() + block(6, bytes(20)), "of no interface"),
    (section() + struct.pack("<II", 1, 30) + bytes(40), "says a block of 30 bytes"),
    (section() + struct.pack("<II", 6, 3), "says a block of 3 bytes"),
    (b"\x0a\x0d\x0d\x0a" + bytes(24), "unknown byte order"),
    (section() + struct.pack("<II", 1, (16 << 20) + 4), "says a block of 16,777,220 bytes"),
    (section() + interface() * 65_537, "describes more than 65,536 interfaces"),
    (gzip.compress(pcap(FRAMES))[:-4], "cannot be decompressed"),
    (lzma.compress(pcap(FRAMES))[:-4], "cannot be decompressed"),
    (lzma.compress(pcap(FRAMES))[:-9] + bytes(9), "cannot be decompressed"),
    (gzip.compress(pcap(FRAMES))[:-8] + bytes(8), "cannot be decompressed"),
]


@pytest.mark.parametrize(("content", "words"), WRONG)
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


CLOCKS = {
    "microseconds by default": (b"", 1_234_567, 1_234_567),
    "nanoseconds, cut off": (option(TSRESOL, b"\x09"), 1_999, 1),
    "milliseconds": (option(TSRESOL, b"\x03"), 5, 5_000),
    "seconds": (option(TSRESOL, b"\x00"), 5, 5_000_000),
    "picoseconds": (option(TSRESOL, b"\x0c"), 7_999_999, 7),
    "seconds by a power of two": (option(TSRESOL, b"\x80"), 5, 5_000_000),
    "2^-10 s": (option(TSRESOL, b"\x8a"), 1_025, 1_000_976),
    "an offset": (option(TSOFFSET, struct.pack("<q", 100)), 7, 100_000_007),
    "a negative offset": (option(TSOFFSET, struct.pack("<q", -1)), 7, -999_993),
    "before 1970, rounded down": (
        option(TSRESOL, b"\x09") + option(TSOFFSET, struct.pack("<q", -1)),
        1_999,
        -999_999,
    ),
    "microseconds beyond the limit": (b"", 2**63, 2**62),
    "beyond the limit": (option(TSRESOL, b"\x00"), 2**64 - 1, 2**62),
    "just within the limit": (
        option(TSOFFSET, struct.pack("<q", -(2**62 // 1_000_000))),
        0,
        -(2**62 // 1_000_000 * 1_000_000),
    ),
    "just beyond the limit": (
        option(TSOFFSET, struct.pack("<q", 2**62 // 1_000_000)),
        999_999,
        2**62,
    ),
    "far before 1970": (option(TSOFFSET, struct.pack("<q", -(2**63))), 0, -(2**62)),
    "what follows the end of options": (option(0, b"") + option(TSRESOL, b"\x00"), 5, 5),
    "a resolution of two bytes": (option(TSRESOL, b"\x00\x00"), 5, 5),
}


@both_forms
@pytest.mark.parametrize("name", CLOCKS)
def test_clocks_of_pcapng(tmp_path: Path, name: str, compiled: bool) -> None:
    options, stamp, time_us = CLOCKS[name]
    path = tmp_path / "capture"
    path.write_bytes(section() + interface(options=options) + enhanced(stamp, b"x"))
    assert oracle(path) == by_blocks(path, compiled=compiled) == ([Frame(time_us, 1, b"x", 1)], "")


@both_forms
def test_sections_and_interfaces(tmp_path: Path, compiled: bool) -> None:
    path = tmp_path / "capture"
    path.write_bytes(
        section()
        + interface(link_type=1)
        + interface(link_type=113, options=option(TSRESOL, b"\x09"))
        + enhanced(5_000, b"one", wire=60)
        + enhanced(5_000, b"two", number=1)
        + old_packet(6_000, b"three", number=1)
        + section(">")
        + interface(">", link_type=101)
        + interface(">", link_type=276)
        + enhanced(7, b"four", ">", number=1)
    )
    expected = [
        Frame(5_000, 1, b"one", 60),
        Frame(5, 113, b"two", 3),
        Frame(6, 113, b"three", 5),
        Frame(7, 276, b"four", 4),
    ]
    assert oracle(path) == by_blocks(path, compiled=compiled) == (expected, "")


@both_forms
def test_a_simple_packet_ends_where_the_interface_snaps(tmp_path: Path, compiled: bool) -> None:
    path = tmp_path / "capture"
    offset = option(TSOFFSET, struct.pack("<q", 100))
    path.write_bytes(
        section()
        + interface(snap=5, options=offset)
        + simple(b"01234", 1500)
        + simple(b"abc", 3)
        + section()
        + interface(snap=0)
        + simple(b"01234567", 1500)
    )
    expected = [
        Frame(0, 1, b"01234", 1500),
        Frame(0, 1, b"abc", 3),
        Frame(0, 1, b"01234567", 1500),
    ]
    assert oracle(path) == by_blocks(path, compiled=compiled) == (expected, "")
