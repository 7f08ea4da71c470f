"""The few MQTT 3.1.1 packets that the attack tools need."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import socket

ACCEPTED = 0


def text(value: str) -> bytes:
    """A length-prefixed string."""
    raw = value.encode()
    return struct.pack(">H", len(raw)) + raw


def connect_packet(client: str, login: tuple[str, str] | None = None) -> bytes:
    """A CONNECT with a clean session, short enough for a one-byte length."""
    body = text("MQTT") + bytes([4, 0x02 if login is None else 0xC2]) + struct.pack(">H", 30)
    body += text(client)
    if login is not None:
        body += text(login[0]) + text(login[1])
    return bytes([0x10, len(body)]) + body


def answer_code(connection: socket.socket) -> int | None:
    """The broker's verdict, or None if it closed the connection."""
    answer = connection.recv(4)
    return answer[3] if len(answer) == 4 else None
