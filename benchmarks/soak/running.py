"""One soak: broker, agent, subscriber and sender in a namespace, and what is read meanwhile."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from benchmarks.live import readings
from benchmarks.live.agent_process import AgentProcess, added
from benchmarks.live.network import MeasuringError, awaited
from benchmarks.live.sender import processors
from benchmarks.throughput.measure import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmarks.live.network import Space

_PORT: Final = 1883
_BROKER: Final = f"mqtt://127.0.0.1:{_PORT}"
_START_S: Final = 10.0
_EVERY_S: Final = 1.0
# After the last frame: flows that wait, and their alerts.
_AFTER_S: Final = 6.0
_PROGRAMS: Final = ("mosquitto", "mosquitto_sub")


@dataclass(frozen=True, slots=True)
class Load:
    """What is sent.

    Attributes:
        minutes: How long.
        flows_per_s: Everyday conversations that begin.
        flood_per_s: Packets of a flood, if the machine can.
        flood_s: How long a flood lasts.
    """

    minutes: float
    flows_per_s: int
    flood_per_s: float
    flood_s: float


@dataclass(slots=True)
class Record:
    """What was seen.

    Attributes:
        times_s: When the agent was read, from the traffic's beginning.
        resident: Its memory in RAM, in bytes.
        cpu_s: Processor time until then.
        dropped: Packets that the kernel had dropped until then.
        skipped: Flows that were left out until then.
        told: What the sender told, in its order.
        messages: When each alert came at the subscriber, Unix time, and the alert.
        metrics: The last that were read.
        alive: Whether the agent ran to the end.
        log: What it wrote on standard error.
    """

    times_s: list[float] = field(default_factory=list)
    resident: list[int] = field(default_factory=list)
    cpu_s: list[float] = field(default_factory=list)
    dropped: list[int] = field(default_factory=list)
    skipped: list[int] = field(default_factory=list)
    told: list[dict[str, Any]] = field(default_factory=list)
    messages: list[tuple[float, dict[str, Any]]] = field(default_factory=list)
    metrics: dict[str, float] = field(default_factory=dict)
    alive: bool = True
    log: str = ""


def lacking() -> str:
    """Which program is not installed; nothing if all are."""
    absent = [name for name in _PROGRAMS if shutil.which(name, path=_path()) is None]
    return f"{' and '.join(absent)} not installed (mosquitto, mosquitto-clients)" if absent else ""


def _path() -> str:
    # Debian's mosquitto is in a folder that only root's path has.
    return os.environ.get("PATH", "") + ":/usr/sbin"


def soak(
    space: Space, model: Path, options: tuple[str, ...], load: Load, say: Callable[[str], None]
) -> Record:
    """Run it.

    Args:
        space: Where.
        model: What judges.
        options: More options of the agent.
        load: What is sent.
        say: Told how it goes.

    Raises:
        MeasuringError: A program did not start, or the sender failed.
    """
    record = Record()
    with ExitStack() as opened:
        folder = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="edge-ids-soak-")))
        opened.enter_context(_broker(space, folder))
        heard = folder / "heard"
        opened.enter_context(_subscriber(space, heard))
        agent = opened.enter_context(AgentProcess(space, model, ("--broker", _BROKER, *options)))
        told = folder / "told"
        sender = opened.enter_context(_sender(space, load, told))
        _watch(agent, sender, load, record, say)
        if sender.returncode:
            raise MeasuringError("the sender failed; it has said why.")
        time.sleep(_AFTER_S)
        record.alive = agent.alive
        record.log = agent.log
        record.told = [json.loads(line) for line in told.read_text().splitlines()]
        record.messages = list(messages(heard.read_text(errors="replace")))
    return record


def _watch(
    agent: AgentProcess,
    sender: subprocess.Popen[bytes],
    load: Load,
    record: Record,
    say: Callable[[str], None],
) -> None:
    begun_s = next_s = time.monotonic()
    while sender.poll() is None and agent.alive:
        time.sleep(max(0.0, next_s - time.monotonic()))
        next_s += _EVERY_S
        now_s = time.monotonic() - begun_s
        resident = readings.resident_bytes([agent.process])
        used_s = readings.cpu_s([agent.process])
        try:
            record.metrics = agent.metrics()
        except MeasuringError:
            if agent.alive:
                raise
            return
        record.times_s.append(now_s)
        record.resident.append(resident)
        record.cpu_s.append(used_s)
        record.dropped.append(added(record.metrics, "edge_ids_packets_dropped_total"))
        record.skipped.append(added(record.metrics, "edge_ids_flows_skipped_total"))
        say(
            f"{now_s / 60:.1f} of {load.minutes:g} minutes: {resident / 1e6:.1f} MB,"
            f" {record.dropped[-1]:,} dropped, {record.skipped[-1]:,} flows skipped"
        )


def messages(text: str) -> Iterator[tuple[float, dict[str, Any]]]:
    """Alerts among what mosquitto_sub printed: Unix time, topic and payload a line."""
    for line in text.splitlines():
        at, _, rest = line.partition(" ")
        _, _, payload = rest.partition(" ")
        with contextlib.suppress(ValueError):
            found = json.loads(payload)
            if isinstance(found, dict) and "event" in found and "source" in found:
                yield float(at), found


@contextlib.contextmanager
def _running(
    space: Space, command: list[str], output: Path | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    with ExitStack() as opened:
        stdout = subprocess.DEVNULL if output is None else opened.enter_context(output.open("wb"))
        with space.entered():
            process = subprocess.Popen(
                command, stdout=stdout, cwd=ROOT, env={**os.environ, "PATH": _path()}
            )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@contextlib.contextmanager
def _broker(space: Space, folder: Path) -> Iterator[None]:
    config = folder / "mosquitto.conf"
    config.write_text(
        f"listener {_PORT} 127.0.0.1\nallow_anonymous true\npersistence false\nuser root\n"
        "log_type error\n"
    )

    def answers() -> bool:
        with space.entered(), socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", _PORT)) == 0

    with _running(space, ["mosquitto", "-c", str(config)]):
        if not awaited(answers, _START_S):
            raise MeasuringError("mosquitto did not start; it has said why.")
        yield


@contextlib.contextmanager
def _subscriber(space: Space, output: Path) -> Iterator[None]:
    # Retained messages too: the agent's status comes, whenever we subscribe.
    options = ["-h", "127.0.0.1", "-p", str(_PORT), "-t", "edge-ids/#", "-q", "1"]
    with _running(space, ["mosquitto_sub", *options, "-F", "%U %t %p"], output):
        # It says nothing when it has subscribed; the agent takes longer to start.
        yield


@contextlib.contextmanager
def _sender(space: Space, load: Load, output: Path) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "benchmarks.soak.sender", str(load.minutes)]
    command += [str(load.flows_per_s), str(load.flood_per_s), str(load.flood_s)]
    with _running(space, command, output) as process:
        os.sched_setaffinity(process.pid, processors()[0])
        yield process
