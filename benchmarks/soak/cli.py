"""The command ``python -m benchmarks soak``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

import click

from benchmarks.live.agent_process import MODEL
from benchmarks.live.network import MeasuringError, missing, space
from benchmarks.live.writing import FILE, write_json
from benchmarks.soak import report
from benchmarks.soak.judging import heard, targets
from benchmarks.soak.running import Load, lacking, soak
from benchmarks.throughput import contenders
from benchmarks.throughput.targets import summary as target_summary
from edge_agent.capture.problems import STDIN
from edge_agent.console import end_progress, progress_line, run_command
from edge_agent.contract.bundle import Bundle

_MINUTES: Final = 60.0
_FLOWS_PER_S: Final = 5_000
_FLOOD_PER_S: Final = 200_000.0
_FLOOD_S: Final = 10.0


@click.command(name="soak", context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--model",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    default=MODEL,
    help="What the agent judges with.  [default: that of the tests]",
)
@click.option(
    "--minutes",
    type=click.FloatRange(min=0.1, max=24 * 60),
    default=_MINUTES,
    show_default=True,
    metavar="N",
    help="How long.",
)
@click.option(
    "--flows",
    type=click.IntRange(min=1, max=50_000),
    default=_FLOWS_PER_S,
    show_default=True,
    metavar="N",
    help="Everyday conversations that begin in a second.",
)
@click.option(
    "--flood",
    type=click.FloatRange(min=1, max=2_000_000),
    default=_FLOOD_PER_S,
    show_default=True,
    metavar="N",
    help="Packets a second of the floods, if the machine can.",
)
@click.option(
    "--flood-seconds",
    type=click.FloatRange(min=0, max=30),
    default=_FLOOD_S,
    show_default=True,
    metavar="N",
    help="How long a flood lasts.",
)
@click.option("--board", help="Board profile of the agent.  [default: this machine's]")
@click.option("--json", "json_file", type=FILE, help="Report to write; - prints it alone.")
@click.option(
    "--plot", type=click.Path(path_type=Path, dir_okay=False), help="Chart to write, PNG."
)
@click.option("--debug", is_flag=True, help="Show tracebacks.")
def soak_command(
    model: Path,
    minutes: float,
    flows: int,
    flood: float,
    flood_seconds: float,
    board: str | None,
    json_file: Path | None,
    plot: Path | None,
    debug: bool,
) -> None:
    """The agent under load for long: memory, alerts in time, drops; exit code 1 misses a target.

    Conversations without end, a flood of SYNs with forged sources in every minute, and a port scan
    in every minute, by turns in calm and during the flood. Alerts go through Mosquitto. Needs root:
    all of it runs in a network namespace, removed afterwards.

    \b
    Example:
      sudo python -m benchmarks soak --minutes 60 --plot soak.png
    """

    def work() -> None:
        contenders.require_compiled()
        reason = missing() or lacking()
        if reason:
            raise MeasuringError(f"no soak can be run here: {reason}.")
        load = Load(minutes, flows, flood, flood_seconds)
        options = () if board is None else ("--board", board)
        live = Bundle.open(model).profile.live
        linger_s = 0.0 if live is None else live.linger_s
        with space() as made:
            record = soak(made, model.resolve(), options, load, progress_line)
        end_progress()
        attacks = [told for told in record.told if "scan" in told]
        found = heard(attacks, record.messages)
        held = targets(found, linger_s, record.times_s, record.resident, alive=record.alive)
        result = report.figures(record, found, load, linger_s)
        result["board"] = board
        result["targets"] = [target.to_json() for target in held]
        write_json(result, json_file)
        if json_file != STDIN:
            print("\n".join([report.summary(result), "", target_summary(held)]))
        if plot is not None:
            report.plot(result, plot)
        if not record.alive:
            print(f"The agent ended: {record.log.strip().splitlines()[-1:]}", file=sys.stderr)
        if any(target.verdict == "fail" for target in held):
            sys.exit(1)

    run_command("benchmarks soak", debug, work)
