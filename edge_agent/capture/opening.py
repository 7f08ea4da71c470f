"""The bytes of a capture, whatever they are stored in: a file, a pipe, gzip, xz or zstd.

What comes out is a raw stream: `readinto` waits for something, not for everything, because standard
input may be a live pipe. Decompressed bytes come in pieces of a fixed size, however much is asked
for: a reader that asks for other amounts meets a damaged place after exactly as many bytes.

A few kB of hostile input can stand for gigabytes, so each step's output and the memory a
decompressor may ask for are bounded.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import lzma
import select
import sys
import zlib
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

from edge_agent.capture.problems import STDIN
from edge_agent.contract.errors import CaptureError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from _typeshed import WriteableBuffer

_HEAD_BYTES: Final = 4  # as long as the shortest magic that tells pcap, gzip, xz and zstd apart
_STORED_BYTES: Final = 64 * 1024
_PIECE_BYTES: Final = 256 * 1024
# What xz -9 needs is 65 MiB.
_XZ_MEMORY_BYTES: Final = 128 * 1024 * 1024
# zstandard's streaming object bounds no output: 4 bytes of input can stand for a block of 128 KiB,
# 2 KiB for 64 MiB.
_ZSTANDARD_STEP_BYTES: Final = 2048


class _Decompressor(Protocol):
    """The common shape of `lzma.LZMADecompressor` and `compression.zstd.ZstdDecompressor`."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int = -1) -> bytes: ...


class _Gzip:
    """One gzip member in the shape of the other decompressors."""

    def __init__(self) -> None:
        self._inner = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
        self._held_back = False

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def needs_input(self) -> bool:
        return not self._held_back

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        out = self._inner.decompress(self._inner.unconsumed_tail + data, max_length)
        self._held_back = len(out) >= max_length or bool(self._inner.unconsumed_tail)
        return out


class _Zstandard:
    """One frame through the third-party module in the shape of the other decompressors."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self._pending = b""

    @property
    def eof(self) -> bool:
        return bool(self._inner.eof)

    @property
    def needs_input(self) -> bool:
        return not self._pending

    @property
    def unused_data(self) -> bytes:
        return cast("bytes", self._inner.unused_data) + self._pending

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:  # noqa: ARG002 - see above
        data = self._pending + data
        self._pending = data[_ZSTANDARD_STEP_BYTES:]
        return cast("bytes", self._inner.decompress(data[:_ZSTANDARD_STEP_BYTES]))


class _Stored(io.RawIOBase):
    """The capture as it is stored: counts what was taken, and gives back the looked-at head."""

    def __init__(self, file: io.BufferedIOBase) -> None:
        self._file = file
        self.taken_bytes = 0
        self.head = b""
        while len(self.head) < _HEAD_BYTES:
            data = self._some(_HEAD_BYTES - len(self.head))
            if not data:
                break
            self.head += data
        self._ahead = self.head

    def _some(self, length: int) -> bytes:
        # None, against the annotation, where standard input was left non-blocking.
        while (data := cast("bytes | None", self._file.read1(length))) is None:
            select.select([self._file], [], [])
        return data

    def readable(self) -> bool:
        return True

    def read_some(self, length: int) -> bytes:
        """What has arrived, at most `length` bytes; b"" at the end."""
        data, self._ahead = self._ahead[:length], self._ahead[length:]
        if not data:
            data = self._some(length)
        self.taken_bytes += len(data)
        return data

    def readinto(self, buffer: WriteableBuffer) -> int:
        view = memoryview(buffer).cast("B")
        if self._ahead:
            data = self.read_some(len(view))
            view[: len(data)] = data
            return len(data)
        while (length := cast("int | None", self._file.readinto1(view))) is None:
            select.select([self._file], [], [])
        self.taken_bytes += length
        return length


class _Decompressed(io.RawIOBase):
    """The content of a compressed capture: one member, frame or stream after the other."""

    def __init__(
        self,
        stored: _Stored,
        start: Callable[[], _Decompressor],
        errors: tuple[type[Exception], ...],
    ) -> None:
        self._stored = stored
        self._start = start
        self._errors = errors
        self._decompressor = start()
        self._piece = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        view = memoryview(buffer).cast("B")
        try:
            while not self._piece:
                if not self._advance():
                    return 0
        except self._errors as error:
            raise OSError(str(error)) from error
        length = min(len(view), len(self._piece))
        view[:length] = self._piece[:length]
        self._piece = self._piece[length:]
        return length

    def _advance(self) -> bool:
        """Take one step, which may yield nothing yet; False where the capture ends cleanly."""
        data = b""
        if self._decompressor.eof:
            # Zeros between members are padding: to tapes for gzip, to words for xz.
            data = self._decompressor.unused_data.lstrip(b"\0")
            while not data:
                data = self._stored.read_some(_STORED_BYTES)
                if not data:
                    return False
                data = data.lstrip(b"\0")
            self._decompressor = self._start()
        elif self._decompressor.needs_input:
            data = self._stored.read_some(_STORED_BYTES)
            if not data:
                raise EOFError("Compressed file ended before the end-of-stream marker was reached")
        self._piece = memoryview(self._decompressor.decompress(data, _PIECE_BYTES))
        return True


class Content:
    """An opened capture.

    Attributes:
        path: Where it is; `-` is standard input.
        stream: Its bytes, decompressed. `readinto` raises EOFError where compressed data is cut,
            OSError where it is damaged.
    """

    def __init__(self, path: Path, file: io.BufferedIOBase) -> None:
        self.path = path
        self._stored = _Stored(file)
        self.stream: io.RawIOBase = _decompressed(self._stored, path)

    @property
    def bytes_read(self) -> int:
        """How much of what is stored was taken."""
        return self._stored.taken_bytes


def _decompressed(stored: _Stored, path: Path) -> io.RawIOBase:
    head = stored.head
    if head[:2] == b"\x1f\x8b":
        return _Decompressed(stored, _Gzip, (zlib.error,))
    if head == b"\xfd7zX":
        return _Decompressed(
            stored,
            lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_XZ_MEMORY_BYTES),
            (lzma.LZMAError,),
        )
    # A frame, or a skippable one, with which pzstd begins.
    if head == b"\x28\xb5\x2f\xfd" or (head[1:] == b"\x2a\x4d\x18" and head[0] & 0xF0 == 0x50):
        return _zstd(stored, path)
    return stored


def _zstd(stored: _Stored, path: Path) -> io.RawIOBase:
    # By name, because the one is in no standard library before 3.14 and the other is optional.
    with contextlib.suppress(ImportError):
        module = importlib.import_module("compression.zstd")
        return _Decompressed(stored, module.ZstdDecompressor, (module.ZstdError,))
    with contextlib.suppress(ImportError):
        module = importlib.import_module("zstandard")
        return _Decompressed(
            stored,
            lambda: _Zstandard(module.ZstdDecompressor().decompressobj()),
            (module.ZstdError,),
        )
    raise CaptureError(
        "standard input" if path == STDIN else path,
        "is compressed with zstd, which this Python cannot read",
        remedy="pip install zstandard",
    )


@contextlib.contextmanager
def opened(path: Path) -> Iterator[Content]:
    """Open a capture; `-` is standard input.

    Raises:
        CaptureError: It cannot be opened, or nothing here can decompress it.
    """
    with contextlib.ExitStack() as stack:
        try:
            # Standard input is IO[bytes] by annotation, and buffered by what it can do.
            file = cast(
                "io.BufferedIOBase",
                sys.stdin.buffer if path == STDIN else stack.enter_context(path.open("rb")),
            )
            content = Content(path, file)
        except OSError as error:
            raise CaptureError(
                path, f"cannot be opened ({error.strerror})", remedy="check the path"
            ) from error
        yield content
