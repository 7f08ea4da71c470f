"""Random traffic that visits every corner of the meters, as frames, tens of thousands at a time."""

from __future__ import annotations

import random
import struct
from typing import Final

import numpy as np

from edge_agent.contract.frames import FRAME, FrameBlock
from edge_agent.flow.packets import ACK, FIN, RST, SYN

S: Final = 1_000_000
START_US: Final = 1_700_000_000 * S

# Around everything a profile waits for: subflows and linger, unanswered, idle gaps, idle time-out,
# active time-out, flow time-out; exactly on it, one off, and in between.
_EDGES_S: Final = (1, 3, 5, 15, 60, 120)
_ETHERNET: Final = bytes(12)
_IPV4: Final = b"\x08\x00"
_IPV6: Final = b"\x86\xdd"


class Traffic:
    """Draws frames; the same seed draws the same.

    Args:
        seed: Seed of the draw.
        hosts: Few make flows collide and ports be reused, many fill tables.
        rate: Mean packets a second: low brings time-outs, high fills rows.
    """

    def __init__(self, seed: int, hosts: int, rate: float) -> None:
        self._random = random.Random(seed)
        self._rate = rate
        self._hosts = [struct.pack("!I", 0x0A000001 + i) for i in range(hosts)]
        self._hosts6 = [bytes([0xFD, *bytes(14), i % 251]) for i in range(min(hosts, 6))]
        self._ports = (22, 80, 443, 1883, 40000, 40001, 50000)
        self._conversation = (self._hosts[0], 40000, self._hosts[-1], 80, 6)
        self.now_us = START_US

    def block(self, packets: int) -> FrameBlock:
        """The next frames."""
        data = bytearray()
        frames = np.zeros(packets, dtype=FRAME)
        for index in range(packets):
            frame, link_type, wire = self._frame()
            frames[index] = (self._stamp(), len(data), len(frame), wire, link_type)
            data += frame
        return FrameBlock(np.frombuffer(bytes(data), dtype=np.uint8), frames)

    def _stamp(self) -> int:
        draw = self._random
        kind = draw.random()
        if kind < 0.01:
            self.now_us += draw.choice(_EDGES_S) * S + draw.choice((-1, 0, 1))
        elif kind < 0.97:
            self.now_us += int(draw.expovariate(self._rate) * S)
        if kind > 0.98:  # overtaken by others
            return self.now_us - draw.choice((1, 999, draw.randrange(2 * S), 200 * S))
        if kind > 0.9795:  # a stray, years off either way
            return self.now_us + draw.choice((-1, 1)) * draw.randrange(3600 * S, 10**15)
        if kind > 0.9794:  # the clock is set, for good
            self.now_us = max(self.now_us + draw.choice((-1, 1)) * draw.randrange(10**14), S)
        return self.now_us

    def _frame(self) -> tuple[bytes, int, int]:
        """A frame as captured, its link type and its length on the wire."""
        draw = self._random
        datagram, ether_type = self._ipv6() if draw.random() < 0.08 else self._ipv4()
        frame, link_type = self._linked(datagram, ether_type)
        wire = len(frame)
        kind = draw.random()
        if kind < 0.02:  # cut by the snap length
            frame = frame[: draw.randrange(len(frame) + 1)]
        elif kind < 0.03:  # damaged
            spoiled = bytearray(frame)
            spoiled[draw.randrange(min(len(frame), 60))] ^= 1 << draw.randrange(8)
            frame = bytes(spoiled)
        elif kind < 0.033:
            wire = draw.choice((0, len(frame) // 2, 2**20, 2**20 + 100, 2**32 - 1))
        return frame, link_type, wire

    def _linked(self, datagram: bytes, ether_type: bytes) -> tuple[bytes, int]:
        draw = self._random
        kind = draw.random()
        padding = bytes(draw.choice((0, 0, 6, 20)))
        if kind < 0.8:
            return _ETHERNET + ether_type + datagram + padding, 1
        if kind < 0.9:
            tags = b"".join(
                draw.choice((b"\x81\x00", b"\x88\xa8")) + b"\x00\x07"
                for _ in range(draw.choice((1, 1, 2, 3, 5)))
            )
            return _ETHERNET + tags + ether_type + datagram + padding, 1
        if kind < 0.93:
            protocol = {_IPV4: b"\x00\x21", _IPV6: b"\x00\x57"}.get(ether_type, b"\xc0\x21")
            session = struct.pack("!BBHH", 0x11, 0, 7, len(datagram) + 2) + protocol
            return _ETHERNET + b"\x88\x64" + session + datagram + padding, 1
        return draw.choice(
            (
                (bytes(14) + ether_type + datagram, 113),
                (ether_type + bytes(18) + datagram, 276),
                (datagram, 101),
                (datagram, 12),
                (b"\x02\x00\x00\x00" + datagram, 0),
                (b"\x00\x00\x00\x18" + datagram, 108),
                (bytes(30), 127),
                (bytes(30), 147),
                (_ETHERNET + b"\x08\x06" + bytes(28), 1),
                (_ETHERNET + b"\x88\x47" + bytes(28), 1),
            )
        )

    def _ends(self, hosts: list[bytes]) -> tuple[bytes, int, bytes, int, int]:
        """Endpoints and protocol; packets of one conversation come in runs."""
        draw = self._random
        source, source_port, destination, destination_port, protocol = self._conversation
        if len(source) != len(hosts[0]) or draw.random() < 0.2:
            source, destination = draw.choice(hosts), draw.choice(hosts)
            source_port, destination_port = draw.choice(self._ports), draw.choice(self._ports)
            protocol = draw.choice((6, 6, 6, 17, 17, draw.choice((1, 4, 41, 47, 50, 132))))
        elif draw.random() < 0.5:
            source, source_port, destination, destination_port = (
                destination,
                destination_port,
                source,
                source_port,
            )
        self._conversation = source, source_port, destination, destination_port, protocol
        return self._conversation

    def _transport(self, source_port: int, destination_port: int, protocol: int) -> bytes:
        draw = self._random
        ports = struct.pack("!HH", source_port, destination_port)
        length = draw.choice((0, 0, 1, 10, 100, 536, 1460))
        if draw.random() < 0.002:
            length = 65_000
        payload = bytes(length)
        if protocol == 17:
            return ports + struct.pack("!HH", 8 + length, 0) + payload
        flags = draw.choice(
            (SYN, SYN | ACK, ACK, ACK, ACK, ACK | 8, FIN | ACK, RST, RST | ACK, draw.randrange(256))
        )
        if draw.random() < 0.5:
            flags &= ~(FIN | RST)
        words = draw.choice((5, 5, 8, 10, 15, draw.randrange(16)))
        window = draw.choice((0, 1, 502, 65535))
        rest = struct.pack("!IIBBHHH", 0, 0, words << 4, flags, window, 0, 0)
        return ports + rest + bytes(max(words - 5, 0) * 4) + payload

    def _ipv4(self) -> tuple[bytes, bytes]:
        draw = self._random
        source, source_port, destination, destination_port, protocol = self._ends(self._hosts)
        rest = self._transport(source_port, destination_port, protocol)
        words = 5 if draw.random() < 0.9 else draw.randrange(16)
        fragment = draw.choice((0x2000, 0x0001, 0x1FFF)) if draw.random() < 0.02 else 0x4000
        header = max(words - 5, 0) * 4 + 20
        total = min(header + len(rest), 65_535)
        if draw.random() < 0.01:
            total = draw.choice((0, 19, 20, 40, total + 1, 65_535))
        start = struct.pack("!BBHHHBBH", 0x40 | words, 0, total, 0, fragment, 64, protocol, 0)
        return start + source + destination + bytes(header - 20) + rest, _IPV4

    def _ipv6(self) -> tuple[bytes, bytes]:
        draw = self._random
        source, source_port, destination, destination_port, protocol = self._ends(self._hosts6)
        rest = self._transport(source_port, destination_port, protocol)
        following = protocol
        while draw.random() < 0.3:
            kind = draw.choice((0, 43, 44, 51, 60, 135))
            if kind == 44:
                offset = draw.choice((0, 1, 8, 0xFFF8))
                rest = struct.pack("!BBHI", following, 0, offset, 1) + rest
            else:
                words = draw.randrange(3)
                length = (words + 2) * 4 if kind == 51 else (words + 1) * 8
                rest = struct.pack("!BB", following, words) + bytes(length - 2) + rest
            following = kind
        length = min(len(rest), 65_535)
        if draw.random() < 0.02:
            length = draw.choice((0, 1, 20, length + 1))
        start = struct.pack("!IHBB", 6 << 28, length, following, 64)
        return start + source + destination + rest, _IPV6
