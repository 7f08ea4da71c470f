"""Capture files: pcap and pcapng, micro- and nanoseconds, both byte orders, gzip.

Reads a stream front to back in constant memory. A file that is not a capture, is cut inside a
packet, or lies about a length ends in a `CaptureError` that names the byte; what a packet holds is
nobody's business here.
"""

from __future__ import annotations

import contextlib
import gzip
import struct
import sys
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final, cast

from edge_agent.contract.errors import CaptureError

if TYPE_CHECKING:
    from collections.abc import Iterator

STDIN: Final = Path("-")

# magic, read little-endian → (struct byte order, ticks of the second field per second)
_PCAP_MAGICS: Final[dict[bytes, tuple[str, int]]] = {
    b"\xd4\xc3\xb2\xa1": ("<", 1_000_000),
    b"\xa1\xb2\xc3\xd4": (">", 1_000_000),
    b"\x4d\x3c\xb2\xa1": ("<", 1_000_000_000),
    b"\xa1\xb2\x3c\x4d": (">", 1_000_000_000),
}
_SECTION: Final = 0x0A0D0D0A
_INTERFACE: Final = 1
_SIMPLE: Final = 3
_ENHANCED: Final = 6
_OLD_PACKET: Final = 2
_OPTION_END: Final = 0
_OPTION_TSRESOL: Final = 9

# libpcap's own bound for a snapped packet; a longer one means the length field is garbage.
_MAX_PACKET_BYTES: Final = 262_144
_MAX_BLOCK_BYTES: Final = 16 * 1024 * 1024
_CUT: Final = "repair the file or read what is whole with --allow-cut"


@dataclass(frozen=True, slots=True)
class Frame:
    """One captured frame.

    Attributes:
        time_us: Capture time, µs since 1970, nanoseconds cut off.
        link_type: What the first bytes are (LINKTYPE_ number).
        data: The captured bytes; possibly fewer than were on the wire.
        wire_length_bytes: Length on the wire.
    """

    time_us: int
    link_type: int
    data: bytes
    wire_length_bytes: int


@dataclass(slots=True)
class _Input:
    """A stream that knows its place, for messages."""

    stream: IO[bytes]
    path: Path
    allow_cut: bool
    offset: int = 0
    cut: bool = False

    def read(self, length: int, *, may_end: bool = False) -> bytes:
        """Read exactly `length` bytes; b"" at a clean end, or at a cut when cuts are allowed."""
        try:
            data = self.stream.read(length)
        except (EOFError, zlib.error, OSError) as error:
            if not (self.allow_cut and isinstance(error, EOFError)):
                raise self.error(f"cannot be decompressed or read ({error})") from error
            data = b""
            may_end = False
        if len(data) < length and not (may_end and not data):
            if not self.allow_cut:
                raise self.error(f"is cut: {length - len(data)} bytes are missing", remedy=_CUT)
            self.cut = True
            return b""
        self.offset += len(data)
        return data

    def error(self, problem: str, *, remedy: str | None = None) -> CaptureError:
        name = "standard input" if self.path == STDIN else self.path
        return CaptureError(
            name,
            problem,
            remedy=remedy or "check the file, or capture again with tcpdump or dumpcap",
            where=f"byte {self.offset:,}",
        )


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    try:
        with contextlib.ExitStack() as stack:
            raw = sys.stdin.buffer if path == STDIN else stack.enter_context(path.open("rb"))
            peek = getattr(raw, "peek", None)
            if peek is not None and peek(2)[:2] == b"\x1f\x8b":
                # GzipFile is IO[bytes] in all but name.
                yield cast("IO[bytes]", stack.enter_context(gzip.GzipFile(fileobj=raw)))
            else:
                yield raw
    except OSError as error:
        if error.filename is None:
            raise
        raise CaptureError(
            path, f"cannot be opened ({error.strerror})", remedy="check the path"
        ) from error


def read_frames(path: Path, *, allow_cut: bool = False) -> Iterator[Frame]:
    """Read a capture front to back.

    Args:
        path: A pcap or pcapng file, gzipped or not; `-` is standard input.
        allow_cut: End quietly where the file is cut inside a packet.

    Raises:
        CaptureError: It cannot be opened, is no capture, or is cut.
    """
    with _opened(path) as stream:
        source = _Input(stream, path, allow_cut)
        magic = source.read(4, may_end=True)
        if not magic and not source.cut:
            raise source.error("is empty, not a capture")
        if magic in _PCAP_MAGICS:
            yield from _pcap(source, *_PCAP_MAGICS[magic])
        elif magic == _SECTION.to_bytes(4, "big"):
            yield from _pcapng(source)
        elif not source.cut:
            raise source.error(
                f"is not a capture: it begins with {magic.hex(' ')}",
                remedy="give a pcap or pcapng file, plain or gzipped",
            )


def _pcap(source: _Input, order: str, ticks: int) -> Iterator[Frame]:
    header = source.read(20)
    if not header:
        return
    # The upper bits of the last field hold the FCS length on some tools; the type is the lower 16.
    link_type = struct.unpack(order + "I", header[16:20])[0] & 0xFFFF
    record = struct.Struct(order + "IIII")
    divisor = ticks // 1_000_000
    while header := source.read(16, may_end=True):
        seconds, fraction, captured, wire = record.unpack(header)
        if captured > _MAX_PACKET_BYTES:
            raise source.error(f"says a packet of {captured:,} bytes follows, which cannot be")
        data = source.read(captured)
        if len(data) < captured:
            return
        yield Frame(seconds * 1_000_000 + fraction // divisor, link_type, data, wire)


@dataclass(slots=True)
class _Section:
    """The byte order and the interfaces of the current pcapng section."""

    order: str = "<"
    interfaces: list[tuple[int, int]] = field(default_factory=list)  # (link type, ticks per second)


def _pcapng(source: _Input) -> Iterator[Frame]:
    section = _Section()
    head = _SECTION.to_bytes(4, "big")
    while head:
        if head == _SECTION.to_bytes(4, "big"):
            body = _read_section(source, section)
            block_type = _SECTION
        else:
            block_type = struct.unpack(section.order + "I", head)[0]
            body = _read_body(source, section.order, source.read(4))
        if body is None:
            return
        if block_type == _INTERFACE:
            section.interfaces.append(_interface(body, section.order))
        elif block_type in (_ENHANCED, _OLD_PACKET, _SIMPLE):
            yield _packet(source, section, block_type, body)
        head = source.read(4, may_end=True)


def _read_section(source: _Input, section: _Section) -> bytes | None:
    start = source.read(8)
    if not start:
        return None
    if start[4:8] == b"\x4d\x3c\x2b\x1a":
        section.order = "<"
    elif start[4:8] == b"\x1a\x2b\x3c\x4d":
        section.order = ">"
    else:
        raise source.error("has a pcapng section of unknown byte order")
    section.interfaces.clear()
    return _read_body(source, section.order, start[:4], already=4)


def _read_body(source: _Input, order: str, raw_length: bytes, already: int = 0) -> bytes | None:
    """The rest of a block; None at an allowed cut."""
    if not raw_length:
        return None
    length = struct.unpack(order + "I", raw_length)[0]
    if length < 12 + already or length % 4 or length > _MAX_BLOCK_BYTES:
        raise source.error(f"says a block of {length:,} bytes follows, which cannot be")
    body = source.read(length - 8 - already)
    return body[:-4] if body else None


def _interface(body: bytes, order: str) -> tuple[int, int]:
    """Link type and time resolution of an interface description block."""
    link_type = struct.unpack_from(order + "H", body)[0] if len(body) >= 8 else 0
    ticks, at = 1_000_000, 8
    while at + 4 <= len(body):
        code, length = struct.unpack_from(order + "HH", body, at)
        if code == _OPTION_END:
            break
        if code == _OPTION_TSRESOL and length == 1 and at + 4 < len(body):
            power = body[at + 4]
            # Finer than 2^-40 or 10^-12 no clock is; a hostile 127 would make huge integers.
            ticks = 2 ** min(power & 0x7F, 40) if power & 0x80 else 10 ** min(power, 12)
        at += 4 + (length + 3 & ~3)
    return link_type, ticks


def _packet(source: _Input, section: _Section, block_type: int, body: bytes) -> Frame:
    order = section.order
    try:
        if block_type == _SIMPLE:
            number, stamp = 0, 0
            (wire,) = struct.unpack_from(order + "I", body)
            captured, at = min(wire, len(body) - 4), 4
        else:
            head = "IIIII" if block_type == _ENHANCED else "HHIIII"
            fields = struct.unpack_from(order + head, body)
            number, (high, low, captured, wire) = fields[0], fields[-4:]
            stamp, at = (high << 32) | low, 20
        link_type, ticks = section.interfaces[number]
    except (struct.error, IndexError) as error:
        raise source.error("has a packet block that is too short or of no interface") from error
    if captured > len(body) - at:
        raise source.error(f"says a packet of {captured:,} bytes follows, which cannot be")
    return Frame(stamp * 1_000_000 // ticks, link_type, body[at : at + captured], wire)
