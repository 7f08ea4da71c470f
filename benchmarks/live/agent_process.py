"""`edge-agent run` in a namespace: started, asked for its metrics, stopped."""

from __future__ import annotations

import os
import select
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Final

from benchmarks.live.network import NEAR, MeasuringError
from benchmarks.live.sender import processors
from benchmarks.throughput.measure import ROOT

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from benchmarks.live.network import Space

MODEL: Final = ROOT / "tests" / "agent" / "data" / "lab-a.tflite"
"""Judges where no other model is given: trained on the lab, small."""

_PORT: Final = 9464
_START_LIMIT_S: Final = 60.0
_STOP_LIMIT_S: Final = 30.0
_NOTE_BYTES: Final = 4096
_LOOK_S: Final = 0.5


class AgentProcess:
    """A running agent; a context manager that ends it.

    Args:
        space: Where.
        model: What judges.
        options: More options of `edge-agent run`, such as `--board`.
        metrics: Whether it serves metrics.

    Attributes:
        process: Its number.
        start_s: From its start until it captured and said so.

    Raises:
        MeasuringError: It did not start.
    """

    def __init__(
        self, space: Space, model: Path, options: tuple[str, ...], *, metrics: bool = True
    ) -> None:
        self._space = space
        self._folder = tempfile.TemporaryDirectory(prefix="edge-ids-live-")
        folder = Path(self._folder.name)
        self.log_path = folder / "log"
        self.alerts_path = folder / "alerts"
        # The machine's own configuration is none of the measurement's.
        (folder / "agent.toml").touch()
        command = [sys.executable, "-m", "edge_agent.cli", "run", "--interface", NEAR]
        command += ["--model", str(model), "--config", str(folder / "agent.toml")]
        command += ["--set", f"agent.state_dir={folder}", *options]
        if metrics:
            command += ["--set", "metrics.enabled=true"]
        notes = folder / "notify"
        with (
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager,
            self.log_path.open("wb") as log,
            self.alerts_path.open("wb") as alerts,
        ):
            manager.bind(str(notes))
            begun_s = time.monotonic()
            with space.entered():
                self._popen = subprocess.Popen(
                    command,
                    stdout=alerts,
                    stderr=log,
                    cwd=ROOT,
                    env={**os.environ, "NOTIFY_SOCKET": str(notes)},
                )
            os.sched_setaffinity(self._popen.pid, processors()[1])
            self.process = self._popen.pid
            self.start_s = self._ready_after(manager, begun_s)

    def _ready_after(self, manager: socket.socket, begun_s: float) -> float:
        while time.monotonic() < begun_s + _START_LIMIT_S and self.alive:
            told, _, _ = select.select([manager], [], [], _LOOK_S)
            if told and b"READY=1" in manager.recv(_NOTE_BYTES):
                return time.monotonic() - begun_s
        said = self.log.strip().splitlines()[-1:] or ["it said nothing"]
        self.close()
        raise MeasuringError(f"edge-agent run did not start: {said[0]}")

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self._popen.poll() is None

    @property
    def log(self) -> str:
        """What it wrote on standard error."""
        return self.log_path.read_text(errors="replace")

    def metrics(self) -> dict[str, float]:
        """Its metrics, by name with labels.

        Raises:
            MeasuringError: It gives none.
        """
        try:
            with self._space.entered():
                answer = urllib.request.urlopen(f"http://127.0.0.1:{_PORT}/metrics", timeout=20)
                text = answer.read().decode()
        except OSError as error:
            raise MeasuringError(f"the agent gives no metrics: {error}.") from error
        pairs = (line.rsplit(" ", 1) for line in text.splitlines() if line[0] != "#")
        return {name: float(value) for name, value in pairs}

    def __enter__(self) -> AgentProcess:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End it: politely, then not."""
        self._popen.terminate()
        try:
            self._popen.wait(_STOP_LIMIT_S)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            self._popen.wait()
        self._folder.cleanup()


def added(found: Mapping[str, float], name: str) -> int:
    """A metric over all its labels."""
    return round(
        sum(value for key, value in found.items() if key == name or key.startswith(name + "{"))
    )


def quantile_s(found: Mapping[str, float], name: str, share: float) -> float | None:
    """A quantile of a histogram, straight lines inside buckets; None: nothing, or beyond all."""
    buckets = []
    for key, count in found.items():
        if key.startswith(f'{name}_bucket{{le="') and "+Inf" not in key:
            buckets.append((float(key.split('"')[1]), count))
    total = found.get(f"{name}_count", 0.0)
    if not total:
        return None
    below_s, below = 0.0, 0.0
    for bound_s, count in sorted(buckets):
        if count >= share * total and count > below:
            return below_s + (bound_s - below_s) * (share * total - below) / (count - below)
        below_s, below = bound_s, count
    return None
