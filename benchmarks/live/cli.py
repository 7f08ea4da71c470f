"""The command ``python -m benchmarks live``."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from benchmarks.live import footprint, measuring, report, targets
from benchmarks.live.agent_process import MODEL
from benchmarks.live.network import FAR, MeasuringError, missing, space
from benchmarks.live.programs import AGENT, TCPDUMP, Agent, NFStream, Program, SocketLoop, Tcpdump
from benchmarks.live.searching import RUNG
from benchmarks.live.sender import Traffic, processors
from benchmarks.live.writing import FILE, write_json
from benchmarks.throughput import contenders, peers, traces
from benchmarks.throughput.targets import summary as target_summary
from edge_agent.capture.problems import STDIN
from edge_agent.console import end_progress, progress_line, run_command

if TYPE_CHECKING:
    from benchmarks.live.network import Space

_FOLDER: Final = Path("build") / "throughput"
_PACKETS: Final = 1_000_000
_ROUNDS: Final = 3
# A tenth of a second of a gigabit line, what boards have.
_BUFFER_BYTES: Final = 8 * 1024 * 1024
_BLOCK_BYTES: Final = 256 * 1024
# What all programs bear, for what is the same for all.
_COST_RATE: Final = 10_000.0
_COST_S: Final = 10.0


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--model",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    default=MODEL,
    help="What the agent judges with.  [default: that of the tests]",
)
@click.option(
    "--packets",
    type=click.IntRange(min=1000),
    default=_PACKETS,
    show_default=True,
    metavar="N",
    help="Length of the trace that is sent.",
)
@click.option(
    "--rounds",
    type=click.IntRange(min=1),
    default=_ROUNDS,
    show_default=True,
    metavar="N",
    help="How often each program has its turn.",
)
@click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=_FOLDER,
    show_default=True,
    help="Where the trace and NFStream's environment are kept.",
)
@click.option("--alone/--not-alone", default=True, help="Also start, idle and memory of the agent.")
@click.option("--install", is_flag=True, help="First install what is missing: pip, apt-get.")
@click.option("--json", "json_file", type=FILE, help="Report to write; - prints it alone.")
@click.option(
    "--plot", type=click.Path(path_type=Path, dir_okay=False), help="Chart to write, PNG."
)
@click.option("--debug", is_flag=True, help="Show tracebacks.")
def live(
    model: Path,
    packets: int,
    rounds: int,
    folder: Path,
    alone: bool,
    install: bool,
    json_file: Path | None,
    plot: Path | None,
    debug: bool,
) -> None:
    """The agent on live traffic beside tcpdump, NFStream and a plain socket loop.

    Highest rates without drops, processor time and memory. Needs root: the traffic runs between two
    interfaces in a network namespace, made for it and removed afterwards. Takes some minutes.

    \b
    Example:
      sudo python -m benchmarks live --install --plot live.png
      sudo python -m benchmarks live --rounds 1 --not-alone
    """

    def work() -> None:
        contenders.require_tcpdump()
        contenders.require_compiled()
        reason = missing()
        if reason:
            raise MeasuringError(f"nothing can be measured here: {reason}.")
        if install:
            _install(folder)
        trace = traces.large_trace(folder, packets)
        programs, left_out = _programs(model.resolve(), folder)
        with space() as made:
            result = _measured(made, trace, programs, rounds)
            end_progress()
            result["left_out"] = left_out
            result["alone"] = (
                footprint.of_agent(made, model.resolve(), progress_line) if alone else None
            )
        held = targets.of_live(result["ratios"], result["alone"])
        result["targets"] = [target.to_json() for target in held]
        end_progress()
        write_json(result, json_file)
        if json_file != STDIN:
            print("\n".join([report.summary(result), "", target_summary(held)]))
        if plot is not None:
            report.plot(result, plot)

    run_command("benchmarks live", debug, work)


def _programs(model: Path, folder: Path) -> tuple[list[Program], dict[str, str]]:
    ring = (f"capture.ring_bytes={_BUFFER_BYTES}", f"capture.block_bytes={_BLOCK_BYTES}")
    options = tuple(word for setting in ring for word in ("--set", setting))
    found: list[Program] = [Agent(model, options), Tcpdump(_BUFFER_BYTES)]
    left_out = {}
    peer = next(peer for peer in peers.PEERS if peer.name == peers.NFSTREAM)
    version = peers.version(peer, folder)
    if version is None:
        left_out[peers.NFSTREAM] = "is not installed; see --install"
    else:
        found.append(NFStream(peers.python_of(folder).absolute(), _BUFFER_BYTES, version))
    return [*found, SocketLoop(_BUFFER_BYTES)], left_out


def _measured(
    made: Space, trace: traces.Trace, programs: list[Program], rounds: int
) -> dict[str, Any]:
    listener = next(program for program in programs if program.name == TCPDUMP)
    progress_line("the sender's highest rate ...")
    replayed = _tcpreplay(listener, made, trace.path)
    with Traffic(made, trace.path) as traffic:
        top = measuring.top_rate(listener, made, traffic)
        held = _BUFFER_BYTES * trace.packets / trace.captured_bytes
        course = measuring.Course(rounds, top, _COST_RATE, _COST_S, held)
        turns = measuring.take_turns(programs, course, made, traffic, progress_line)
    return {
        "rounds": rounds,
        "processors": len(os.sched_getaffinity(0)),
        "sender_processor": sorted(processors()[0]),
        "trace": trace.to_json(),
        "buffer_bytes": _BUFFER_BYTES,
        "rung": RUNG,
        "top_rate": top,
        "of_sender": measuring.OF_SENDER,
        "sender": {"own": top / measuring.OF_SENDER, "tcpreplay": replayed},
        "cost_rate": _COST_RATE,
        "what": {program.name: program.what for program in programs},
        "programs": measuring.figures(turns, top),
        "ratios": {
            program.name: measuring.ratio(turns, AGENT, program.name)
            for program in programs
            if program.name != AGENT
        },
    }


def _tcpreplay(listener: Program, made: Space, capture: Path) -> float | None:
    """What tcpreplay sends a second at top speed; None where it is not installed."""
    program = shutil.which("tcpreplay")
    if program is None:
        return None
    command = [program, "--preload-pcap", "--topspeed", "--quiet", "--intf1", FAR]
    with listener.start(made), made.entered():
        done = subprocess.run(
            [*command, str(capture)], capture_output=True, text=True, timeout=120, check=False
        )
    found = re.search(r"([\d.]+) pps", done.stdout)
    return float(found[1]) if found else None


def _install(folder: Path) -> None:
    pip = ("-m", "pip", "install", "--quiet", "--disable-pip-version-check")
    wanted = [one for one in peers.REQUIREMENTS if one.startswith("nfstream")]
    peers.call(sys.executable, "-m", "venv", str(folder / "peers"))
    peers.call(str(peers.python_of(folder)), *pip, *wanted)
    if shutil.which("tcpreplay") is None and shutil.which("apt-get") is not None:
        peers.call("apt-get", "install", "--yes", "--no-install-recommends", "tcpreplay")
