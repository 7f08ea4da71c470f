"""What the three commands share at their rim: errors to sentences, sentences to exit codes.

Exit codes: 0 done, 1 failed, 2 usage (click's own), 3 a gate refused, 130 interrupted.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Final

from edge_agent.contract.errors import EdgeIdsError

if TYPE_CHECKING:
    from collections.abc import Callable

INTERRUPTED: Final = 130


def run_command(name: str, debug: bool, work: Callable[[], None]) -> None:
    """Do a command's work; tell known errors in one sentence and exit with their code.

    Args:
        name: The command, for the message ("edge-agent extract").
        debug: Show tracebacks.
        work: The command's body. It returns when done.

    Raises:
        SystemExit: When the work failed, a gate refused, or the user interrupted.
    """
    try:
        try:
            work()
        finally:
            # Whatever ends the work: no message may stand behind a passing line.
            end_progress()
        sys.stdout.flush()
    except EdgeIdsError as error:
        if debug:
            raise
        print(f"{name}: error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except BrokenPipeError:
        # The reader of our output went away (`| head`): not an error, but nothing more to say.
        forget_output()
        sys.exit(0)
    except KeyboardInterrupt:
        print(f"{name}: interrupted.", file=sys.stderr)
        sys.exit(INTERRUPTED)
    except MemoryError:
        if debug:
            raise
        print(f"{name}: error: out of memory; use fewer rows or a larger machine.", file=sys.stderr)
        sys.exit(1)


def forget_output() -> None:
    """Send standard output to nowhere: Python would flush it again at exit, and complain again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def progress_line(text: str) -> None:
    """Show a passing line on standard error; on a terminal only, where it overwrites itself."""
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


def end_progress() -> None:
    """Clear the passing line."""
    if sys.stderr.isatty():
        print("\r\033[K", end="", file=sys.stderr, flush=True)
