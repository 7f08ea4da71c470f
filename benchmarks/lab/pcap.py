"""Reading and writing classic captures with microsecond times, and what their frames say.

Plain Python on purpose: the recordings train and judge the toolkit's own meter, so they are checked
with code that shares nothing with it.
"""

from __future__ import annotations

import gzip
import socket
import struct
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.lab.errors import CaptureError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

MAGIC_MICROSECONDS = 0xA1B2C3D4
ETHERNET = 1
IPV4 = 0x0800
TCP, UDP = 6, 17
CHECKSUM_OFFSETS = {TCP: 16, UDP: 6}
FIN, SYN, RST, ACK = 0x01, 0x02, 0x04, 0x10


@dataclass(frozen=True, slots=True)
class Packet:
    """One captured frame; `wire_bytes` is its length before it was cut."""

    time_us: int
    wire_bytes: int
    frame: bytes


@dataclass(frozen=True, slots=True)
class Segment:
    """What the headers of an IPv4 packet say. Ports and flags are 0 where there are none."""

    source: int
    destination: int
    protocol: int
    source_port: int
    destination_port: int
    flags: int
    identification: int
    payload_bytes: int
    headers_end: int


def read(path: Path) -> Iterator[Packet]:
    """Read a capture, gzipped or not; raises CaptureError if it is damaged."""
    try:
        yield from _read(path)
    except (OSError, EOFError, zlib.error) as error:
        raise CaptureError(f"cannot read {path}: {error!r}") from error


def _read(path: Path) -> Iterator[Packet]:
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rb") as stream:
        header = stream.read(24)
        if len(header) < 24:
            raise CaptureError(f"{path} is no capture")
        order = "<" if struct.unpack("<I", header[:4])[0] == MAGIC_MICROSECONDS else ">"
        magic, _, _, _, _, _, network = struct.unpack(order + "IHHiIII", header)
        if magic != MAGIC_MICROSECONDS or network != ETHERNET:
            raise CaptureError(f"{path} is no Ethernet capture with microsecond times")
        record = struct.Struct(order + "IIII")
        while head := stream.read(16):
            if len(head) < 16:
                raise CaptureError(f"{path} ends inside a packet")
            seconds, micros, kept, wire = record.unpack(head)
            frame = stream.read(kept)
            if len(frame) < kept:
                raise CaptureError(f"{path} ends inside a packet")
            yield Packet(seconds * 1_000_000 + micros, wire, frame)


def write(path: Path, packets: Iterable[Packet], snap_bytes: int) -> None:
    """Write a gzipped capture; the same packets always give the same bytes."""
    record = struct.Struct("<IIII")
    with path.open("wb") as raw, gzip.GzipFile("", "wb", 9, raw, mtime=0) as stream:
        header = (MAGIC_MICROSECONDS, 2, 4, 0, 0, snap_bytes, ETHERNET)
        stream.write(struct.pack("<IHHiIII", *header))
        for packet in packets:
            seconds, micros = divmod(packet.time_us, 1_000_000)
            stream.write(record.pack(seconds, micros, len(packet.frame), packet.wire_bytes))
            stream.write(packet.frame)


def parse(frame: bytes) -> Segment | None:
    """Read the headers of an IPv4 packet; None for anything else."""
    if len(frame) < 34 or frame[12:14] != b"\x08\x00":
        return None
    start = 14 + (frame[14] & 15) * 4
    total, identification = struct.unpack_from(">HH", frame, 16)
    protocol = frame[23]
    source, destination = struct.unpack_from(">II", frame, 26)
    source_port = destination_port = flags = 0
    end = start
    first_fragment = struct.unpack_from(">H", frame, 20)[0] & 0x1FFF == 0
    if first_fragment and protocol == TCP and len(frame) >= start + 14:
        source_port, destination_port = struct.unpack_from(">HH", frame, start)
        flags = frame[start + 13]
        end = start + (frame[start + 12] >> 4) * 4
    elif first_fragment and protocol == UDP and len(frame) >= start + 8:
        source_port, destination_port = struct.unpack_from(">HH", frame, start)
        end = start + 8
    payload = total - (end - 14)
    return Segment(
        source,
        destination,
        protocol,
        source_port,
        destination_port,
        flags,
        identification,
        payload,
        end,
    )


def cut_to_headers(packet: Packet) -> Packet:
    """Drop what follows the TCP or UDP header, keeping the wire length.

    The transport checksum becomes 0: it covers the bytes that are dropped, so nobody can check it,
    and as noise it would be a seventh of the compressed file.
    """
    frame = packet.frame
    segment = parse(frame)
    if segment is None or segment.protocol not in CHECKSUM_OFFSETS:
        return packet
    start = 14 + (frame[14] & 15) * 4
    place = start + CHECKSUM_OFFSETS[segment.protocol]
    # A later fragment has no such header, and one cut before its checksum has none to blank.
    if segment.headers_end == start or len(frame) < place + 2:
        return packet
    kept = frame[:place] + b"\0\0" + frame[place + 2 : segment.headers_end]
    return Packet(packet.time_us, packet.wire_bytes, kept)


def dotted(address: int) -> str:
    """An address as people write it."""
    return socket.inet_ntoa(struct.pack(">I", address))
