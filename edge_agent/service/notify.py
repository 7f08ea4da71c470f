"""What systemd is told (sd_notify(3)): ready, reloading, stopping, and that we are alive."""

from __future__ import annotations

import os
import socket
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_MICROSECONDS_PER_S = 1_000_000


class Notifier:
    """Speaks to the service manager that started us; says nothing where there is none.

    Args:
        environment: Holds NOTIFY_SOCKET and WATCHDOG_USEC where the manager listens.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._address = environment.get("NOTIFY_SOCKET", "")
        watchdog = environment.get("WATCHDOG_USEC", "")
        # It may be meant for another process.
        meant = environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        self.watchdog_s = int(watchdog) / _MICROSECONDS_PER_S if watchdog.isdigit() and meant else 0
        self._next_alive_s = 0.0

    def ready(self, status: str) -> None:
        """Everything is open; also the end of a reload."""
        self._send("READY=1", f"STATUS={status}")

    def status(self, status: str) -> None:
        """One line for `systemctl status`."""
        self._send(f"STATUS={status}")

    def reloading(self) -> None:
        """A reload begins; `ready` follows."""
        now_us = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._send("RELOADING=1", f"MONOTONIC_USEC={now_us}")

    def stopping(self, status: str) -> None:
        """The end begins."""
        self._send("STOPPING=1", f"STATUS={status}")

    def alive(self) -> None:
        """Call often; tells the watchdog three times in each of its intervals."""
        now_s = time.monotonic()
        if self.watchdog_s and now_s >= self._next_alive_s:
            self._next_alive_s = now_s + self.watchdog_s / 3
            self._send("WATCHDOG=1")

    def _send(self, *lines: str) -> None:
        if not self._address:
            return
        # A leading @ stands for the abstract namespace.
        address = "\0" + self._address[1:] if self._address[0] == "@" else self._address
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as manager:
            try:
                manager.connect(address)
                manager.send("\n".join(line.replace("\n", " ") for line in lines).encode())
            except OSError:
                # The manager is being replaced, or its queue is full: the next message tells it.
                return
