"""How far a long read has come, in one line for people."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from edge_agent.console import progress_line

if TYPE_CHECKING:
    from collections.abc import Callable

_EVERY_S: Final = 0.25
# Before, the rate is that of starting up.
_TELLING_S: Final = 2.0
_BAR_WIDTH: Final = 20


@dataclass(frozen=True, slots=True)
class Reached:
    """How far reading has come.

    Attributes:
        bytes_read: Of the captures as they are stored.
        packets: Packets metered.
        flows: Rows given out.
    """

    bytes_read: int = 0
    packets: int = 0
    flows: int = 0

    def __add__(self, other: Reached) -> Reached:
        return Reached(
            self.bytes_read + other.bytes_read,
            self.packets + other.packets,
            self.flows + other.flows,
        )


class Progress:
    """Shows a passing line now and then, on a terminal only.

    Args:
        size_bytes: Of how much; None where that is not known.
        now_s: A clock that never goes back.
    """

    def __init__(self, size_bytes: int | None, now_s: Callable[[], float] = time.monotonic) -> None:
        self._size_bytes = size_bytes
        self._now_s = now_s
        self._begun_s = now_s()
        self._shown_s = self._begun_s

    def show(self, reached: Callable[[], Reached], also: Callable[[], str] = str) -> None:
        """Show how far it is, and `also` behind it; asks only when it is time for that."""
        now_s = self._now_s()
        if now_s - self._shown_s < _EVERY_S:
            return
        self._shown_s = now_s
        text = progress_text(reached(), self._size_bytes, now_s - self._begun_s) + also()
        # A line that wraps could not be overwritten.
        progress_line(text[: shutil.get_terminal_size().columns - 1])


def progress_text(reached: Reached, size_bytes: int | None, elapsed_s: float) -> str:
    """The line, with a bar and the time left where it is known of how much."""
    text = f"{reached.packets:,} packets, {reached.flows:,} flows"
    if not size_bytes:
        return text
    # A file that grows while it is read has more than it had.
    return bar(min(reached.bytes_read / size_bytes, 1.0), elapsed_s, text)


def bar(share: float, elapsed_s: float, text: str) -> str:
    """A bar of what is done, the text, and the time left once that can be told."""
    filled = "#" * round(share * _BAR_WIDTH)
    line = f"[{filled:.<{_BAR_WIDTH}}] {share:4.0%}  {text}"
    if share and elapsed_s >= _TELLING_S:
        line += f", {duration(elapsed_s * (1 - share) / share)} left"
    return line


def duration(time_s: float) -> str:
    """Seconds as people say them."""
    minutes, seconds = divmod(round(time_s), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02} min"
    return f"{minutes} min {seconds:02} s" if minutes else f"{seconds} s"
