"""Trials of programs in turn, and what they amount to."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from benchmarks.live import readings
from benchmarks.live.agent_process import quantile_s
from benchmarks.live.programs import AGENT, TCPDUMP
from benchmarks.live.searching import Trial, highest_borne, ladder
from benchmarks.throughput.measure import spread

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from benchmarks.live.network import Space
    from benchmarks.live.programs import Program
    from benchmarks.live.sender import Traffic

LOWEST_RATE: Final = 1_000.0
# Of what the sender can send at most: it should keep every rate that is tried.
OF_SENDER: Final = 0.8
"""Share of what the sender can send at most that is the highest rate tried."""
_CALIBRATION_S: Final = 2.0
_SHORTEST_S, _LONGEST_S = 3.0, 8.0
# So many buffers full are sent at least, where that does not take too long: what a program has not
# read but still holds is then a small part of what was sent.
_BUFFERS: Final = 10
_DELAYS: Final = ("edge_ids_verdict_delay_seconds", "edge_ids_scoring_delay_seconds")


@dataclass(slots=True)
class Turn:
    """A program's part of a round.

    Attributes:
        best: At the highest rate that it bore; None: it bore none.
        cost: At the rate that is the same for all.
        trials: All of the search.
        delays: Of the agent at the common rate: metric → (p50, p99), in seconds.
    """

    best: Trial | None
    cost: Trial
    trials: list[Trial]
    delays: dict[str, tuple[float | None, float | None]] = field(default_factory=dict)


def stretch_s(rate: float, buffer_packets: float) -> float:
    """How long a trial lasts, in seconds."""
    return min(_LONGEST_S, max(_SHORTEST_S, _BUFFERS * buffer_packets / rate))


def attempt(
    program: Program, space: Space, traffic: Traffic, rate: float, seconds: float
) -> tuple[Trial, Mapping[str, float]]:
    """Start a program, send, and ask it; also its metrics at the end, where it has any."""
    with program.start(space) as running:
        before_s = readings.cpu_s(readings.family(running.process))
        sent = traffic.send(rate, seconds)
        family = readings.family(running.process)
        peak_bytes = readings.peak_bytes(family)
        used_s = readings.cpu_s(family) - before_s
        if program.trickle:
            traffic.send(*program.trickle)
        counted = running.counted(sent.packets)
        trial = Trial(
            rate, sent.packets, sent.seconds, counted.received, counted.dropped, used_s, peak_bytes
        )
        return trial, getattr(running, "last", {})


def top_rate(program: Program, space: Space, traffic: Traffic) -> float:
    """The highest rate that is tried, from what the sender can send while a program captures."""
    with program.start(space):
        return OF_SENDER * traffic.send(1e7, _CALIBRATION_S).rate


@dataclass(frozen=True, slots=True)
class Course:
    """What every program goes through.

    Attributes:
        rounds: How often.
        top: The highest rate that is tried, packets a second.
        cost_rate: Packets a second of the trial that is the same for all.
        cost_s: How long that lasts.
        buffer_packets: How many packets a program's buffer holds.
    """

    rounds: int
    top: float
    cost_rate: float
    cost_s: float
    buffer_packets: float


def take_turns(
    programs: Sequence[Program],
    course: Course,
    space: Space,
    traffic: Traffic,
    say: Callable[[str], None],
) -> dict[str, list[Turn]]:
    """All rounds; every second one goes the other way.

    Args:
        programs: Who.
        course: What each goes through.
        space: Where.
        traffic: Sends.
        say: Told what is done.
    """
    rates = ladder(min(LOWEST_RATE, course.top), course.top)
    turns: dict[str, list[Turn]] = {program.name: [] for program in programs}
    for number in range(course.rounds):
        order = list(programs) if number % 2 == 0 else list(reversed(programs))
        for program in order:
            where = f"round {number + 1} of {course.rounds}: {program.name}"
            say(f"{where} at {course.cost_rate:,.0f} packets a second ...")
            at_cost, metrics = attempt(program, space, traffic, course.cost_rate, course.cost_s)

            def tried(rate: float, program: Program = program, where: str = where) -> Trial:
                say(f"{where} at {rate:,.0f} packets a second ...")
                seconds = stretch_s(rate, course.buffer_packets)
                return attempt(program, space, traffic, rate, seconds)[0]

            best, trials = highest_borne(rates, tried)
            delays = {
                name: (quantile_s(metrics, name, 0.5), quantile_s(metrics, name, 0.99))
                for name in _DELAYS
                if metrics
            }
            turns[program.name].append(Turn(best, at_cost, trials, delays))
    return turns


def figures(turns: Mapping[str, Sequence[Turn]], top: float) -> dict[str, Any]:
    """What the turns amount to.

    Returns:
        Name → "rate" (highest without drops, of `spread`; 0 where none was borne), "at_top" (every
        round bore the highest rate that was tried: the sender's limit, not the program's),
        "times_tcpdump" (of `spread`, within rounds), "cpu_s_per_100k" (at the common rate),
        "cpu_s_per_100k_at_best", "peak_bytes", "lost_at_top" (share of the packets that it lost at
        the highest rate; None: never tried to the end), "delays", "trials".
    """
    found = {}
    for name, own in turns.items():
        rates = [_rate(turn) for turn in own]
        base = [_rate(turn) for turn in turns.get(TCPDUMP, ())]
        times = [a / b for a, b in zip(rates, base, strict=False) if b]
        at_best = [turn.best.cpu_s_per_100k for turn in own if turn.best is not None]
        lost = [t.lost_share for turn in own for t in turn.trials if t.wanted_rate == top]
        found[name] = {
            "rate": spread(rates),
            "at_top": all(rate == top for rate in rates),
            "times_tcpdump": spread(times) if times else None,
            "cpu_s_per_100k": spread([turn.cost.cpu_s_per_100k or 0.0 for turn in own]),
            "cpu_s_per_100k_at_best": spread([cost for cost in at_best if cost is not None])
            if at_best
            else None,
            "peak_bytes": max(t.peak_bytes for turn in own for t in (turn.cost, *turn.trials)),
            "peak_bytes_at_cost": max(turn.cost.peak_bytes for turn in own),
            "lost_at_top": spread(lost) if lost else None,
            "cost_borne": all(turn.cost.borne for turn in own),
            "delays": [turn.delays for turn in own] if name == AGENT else None,
            "trials": [[trial.to_json() for trial in turn.trials] for turn in own],
        }
    return found


def ratio(turns: Mapping[str, Sequence[Turn]], name: str, other: str) -> float | None:
    """Median of a program's highest rate by another's, within rounds; None where one is missing.

    Where both bear all that is tried it is 1: the sender cannot tell them apart.
    """
    pairs = zip(turns.get(name, ()), turns.get(other, ()), strict=False)
    found = [_rate(own) / _rate(base) for own, base in pairs if _rate(base)]
    return spread(found)["median"] if found else None


def _rate(turn: Turn) -> float:
    return turn.best.wanted_rate if turn.best is not None else 0.0
