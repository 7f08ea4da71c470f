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

from edge_agent.contract.errors import EdgeIdsError
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
_RAW_IP: Final = (12, 101, 228)  # two numbers mean "IPv4 or IPv6", the last IPv4 only
_LOOPBACK: Final = (0, 108)  # a four-byte address family, in the capturing or network byte order
_COOKED_V1: Final = 113
_COOKED_V2: Final = 276
LINK_TYPES: Final = (_ETHERNET, *_RAW_IP, *_LOOPBACK, _COOKED_V1, _COOKED_V2)

_IPV4: Final = 0x0800
_IPV6: Final = 0x86DD
_VLAN_TAGS: Final = (0x8100, 0x88A8, 0x9100)
# Double tagging is standard, triple is seen; more is someone playing with the parser.
_MAX_TAGS: Final = 4

_IPV4_HEADER: Final = struct.Struct("!BxHxxHxB2x4s4s")
_TCP_HEADER: Final = struct.Struct("!HHxxxxxxxxBBH")
_UDP_HEADER: Final = struct.Struct("!HH4x")


class Skip(Enum):
    """Why a frame is not metered."""

    NOT_IP = "not IP"
    IPV6 = "IPv6"
    OTHER_PROTOCOL = "neither TCP nor UDP"
    FRAGMENT = "fragment after the first"
    TRUNCATED = "cut before its headers end"
    MALFORMED = "impossible header or length"


BEYOND_FRAME: Final = "length beyond the frame, metered as far as the frame goes"


class UnknownLinkTypeError(EdgeIdsError):
    """No frame of this capture can be read; the caller knows the file's name."""

    def __init__(self, link_type: int) -> None:
        super().__init__(f"link type {link_type} is not supported.")
        self.link_type = link_type


@dataclass(frozen=True, slots=True)
class Packet:
    """A TCP or UDP packet over IPv4.

    Attributes:
        time_us: Capture time, µs since 1970.
        source, destination: Addresses, 4 bytes.
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


class PacketReader:
    """Decodes frames and counts what it skips.

    Args:
        padding: Whether Ethernet padding counts as payload.

    Attributes:
        packets: Frames decoded.
        beyond_frame: Those of them whose IP length claims more than was on the wire.
        skipped: The others, by reason.
    """

    def __init__(self, padding: Padding = Padding.STRIP) -> None:
        self._padding = padding
        self.packets = 0
        self.beyond_frame = 0
        self.skipped: Counter[Skip] = Counter()

    def decode(
        self, time_us: int, link_type: int, data: bytes, wire_length_bytes: int
    ) -> Packet | None:
        """Decode one frame; None when it is skipped (and counted).

        Raises:
            UnknownLinkTypeError: Frames of this kind cannot be read at all.
        """
        try:
            ether_type, start, tagged = _network_layer(link_type, data)
            if ether_type == _IPV4:
                result = self._ipv4(time_us, data[start:], wire_length_bytes - start, tagged=tagged)
            else:
                result = Skip.IPV6 if ether_type == _IPV6 else Skip.NOT_IP
        except (struct.error, IndexError):
            result = Skip.TRUNCATED
        if isinstance(result, Skip):
            self.skipped[result] += 1
            return None
        self.packets += 1
        return result

    def summary(self) -> dict[str, int]:
        """Counts by name, for people and `--json`."""
        counts = {"packets": self.packets, BEYOND_FRAME: self.beyond_frame}
        counts |= {reason.value: self.skipped[reason] for reason in Skip}
        return {name: count for name, count in counts.items() if count or name == "packets"}

    def _ipv4(
        self, time_us: int, data: bytes, wire_length_bytes: int, *, tagged: bool
    ) -> Packet | Skip:
        first, total, fragment, protocol, source, destination = _IPV4_HEADER.unpack_from(data)
        header = (first & 0x0F) * 4
        beyond = total > wire_length_bytes
        padded = (tagged and self._padding is Padding.BEHIND_TAGS) or (
            protocol == TCP and self._padding is Padding.COUNT
        )
        if total == 0 or beyond or padded:
            # 0: segmentation offload hands up frames whose length the card would have filled in.
            total = wire_length_bytes
        if first >> 4 != 4 or header < 20 or total < header:
            return Skip.MALFORMED
        if protocol not in (TCP, UDP):
            return Skip.OTHER_PROTOCOL
        if fragment & 0x1FFF:
            return Skip.FRAGMENT
        if protocol == TCP:
            source_port, destination_port, offset, flags, window = _TCP_HEADER.unpack_from(
                data, header
            )
            length = (offset >> 4) * 4
        else:
            source_port, destination_port = _UDP_HEADER.unpack_from(data, header)
            length, flags, window = 8, 0, 0
        if header + length > total or (protocol == TCP and length < 20):
            return Skip.MALFORMED
        self.beyond_frame += beyond
        return Packet(
            time_us=time_us,
            source=source,
            destination=destination,
            source_port=source_port,
            destination_port=destination_port,
            protocol=protocol,
            flags=flags,
            window=window,
            header_length_bytes=length,
            payload_length_bytes=total - header - length,
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
        raise UnknownLinkTypeError(link_type)
    untagged = start
    for _ in range(_MAX_TAGS):
        if ether_type not in _VLAN_TAGS:
            break
        ether_type = int.from_bytes(data[start + 2 : start + 4], "big")
        start += 4
    if len(data) < start:
        raise IndexError
    return ether_type, start, start > untagged
