"""What waits to be published, what is on its way, what was lost: no threads started, no sockets.

Two kinds of messages. *Queued* ones (alerts) all count: they leave in order, at most `window` of
them unacknowledged, and go back to the front of the queue when the connection breaks. Of a
*state* (status, active incidents, statistics) only the latest counts: it waits in a slot per topic,
and the retained ones are published again at every connect, so that a broker that lost its memory
shows the present again.
"""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass
from typing import Final

# Few enough for any broker (Mosquitto takes 20 at once), many enough to fill a slow link.
WINDOW: Final = 20


@dataclass(frozen=True, slots=True)
class Message:
    """A message to publish."""

    topic: str
    payload: bytes
    qos: int = 1
    retain: bool = False


class Outbox:
    """Safe to use from two threads: one that fills it, one that sends.

    Args:
        limit: Queued messages held, on their way included. At the limit new ones are refused and
            counted: the older ones tell how the incidents began.
        window: Messages unacknowledged at once.
    """

    def __init__(self, limit: int, window: int = WINDOW) -> None:
        if limit < 1 or window < 1:
            raise ValueError("an outbox and its window hold at least one message")
        self._limit = limit
        self._window = window
        self._changed = threading.Condition()
        self._queue: deque[Message] = deque()
        self._states: dict[str, Message] = {}
        self._due: dict[str, None] = {}
        self._handed: tuple[Message, bool] | None = None
        self._in_flight: dict[int, tuple[Message, bool]] = {}
        self._dropped = 0

    def put(self, message: Message) -> bool:
        """Queue a message; False when there is no room."""
        with self._changed:
            if self._queued() >= self._limit:
                self._dropped += 1
                return False
            self._queue.append(message)
            return True

    def set_state(self, message: Message) -> None:
        """Replace the state of a topic."""
        with self._changed:
            self._states[message.topic] = message
            self._due[message.topic] = None

    def take(self) -> Message | None:
        """The next message to send, states first; None when there is none or the window is full.

        Every message taken is followed by `sent` or `reset`.
        """
        with self._changed:
            if len(self._in_flight) >= self._window or self._handed is not None:
                return None
            if self._due:
                topic = next(iter(self._due))
                del self._due[topic]
                self._handed = (self._states[topic], False)
            elif self._queue:
                self._handed = (self._queue.popleft(), True)
            else:
                return None
            return self._handed[0]

    def sent(self, number: int) -> None:
        """The message taken has left under this number."""
        with self._changed:
            if self._handed is None:
                raise RuntimeError("nothing was taken")
            if self._handed[0].qos > 0:
                self._in_flight[number] = self._handed
            self._handed = None
            self._changed.notify_all()

    def acknowledged(self, number: int) -> None:
        """The broker has it. Numbers that are not on their way are ignored."""
        with self._changed:
            self._in_flight.pop(number, None)
            self._changed.notify_all()

    def reset(self) -> None:
        """The connection broke: what was on its way is due again, in its order."""
        with self._changed:
            unsure = list(self._in_flight.values())
            if self._handed is not None:
                unsure.append(self._handed)
            self._queue.extendleft(message for message, queued in reversed(unsure) if queued)
            self._in_flight.clear()
            self._handed = None
            self._due = {topic: None for topic, state in self._states.items() if state.retain}

    def wait_empty(self, timeout_s: float) -> bool:
        """Wait until everything is acknowledged; False when it was not in time."""
        with self._changed:
            return self._changed.wait_for(self._is_empty, timeout_s)

    @property
    def pending(self) -> int:
        """Queued messages that are not acknowledged."""
        with self._changed:
            return self._queued()

    @property
    def dropped(self) -> int:
        """Messages refused because there was no room."""
        with self._changed:
            return self._dropped

    def _queued(self) -> int:
        handed = self._handed is not None and self._handed[1]
        return len(self._queue) + handed + sum(queued for _, queued in self._in_flight.values())

    def _is_empty(self) -> bool:
        return not (self._queue or self._due or self._in_flight or self._handed)
