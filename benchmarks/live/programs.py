"""The programs that are measured: how each is started, and how it tells what it has read."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from benchmarks.live.agent_process import AgentProcess, added
from benchmarks.live.network import NEAR, MeasuringError, awaited
from benchmarks.live.sender import processors
from benchmarks.throughput.measure import ROOT
from benchmarks.throughput.peers import NFSTREAM

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from benchmarks.live.network import Space

AGENT: Final = "edge-agent run"
TCPDUMP: Final = "tcpdump"
SOCKET: Final = "Python socket loop"

_START_LIMIT_S: Final = 60.0
# What is still in a buffer when the last frame has been sent may be read so long afterwards.
GRACE_S: Final = 1.0
# NFStream brings its counts up to date with the first packet that comes a second after the last
# time, and reports them every second.
_NFSTREAM_GRACE_S: Final = 1.2
_NFSTREAM_TRICKLE: Final = (20.0, 2.5)
_KIB: Final = 1024


@dataclass(frozen=True, slots=True)
class Counted:
    """What a program says of itself: packets read, and packets lost by its drop counter."""

    received: int
    dropped: int


class Running(ABC):
    """A program that captures on `NEAR`; a context manager that ends it."""

    process: int

    @abstractmethod
    def counted(self, sent: int) -> Counted:
        """What it has read by now; it waits for `sent` packets as long as seems fair, and may end.

        Raises:
            MeasuringError: It does not tell.
        """

    @abstractmethod
    def close(self) -> None:
        """End it, if it has not ended."""

    def __enter__(self) -> Running:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class Program(ABC):
    """A program under measurement.

    Attributes:
        name: For tables and JSON.
        trickle: Packets a second, and seconds, that it needs after a trial to tell its counts.
    """

    name: str
    trickle: tuple[float, float] | None = None

    @property
    @abstractmethod
    def what(self) -> str:
        """The command as it is run, for people."""

    @abstractmethod
    def start(self, space: Space) -> Running:
        """Start it, and wait until it captures.

        Raises:
            MeasuringError: It does not.
        """


@dataclass
class _Agent(Running):
    agent: AgentProcess
    last: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.process = self.agent.process

    def counted(self, sent: int) -> Counted:
        """See `Running.counted`."""
        end_s = time.monotonic() + GRACE_S
        while True:
            self.last = self.agent.metrics()
            found = Counted(
                # Its packets are those of the frames that it could read; the others it skips.
                added(self.last, "edge_ids_packets_total")
                + added(self.last, "edge_ids_frames_skipped_total"),
                added(self.last, "edge_ids_packets_dropped_total"),
            )
            if found.received >= sent or time.monotonic() > end_s:
                return found
            time.sleep(0.1)

    def close(self) -> None:
        """See `Running.close`."""
        self.agent.close()


@dataclass(frozen=True)
class Agent(Program):
    """`edge-agent run`.

    Attributes:
        model: What judges.
        options: More of its options.
    """

    model: Path
    options: tuple[str, ...]
    name: str = AGENT

    @property
    def what(self) -> str:
        """See `Program`."""
        return f"edge-agent run --model {self.model.name} {' '.join(self.options)}"

    def start(self, space: Space) -> _Agent:
        """See `Program.start`."""
        return _Agent(AgentProcess(space, self.model, self.options))


class _Command(Running):
    """A program that is a command line and says everything on its standard output or error."""

    says_ready = ""
    """What stands in its output once it captures, besides that it listens."""
    says_ready_times = 1

    def __init__(self, space: Space, command: list[str]) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="edge-ids-live-")
        self._said = Path(self._folder.name, "said")
        self._name = Path(command[0]).name
        with self._said.open("wb") as said, space.entered():
            self._popen = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                cwd=ROOT,
                start_new_session=True,
            )
        self.process = self._popen.pid
        os.sched_setaffinity(self.process, processors()[1])
        if not awaited(lambda: self._is_ready(space), _START_LIMIT_S):
            last = self.last_line
            self.close()
            raise MeasuringError(f"{self._name} did not start: {last}.")

    def _is_ready(self, space: Space) -> bool:
        if self._popen.poll() is not None:
            raise MeasuringError(f"{self._name} ended at once: {self.last_line}.")
        told = self.said.count(self.says_ready) >= self.says_ready_times
        return told and space.listens(NEAR)

    @property
    def last_line(self) -> str:
        return (self.said.strip().splitlines() or ["it said nothing"])[-1]

    @property
    def said(self) -> str:
        return self._said.read_text(errors="replace")

    def end(self, number: int) -> None:
        self._popen.send_signal(number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._popen.wait(10)

    def close(self) -> None:
        """See `Running.close`."""
        with contextlib.suppress(ProcessLookupError):
            # Its group: NFStream has children.
            os.killpg(self.process, signal.SIGKILL)
        self._popen.wait()
        self._folder.cleanup()


class _Tcpdump(_Command):
    says_ready = "listening on"

    def counted(self, sent: int) -> Counted:  # noqa: ARG002 - it does not tell while it runs
        """See `Running.counted`."""
        time.sleep(GRACE_S)
        self.end(signal.SIGINT)
        return tcpdump_counts(self.said)


def tcpdump_counts(said: str) -> Counted:
    """What tcpdump tells at its end.

    Raises:
        MeasuringError: It does not.
    """
    read = re.search(r"(\d+) packets? captured", said)
    dropped = re.search(r"(\d+) packets? dropped by kernel", said)
    # Only there where it is not 0.
    lost = re.search(r"(\d+) packets? dropped by interface", said)
    if read is None or dropped is None:
        raise MeasuringError("tcpdump ended without telling what it captured.")
    return Counted(int(read[1]), int(dropped[1]) + (int(lost[1]) if lost else 0))


@dataclass(frozen=True)
class Tcpdump(Program):
    """tcpdump that writes to nowhere.

    Attributes:
        buffer_bytes: Its ring.
    """

    buffer_bytes: int
    name: str = TCPDUMP

    @property
    def what(self) -> str:
        """See `Program`."""
        return " ".join(self._command())

    def _command(self) -> list[str]:
        size = str(self.buffer_bytes // _KIB)
        return ["tcpdump", "-i", NEAR, "-n", "-s", "0", "-B", size, "-w", "/dev/null"]

    def start(self, space: Space) -> _Tcpdump:
        """See `Program.start`."""
        return _Tcpdump(space, self._command())


class _NFStream(_Command):
    # It opens the interface once to try it, and reports whether or not it captures already; two
    # reports are two seconds.
    says_ready = "packets_processed"
    says_ready_times = 2

    def counted(self, sent: int) -> Counted:
        """See `Running.counted`."""
        awaited(lambda: nfstream_counts(self.said).received >= sent, _NFSTREAM_GRACE_S)
        return nfstream_counts(self.said)


def nfstream_counts(said: str) -> Counted:
    """The last of NFStream's performance reports; zeros where there is none yet."""
    for line in reversed(said.splitlines()):
        with contextlib.suppress(ValueError, KeyError, TypeError):
            found = json.loads(line)
            return Counted(
                found["packets_processed"] + found["packets_ignored"],
                found["packets_dropped_filtered_by_kernel"],
            )
    return Counted(0, 0)


@dataclass(frozen=True)
class NFStream(Program):
    """NFStream, live.

    Attributes:
        python: The interpreter of its environment.
        buffer_bytes: Its ring.
        version: Which it is.
    """

    python: Path
    buffer_bytes: int
    version: str
    name: str = NFSTREAM
    trickle: tuple[float, float] | None = _NFSTREAM_TRICKLE

    @property
    def what(self) -> str:
        """See `Program`."""
        return (
            f"{self.version}, NFStreamer(source={NEAR!r}, statistical_analysis=True,"
            f" n_dissections=0, n_meters=1, socket_buffer_size={self.buffer_bytes})"
        )

    def start(self, space: Space) -> _NFStream:
        """See `Program.start`."""
        child = ROOT / "benchmarks" / "live" / "nfstream_child.py"
        # Unbuffered: its reports are read while it runs.
        command = [str(self.python), "-u", str(child), NEAR, str(self.buffer_bytes)]
        return _NFStream(space, command)


class _Socket(_Command):
    def counted(self, sent: int) -> Counted:  # noqa: ARG002 - it does not tell while it runs
        """See `Running.counted`."""
        time.sleep(GRACE_S)
        self.end(signal.SIGTERM)
        words = self.said.split()
        if len(words) != 2:
            raise MeasuringError("the socket loop ended without telling what it read.")
        return Counted(int(words[0]), int(words[1]))


@dataclass(frozen=True)
class SocketLoop(Program):
    """A packet socket read frame by frame.

    Attributes:
        buffer_bytes: Its receive buffer.
    """

    buffer_bytes: int
    name: str = SOCKET

    @property
    def what(self) -> str:
        """See `Program`."""
        return f"recv() in a loop, SO_RCVBUFFORCE {self.buffer_bytes}"

    def start(self, space: Space) -> _Socket:
        """See `Program.start`."""
        child = ROOT / "benchmarks" / "live" / "socket_child.py"
        return _Socket(space, [sys.executable, str(child), NEAR, str(self.buffer_bytes)])
