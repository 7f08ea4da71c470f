"""`edge-agent extract`: captures into one table of flow rows, streamed, whole or not at all."""

from __future__ import annotations

import contextlib
import signal
import sys
import tempfile
import threading
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final, NoReturn, cast

from edge_agent.capture.problems import STDIN
from edge_agent.console import forget_output
from edge_agent.contract.errors import CaptureError, OutputError
from edge_agent.contract.files import atomic_output
from edge_agent.extraction_jobs import FLOWS, Metering, metered_parts
from edge_agent.flow.meter import COUNTS
from edge_agent.progress import Progress
from edge_agent.row_writers import Form, Joined, check_form, form_of, open_writer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

# A shell adds this to the number of the signal that ended a program.
_EXIT_OF_SIGNAL: Final = 128


@dataclass(frozen=True, slots=True)
class Extraction:
    """What to meter, and where the rows go.

    Attributes:
        captures: Captures in order; `-` is standard input.
        output: The table, of the form that its ending asks for; `-` is standard output.
        metering: How they are metered.
        jobs: 1: the captures are one, flows go on from file to file. More: each file is metered by
            itself, in so many processes; rows still come in order of the files.
    """

    captures: tuple[Path, ...]
    output: Path
    metering: Metering
    jobs: int = 1

    def run(self) -> dict[str, int]:
        """Meter the captures and write the table.

        Returns:
            Counts: packets metered and skipped, flows.

        Raises:
            CaptureError: A capture cannot be used.
            OutputError: The table cannot be written.
            EdgeIdsError: A job failed.
        """
        form = Form.CSV if self.output == STDIN else form_of(self.output)
        check_form(form)
        self._check_files()
        with _unwound_by_signals(), _destination(self.output) as stream:
            if self.jobs > 1 and len(self.captures) > 1:
                return self._run_jobs(form, stream)
            return self._run_here(form, stream)

    def _run_here(self, form: Form, stream: IO[bytes]) -> dict[str, int]:
        capture = self.metering.open(self.captures)
        writer = open_writer(form, self.metering.profile, stream)
        progress = Progress(capture.size_bytes)
        for rows in capture.batches(lambda: progress.show(lambda: capture.reached(writer.rows))):
            writer.add(rows)
        writer.finish()
        return {**capture.counts(), FLOWS: writer.rows}

    def _run_jobs(self, form: Form, stream: IO[bytes]) -> dict[str, int]:
        total: Counter[str] = Counter()
        progress = Progress(sum(path.stat().st_size for path in self.captures))
        with tempfile.TemporaryDirectory(
            prefix=f".{self.output.name}.", dir=_parts_folder(self.output)
        ) as folder:
            joined = Joined(form, self.metering.profile, stream)
            parts = metered_parts(
                self.captures, self.metering, form, Path(folder), self.jobs, progress
            )
            with contextlib.closing(parts):
                for path, counts in parts:
                    with path.open("rb") as part:
                        joined.append(part)
                    # A table takes its own size of disk and little more, not twice of it.
                    path.unlink()
                    total.update(counts)
            joined.finish()
        first, *others = COUNTS
        return {
            first: total[first],
            **{name: total[name] for name in others if total[name]},
            FLOWS: total[FLOWS],
        }

    def _check_files(self) -> None:
        """Refuse what would be found out only after hours, or would destroy a capture."""
        if self.jobs > 1 and STDIN in self.captures:
            raise CaptureError(
                "standard input",
                "is one stream and has no files to share out",
                remedy="leave out --jobs",
            )
        known: dict[tuple[int, int] | None, Path] = {}
        for path in self.captures:
            identity = _identity(path)
            if identity in known:
                name = "standard input" if path == STDIN else str(path)
                same = "" if known[identity] == path else f", as {known[identity]}"
                raise CaptureError(name, f"is given twice{same}", remedy="give every capture once")
            known[identity] = path
        with contextlib.suppress(OSError):
            found = self.output.stat()
            if self.output != STDIN and (found.st_dev, found.st_ino) in known:
                raise OutputError(f"{self.output}: is one of the captures; write to another name.")


def _identity(path: Path) -> tuple[int, int] | None:
    """What tells a file from all others, by whatever name; None for standard input."""
    if path == STDIN:
        return None
    try:
        # Opened, not only looked at: it must be readable. Not a pipe, whose writer would notice.
        if path.is_file():
            path.open("rb").close()
        found = path.stat()
    except OSError as error:
        raise CaptureError(
            path, f"cannot be opened ({error.strerror})", remedy="check the path"
        ) from error
    return found.st_dev, found.st_ino


def _parts_folder(output: Path) -> Path | None:
    """Where a temporary folder goes: beside the table, on its file system, if that is a file."""
    if output == STDIN or (output.exists() and not output.is_file()):
        return None
    return output.parent


@contextlib.contextmanager
def _destination(output: Path) -> Iterator[IO[bytes]]:
    if output != STDIN:
        with atomic_output(output) as stream:
            yield cast("IO[bytes]", stream)
        return
    try:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        # The reader has seen enough; `console.run_command` knows.
        raise
    except OSError as error:
        forget_output()
        raise OutputError(
            f"standard output: cannot be written ({error.strerror or error}); check where it goes."
        ) from error


@contextlib.contextmanager
def _unwound_by_signals() -> Iterator[None]:
    """End through all clean-up when told to end or when the terminal goes, as with Ctrl-C.

    A signal that is ignored, as `nohup` has it, stays ignored.
    """

    def unwind(number: int, _: FrameType | None) -> NoReturn:
        raise SystemExit(_EXIT_OF_SIGNAL + number)

    # Python lets only the main thread have handlers.
    here = threading.current_thread() is threading.main_thread()
    ours = [
        number
        for number in (signal.SIGTERM, signal.SIGHUP)
        if here and signal.getsignal(number) is signal.SIG_DFL
    ]
    for number in ours:
        signal.signal(number, unwind)
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, signal.SIG_DFL)
