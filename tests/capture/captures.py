"""Captures made by hand, and captures that Hypothesis makes up."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from hypothesis import strategies as st

from edge_agent.capture.blocks import CaptureBlocks
from edge_agent.capture.pcap import Frame, read_frames
from edge_agent.contract.errors import CaptureError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from edge_agent.contract.frames import FrameBlock

Outcome = tuple[list[Frame], str]

MICROS = {"<": b"\xd4\xc3\xb2\xa1", ">": b"\xa1\xb2\xc3\xd4"}
NANOS = {"<": b"\x4d\x3c\xb2\xa1", ">": b"\xa1\xb2\x3c\x4d"}
MODIFIED = {"<": b"\x34\xcd\xb2\xa1", ">": b"\xa1\xb2\xcd\x34"}

SECTION, INTERFACE, OLD_PACKET, SIMPLE, ENHANCED = 0x0A0D0D0A, 1, 2, 3, 6
TSRESOL, TSOFFSET = 9, 14


def block(kind: int, body: bytes, order: str = "<") -> bytes:
    body += bytes(-len(body) % 4)
    length = struct.pack(order + "I", len(body) + 12)
    return struct.pack(order + "I", kind) + length + body + length


def section(order: str = "<") -> bytes:
    return block(SECTION, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1), order)


def option(code: int, value: bytes, order: str = "<") -> bytes:
    return struct.pack(order + "HH", code, len(value)) + value + bytes(-len(value) % 4)


def interface(order: str = "<", link_type: int = 1, snap: int = 0, options: bytes = b"") -> bytes:
    return block(INTERFACE, struct.pack(order + "HHI", link_type, 0, snap) + options, order)


def enhanced(stamp: int, data: bytes, order: str = "<", number: int = 0, wire: int = 0) -> bytes:
    head = (number, stamp >> 32, stamp & 0xFFFFFFFF, len(data), wire or len(data))
    return block(ENHANCED, struct.pack(order + "IIIII", *head) + data, order)


def old_packet(stamp: int, data: bytes, order: str = "<", number: int = 0) -> bytes:
    head = (number, 0, stamp >> 32, stamp & 0xFFFFFFFF, len(data), len(data))
    return block(OLD_PACKET, struct.pack(order + "HHIIII", *head) + data, order)


def simple(data: bytes, wire: int, order: str = "<") -> bytes:
    return block(SIMPLE, struct.pack(order + "I", wire) + data, order)


def zstd_frame(content: bytes) -> bytes:
    """A zstd frame that stores: its own length, then blocks of what is to come out."""
    pieces = [content[at : at + 100_000] for at in range(0, len(content), 100_000)] or [b""]
    last = len(pieces) - 1
    heads = [
        (len(piece) << 3 | (at == last)).to_bytes(3, "little") for at, piece in enumerate(pieces)
    ]
    body = b"".join(head + piece for head, piece in zip(heads, pieces, strict=True))
    return b"\x28\xb5\x2f\xfd\xa0" + struct.pack("<I", len(content)) + body


def oracle(path: Path, *, allow_cut: bool = False) -> Outcome:
    """What the plain reader makes of a file: frames, and the sentence it ends with."""
    frames: list[Frame] = []
    try:
        frames.extend(read_frames(path, allow_cut=allow_cut))
    except CaptureError as error:
        return frames, str(error)
    return frames, ""


def frames_in(found: FrameBlock) -> Iterable[Frame]:
    assert found.data.dtype == "u1"
    assert len(found.frames)
    for entry in found.frames.tolist():
        time_us, offset, captured, wire, link_type = entry
        assert offset + captured <= len(found.data)
        yield Frame(time_us, link_type, found.data[offset : offset + captured].tobytes(), wire)


def by_blocks(
    path: Path, *, compiled: bool, allow_cut: bool = False, buffer_bytes: int = 0, room: int = 0
) -> Outcome:
    """What `CaptureBlocks` makes of a file, in the oracle's terms."""
    blocks = CaptureBlocks(path, allow_cut=allow_cut, compiled=compiled)
    blocks._buffer_bytes = buffer_bytes or blocks._buffer_bytes
    blocks._block_frames = room or blocks._block_frames
    frames: list[Frame] = []
    try:
        for found in blocks:
            frames.extend(frames_in(found))
    except CaptureError as error:
        return frames, str(error)
    assert blocks.bytes_read == blocks.size_bytes or allow_cut
    return frames, ""


# ---- made up ----

orders = st.sampled_from("<>")
uint32s = st.one_of(st.integers(0, 2**32 - 1), st.sampled_from([0, 1, 2**31, 2**32 - 1]))
stamps = st.one_of(
    st.integers(0, 2**64 - 1),
    st.integers(1_600_000_000_000_000, 1_800_000_000_000_000),
    st.sampled_from([0, 2**62, 2**62 + 1, 999_999_999, 2**63, 2**64 - 1]),
)
contents = st.one_of(st.binary(max_size=70), st.sampled_from([b"", bytes(1500)]))


@st.composite
def pcaps(draw: st.DrawFn) -> bytes:
    order = draw(orders)
    magic = draw(st.sampled_from([MICROS, NANOS, MODIFIED]))
    header = struct.pack(order + "HHiIII", 2, 4, 0, 0, 65_535, draw(uint32s))
    out = [magic[order], header]
    for data in draw(st.lists(contents, max_size=8)):
        head = (draw(uint32s), draw(uint32s), len(data), draw(uint32s))
        out.append(struct.pack(order + "IIII", *head))
        out.append(bytes(8) if magic is MODIFIED else b"")
        out.append(data)
    return b"".join(out)


@st.composite
def interfaces(draw: st.DrawFn, order: str) -> bytes:
    known = st.one_of(
        st.integers(0, 255).map(lambda value: option(TSRESOL, bytes([value]), order)),
        st.sampled_from([0, 3, 6, 9, 12, 0x80, 0x94, 0xA8]).map(
            lambda value: option(TSRESOL, bytes([value]), order)
        ),
        st.one_of(st.integers(-(2**63), 2**63 - 1), st.integers(-(10**10), 10**10)).map(
            lambda value: option(TSOFFSET, struct.pack(order + "q", value), order)
        ),
    )
    odd = st.tuples(st.sampled_from([0, 1, 2, 9, 14]), st.binary(max_size=9)).map(
        lambda pair: option(*pair, order)
    )
    # An option that says it is longer than its block.
    lying = st.sampled_from([1, 9, 14]).map(lambda code: struct.pack(order + "HHI", code, 9, 7))
    options = b"".join(draw(st.lists(st.one_of(known, odd), max_size=3)))
    options += draw(st.one_of(st.just(b""), lying))
    snap = draw(st.sampled_from([0, 5, 96, 65_535]))
    return interface(order, draw(st.integers(0, 65_535)), snap, options)


@st.composite
def pcapngs(draw: st.DrawFn) -> bytes:
    out = []
    for _ in range(draw(st.integers(1, 3))):
        order = draw(orders)
        out.append(section(order))
        count = draw(st.sampled_from([1, 1, 2, 3, 0]))
        out += [draw(interfaces(order)) for _ in range(count)]
        for data in draw(st.lists(contents, max_size=6)):
            number = draw(st.sampled_from([0, 0, 0, max(count - 1, 0), count]))
            kind = draw(st.sampled_from([ENHANCED, ENHANCED, OLD_PACKET, SIMPLE, 0x0BAD, 5, 1]))
            if kind == ENHANCED:
                packet = enhanced(draw(stamps), data, order, number, draw(uint32s))
            elif kind == OLD_PACKET:
                packet = old_packet(draw(stamps), data, order, number)
            elif kind == SIMPLE:
                packet = simple(data, draw(st.sampled_from([len(data), 3, 2000])), order)
            else:
                packet = block(kind, data, order)
            out.append(packet)
    return b"".join(out)


captures = st.one_of(pcaps(), pcapngs())


@st.composite
def garbled(draw: st.DrawFn) -> bytes:
    """A capture with some bytes altered, and cut or not."""
    data = bytearray(draw(captures))
    # Lengths and types stand at multiples of four: altered there, a file lies best.
    places = st.one_of(st.integers(0, 20_000), st.integers(0, 5000).map(lambda at: at * 4))
    values = st.one_of(st.integers(0, 255), st.sampled_from([0, 1, 3, 6, 0x7F, 0x80, 0xFF]))
    for at, value in draw(st.lists(st.tuples(places, values), max_size=4)):
        data[at % len(data)] = value
    if draw(st.booleans()):
        del data[draw(st.integers(0, len(data))) :]
    return bytes(data)
