"""Ctrl-C while a model learns: once stops it and keeps what it has learned, twice ends at once."""

from __future__ import annotations

import contextlib
import signal
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType


class Interruption:
    """Whether the user asked to stop."""

    def __init__(self) -> None:
        self._asked = False

    def __call__(self) -> bool:
        """See the class."""
        return self._asked

    @contextlib.contextmanager
    def listening(self, tell: Callable[[str], None]) -> Iterator[None]:
        """Take the first Ctrl-C as a wish to stop; the next one is Python's own.

        Args:
            tell: Called with what that means.
        """
        if threading.current_thread() is not threading.main_thread():
            # Signals belong to the main thread; elsewhere nobody presses keys.
            yield
            return
        before = signal.getsignal(signal.SIGINT)

        def ask(_number: int, _frame: FrameType | None) -> None:
            self._asked = True
            signal.signal(signal.SIGINT, signal.default_int_handler)
            tell("stopping; what was learned so far is kept. Ctrl-C again ends at once.")

        signal.signal(signal.SIGINT, ask)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)
