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
    PacketReader,
    Skip,
    UnknownLinkTypeError,
)
from tests.packets import ETHERNET, Segment

TCP = Segment(5, "10.0.0.2", 40000, "10.0.0.1", 22, "SEC", payload=7, header=32, window=512)
UDP = replace(TCP, protocol=17, flags="")


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
    assert reader.summary() == {"packets": 1}


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


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (ETHERNET + b"\x08\x06" + bytes(28), Skip.NOT_IP),
        (ETHERNET + b"\x86\xdd" + bytes(60), Skip.IPV6),
        (_patched(9, "B", 1), Skip.OTHER_PROTOCOL),
        (_patched(6, "!H", 5), Skip.FRAGMENT),
        (TCP.frame()[:40], Skip.TRUNCATED),
        (ETHERNET, Skip.TRUNCATED),
        (_patched(0, "B", 0x44), Skip.MALFORMED),  # a header of 16 bytes
        (_patched(0, "B", 0x65), Skip.MALFORMED),  # version 6 in an IPv4 frame
        (_patched(2, "!H", 10), Skip.MALFORMED),  # a datagram shorter than its header
        (_patched(2, "!H", 30), Skip.MALFORMED),  # ... than the TCP header
        (_patched(32, "B", 0x40), Skip.MALFORMED),  # a TCP header of 16 bytes
        (_patched(32, "B", 0xF0), Skip.MALFORMED),  # ... longer than the datagram
    ],
)
def test_what_cannot_be_metered_is_counted_by_reason(frame: bytes, reason: Skip) -> None:
    reader = PacketReader()
    assert reader.decode(5, 1, frame, len(frame)) is None
    assert reader.summary() == {"packets": 0, reason.value: 1}


def test_a_length_beyond_the_frame_is_cut_to_it_and_counted() -> None:
    reader = PacketReader()
    frame = _patched(2, "!H", 1400)
    packet = reader.decode(5, 1, frame, len(frame))
    assert packet is not None
    assert packet.payload_length_bytes == 7
    assert reader.summary() == {"packets": 1, BEYOND_FRAME: 1}


def test_an_unknown_link_type_is_an_error() -> None:
    with pytest.raises(UnknownLinkTypeError):
        PacketReader().decode(0, 105, bytes(100), 100)


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
    counts = reader.summary()
    counts.pop(BEYOND_FRAME, None)
    assert sum(counts.values()) == 1
    if packet is not None:
        assert packet.payload_length_bytes >= 0
