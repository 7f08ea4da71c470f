"""Capture files in plain Python: pcap and pcapng, micro- and nanoseconds, both byte orders.

Reads a stream front to back in constant memory. A file that is not a capture, is cut inside a
packet, or lies about a length ends in a `CaptureError` that names the byte; what a packet holds is
nobody's business here.

`blocks.CaptureBlocks` does the same with a compiled index, much faster. This is its oracle, and
takes its place where no C compiler was.
"""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from edge_agent.capture.opening import Content, opened
from edge_agent.capture.problems import (
    MAX_BLOCK_BYTES,
    MAX_INTERFACES,
    MAX_PACKET_BYTES,
    MAX_TIME_US,
    STDIN,
    Problem,
    capture_error,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from edge_agent.contract.errors import CaptureError

__all__ = ["STDIN", "Frame", "frames_of", "read_frames"]

_BUFFER_BYTES: Final = 128 * 1024


@dataclass(frozen=True, slots=True)
class _Flavour:
    """What the magic of a pcap file says."""

    order: str
    ticks_per_us: int = 1
    extra: str = ""  # fields after the usual four of a record's head


# magic, as the bytes stand in the file
_PCAP_MAGICS: Final[dict[bytes, _Flavour]] = {
    b"\xd4\xc3\xb2\xa1": _Flavour("<"),
    b"\xa1\xb2\xc3\xd4": _Flavour(">"),
    b"\x4d\x3c\xb2\xa1": _Flavour("<", 1000),
    b"\xa1\xb2\x3c\x4d": _Flavour(">", 1000),
    # Kuznetzov's: interface, protocol and direction follow the lengths.
    b"\x34\xcd\xb2\xa1": _Flavour("<", extra="8x"),
    b"\xa1\xb2\xcd\x34": _Flavour(">", extra="8x"),
}
_SECTION: Final = 0x0A0D0D0A
_SECTION_MAGIC: Final = _SECTION.to_bytes(4, "big")  # reads the same in both byte orders
_INTERFACE: Final = 1
_OLD_PACKET: Final = 2
_SIMPLE: Final = 3
_ENHANCED: Final = 6
_OPTION_END: Final = 0
_OPTION_TSRESOL: Final = 9
_OPTION_TSOFFSET: Final = 14


@dataclass(frozen=True, slots=True)
class Frame:
    """One captured frame.

    Attributes:
        time_us: Capture time, µs since 1970, finer digits cut off, within ±2^62.
        link_type: What the first bytes are (LINKTYPE_ number).
        data: The captured bytes; possibly fewer than were on the wire.
        wire_length_bytes: Length on the wire.
    """

    time_us: int
    link_type: int
    data: bytes
    wire_length_bytes: int


class _Input:
    """A stream that knows its place, for messages."""

    def __init__(self, content: Content, *, allow_cut: bool) -> None:
        self._path = content.path
        self._stream = io.BufferedReader(content.stream, _BUFFER_BYTES)
        self._allow_cut = allow_cut
        self._offset = 0
        self.cut = False

    def read(self, length: int, *, may_end: bool = False) -> bytes:
        """Read exactly `length` bytes; b"" at a clean end, or at a cut when cuts are allowed."""
        try:
            data = self._stream.read(length)
        except EOFError as error:
            if not self._allow_cut:
                raise self.error(Problem.CUT_COMPRESSED, error) from error
            data = b""
            may_end = False
        except OSError as error:
            raise self.error(Problem.UNREADABLE, error) from error
        if len(data) < length and not (may_end and not data):
            if not self._allow_cut:
                raise self.error(Problem.CUT, length - len(data))
            self.cut = True
            return b""
        self._offset += len(data)
        return data

    def error(self, problem: Problem, detail: int | str | Exception = 0) -> CaptureError:
        return capture_error(self._path, problem, self._offset, detail)


def read_frames(path: Path, *, allow_cut: bool = False) -> Iterator[Frame]:
    """Read a capture front to back.

    Args:
        path: A pcap or pcapng file, plain or compressed (gzip, xz, zstd); `-` is standard input.
        allow_cut: End quietly where the file is cut inside a packet.

    Raises:
        CaptureError: It cannot be opened, is no capture, or is cut.
    """
    with opened(path) as content:
        yield from frames_of(content, allow_cut=allow_cut)


def is_capture(path: Path) -> bool:
    """Whether a file begins as a capture does, compressed or not.

    Raises:
        CaptureError: It cannot be opened, or what it is compressed with cannot be read here.
        OSError, EOFError: It cannot be decompressed.
    """
    with opened(path) as content:
        start = bytearray()
        while len(start) < 4 and (more := content.stream.read(4 - len(start))):
            start += more
    return bytes(start) in _PCAP_MAGICS or start == _SECTION_MAGIC


def frames_of(content: Content, *, allow_cut: bool = False) -> Iterator[Frame]:
    """Read an opened capture front to back; see `read_frames`."""
    source = _Input(content, allow_cut=allow_cut)
    magic = source.read(4, may_end=True)
    if not magic and not source.cut:
        raise source.error(Problem.EMPTY)
    if magic in _PCAP_MAGICS:
        yield from _pcap(source, _PCAP_MAGICS[magic])
    elif magic == _SECTION_MAGIC:
        yield from _pcapng(source)
    elif not source.cut:
        raise source.error(Problem.UNKNOWN_MAGIC, magic.hex(" "))


def _pcap(source: _Input, flavour: _Flavour) -> Iterator[Frame]:
    header = source.read(20)
    if not header:
        return
    # The upper bits of the last field hold the FCS length on some tools; the type is the lower 16.
    link_type = struct.unpack(flavour.order + "I", header[16:20])[0] & 0xFFFF
    record = struct.Struct(flavour.order + "IIII" + flavour.extra)
    while header := source.read(record.size, may_end=True):
        seconds, fraction, captured, wire = record.unpack(header)
        if captured > MAX_PACKET_BYTES:
            raise source.error(Problem.LONG_PACKET, captured)
        data = source.read(captured)
        if len(data) < captured:
            return
        yield Frame(seconds * 1_000_000 + fraction // flavour.ticks_per_us, link_type, data, wire)


@dataclass(frozen=True, slots=True)
class _Interface:
    """What an interface description block says."""

    link_type: int
    snap_bytes: int  # 0: no bound
    ticks_per_s: int
    offset_s: int

    def time_us(self, stamp: int) -> int:
        """Time of a stamp, rounded down; a clock far outside int64 stops at the limit."""
        time_us = stamp * 1_000_000 // self.ticks_per_s + self.offset_s * 1_000_000
        return max(-MAX_TIME_US, min(time_us, MAX_TIME_US))


@dataclass(slots=True)
class _Section:
    """The byte order and the interfaces of the current pcapng section."""

    order: str = "<"
    interfaces: list[_Interface] = field(default_factory=list)


def _pcapng(source: _Input) -> Iterator[Frame]:
    section = _Section()
    head = _SECTION_MAGIC
    while head:
        if head == _SECTION_MAGIC:
            body = _read_section(source, section)
            block_type = _SECTION
        else:
            block_type = struct.unpack(section.order + "I", head)[0]
            body = _read_body(source, section.order, source.read(4))
        if body is None:
            return
        if block_type == _INTERFACE:
            if len(section.interfaces) == MAX_INTERFACES:
                raise source.error(Problem.TOO_MANY_INTERFACES, MAX_INTERFACES)
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
        raise source.error(Problem.UNKNOWN_BYTE_ORDER)
    section.interfaces.clear()
    return _read_body(source, section.order, start[:4], already=4)


def _read_body(source: _Input, order: str, raw_length: bytes, already: int = 0) -> bytes | None:
    """The rest of a block; None at an allowed cut."""
    if not raw_length:
        return None
    length = struct.unpack(order + "I", raw_length)[0]
    if length < 12 + already or length % 4 or length > MAX_BLOCK_BYTES:
        raise source.error(Problem.BAD_BLOCK_LENGTH, length)
    body = source.read(length - 8 - already)
    return body[:-4] if body else None


def _interface(body: bytes, order: str) -> _Interface:
    if len(body) < 8:
        return _Interface(link_type=0, snap_bytes=0, ticks_per_s=1_000_000, offset_s=0)
    link_type, snap_bytes = struct.unpack_from(order + "HxxI", body)
    ticks_per_s, offset_s, at = 1_000_000, 0, 8
    while at + 4 <= len(body):
        code, length = struct.unpack_from(order + "HH", body, at)
        value = body[at + 4 : at + 4 + length]
        if code == _OPTION_END:
            break
        if code == _OPTION_TSRESOL and length == len(value) == 1:
            power = value[0] & 0x7F
            # Finer than 2^-40 or 10^-12 no clock is; a hostile 127 would make huge integers.
            ticks_per_s = 2 ** min(power, 40) if value[0] & 0x80 else 10 ** min(power, 12)
        if code == _OPTION_TSOFFSET and length == len(value) == 8:
            (offset_s,) = struct.unpack(order + "q", value)
        at += 4 + (length + 3 & ~3)
    return _Interface(link_type, snap_bytes, ticks_per_s, offset_s)


def _packet(source: _Input, section: _Section, block_type: int, body: bytes) -> Frame:
    order = section.order
    try:
        if block_type == _SIMPLE:
            (wire,) = struct.unpack_from(order + "I", body)
            interface, at = section.interfaces[0], 4
            # Its captured length is not written down, and it has no stamp.
            captured = min(wire, len(body) - at, interface.snap_bytes or wire)
            time_us = 0
        else:
            head = "IIIII" if block_type == _ENHANCED else "HHIIII"
            fields = struct.unpack_from(order + head, body)
            number, (high, low, captured, wire) = fields[0], fields[-4:]
            interface, at = section.interfaces[number], 20
            time_us = interface.time_us((high << 32) | low)
    except (struct.error, IndexError) as error:
        raise source.error(Problem.BAD_PACKET_BLOCK) from error
    if captured > len(body) - at:
        raise source.error(Problem.LONG_PACKET, captured)
    return Frame(time_us, interface.link_type, body[at : at + captured], wire)
