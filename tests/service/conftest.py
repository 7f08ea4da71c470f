"""`edge-agent run` as a process in a network namespace, and traffic for it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.agent.conftest import LAB_MODEL
from tests.capture.network import Space, awaited, networks, space
from tests.packets import Segment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["networks", "space"]  # fixtures

ATTACKER: Final = "10.0.0.66"
VICTIM: Final = "10.0.0.1"
METRICS_PORT: Final = 9464

PYTHON_IN: Final = [sys.executable, "-m", "edge_agent.cli"]


def scan(ports: range, source: str = ATTACKER, target: str = VICTIM) -> list[bytes]:
    """A scan of closed ports: every SYN is answered by a RST."""
    frames = []
    for port in ports:
        asked = Segment(0, source, 40_000 + port % 20_000, target, port, flags="S")
        refused = Segment(0, target, port, source, 40_000 + port % 20_000, flags="RA")
        frames += [asked.frame(), refused.frame()]
    return frames


@dataclass
class Running:
    """A running agent.

    Attributes:
        process: The agent itself.
        space: Where it runs.
        folder: Holds its output.
    """

    process: subprocess.Popen[bytes]
    space: Space
    folder: Path

    @property
    def log(self) -> str:
        """What it wrote on standard error."""
        return (self.folder / "log").read_text()

    def alerts(self) -> list[dict[str, Any]]:
        """What it printed."""
        lines = (self.folder / "alerts").read_text().splitlines()
        return [json.loads(line) for line in lines]

    def saw(self, text: str) -> None:
        """Wait until a text is in the log."""
        awaited(lambda: text in self.log or self.process.poll() is not None, text)
        assert text in self.log, self.log

    def metrics(self) -> dict[str, float]:
        """Its metrics, by name with labels."""
        with self.space.entered():
            answer = urllib.request.urlopen(f"http://127.0.0.1:{METRICS_PORT}/metrics", timeout=20)
            text = answer.read().decode()
        pairs = (line.rsplit(" ", 1) for line in text.splitlines() if line[0] != "#")
        return {name: float(value) for name, value in pairs}

    def metric(self, name: str) -> float:
        """One of them."""
        return self.metrics()[name]

    def scan(self, ports: range = range(1, 301), source: str = ATTACKER) -> None:
        """Somebody scans ports before its eyes."""
        self.space.send("far", *scan(ports, source))

    def tells(self, event: str, source: str = ATTACKER) -> dict[str, Any]:
        """Wait for an alert of a source, and give it."""

        def found() -> list[dict[str, Any]]:
            return [a for a in self.alerts() if (a["event"], a["source"]) == (event, source)]

        awaited(lambda: bool(found()), f"{event} of {source}; {self.log}")
        return found()[0]

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and wait for the end; the exit code."""
        self.process.send_signal(number)
        return self.process.wait(30)


@dataclass
class Agents:
    """Starts agents in a namespace."""

    space: Space
    folder: Path
    started: list[Running] = field(default_factory=list)

    def start(
        self,
        *arguments: str,
        model: Path = LAB_MODEL,
        interface: str = "near",
        environment: dict[str, str] | None = None,
        stdout: str | None = None,
        before: tuple[str, ...] = (),
    ) -> Running:
        """Start one, without waiting for it."""
        folder = self.folder / f"agent-{len(self.started)}"
        folder.mkdir()
        command = [*before, *PYTHON_IN, "run", "--interface", interface, "--model", str(model)]
        # A board's ring is too large for many tests on one machine.
        command += ["--board", "raspberry-pi-zero-2w", "--set", "capture.block_timeout_ms=20"]
        command += arguments
        # An empty file: the machine's own configuration is none of the test's.
        empty = folder / "agent.toml"
        empty.touch()
        if not {"-c", "--config"} & set(arguments):
            command += ["--config", str(empty)]
        with (
            (folder / "log").open("wb") as log,
            Path(stdout or folder / "alerts").open("wb") as alerts,
            self.space.entered(),
        ):
            process = subprocess.Popen(
                command, stdout=alerts, stderr=log, env={**os.environ, **(environment or {})}
            )
        running = Running(process, self.space, folder)
        self.started.append(running)
        return running

    def run(self, *arguments: str, **options: Any) -> Running:
        """Start one, and wait until it captures."""
        running = self.start(*arguments, **options)
        running.saw("capturing on")
        return running

    def watched(self, *arguments: str, **options: Any) -> Running:
        """Start one with metrics, and wait until it captures."""
        return self.run("--set", "metrics.enabled=true", *arguments, **options)


@pytest.fixture
def agents(space: Space, tmp_path: Path) -> Iterator[Agents]:
    """Starts agents that listen on `near`; what is sent on `far` arrives there."""
    made = Agents(space, tmp_path)
    yield made
    for running in made.started:
        with contextlib.suppress(ProcessLookupError):
            running.process.kill()
        running.process.wait()


@pytest.fixture
def until() -> Callable[[Callable[[], bool], str], None]:
    """Waits."""
    return awaited


def seconds_ago(text: str) -> float:
    """How long ago a time of an alert was."""
    from edge_agent.contract.alerts import parse_time

    return time.time() - parse_time(text) / 1e6
