"""Compressed captures: several members, padding, cuts and damage, bombs."""

from __future__ import annotations

import gzip
import importlib
import importlib.util
import itertools
import lzma
from typing import TYPE_CHECKING

import pytest

from edge_agent.capture.blocks import CaptureBlocks
from edge_agent.capture.opening import opened
from edge_agent.capture.pcap import Frame
from edge_agent.contract.errors import CaptureError
from tests.capture.captures import by_blocks, oracle, zstd_frame
from tests.packets import both_forms, pcap

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

FRAMES = [(1_700_000_000_000_000 + i, bytes([i % 256]) * 200) for i in range(3_000)]
EXPECTED = [Frame(time_us, 1, data, len(data)) for time_us, data in FRAMES]
WHOLE = pcap(FRAMES)
SKIPPABLE = b"\x5a\x2a\x4d\x18\x03\x00\x00\x00any"


def _has(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


needs_zstd = pytest.mark.skipif(
    not _has("compression.zstd") and not _has("zstandard"),
    reason="neither compression.zstd (Python 3.14) nor zstandard is installed",
)
FORMS = [
    pytest.param(gzip.compress, id="gzip"),
    pytest.param(lzma.compress, id="xz"),
    pytest.param(zstd_frame, id="zstd", marks=needs_zstd),
]


@both_forms
@pytest.mark.parametrize("compress", FORMS)
def test_one_after_the_other(
    tmp_path: Path, compiled: bool, compress: Callable[[bytes], bytes]
) -> None:
    path = tmp_path / "capture"
    ends = [0, 1, 30, 70_000, 70_000, 400_000, len(WHOLE)]
    parts = [compress(WHOLE[a:b]) for a, b in itertools.pairwise(ends)]
    padding = b"" if compress is zstd_frame else bytes(512)
    path.write_bytes(padding.join(parts) + padding)
    assert oracle(path) == by_blocks(path, compiled=compiled) == (EXPECTED, "")


@both_forms
@pytest.mark.parametrize("compress", FORMS)
def test_a_cut(tmp_path: Path, compiled: bool, compress: Callable[[bytes], bytes]) -> None:
    path = tmp_path / "capture"
    stored = compress(WHOLE)
    for length in (4, 5, 20, len(stored) // 2, len(stored) - 1):
        path.write_bytes(stored[:length])
        frames, problem = by_blocks(path, compiled=compiled)
        assert "cannot be decompressed" in problem
        assert "ended before the end-of-stream marker" in problem
        assert "--allow-cut" in problem
        assert (frames, problem) == oracle(path)
        assert frames == EXPECTED[: len(frames)]
        assert by_blocks(path, compiled=compiled, allow_cut=True) == (frames, "")


@both_forms
@pytest.mark.parametrize("compress", FORMS)
def test_what_follows_must_be_of_the_same_kind(
    tmp_path: Path, compiled: bool, compress: Callable[[bytes], bytes]
) -> None:
    path = tmp_path / "capture"
    path.write_bytes(compress(WHOLE) + b"something else altogether")
    frames, problem = by_blocks(path, compiled=compiled)
    assert f"byte {len(WHOLE):,}: cannot be decompressed or read (" in problem
    assert (frames, problem) == oracle(path)
    assert frames == EXPECTED


@pytest.mark.parametrize("compress", FORMS)
def test_a_bomb_goes_off_slowly(tmp_path: Path, compress: Callable[[bytes], bytes]) -> None:
    path = tmp_path / "capture"
    path.write_bytes(compress(WHOLE + bytes(8 << 20)))
    with opened(path) as content:
        steps = []
        while step := content.stream.read(64 << 20):
            steps.append(len(step))
    assert sum(steps) == len(WHOLE) + (8 << 20)
    assert max(steps) <= 256 * 1024


@both_forms
def test_progress_is_counted_in_stored_bytes(tmp_path: Path, compiled: bool) -> None:
    path = tmp_path / "capture"
    path.write_bytes(gzip.compress(WHOLE, compresslevel=0))
    blocks = CaptureBlocks(path, compiled=compiled)
    places = [blocks.bytes_read for _ in blocks]
    assert len(places) > 1
    assert 0 < places[0] < places[-1] <= path.stat().st_size
    assert blocks.bytes_read == blocks.size_bytes == path.stat().st_size


@needs_zstd
def test_skippable_frames(tmp_path: Path) -> None:
    path = tmp_path / "capture"
    path.write_bytes(SKIPPABLE + zstd_frame(WHOLE) + SKIPPABLE)
    assert oracle(path) == (EXPECTED, "")


@both_forms
def test_without_a_module_for_zstd(
    tmp_path: Path, compiled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(name: str) -> None:
        raise ModuleNotFoundError(f"No module named {name!r}")

    path = tmp_path / "capture"
    path.write_bytes(zstd_frame(WHOLE))
    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(CaptureError, match=r"compressed with zstd.*; pip install zstandard\.$"):
        list(CaptureBlocks(path, compiled=compiled))
