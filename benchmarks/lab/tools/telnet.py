"""A telnet client small enough for guessing logins: refuses every option, reads prompts."""

from __future__ import annotations

import socket
import time

IAC, DONT, DO, WONT, WILL, SB, SE = 255, 254, 253, 252, 251, 250, 240


class Telnet:
    """One connection to a telnet server."""

    def __init__(self, host: str, port: int, timeout_s: float) -> None:
        self.connection = socket.create_connection((host, port), timeout=timeout_s)
        self.deadline_s = time.monotonic() + timeout_s * 3
        self.text = ""

    def wait_for(self, *words: str) -> str | None:
        """Read until one of the words appears; None if the server ends or time is up."""
        while time.monotonic() < self.deadline_s:
            for word in words:
                if word in self.text:
                    self.text = ""
                    return word
            try:
                data = self.connection.recv(1024)
            except OSError:
                return None
            if not data:
                return None
            self._digest(data)
        return None

    def _digest(self, data: bytes) -> None:
        """Answer option requests with a refusal and keep the plain text."""
        index, answer = 0, bytearray()
        while index < len(data):
            if data[index] != IAC:
                self.text += chr(data[index])
                index += 1
            elif index + 2 < len(data) and data[index + 1] in (DO, DONT, WILL, WONT):
                verb = WONT if data[index + 1] in (DO, DONT) else DONT
                if data[index + 1] in (DO, WILL):
                    answer += bytes((IAC, verb, data[index + 2]))
                index += 3
            elif index + 1 < len(data) and data[index + 1] == SB:
                end = data.find(bytes((IAC, SE)), index)
                index = len(data) if end < 0 else end + 2
            else:
                index += 2
        if answer:
            self.connection.sendall(bytes(answer))

    def say(self, line: str) -> None:
        """Send a line."""
        self.connection.sendall(line.encode() + b"\r\n")

    def close(self) -> None:
        """Hang up."""
        self.connection.close()


def log_in(client: Telnet, logins: list[tuple[str, str]]) -> tuple[str, str] | None:
    """Try logins on one connection until one is right or the server has had enough."""
    for user, password in logins:
        if client.wait_for("ogin:") is None:
            return None
        client.say(user)
        if client.wait_for("assword:") is None:
            return None
        client.say(password)
        found = client.wait_for("incorrect", "ogin:", "$ ", "# ")
        if found in ("$ ", "# "):
            return user, password
    return None
