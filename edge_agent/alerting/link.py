"""One thread that keeps a session with the broker up and moves messages through it.

All calls into the MQTT client come from this thread (the first connect, made before the thread
starts, excepted), so its locks cannot meet ours. Every connection is a fresh session; what the
last one left unacknowledged is the outbox's business.
"""

from __future__ import annotations

import logging
import socket
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from edge_agent.contract.errors import BrokerError

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_agent.alerting.outbox import Message, Outbox

_log = logging.getLogger(__name__)

# How long the thread sleeps when nothing happens; keep-alives need no finer clock.
_IDLE_S: Final = 1.0


class SessionLost(BrokerError):
    """The connection to the broker broke."""


@dataclass(frozen=True, slots=True)
class Received:
    """A message from the broker; anyone may have written it."""

    topic: str
    payload: bytes
    retained: bool


class Session(Protocol):
    """One connection to a broker, from its CONNACK to its end. Used by one thread."""

    def publish(self, message: Message) -> int:
        """Send a message; its number. Raises SessionLost."""

    def poll(self, wake: socket.socket, timeout_s: float) -> None:
        """Move bytes until something happened or `wake` is readable. Raises SessionLost."""

    def acknowledged(self) -> list[int]:
        """Numbers acknowledged since the last call."""

    def received(self) -> list[Received]:
        """Messages received since the last call."""

    def disconnect(self, timeout_s: float) -> None:
        """End cleanly: the broker discards the last will."""

    def abandon(self) -> None:
        """Close the socket without a word."""


@dataclass(frozen=True, slots=True)
class Backoff:
    """Waits between attempts to connect: doubled each time, so that a broker can recover."""

    first_s: float = 1.0
    longest_s: float = 60.0


class Link:
    """Keeps a session up.

    Args:
        place: What messages call the broker.
        connect: Opens a session; raises BrokerError.
        outbox: What to send.
        on_received: Called for every message, on the link's thread.
        backoff: Waits between attempts.
    """

    def __init__(
        self,
        place: str,
        connect: Callable[[], Session],
        outbox: Outbox,
        on_received: Callable[[Received], None] | None = None,
        backoff: Backoff | None = None,
    ) -> None:
        self._place = place
        self._connect = connect
        self._outbox = outbox
        self._on_received = on_received
        self._backoff = backoff or Backoff()
        self._stop = threading.Event()
        self._connected = threading.Event()
        self._thread: threading.Thread | None = None
        self._reader: socket.socket | None = None
        self._writer: socket.socket | None = None
        self._farewell_s = 0.0
        # Whether there ever was a session.
        self._once = False

    def start(self, required: bool = True) -> None:
        """Connect, then keep connected.

        Args:
            required: Whether the first attempt must succeed; else it is made on the link's thread
                and repeated like any other.

        Raises:
            BrokerError: The first attempt failed.
        """
        if self._thread is not None:
            raise RuntimeError("a link starts once")
        session = self._connect() if required else None
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)
        if session is not None:
            self._once = True
            self._connected.set()
        # A daemon: a service that dies of an error must not hang on its broker.
        self._thread = threading.Thread(
            target=self._run, args=(session, self._reader), name="edge-ids mqtt", daemon=True
        )
        self._thread.start()

    def wake(self) -> None:
        """There is something to send."""
        if self._writer is not None:
            # A full pipe wakes just as well.
            with suppress(BlockingIOError):
                self._writer.send(b"\0")

    def close(self, timeout_s: float) -> bool:
        """Send what waits, end the session, stop the thread.

        Returns:
            Whether the broker acknowledged everything in time.
        """
        if self._thread is None:
            return self._outbox.wait_empty(0)
        deadline = time.monotonic() + timeout_s
        self.wake()
        delivered = self._outbox.wait_empty(timeout_s)
        self._farewell_s = max(deadline - time.monotonic(), 0.1)
        self._stop.set()
        self.wake()
        self._thread.join()
        self._thread = None
        for end in (self._reader, self._writer):
            if end is not None:
                end.close()
        self._reader = self._writer = None
        return delivered

    @property
    def connected(self) -> bool:
        """Whether there is a session now."""
        return self._connected.is_set()

    def _run(self, first: Session | None, wake: socket.socket) -> None:
        session = first or self._reconnect(wait_s=0.0)
        while session is not None:
            session = None if self._use(session, wake) else self._reconnect(self._backoff.first_s)

    def _use(self, session: Session, wake: socket.socket) -> bool:
        """Serve a session to its end; whether that was our wish."""
        try:
            self._serve(session, wake)
            session.disconnect(self._farewell_s)
        except SessionLost as lost:
            session.abandon()
            self._outbox.reset()
            if not self._stop.is_set():
                _log.warning("%s Trying again.", lost)
        finally:
            self._connected.clear()
        return self._stop.is_set()

    def _serve(self, session: Session, wake: socket.socket) -> None:
        """Move messages until told to stop. Raises SessionLost."""
        while not self._stop.is_set():
            while (message := self._outbox.take()) is not None:
                self._outbox.sent(session.publish(message))
            session.poll(wake, _IDLE_S)
            with suppress(BlockingIOError):
                wake.recv(4096)
            for number in session.acknowledged():
                self._outbox.acknowledged(number)
            for received in session.received():
                if self._on_received is not None:
                    self._on_received(received)

    def _reconnect(self, wait_s: float) -> Session | None:
        """Try until there is a session; None when told to stop."""
        told = ""
        while not self._stop.wait(wait_s):
            attempt = self._attempt()
            if not isinstance(attempt, BrokerError):
                _log.info("%s: connected%s.", self._place, " again" if self._once else "")
                self._once = True
                self._connected.set()
                return attempt
            # Once per cause: an outage of hours is not thousands of lines.
            if str(attempt) != told:
                told = str(attempt)
                _log.warning("%s", told)
            wait_s = min(max(wait_s * 2, self._backoff.first_s), self._backoff.longest_s)
        return None

    def _attempt(self) -> Session | BrokerError:
        try:
            return self._connect()
        except BrokerError as error:
            return error
