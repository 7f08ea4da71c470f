"""The service's log on standard error: text or JSON, and never a flood.

What repeats is cut to a number of lines a minute for each place in the code; how many were left
out is said with the next line from there. Nothing of this needs a file, so there is none to rotate.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TextIO

_MINUTE_S: Final = 60.0
# More places than the program has.
_MAX_PLACES: Final = 1000
# sd-daemon(3): a line may begin with its priority.
_PRIORITIES: Final = {
    logging.DEBUG: 7,
    logging.INFO: 6,
    logging.WARNING: 4,
    logging.ERROR: 3,
    logging.CRITICAL: 2,
}


class RateLimit(logging.Filter):
    """Lets the first lines of each place in a minute through, and says how many it kept back.

    Args:
        per_minute: Lines a minute from one place.
        now_s: A clock that never goes back.
    """

    def __init__(self, per_minute: int, now_s: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self.per_minute = per_minute
        self._now_s = now_s
        self._places: dict[tuple[str, int], list[float]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a line is written; `repeats` of the record says what was not before it."""
        now_s = self._now_s()
        if len(self._places) > _MAX_PLACES:
            self._places.clear()
        begun_s, lines, kept_back = self._places.get((record.pathname, record.lineno), (0.0, 0, 0))
        if not lines or now_s - begun_s >= _MINUTE_S:
            begun_s, lines = now_s, 0
        passes = lines < self.per_minute
        if passes:
            record.repeats = int(kept_back)
        self._places[record.pathname, record.lineno] = [
            begun_s,
            lines + passes,
            0 if passes else kept_back + 1,
        ]
        return passes


class TextFormat(logging.Formatter):
    """One line for people; the journal adds the time, a terminal needs it.

    Args:
        journal: Whether the lines go to the journal, which takes a priority before each.
    """

    def __init__(self, journal: bool) -> None:
        super().__init__("%(message)s" if journal else "%(asctime)s %(levelname)s %(message)s")
        self._journal = journal

    def format(self, record: logging.LogRecord) -> str:
        """See `logging.Formatter`."""
        text = super().format(record)
        if repeats := getattr(record, "repeats", 0):
            text += f" (and {repeats:,} like it before, not written)"
        if not self._journal:
            return text
        priority = _PRIORITIES.get(record.levelno, 6)
        return "\n".join(f"<{priority}>{line}" for line in text.splitlines())


class JsonFormat(logging.Formatter):
    """One JSON object a line, for collectors."""

    def format(self, record: logging.LogRecord) -> str:
        """See `logging.Formatter`."""
        moment = time.gmtime(record.created)
        line: dict[str, object] = {
            "time": f"{time.strftime('%Y-%m-%dT%H:%M:%S', moment)}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if repeats := getattr(record, "repeats", 0):
            line["repeats"] = repeats
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


def open_log(
    level: str,
    layout: str,
    repeats_per_minute: int,
    *,
    journal: bool,
    stream: TextIO | None = None,
) -> None:
    """Send everything the package logs to standard error; called again, it replaces itself.

    Args:
        level: "debug", "info", "warning" or "error".
        layout: "text" or "json".
        repeats_per_minute: Lines a minute from one place in the code.
        journal: Whether the lines go to the journal.
        stream: Other than standard error.
    """
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormat() if layout == "json" else TextFormat(journal))
    handler.addFilter(RateLimit(repeats_per_minute))
    log = logging.getLogger("edge_agent")
    for former in list(log.handlers):
        log.removeHandler(former)
    log.addHandler(handler)
    log.setLevel(level.upper())
    log.propagate = False
