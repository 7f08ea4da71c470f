"""Blocks of frames: the same frames and the same sentences as the plain reader, compiled or not."""

from __future__ import annotations

import gzip
import lzma
import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from edge_agent.capture import blocks as blocks_module
from edge_agent.capture import index as index_module
from edge_agent.capture.blocks import CaptureBlocks
from edge_agent.capture.pcap import STDIN, Frame
from edge_agent.contract.errors import CaptureError
from edge_agent.contract.frames import FRAME
from tests.capture.captures import (
    block,
    by_blocks,
    captures,
    enhanced,
    frames_in,
    garbled,
    interface,
    oracle,
    section,
)
from tests.capture.test_pcap import VARIANTS, WRONG
from tests.packets import both_forms, needs_library, pcap

FRAMES = [(1_700_000_000_000_000 + i, bytes([i % 256]) * (i % 90)) for i in range(3_000)]
EXPECTED = [Frame(time_us, 1, data, len(data)) for time_us, data in FRAMES]
# Smaller than any record, straddled by every few records, and as it is.
buffers = st.sampled_from([1, 40, 1000, 0])
rooms = st.sampled_from([1, 2, 0])


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("blocks") / "capture"


@needs_library
@settings(max_examples=400)
@given(captures, buffers, rooms)
def test_the_compiled_index_finds_the_same_frames(
    scratch: Path, content: bytes, buffer_bytes: int, room: int
) -> None:
    scratch.write_bytes(content)
    found = by_blocks(scratch, compiled=True, buffer_bytes=buffer_bytes, room=room)
    assert found == oracle(scratch)


@needs_library
@settings(max_examples=600)
@given(garbled(), st.booleans(), buffers, rooms)
@example(pcap([(0, b"x")])[:24] + struct.pack("<IIII", 0, 0, 262_145, 0), False, 0, 0)
@example(section() + struct.pack("<III", 6, 0xFFFFFFFC, 0), False, 0, 0)
@example(section() + struct.pack("<III", 0x0A0D0D0A, 12, 0x1A2B3C4D), False, 0, 0)
@example(section() + struct.pack("<III", 0x0A0D0D0A, 12, 0), False, 0, 0)
@example(section() + interface() + block(6, bytes(12) + b"\xff" * 8), False, 0, 0)
@example(section() + interface() + block(6, bytes(16)), False, 0, 0)
@example(section() + interface() + block(3, b""), False, 0, 0)
@example(section() + block(1, b"") + enhanced(1, b"x"), False, 0, 0)
def test_it_refuses_the_same_in_the_same_words(
    scratch: Path, content: bytes, allow_cut: bool, buffer_bytes: int, room: int
) -> None:
    scratch.write_bytes(content)
    found = by_blocks(
        scratch, compiled=True, allow_cut=allow_cut, buffer_bytes=buffer_bytes, room=room
    )
    assert found == oracle(scratch, allow_cut=allow_cut)


@both_forms
@pytest.mark.parametrize("name", VARIANTS)
def test_a_cut_anywhere_reads_alike(scratch: Path, name: str, compiled: bool) -> None:
    whole = VARIANTS[name]
    for length in range(len(whole) + 1):
        scratch.write_bytes(whole[:length])
        for allow_cut in (False, True):
            found = by_blocks(scratch, compiled=compiled, allow_cut=allow_cut, buffer_bytes=40)
            assert found == oracle(scratch, allow_cut=allow_cut)


@both_forms
@pytest.mark.parametrize(("content", "words"), WRONG)
def test_what_is_wrong_is_said_alike(
    scratch: Path, content: bytes, words: str, compiled: bool
) -> None:
    scratch.write_bytes(content)
    found = by_blocks(scratch, compiled=compiled)
    assert words in found[1]
    assert found == oracle(scratch)


@settings(max_examples=200)
@given(garbled(), st.booleans())
def test_so_does_the_fallback(scratch: Path, content: bytes, allow_cut: bool) -> None:
    scratch.write_bytes(content)
    found = by_blocks(scratch, compiled=False, allow_cut=allow_cut)
    assert found == oracle(scratch, allow_cut=allow_cut)


@needs_library
@settings(max_examples=200)
@given(captures, st.sampled_from([gzip.compress, lzma.compress]), st.data(), st.booleans())
def test_damaged_compression_reads_alike(
    scratch: Path, content: bytes, compress: object, data: st.DataObject, allow_cut: bool
) -> None:
    assert callable(compress)
    stored = bytearray(compress(content))
    stored[data.draw(st.integers(0, len(stored) - 1))] ^= data.draw(st.integers(0, 255))
    del stored[data.draw(st.integers(0, len(stored))) :]
    scratch.write_bytes(stored)
    found = by_blocks(scratch, compiled=True, allow_cut=allow_cut, buffer_bytes=100)
    assert found == oracle(scratch, allow_cut=allow_cut)


@both_forms
def test_many_blocks(tmp_path: Path, compiled: bool) -> None:
    path = tmp_path / "capture"
    path.write_bytes(pcap(FRAMES))
    blocks = CaptureBlocks(path, compiled=compiled)
    blocks._buffer_bytes = 10_000
    assert blocks.size_bytes == path.stat().st_size
    places, frames = [], []
    for found in blocks:
        assert found.frames.dtype == FRAME
        places.append(blocks.bytes_read)
        frames += list(frames_in(found))
    assert frames == EXPECTED
    assert len(places) > 2
    assert places == sorted(places)
    assert blocks.bytes_read == blocks.size_bytes
    assert [f for found in blocks for f in frames_in(found)] == EXPECTED, "a second iteration"


@both_forms
def test_a_capture_without_frames_has_no_blocks(tmp_path: Path, compiled: bool) -> None:
    path = tmp_path / "capture"
    for content in (pcap([]), section(), section() + interface()):
        path.write_bytes(content)
        assert list(CaptureBlocks(path, compiled=compiled)) == []


@both_forms
def test_a_frame_of_no_bytes_is_a_frame(tmp_path: Path, compiled: bool) -> None:
    path = tmp_path / "capture"
    path.write_bytes(pcap([(5, b"abc"), (6, b"abc")], snap=0))
    assert by_blocks(path, compiled=compiled)[0] == [Frame(5, 1, b"", 3), Frame(6, 1, b"", 3)]


@needs_library
def test_the_buffer_grows_to_the_longest_record(tmp_path: Path) -> None:
    path = tmp_path / "capture"
    long = bytes(range(256)) * (2**24 // 256)
    content = section() + interface() + enhanced(1, long[:-40]) + enhanced(2, b"short")
    path.write_bytes(content + block(0x0BAD, long[:-12]) + enhanced(3, b"last"))
    frames, problem = by_blocks(path, compiled=True)
    assert [(f.time_us, len(f.data)) for f in frames] == [(1, 2**24 - 40), (2, 5), (3, 4)]
    assert frames[0].data == long[:-40]
    assert not problem


@both_forms
def test_a_place_that_cannot_be_read(
    tmp_path: Path, compiled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "capture"
    path.write_bytes(pcap(FRAMES[:10]))

    def fail(*_: object) -> int:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("edge_agent.capture.opening._Stored.readinto", fail)
    with pytest.raises(CaptureError, match=r"byte 0: cannot be .* read \(.*Input/output error\)"):
        list(CaptureBlocks(path, compiled=compiled))


@both_forms
def test_what_cannot_be_opened(tmp_path: Path, compiled: bool) -> None:
    for path in (tmp_path / "none.pcap", tmp_path):
        blocks = CaptureBlocks(path, compiled=compiled)
        assert blocks.size_bytes is None
        with pytest.raises(CaptureError, match="cannot be opened"):
            list(blocks)


def test_without_the_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "capture"
    path.write_bytes(pcap(FRAMES[:3]))
    monkeypatch.setattr(blocks_module, "library", None)
    monkeypatch.setattr(index_module, "library", None)
    assert [f for found in CaptureBlocks(path) for f in frames_in(found)] == EXPECTED[:3]
    with pytest.raises(RuntimeError, match="no compiled index"):
        list(CaptureBlocks(path, compiled=True))


# ---- standard input ----

_CHILD = """
import sys
from edge_agent.capture.blocks import CaptureBlocks
from edge_agent.capture.pcap import STDIN
blocks = CaptureBlocks(STDIN, compiled={compiled})
assert blocks.size_bytes is None
for block in blocks:
    print(*block.frames["time_us"].tolist(), sep="\\n", flush=True)
print("end", blocks.bytes_read, flush=True)
"""


def _plain(pieces: list[bytes]) -> list[bytes]:
    return pieces


def _gzipped(pieces: list[bytes]) -> list[bytes]:
    """As a live compressor writes: each piece can be had whole as soon as it is there."""
    compressor = zlib.compressobj(wbits=31)
    out = [compressor.compress(p) + compressor.flush(zlib.Z_SYNC_FLUSH) for p in pieces]
    return [*out[:-1], out[-1] + compressor.flush()]


@both_forms
@pytest.mark.parametrize("stored", [_plain, _gzipped])
def test_a_live_pipe_hands_out_what_has_arrived(compiled: bool, stored: object) -> None:
    whole = pcap([(1, b"one"), (2, b"two" * 500), (3, b"three")])
    # The head arrives in halves, the second frame with a part of the third's head.
    ends = [2, 24 + 19, 24 + 19 + 16 + 1500 + 7, len(whole)]
    pieces = [whole[a:b] for a, b in zip([0, *ends], ends, strict=False)]
    assert callable(stored)
    with subprocess.Popen(
        [sys.executable, "-c", _CHILD.format(compiled=compiled)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        bufsize=0,
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        said, length = [], 0
        for number, piece in enumerate(stored(pieces)):
            child.stdin.write(piece)
            length += len(piece)
            if number:  # Waits for the frame before the next piece is sent.
                said.append(child.stdout.readline())
        child.stdin.close()
        assert said == [b"1\n", b"2\n", b"3\n"]
        assert child.stdout.read() == b"end %d\n" % length
    assert child.returncode == 0


@both_forms
def test_an_idle_pipe_that_does_not_block(compiled: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    whole = pcap([(1, b"one"), (2, b"two")])
    sender = "import os, time\nfor b in {}: os.write(1, b); time.sleep(0.05)"
    pieces = [whole[:3], whole[3:30], whole[30:]]
    os.set_blocking(reading, False)
    with (
        open(reading, "rb") as end,  # noqa: PTH123 - a descriptor
        subprocess.Popen([sys.executable, "-c", sender.format(pieces)], stdout=writing),
    ):
        os.close(writing)
        monkeypatch.setattr("sys.stdin", type("Input", (), {"buffer": end}))
        frames, problem = by_blocks(STDIN, compiled=compiled, allow_cut=True)
    assert (frames, problem) == ([Frame(1, 1, b"one", 3), Frame(2, 1, b"two", 3)], "")


@both_forms
def test_standard_input_is_named(compiled: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    os.write(writing, pcap(FRAMES[:2])[:-1])
    os.close(writing)
    with open(reading, "rb") as end:  # noqa: PTH123 - a descriptor
        monkeypatch.setattr("sys.stdin", type("Input", (), {"buffer": end}))
        frames, problem = by_blocks(STDIN, compiled=compiled)
    assert frames == EXPECTED[:1]
    assert problem.startswith("standard input, byte 56: is cut: 1 bytes are missing")
