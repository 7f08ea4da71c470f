"""Captures by the block: the bytes as they are read, and an index of the frames in them.

One buffer is read into, walked over by the compiled index, handed out and read into again. What is
left of it, the record that goes on beyond its end, moves to the front. Mapping the file instead
saves two or three nanoseconds a frame, and kills the process when somebody cuts the file meanwhile.

A read returns what has arrived: a live pipe's frames are handed out when they come, not when
a buffer is full.

Without the compiled library the blocks are built of what `pcap.frames_of` reads.
"""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from edge_agent.capture.index import Index, opened_index
from edge_agent.capture.opening import Content, opened
from edge_agent.capture.problems import STDIN, Problem, capture_error
from edge_agent.contract.errors import CaptureError
from edge_agent.contract.frames import FRAME, FrameBlock
from edge_agent.native import library

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from edge_agent.capture.pcap import Frame

# Enough to make what Python does for a block negligible, little enough for a gateway's cache.
_BUFFER_BYTES: Final = 1024 * 1024
# As many frames as a buffer can hold, all of them empty.
_BLOCK_FRAMES: Final = 65_536
# Of those that plain Python reads: beyond this nothing is gained.
_BATCH_FRAMES: Final = 1_000


class CaptureBlocks:
    """Reads a capture front to back; each iteration begins anew.

    Args:
        path: A pcap or pcapng file, plain or compressed (gzip, xz, zstd); `-` is standard input.
        allow_cut: End quietly where the file is cut inside a packet.
        compiled: Whether the compiled index is used; None: where it is there.

    Attributes:
        bytes_read: How much of the file, as it is stored, was read.
        size_bytes: Of how much; None for what has no end that is known.
    """

    def __init__(
        self, path: Path, *, allow_cut: bool = False, compiled: bool | None = None
    ) -> None:
        self.path = path
        self.bytes_read = 0
        self.size_bytes = _size_bytes(path)
        self._allow_cut = allow_cut
        self._compiled = library is not None if compiled is None else compiled
        self._buffer_bytes = _BUFFER_BYTES
        self._block_frames = _BLOCK_FRAMES

    def __iter__(self) -> Iterator[FrameBlock]:
        """Blocks of at least one frame; a block's arrays are valid until the next is asked for.

        Raises:
            CaptureError: The capture cannot be opened, is no capture, or is cut.
            RuntimeError: The compiled index was asked for and is not there.
        """
        self.bytes_read = 0
        with opened(self.path) as content:
            blocks = self._indexed(content) if self._compiled else self._built(content)
            for block in blocks:
                self.bytes_read = content.bytes_read
                yield block
            self.bytes_read = content.bytes_read

    def _indexed(self, content: Content) -> Iterator[FrameBlock]:
        room = self._block_frames
        frames = np.empty(room, FRAME)
        source = _Buffer(content, self._buffer_bytes)
        with opened_index() as index:
            walk = index.walk
            while True:
                index.next(source.address, source.length, frames.ctypes.data, room)
                if walk.frames:
                    yield FrameBlock(source.front(walk.consumed_bytes), frames[: walk.frames])
                if walk.problem:
                    raise _refusal(source, index)
                source.consume(walk.consumed_bytes)
                if walk.needed_bytes and not self._more(source, index):
                    return

    def _more(self, source: _Buffer, index: Index) -> bool:
        """Read until the next record can be looked at further; False at an end that may be."""
        walk = index.walk
        try:
            while source.length < walk.needed_bytes:
                if not source.read(walk.needed_bytes):
                    break
            else:
                return True
        except EOFError as error:
            if self._allow_cut:
                return False
            raise source.error(Problem.CUT_COMPRESSED, walk.stage_bytes, error) from error
        except OSError as error:
            raise source.error(Problem.UNREADABLE, walk.stage_bytes, error) from error
        if source.length == 0 and source.offset == 0:
            raise source.error(Problem.EMPTY, 0)
        if source.length and not self._allow_cut:
            missing = walk.needed_bytes - source.length
            raise source.error(Problem.CUT, walk.stage_bytes, missing)
        return False

    def _built(self, content: Content) -> Iterator[FrameBlock]:
        # What the next read of a stream waits for is not known, so nothing waits for it.
        batch_frames = _BATCH_FRAMES if self.size_bytes is not None else 1
        # Imported only where it runs: the compiled index needs none of it.
        from edge_agent.capture.pcap import frames_of  # noqa: PLC0415

        batch: list[Frame] = []
        try:
            for frame in frames_of(content, allow_cut=self._allow_cut):
                batch.append(frame)
                if len(batch) == batch_frames:
                    yield _block(batch)
                    batch = []
        except CaptureError:
            if batch:
                yield _block(batch)
            raise
        if batch:
            yield _block(batch)


class _Buffer:
    """The bytes that were read and not yet consumed; those to come go behind them.

    Attributes:
        offset: Where the first of them is in the capture.
        length: How many there are.
        address: Where the first of them is in memory.
    """

    def __init__(self, content: Content, size_bytes: int) -> None:
        self._content = content
        self._size_bytes = size_bytes
        self._bytes = np.empty(size_bytes, np.uint8)
        self._begin = 0
        self.offset = 0
        self.length = 0
        self.address = self._bytes.ctypes.data

    def front(self, length: int) -> NDArray[np.uint8]:
        return self._bytes[self._begin : self._begin + length]

    def consume(self, length: int) -> None:
        self._begin += length
        self.address += length
        self.offset += length
        self.length -= length

    def read(self, needed_bytes: int) -> bool:
        """Read what has arrived; False at the end."""
        if self._begin or needed_bytes > len(self._bytes):
            self._move(needed_bytes)
        length = self._content.stream.readinto(self._bytes.data[self.length :])
        self.length += length or 0
        return bool(length)

    def _move(self, needed_bytes: int) -> None:
        """Bring what is left to the front of a buffer that holds a record of this length."""
        kept = self.front(self.length)
        if needed_bytes > len(self._bytes):
            # A record is bounded, see `MAX_BLOCK_BYTES`, and thereby the buffer.
            self._bytes = np.empty(needed_bytes + self._size_bytes, np.uint8)
        self._bytes[: self.length] = kept
        self._begin = 0
        self.address = self._bytes.ctypes.data

    def error(
        self, problem: Problem, read_bytes: int, detail: int | str | Exception = 0
    ) -> CaptureError:
        return capture_error(self._content.path, problem, self.offset + read_bytes, detail)


def _refusal(source: _Buffer, index: Index) -> CaptureError:
    walk = index.walk
    problem = Problem(walk.problem)
    if problem is Problem.UNKNOWN_MAGIC:
        return source.error(problem, walk.problem_at, source.front(4).tobytes().hex(" "))
    return source.error(problem, walk.problem_at, walk.number)


def _size_bytes(path: Path) -> int | None:
    if path == STDIN:
        return None
    try:
        found = path.stat()
    except OSError:  # Said when it is opened.
        return None
    return found.st_size if stat.S_ISREG(found.st_mode) else None


def _block(batch: list[Frame]) -> FrameBlock:
    data = np.frombuffer(b"".join([frame.data for frame in batch]), np.uint8)
    entries: list[tuple[Any, ...]] = []
    offset = 0
    for frame in batch:
        captured = len(frame.data)
        entries.append((frame.time_us, offset, captured, frame.wire_length_bytes, frame.link_type))
        offset += captured
    return FrameBlock(data, np.array(entries, FRAME))
