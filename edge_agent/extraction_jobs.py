"""Captures metered side by side, each by itself: part files, in order of the captures.

The workers are plain programs that are told what to do, one JSON object a line, and tell how far
they are in the same way. They are sessions of their own, so Ctrl-C reaches the parent alone, which
ends them; and should the parent be gone without a word, they end when their standard input does.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import selectors
import subprocess
import sys
import threading
import time
from dataclasses import astuple, dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

from edge_agent.contract.errors import EdgeIdsError
from edge_agent.contract.profiles import PROFILES, Padding
from edge_agent.flow.limits import Limits
from edge_agent.metering import CaptureMeter
from edge_agent.progress import Progress, Reached
from edge_agent.row_writers import Form, open_writer

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from edge_agent.contract.profiles import Profile

FLOWS: Final = "flows"
"""What a summary calls the rows that were written, beside what the meter counts."""

_TELL_EVERY_S: Final = 0.25
_READ_BYTES: Final = 65_536
# With the parent's search path, which is not always the one that a fresh interpreter has.
_PROGRAM: Final = (
    "import sys; sys.path[:] = sys.argv[1:]; from edge_agent.extraction_jobs import work; work()"
)


@dataclass(frozen=True, slots=True)
class Metering:
    """How captures are metered.

    Attributes:
        profile: What a flow is and what is counted of it.
        allow_cut: Take a capture that is cut as far as it goes.
        padding: Other than the profile's: to replay the captures of 2017.
        limits: Bounds of each meter's memory.
    """

    profile: Profile
    allow_cut: bool = False
    padding: Padding | None = None
    limits: Limits = field(default_factory=Limits)

    def open(self, paths: Sequence[Path]) -> CaptureMeter:
        """Open captures that are one."""
        return CaptureMeter(
            paths,
            self.profile,
            allow_cut=self.allow_cut,
            padding=self.padding,
            limits=self.limits,
        )

    def to_json(self) -> dict[str, Any]:
        """For another process."""
        return {
            "profile": self.profile.name,
            "allow_cut": self.allow_cut,
            "padding": self.padding and self.padding.value,
            "limits": [self.limits.max_flows, self.limits.max_context_keys],
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Metering:
        """What `to_json` gave."""
        return cls(
            PROFILES[value["profile"]],
            value["allow_cut"],
            value["padding"] and Padding(value["padding"]),
            Limits(*value["limits"]),
        )


def metered_parts(
    captures: Sequence[Path],
    metering: Metering,
    form: Form,
    folder: Path,
    jobs: int,
    progress: Progress,
) -> Generator[tuple[Path, dict[str, int]], None, None]:
    """Meter captures, several at once. To be closed: then no process is left.

    Args:
        captures: Files.
        metering: How.
        form: What the parts are.
        folder: Takes the parts; they are the caller's to delete.
        jobs: Processes.
        progress: Shows how far they are.

    Yields:
        The part of each capture, in order, and what was counted of it.

    Raises:
        EdgeIdsError: A capture cannot be used, or a process ended before its time.
        OSError: A part cannot be written.
    """
    waiting = list(enumerate(captures))[::-1]
    reached = [Reached()] * len(captures)
    done: dict[int, dict[str, int]] = {}
    following = 0
    with contextlib.ExitStack() as stack:
        selector = stack.enter_context(selectors.DefaultSelector())
        for _ in range(min(jobs, len(captures))):
            worker = _Worker(metering, form, folder, jobs)
            stack.callback(worker.end)
            selector.register(worker.output, selectors.EVENT_READ, worker)
            worker.give(*waiting.pop())
        while following < len(captures):
            for key, _ in selector.select():
                for message in key.data.messages():
                    reached[message["number"]] = Reached(*message["reached"])
                    if "counts" in message:
                        done[message["number"]] = message["counts"]
                        if waiting:
                            key.data.give(*waiting.pop())
            progress.show(lambda: sum(reached, Reached()))
            while following in done:
                yield _part(folder, following), done.pop(following)
                following += 1


def _part(folder: Path, number: int) -> Path:
    return folder / f"part-{number}"


class _Worker:
    """A process, from the parent's side."""

    def __init__(self, metering: Metering, form: Form, folder: Path, jobs: int) -> None:
        # Each job's share of the processors, unless somebody has decided otherwise.
        threads = max(1, (os.cpu_count() or 1) // jobs)
        self._process = subprocess.Popen(
            [sys.executable, "-c", _PROGRAM, *sys.path],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
            env={"POLARS_MAX_THREADS": str(threads), **os.environ},
        )
        self._capture = Path()
        self._line = b""
        self._say({"metering": metering.to_json(), "form": form.value, "folder": str(folder)})

    @property
    def output(self) -> IO[bytes]:
        return _there(self._process.stdout)

    def give(self, number: int, capture: Path) -> None:
        self._capture = capture
        self._say({"number": number, "capture": str(capture)})

    def messages(self) -> list[dict[str, Any]]:
        """What has been said since the last time; waits for something."""
        data = os.read(self.output.fileno(), _READ_BYTES)
        if not data:
            raise self._gone()
        *lines, self._line = (self._line + data).split(b"\n")
        messages = [json.loads(line) for line in lines]
        for message in messages:
            if "errno" in message:
                raise OSError(message["errno"], os.strerror(message["errno"]))
            if "error" in message:
                raise EdgeIdsError(message["error"])
        return messages

    def end(self) -> None:
        self._process.kill()
        self._process.wait()
        self.output.close()
        with contextlib.suppress(BrokenPipeError):
            _there(self._process.stdin).close()

    def _say(self, message: dict[str, Any]) -> None:
        stream = _there(self._process.stdin)
        try:
            stream.write(json.dumps(message).encode() + b"\n")
            stream.flush()
        except BrokenPipeError:
            raise self._gone() from None

    def _gone(self) -> EdgeIdsError:
        status = self._process.wait()
        how = f"was ended by signal {-status}" if status < 0 else f"ended with status {status}"
        return EdgeIdsError(
            f"{self._capture}: the process that metered it {how}; if memory was short, use fewer"
            " --jobs."
        )


def _there(stream: IO[bytes] | None) -> IO[bytes]:
    if stream is None:
        raise AssertionError("the process was started with pipes")
    return stream


def work() -> None:
    """Do what the parent says until it says no more; a worker's `main`."""
    lines = _lines_of_parent()
    options = json.loads(lines.get())
    metering = Metering.from_json(options["metering"])
    while True:
        task = json.loads(lines.get())
        number, part = task["number"], _part(Path(options["folder"]), task["number"])
        try:
            _meter(number, Path(task["capture"]), metering, Form(options["form"]), part)
        except EdgeIdsError as error:
            _tell({"error": str(error)})
        except MemoryError:
            _tell({"error": f"{task['capture']}: is too much for the memory; use fewer --jobs."})
        except OSError as error:
            _tell({"errno": error.errno})


def _meter(number: int, path: Path, metering: Metering, form: Form, part: Path) -> None:
    capture = metering.open([path])
    told_s = time.monotonic()

    def reached() -> dict[str, Any]:
        return {"number": number, "reached": astuple(capture.reached(writer.rows))}

    def on_block() -> None:
        nonlocal told_s
        now_s = time.monotonic()
        if now_s - told_s >= _TELL_EVERY_S:
            told_s = now_s
            _tell(reached())

    with part.open("xb") as stream:
        writer = open_writer(form, metering.profile, stream, part=True)
        for rows in capture.batches(on_block):
            writer.add(rows)
        writer.finish()
    _tell({**reached(), "counts": {**capture.counts(), FLOWS: writer.rows}})


def _tell(message: dict[str, Any]) -> None:
    try:
        print(json.dumps(message), flush=True)
    except BrokenPipeError:
        # The parent is gone: nobody is left to be told of that.
        os._exit(1)


def _lines_of_parent() -> queue.SimpleQueue[bytes]:
    """Lines from standard input; when it ends, the parent is done or gone, and so is this."""
    lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()

    def read() -> None:
        for line in sys.stdin.buffer:
            lines.put(line)
        os._exit(0)

    threading.Thread(target=read, daemon=True).start()
    return lines
