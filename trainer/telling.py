"""What a run tells people while it goes on, on standard error."""

from __future__ import annotations

import shutil
import sys
import time
from typing import TYPE_CHECKING, Final

from edge_agent.console import end_progress, progress_line
from edge_agent.progress import bar, duration

if TYPE_CHECKING:
    from trainer.models.base import Progress

# Lines in a log are for people who come later: every fifth epoch is enough for them.
_SPARSE_EPOCHS: Final = 5
_EVERY_S: Final = 0.25


class Teller:
    """Steps as lines; in between one passing line, on a terminal only.

    Args:
        quiet: Say nothing.
    """

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._terminal = sys.stderr.isatty()
        self._begun_s: float | None = None
        self._shown_s = 0.0

    def step(self, text: str) -> None:
        """A line that stays."""
        self._begun_s = None
        if not self._quiet:
            end_progress()
            print(text, file=sys.stderr, flush=True)

    def reading(self, done_bytes: int, total_bytes: int, rows: int) -> None:
        """How far reading is."""
        now_s = time.monotonic()
        if self._begun_s is None:
            self._begun_s = now_s
        if not self._due(now_s):
            return
        text = f"{rows:,} rows"
        if total_bytes:
            share = min(done_bytes / total_bytes, 1.0)
            text = f"reading {bar(share, now_s - self._begun_s, text)}"
        self._pass(text)

    def progress(self, name: str, progress: Progress) -> None:
        """How far a model's fitting is."""
        now_s = time.monotonic()
        ended = progress.epoch_ended
        if self._quiet or not (ended or self._due(now_s)):
            return
        text = f"{name}: {progress.epoch}/{progress.epochs}"
        if progress.loss is not None:
            text += f", loss {progress.loss:.4f}"
        if progress.f1 is not None:
            text += f", validation F1 {progress.f1:.4f}"
        if progress.left_s is not None:
            text += f", at most {duration(progress.left_s)} left"
        if self._terminal:
            self._pass(text)
        elif ended and progress.epoch % _SPARSE_EPOCHS == 0:
            print(text, file=sys.stderr, flush=True)

    def _due(self, now_s: float) -> bool:
        if self._quiet or not self._terminal or now_s - self._shown_s < _EVERY_S:
            return False
        self._shown_s = now_s
        return True

    def _pass(self, text: str) -> None:
        # A line that wraps could not be overwritten.
        progress_line(text[: shutil.get_terminal_size().columns - 1])
