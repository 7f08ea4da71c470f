"""The compiled index of captured frames, `native/capture.c`, called through ctypes."""

from __future__ import annotations

import contextlib
import ctypes
from typing import TYPE_CHECKING, Final

from edge_agent.native import library, why_missing

if TYPE_CHECKING:
    from collections.abc import Iterator


class Walk(ctypes.Structure):
    """What one walk over a stretch of bytes found: `struct capture_walk` in `native/capture.h`.

    Attributes:
        frames: Entries filled.
        consumed_bytes: Whole records, from the stretch's beginning.
        stage_bytes: What of the next record was looked at before `needed_bytes` were asked for.
        needed_bytes: How much of the next record has to be there; 0: there was no room for frames.
        problem: Number of a `Problem`, or 0; the frames before it are good.
        problem_at: How far the stretch had been read when the problem was noticed.
        number: The value that cannot be.
    """

    frames: int
    consumed_bytes: int
    stage_bytes: int
    needed_bytes: int
    problem: int
    problem_at: int
    number: int

    _fields_ = [
        ("frames", ctypes.c_uint32),
        ("consumed_bytes", ctypes.c_uint32),
        ("stage_bytes", ctypes.c_uint32),
        ("needed_bytes", ctypes.c_uint32),
        ("problem", ctypes.c_uint32),
        ("problem_at", ctypes.c_uint32),
        ("number", ctypes.c_uint32),
    ]


class Index:
    """Walks over a capture, stretch by stretch.

    Attributes:
        walk: The answer of the latest call.
    """

    def __init__(self, native: ctypes.CDLL, capture: int) -> None:
        self.walk: Final = Walk()
        self._walk_address = ctypes.addressof(self.walk)
        self._capture = capture
        self._index = native.edge_capture_index

    def next(self, data_address: int, data_bytes: int, frames_address: int, room: int) -> None:
        """Index the whole records at the beginning of a stretch.

        Args:
            data_address: The stretch: what follows on the bytes consumed before.
            data_bytes: Its length, below 1 GiB.
            frames_address: Where the entries go, dtype `FRAME`.
            room: How many.
        """
        self._index(
            self._capture, data_address, data_bytes, frames_address, room, self._walk_address
        )


@contextlib.contextmanager
def opened_index() -> Iterator[Index]:
    """An index of a capture of which nothing has been read.

    Raises:
        RuntimeError: The compiled library is not there.
    """
    if library is None:
        raise RuntimeError(f"no compiled index: {why_missing}")
    capture = _declared(library).edge_capture_new()
    if not capture:
        raise MemoryError
    try:
        yield Index(library, capture)
    finally:
        library.edge_capture_free(capture)


def _declared(native: ctypes.CDLL) -> ctypes.CDLL:
    pointer, u32 = ctypes.c_void_p, ctypes.c_uint32
    native.edge_capture_new.argtypes = []
    native.edge_capture_new.restype = pointer
    native.edge_capture_free.argtypes = [pointer]
    native.edge_capture_free.restype = None
    native.edge_capture_index.argtypes = [pointer, pointer, u32, pointer, u32, pointer]
    native.edge_capture_index.restype = None
    return native
