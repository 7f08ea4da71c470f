"""What programs cost on a trace, taking turns; ratios are formed within a round.

A round runs every contender once, and every second round goes the other way: machines change their
speed while they are measured, and a ratio of two runs seconds apart survives that. Each contender
is a process of its own, on one CPU where the system lets us choose. Its rate is packets per second
of processor time, user and system, of itself and all its descendants.

The start of a program is told apart: each contender also runs on a capture without packets in every
round, and the median cost of that is what "beyond start" leaves out.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, Final

from edge_agent.contract.errors import EdgeIdsError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from benchmarks.throughput.traces import Trace

ROOT: Final = Path(__file__).resolve().parents[2]
"""The checkout, where contenders run: `python -m` finds its packages there."""

# Several times what the slowest contender takes for its share of the default trace.
_LIMIT_S: Final = 300
_LAUNCHER: Final = Path(__file__).with_name("launcher.py")
# What a program costs beyond its start is told where it costs half as much again: nearer to its
# start, the difference is noise.
_CLEAR_OF_START: Final = 1.5


class ContenderError(EdgeIdsError):
    """A program that is measured failed; the sentence has what it said last."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What one run of one command took.

    Attributes:
        wall_s: From its start to its end.
        cpu_s: User and system time of it and its descendants.
        peak_bytes: Most memory that any one of its processes held; `floor_bytes` or more.
        flows: How many flows it said it found; None when it says nothing of the kind.
    """

    wall_s: float
    cpu_s: float
    peak_bytes: int
    flows: int | None = None


@dataclass(frozen=True, slots=True)
class Contender:
    """A program and the trace it is given.

    Attributes:
        name: For tables and JSON.
        trace: What it reads.
        command: The command line for a capture file.
        flows: Number of flows, from its standard output.
        baseline: Name of the contender that its rate is compared to.
        needs_flows: A run that finds no flows is a failure: some programs swallow their errors.
        ours: For the chart.
    """

    name: str
    trace: Trace
    command: Callable[[Path], Sequence[str]]
    flows: Callable[[str], int | None] = lambda _: None
    baseline: str | None = None
    needs_flows: bool = False
    ours: bool = False


@dataclass(frozen=True, slots=True)
class Turn:
    """A contender's part of a round: its run on the trace, and on a capture without packets."""

    trace: Cost
    start: Cost


def pinned_cpu() -> int | None:
    """The CPU that contenders run on; None where affinity cannot be set.

    The last of those allowed: the first one serves most interrupts.
    """
    try:
        allowed = os.sched_getaffinity(0)
    except (AttributeError, OSError):
        return None
    return max(allowed)


def launch(command: Sequence[str], limit_s: float = _LIMIT_S) -> tuple[Cost, str]:
    """Run a command.

    Returns:
        What it cost, and its standard output.

    Raises:
        ContenderError: It failed or took longer than the limit.
    """
    cpu = pinned_cpu()
    with tempfile.TemporaryDirectory(prefix="edge-ids-meter-") as name:
        output, error = Path(name, "output"), Path(name, "error")
        place = ["-" if cpu is None else str(cpu), str(limit_s), str(output), str(error)]
        # A terminal's Ctrl-C reaches the launcher too, which ends the command.
        done = subprocess.run(
            [sys.executable, "-I", "-S", str(_LAUNCHER), *place, *map(str, command)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
        code, wall_s, user_s, system_s, peak_kb = map(float, done.stdout.split())
        said = output.read_text(errors="replace") if output.exists() else ""
        if code:
            complaint = error.read_text(errors="replace") if error.exists() else done.stderr
            last = complaint.strip().splitlines()[-1:] or ["it said nothing"]
            why = f"took longer than {limit_s:g} s" if code == 124 else f"failed: {last[0]}"
            raise ContenderError(f"{' '.join(map(str, command))} {why}")
    return Cost(wall_s, user_s + system_s, int(peak_kb) * 1024), said


def floor_bytes() -> int:
    """The least memory that `launch` can tell: what `/bin/true` counts as."""
    return launch(["true"])[0].peak_bytes


def turn(contender: Contender, empty: Path) -> Turn:
    """One contender's part of a round.

    Raises:
        ContenderError: It failed, or found no flows although it should.
    """
    cost, said = launch(contender.command(contender.trace.path))
    flows = contender.flows(said)
    if contender.needs_flows and not flows:
        raise ContenderError(f"{contender.name} found no flows in {contender.trace.path.name}.")
    start, _ = launch(contender.command(empty))
    return Turn(Cost(cost.wall_s, cost.cpu_s, cost.peak_bytes, flows), start)


def take_turns(
    contenders: Sequence[Contender],
    rounds: int,
    run: Callable[[Contender], Turn],
    say: Callable[[str], None] = lambda _: None,
) -> dict[str, list[Turn]]:
    """Run every contender `rounds` times, in turn.

    Returns:
        Name → its turns, one per round.
    """
    turns: dict[str, list[Turn]] = {contender.name: [] for contender in contenders}
    for number in range(rounds):
        # The other way round every second time: nobody always follows the heavy one.
        order = list(contenders) if number % 2 == 0 else list(reversed(contenders))
        for contender in order:
            say(f"round {number + 1} of {rounds}: {contender.name} ...")
            turns[contender.name].append(run(contender))
    return turns


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, lowest and highest."""
    return {"median": median(values), "lowest": min(values), "highest": max(values)}


def figures(
    contenders: Sequence[Contender], turns: dict[str, list[Turn]]
) -> dict[str, dict[str, Any]]:
    """What the turns amount to.

    Returns:
        Name → "packets_per_cpu_s", "packets_per_cpu_s_beyond_start" (None where the trace is too
        short to tell), "times_baseline" (None for a baseline itself), "wall_s", "cpu_s", each as of
        `spread`; "start_cpu_s" and "peak_bytes" (highest of all rounds), "packets",
        "flows", "trace", "baseline", "ours".
    """
    by_name = {contender.name: contender for contender in contenders}
    gross = {name: rates(by_name[name], turns[name]) for name in by_name}
    net = {name: rates_beyond_start(by_name[name], turns[name]) for name in by_name}
    return {
        name: {
            "ours": contender.ours,
            "trace": contender.trace.path.name,
            "packets": contender.trace.packets,
            "flows": turns[name][-1].trace.flows,
            "packets_per_cpu_s": spread(gross[name]),
            "packets_per_cpu_s_beyond_start": spread(rate) if (rate := net[name]) else None,
            "baseline": contender.baseline,
            "times_baseline": ratios(gross, name, contender.baseline),
            "wall_s": spread([item.trace.wall_s for item in turns[name]]),
            "cpu_s": spread([item.trace.cpu_s for item in turns[name]]),
            "start_cpu_s": start_cpu_s(turns[name]),
            "peak_bytes": max(item.trace.peak_bytes for item in turns[name]),
        }
        for name, contender in by_name.items()
    }


def ratios(
    by_name: Mapping[str, list[float] | None], name: str, baseline: str | None
) -> dict[str, float] | None:
    """A contender's rates by the baseline's of the same rounds; None where either is missing."""
    own, others = by_name.get(name), by_name.get(baseline or "")
    if own is None or others is None:
        return None
    return spread([rate / other for rate, other in zip(own, others, strict=True)])


def start_cpu_s(turns: Sequence[Turn]) -> float:
    """What a program costs before its first packet."""
    return median(item.start.cpu_s for item in turns)


def rates(contender: Contender, turns: Sequence[Turn]) -> list[float]:
    """Packets per second of processor time, by round."""
    return [contender.trace.packets / item.trace.cpu_s for item in turns]


def rates_beyond_start(contender: Contender, turns: Sequence[Turn]) -> list[float] | None:
    """The same without the start; None where the trace is too short to tell."""
    start_s = start_cpu_s(turns)
    if any(item.trace.cpu_s < _CLEAR_OF_START * start_s for item in turns):
        return None
    return [contender.trace.packets / (item.trace.cpu_s - start_s) for item in turns]
