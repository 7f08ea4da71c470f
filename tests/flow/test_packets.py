"""Decoding: what is metered, what is counted and skipped, and that nothing ever raises."""

from __future__ import annotations

import struct
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.contract.profiles import Padding
from edge_agent.flow.packets import (
    BEYOND_FRAME,
    LINK_TYPES,
    OVER_IPV6,
    PacketReader,
    Skip,
)
from tests.packets import ETHERNET, Segment

TCP = Segment(5, "10.0.0.2", 40000, "10.0.0.1", 22, "SEC", payload=7, header=32, window=512)
UDP = replace(TCP, protocol=17, flags="")


def told(reader: PacketReader) -> dict[str, int]:
    """What was counted."""
    return {name: count for name, count in reader.summary().items() if count}


@pytest.mark.parametrize(
    ("link_type", "prefix"),
    [
        pytest.param(1, ETHERNET + b"\x08\x00", id="Ethernet"),
        pytest.param(1, ETHERNET + b"\x81\x00\x00\x05\x08\x00", id="802.1Q"),
        pytest.param(1, ETHERNET + b"\x88\xa8\x00\x05\x81\x00\x00\x06\x08\x00", id="QinQ"),
        pytest.param(101, b"", id="raw IP"),
        pytest.param(0, b"\x02\x00\x00\x00", id="loopback, little endian"),
        pytest.param(108, b"\x00\x00\x00\x02", id="loopback, network order"),
        pytest.param(113, bytes(14) + b"\x08\x00", id="Linux cooked"),
        pytest.param(276, b"\x08\x00" + bytes(18), id="Linux cooked v2"),
        pytest.param(1, ETHERNET + b"\x88\x64" + bytes(6) + b"\x00\x21", id="PPPoE"),
    ],
)
def test_every_link_type_gives_the_same_packet(link_type: int, prefix: bytes) -> None:
    reader = PacketReader()
    frame = prefix + TCP.ip()
    packet = reader.decode(5, link_type, frame, len(frame))
    assert packet is not None
    assert (packet.source_port, packet.destination_port) == (40000, 22)
    assert (packet.header_length_bytes, packet.payload_length_bytes) == (32, 7)
    assert (packet.window, packet.flags) == (512, 0xC2)
    assert told(reader) == {"packets": 1}


def test_udp_has_eight_header_bytes() -> None:
    frame = UDP.frame()
    packet = PacketReader().decode(5, 1, frame, len(frame))
    assert packet is not None
    assert (packet.header_length_bytes, packet.payload_length_bytes) == (8, 7)


@pytest.mark.parametrize(
    ("padding", "tagged", "payload"),
    [
        (Padding.STRIP, False, 7),
        (Padding.STRIP, True, 7),
        (Padding.BEHIND_TAGS, False, 7),
        (Padding.BEHIND_TAGS, True, 13),
        (Padding.COUNT, False, 13),
    ],
)
def test_ethernet_padding(padding: Padding, tagged: bool, payload: int) -> None:
    tag = b"\x81\x00\x00\x05" if tagged else b""
    frame = ETHERNET + tag + b"\x08\x00" + TCP.ip() + bytes(6)
    packet = PacketReader(padding).decode(5, 1, frame, len(frame))
    assert packet is not None
    assert packet.payload_length_bytes == payload


def test_the_snap_length_does_not_matter() -> None:
    frame = TCP.frame()
    cut = frame[: 14 + 20 + 20]
    packet = PacketReader().decode(5, 1, cut, len(frame))
    assert packet is not None
    assert packet.payload_length_bytes == 7


def _patched(at: int, layout: str, *values: int) -> bytes:
    frame = bytearray(TCP.frame())
    struct.pack_into(layout, frame, 14 + at, *values)
    return bytes(frame)


def _ipv6(*headers: tuple[int, bytes], payload_length: int | None = None) -> bytes:
    """TCP's segment behind extension headers, each (kind, bytes but its first)."""
    data, following = TCP.ip()[20:], 6
    for kind, rest in reversed(headers):
        data, following = bytes([following]) + rest + data, kind
    length = len(data) if payload_length is None else payload_length
    ends = bytes(15) + b"\x02" + bytes(15) + b"\x01"
    start = struct.pack("!IHBB", 6 << 28, length, following, 64)
    return ETHERNET + b"\x86\xdd" + start + ends + data


HOP_BY_HOP = 0, b"\x00" + bytes(6)
ROUTING = 43, b"\x01" + bytes(14)
FIRST_FRAGMENT = 44, b"\x00\x00\x01" + bytes(4)
LATER_FRAGMENT = 44, b"\x00\x00\x08" + bytes(4)
AUTHENTICATION = 51, b"\x01" + bytes(10)


@pytest.mark.parametrize(
    "frame",
    [
        _ipv6(),
        _ipv6(payload_length=0),
        _ipv6(HOP_BY_HOP, ROUTING),
        _ipv6(FIRST_FRAGMENT),
        _ipv6(HOP_BY_HOP, AUTHENTICATION, ROUTING),
        ETHERNET + b"\x88\x64" + bytes(6) + b"\x00\x57" + _ipv6()[14:],
    ],
)
def test_ipv6_with_extension_headers(frame: bytes) -> None:
    reader = PacketReader()
    packet = reader.decode(5, 1, frame, len(frame))
    assert packet is not None
    assert packet.source == bytes(15) + b"\x02"
    assert (packet.source_port, packet.destination_port) == (40000, 22)
    assert (packet.header_length_bytes, packet.payload_length_bytes) == (32, 7)
    assert told(reader) == {"packets": 1, OVER_IPV6: 1}


SKIPPED = [
    (ETHERNET + b"\x08\x06" + bytes(28), Skip.NOT_IP),
    (ETHERNET + b"\x88\x64" + bytes(6) + b"\xc0\x21" + bytes(20), Skip.NOT_IP),
    (ETHERNET + b"\x88\x47" + bytes(28), Skip.TUNNEL),
    (_patched(9, "B", 47), Skip.TUNNEL),
    (_patched(9, "B", 41), Skip.TUNNEL),
    (_patched(9, "B", 1), Skip.OTHER_PROTOCOL),
    (_patched(6, "!H", 5), Skip.FRAGMENT),
    (_ipv6(LATER_FRAGMENT), Skip.FRAGMENT),
    (_ipv6(*[HOP_BY_HOP] * 9), Skip.EXTENSIONS),
    (_ipv6((43, b"\xff" + bytes(14))), Skip.BAD_IP),  # a header longer than the datagram
    (_ipv6(payload_length=5), Skip.BAD_TRANSPORT),
    (_ipv6(HOP_BY_HOP, payload_length=5), Skip.BAD_IP),
    (TCP.frame()[:40], Skip.TRUNCATED),
    (ETHERNET, Skip.TRUNCATED),
    (_patched(0, "B", 0x44), Skip.BAD_IP),  # a header of 16 bytes
    (_patched(0, "B", 0x65), Skip.BAD_IP),  # version 6 in an IPv4 frame
    (_patched(2, "!H", 10), Skip.BAD_IP),  # a datagram shorter than its header
    (_patched(2, "!H", 30), Skip.BAD_TRANSPORT),  # ... than the TCP header
    (_patched(32, "B", 0x40), Skip.BAD_TRANSPORT),  # a TCP header of 16 bytes
    (_patched(32, "B", 0xF0), Skip.BAD_TRANSPORT),  # ... longer than the datagram
]


@pytest.mark.parametrize(("frame", "reason"), SKIPPED)
def test_what_cannot_be_metered_is_counted_by_reason(frame: bytes, reason: Skip) -> None:
    reader = PacketReader()
    assert reader.decode(5, 1, frame, len(frame)) is None
    assert told(reader) == {reason.value: 1}


@pytest.mark.parametrize(
    ("link_type", "reason"), [(105, Skip.WIFI), (127, Skip.WIFI), (147, Skip.LINK_TYPE)]
)
def test_a_link_type_without_ip_is_counted(link_type: int, reason: Skip) -> None:
    reader = PacketReader()
    assert reader.decode(0, link_type, bytes(100), 100) is None
    assert told(reader) == {reason.value: 1}


def test_a_length_beyond_the_frame_is_cut_to_it_and_counted() -> None:
    reader = PacketReader()
    frame = _patched(2, "!H", 1400)
    packet = reader.decode(5, 1, frame, len(frame))
    assert packet is not None
    assert packet.payload_length_bytes == 7
    assert told(reader) == {"packets": 1, BEYOND_FRAME: 1}


@given(
    st.sampled_from(LINK_TYPES),
    st.one_of(
        st.binary(max_size=120),
        st.binary(max_size=80).map(lambda tail: ETHERNET + b"\x08\x00\x45\x00" + tail),
        st.integers(0, 60).map(lambda length: TCP.frame()[:length]),
    ),
    st.integers(0, 2000),
)
def test_no_bytes_raise(link_type: int, data: bytes, wire: int) -> None:
    reader = PacketReader()
    packet = reader.decode(0, link_type, data, max(wire, len(data)))
    counts = told(reader)
    counts.pop(BEYOND_FRAME, None)
    counts.pop(OVER_IPV6, None)
    assert sum(counts.values()) == 1
    if packet is not None:
        assert packet.payload_length_bytes >= 0
