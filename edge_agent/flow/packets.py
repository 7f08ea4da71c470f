"""Captured bytes → the few numbers a meter needs of a packet.

Packets are hostile. Whatever is cut short, lies about a length or is of no interest is counted
under its own name and skipped; nothing a packet holds can raise.
"""

from __future__ import annotations

import struct
from collections import Counter
from dataclasses import dataclass
from enum import Enum
from typing import Final

from edge_agent.contract.profiles import Padding

TCP: Final = 6
UDP: Final = 17

FIN: Final = 0x01
SYN: Final = 0x02
RST: Final = 0x04
PSH: Final = 0x08
ACK: Final = 0x10
URG: Final = 0x20
ECE: Final = 0x40
CWR: Final = 0x80

_ETHERNET: Final = 1
_RAW_IP: Final = (12, 101, 228, 229)  # two numbers mean "IPv4 or IPv6", the others one of them
_LOOPBACK: Final = (0, 108)  # a four-byte address family, in the capturing or network byte order
_COOKED_V1: Final = 113
_COOKED_V2: Final = 276
_WIFI: Final = (105, 119, 127, 163)  # plain, Prism, radiotap, AVS
LINK_TYPES: Final = (_ETHERNET, *_RAW_IP, *_LOOPBACK, _COOKED_V1, _COOKED_V2)

_IPV4: Final = 0x0800
_IPV6: Final = 0x86DD
_PPPOE: Final = 0x8864
_PPP_PROTOCOLS: Final = {0x0021: _IPV4, 0x0057: _IPV6}
_MPLS: Final = (0x8847, 0x8848)
_VLAN_TAGS: Final = (0x8100, 0x88A8, 0x9100)
# Double tagging is standard, triple is seen; more is someone playing with the parser.
_MAX_TAGS: Final = 4

_IPV4_IN_IP: Final = 4
_IPV6_IN_IP: Final = 41
_GRE: Final = 47
_MPLS_IN_IP: Final = 137
_TUNNELS: Final = (_IPV4_IN_IP, _IPV6_IN_IP, _GRE, _MPLS_IN_IP)

# Hop-by-hop, routing, destination options, mobility, HIP, Shim6: all begin alike.
_EXTENSIONS: Final = (0, 43, 60, 135, 139, 140)
_FRAGMENT_HEADER: Final = 44
_AUTHENTICATION: Final = 51
# RFC 8200 lists each kind once and destination options twice; more is someone playing.
_MAX_EXTENSIONS: Final = 8

# Time-outs are added to stamps, in 64 bits.
_LATEST_US: Final = 1 << 62
# Larger than any offload makes; squares of lengths are summed.
_MAX_WIRE_BYTES: Final = 1 << 20

_IPV4_HEADER: Final = struct.Struct("!BxHxxHxB2x4s4s")
_IPV6_HEADER: Final = struct.Struct("!4xHBx16s16s")
_TCP_HEADER: Final = struct.Struct("!HHxxxxxxxxBBH")
_UDP_HEADER: Final = struct.Struct("!HH4x")


class Skip(Enum):
    """Why a frame is not metered."""

    NOT_IP = "not IP"
    WIFI = "802.11 frame"
    LINK_TYPE = "link type not supported"
    TUNNEL = "tunnel"
    OTHER_PROTOCOL = "neither TCP nor UDP"
    FRAGMENT = "fragment after the first"
    TRUNCATED = "cut before its headers end"
    BAD_IP = "impossible IP header or length"
    BAD_TRANSPORT = "impossible TCP or UDP header"
    EXTENSIONS = "too many IPv6 extension headers"


PACKETS: Final = "packets"
OVER_IPV6: Final = "of them over IPv6, outside the training data"
BEYOND_FRAME: Final = "length beyond the frame, metered as far as the frame goes"


@dataclass(frozen=True, slots=True)
class Packet:
    """A TCP or UDP packet.

    Attributes:
        time_us: Capture time, µs since 1970.
        source, destination: Addresses; 4 bytes of IPv4, 16 of IPv6.
        protocol: `TCP` or `UDP`.
        flags: TCP flag bits; 0 for UDP.
        window: Raw TCP window, unscaled; 0 for UDP.
        header_length_bytes: TCP or UDP header.
        payload_length_bytes: What the IP datagram says follows that header, as far as the frame
            on the wire went; Ethernet padding does not count (spec A.7, `strip`).
    """

    time_us: int
    source: bytes
    destination: bytes
    source_port: int
    destination_port: int
    protocol: int
    flags: int
    window: int
    header_length_bytes: int
    payload_length_bytes: int


@dataclass(frozen=True, slots=True)
class _Datagram:
    """What the IP header says of the rest."""

    source: bytes
    destination: bytes
    protocol: int
    header: int  # where the transport header begins
    total: int  # where the datagram ends


class _Skipped(Exception):
    """Ends the decoding of a frame."""

    def __init__(self, reason: Skip) -> None:
        self.reason = reason


class PacketReader:
    """Decodes frames and counts what it skips.

    Args:
        padding: Whether Ethernet padding counts as payload.

    Attributes:
        packets: Frames decoded.
        ipv6: Those of them over IPv6, which no public training data has.
        beyond_frame: Those of them whose IP length claims more than was on the wire.
        skipped: The others, by reason.
    """

    def __init__(self, padding: Padding = Padding.STRIP) -> None:
        self._padding = padding
        self.packets = 0
        self.ipv6 = 0
        self.beyond_frame = 0
        self.skipped: Counter[Skip] = Counter()

    def decode(
        self, time_us: int, link_type: int, data: bytes, wire_length_bytes: int
    ) -> Packet | None:
        """Decode one frame; None when it is skipped (and counted)."""
        try:
            ether_type, start, tagged = _network_layer(link_type, data)
            data, on_wire = data[start:], wire_length_bytes - start
            read = self._ipv4 if ether_type == _IPV4 else self._ipv6
            datagram, beyond = read(data, on_wire, tagged=tagged)
            packet = _transport(time_us, data, datagram)
        except (struct.error, IndexError):
            self.skipped[Skip.TRUNCATED] += 1
            return None
        except _Skipped as skipped:
            self.skipped[skipped.reason] += 1
            return None
        self.packets += 1
        self.ipv6 += ether_type == _IPV6
        self.beyond_frame += beyond
        return packet

    def summary(self) -> dict[str, int]:
        """Counts by name, the first of `flow.meter.COUNTS`."""
        return {
            PACKETS: self.packets,
            OVER_IPV6: self.ipv6,
            BEYOND_FRAME: self.beyond_frame,
            **{reason.value: self.skipped[reason] for reason in Skip},
        }

    def _ipv4(self, data: bytes, on_wire: int, *, tagged: bool) -> tuple[_Datagram, bool]:
        first, total, fragment, protocol, source, destination = _IPV4_HEADER.unpack_from(data)
        header = (first & 0x0F) * 4
        # 0: segmentation offload hands up frames whose length the card would have filled in.
        total, beyond = self._total(total or on_wire, on_wire, protocol, tagged=tagged)
        if first >> 4 != 4 or header < 20 or total < header:
            raise _Skipped(Skip.BAD_IP)
        if fragment & 0x1FFF and protocol in (TCP, UDP):
            raise _Skipped(Skip.FRAGMENT)
        return _Datagram(source, destination, protocol, header, total), beyond

    def _ipv6(self, data: bytes, on_wire: int, *, tagged: bool) -> tuple[_Datagram, bool]:
        payload, protocol, source, destination = _IPV6_HEADER.unpack_from(data)
        if data[0] >> 4 != 6:
            raise _Skipped(Skip.BAD_IP)
        header = 40
        # 0: a jumbogram, or segmentation offload.
        claimed = 40 + payload if payload else on_wire
        for _ in range(_MAX_EXTENSIONS):
            if protocol == _FRAGMENT_HEADER:
                following, offset = (
                    data[header],
                    int.from_bytes(data[header + 2 : header + 4], "big"),
                )
                if len(data) < header + 8:
                    raise IndexError
                if offset >> 3:
                    raise _Skipped(Skip.FRAGMENT)
                length = 8
            elif protocol == _AUTHENTICATION:
                following, length = data[header], (data[header + 1] + 2) * 4
            elif protocol in _EXTENSIONS:
                following, length = data[header], (data[header + 1] + 1) * 8
            else:
                break
            protocol, header = following, header + length
        else:
            raise _Skipped(Skip.EXTENSIONS)
        total, beyond = self._total(claimed, on_wire, protocol, tagged=tagged)
        if total < header:
            raise _Skipped(Skip.BAD_IP)
        return _Datagram(source, destination, protocol, header, total), beyond

    def _total(
        self, claimed: int, on_wire: int, protocol: int, *, tagged: bool
    ) -> tuple[int, bool]:
        """How long the datagram is taken to be, and whether it claimed more than the frame."""
        if on_wire > _MAX_WIRE_BYTES:
            raise _Skipped(Skip.BAD_IP)
        padded = (tagged and self._padding is Padding.BEHIND_TAGS) or (
            protocol == TCP and self._padding is Padding.COUNT
        )
        beyond = claimed > on_wire
        return on_wire if beyond or padded else claimed, beyond


def _transport(time_us: int, data: bytes, datagram: _Datagram) -> Packet:
    protocol, header = datagram.protocol, datagram.header
    if protocol == TCP:
        source_port, destination_port, offset, flags, window = _TCP_HEADER.unpack_from(data, header)
        length = (offset >> 4) * 4
    elif protocol == UDP:
        source_port, destination_port = _UDP_HEADER.unpack_from(data, header)
        length, flags, window = 8, 0, 0
    else:
        raise _Skipped(Skip.TUNNEL if protocol in _TUNNELS else Skip.OTHER_PROTOCOL)
    if header + length > datagram.total or (protocol == TCP and length < 20):
        raise _Skipped(Skip.BAD_TRANSPORT)
    return Packet(
        time_us=min(max(time_us, 0), _LATEST_US),
        source=datagram.source,
        destination=datagram.destination,
        source_port=source_port,
        destination_port=destination_port,
        protocol=protocol,
        flags=flags,
        window=window,
        header_length_bytes=length,
        payload_length_bytes=datagram.total - header - length,
    )


def _network_layer(link_type: int, data: bytes) -> tuple[int, int, bool]:
    """EtherType of the network layer, where it starts, and whether a VLAN tag precedes it."""
    if link_type == _ETHERNET:
        ether_type, start = int.from_bytes(data[12:14], "big"), 14
    elif link_type == _COOKED_V1:
        ether_type, start = int.from_bytes(data[14:16], "big"), 16
    elif link_type == _COOKED_V2:
        ether_type, start = int.from_bytes(data[0:2], "big"), 20
    elif link_type in _RAW_IP or link_type in _LOOPBACK:
        start = 0 if link_type in _RAW_IP else 4
        version = data[start] >> 4
        ether_type = {4: _IPV4, 6: _IPV6}.get(version, 0)
    else:
        raise _Skipped(Skip.WIFI if link_type in _WIFI else Skip.LINK_TYPE)
    untagged = start
    for _ in range(_MAX_TAGS):
        if ether_type not in _VLAN_TAGS:
            break
        ether_type = int.from_bytes(data[start + 2 : start + 4], "big")
        start += 4
    tagged = start > untagged
    if ether_type == _PPPOE:
        # Version, type, code, session and length, then the PPP protocol number (RFC 2516).
        protocol = int.from_bytes(data[start + 6 : start + 8], "big")
        ether_type, start = _PPP_PROTOCOLS.get(protocol, 0), start + 8
    if len(data) < start:
        raise IndexError
    if ether_type not in (_IPV4, _IPV6):
        raise _Skipped(Skip.TUNNEL if ether_type in _MPLS else Skip.NOT_IP)
    return ether_type, start, tagged
