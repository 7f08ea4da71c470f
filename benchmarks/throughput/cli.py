"""The commands ``python -m benchmarks meter`` and ``peers``."""

from __future__ import annotations

import json
import sys
import tempfile
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from benchmarks.throughput import contenders as ours
from benchmarks.throughput import instructions as counting
from benchmarks.throughput import measure, report, targets, traces
from benchmarks.throughput import peers as others
from benchmarks.throughput.importing import import_ms
from edge_agent.capture.problems import STDIN
from edge_agent.console import end_progress, progress_line, run_command
from edge_agent.contract.files import write_atomically

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.throughput.measure import Contender, Turn

_PACKETS: Final = 3_000_000
_FLOOD_PACKETS: Final = 1_000_000
# Plain Python takes tens of microseconds a packet.
_REFERENCE_PACKETS: Final = 30_000
# Enough for a peer to find flows in.
_TRIAL_PACKETS: Final = 1_000
_PEER_PROFILES: Final = ("improved", "cic2017")
# A round takes 10 to 30 s; a median of five forgets two disturbed ones.
_ROUNDS: Final = 5
_FOLDER: Final = Path("build") / "throughput"

_FILE: Final = click.Path(path_type=Path, dir_okay=False, allow_dash=True)


def _shared(command: Callable[..., None]) -> Callable[..., None]:
    """The options of both commands."""
    for option in (
        click.option("--debug", is_flag=True, help="Show tracebacks."),
        click.option(
            "--plot",
            type=click.Path(path_type=Path, dir_okay=False),
            help="Bar chart to write, PNG.",
        ),
        click.option("--json", "json_file", type=_FILE, help="Report to write; - prints it alone."),
        click.option(
            "--rounds",
            type=click.IntRange(min=1),
            default=_ROUNDS,
            show_default=True,
            metavar="N",
            help="How often each program has its turn.",
        ),
        click.option(
            "--folder",
            type=click.Path(path_type=Path, file_okay=False),
            default=_FOLDER,
            show_default=True,
            help="Where traces are kept.",
        ),
        click.option(
            "--packets",
            type=click.IntRange(min=1),
            default=_PACKETS,
            show_default=True,
            metavar="N",
            help="Length of the large trace.",
        ),
    ):
        command = option(command)
    return command


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@_shared
@click.option(
    "--instructions",
    is_flag=True,
    help="Instead, count instructions per packet with valgrind; this needs gcc too.",
)
@click.option("--keep", is_flag=True, help="With --instructions: the tests go by these from now.")
def meter(
    packets: int,
    folder: Path,
    rounds: int,
    json_file: Path | None,
    plot: Path | None,
    instructions: bool,
    keep: bool,
    debug: bool,
) -> None:
    """How many packets a second of processor time meters, beside tcpdump's.

    The meter alone for each profile, on many houses at once and on a flood of one-packet flows; the
    same in plain Python; and the whole of `edge-agent extract`.

    \b
    Example:
      python -m benchmarks meter --plot meter.png
      python -m benchmarks meter --instructions
    """
    if keep and not instructions:
        raise click.UsageError("--keep goes with --instructions.")

    def work() -> None:
        if instructions:
            _count_instructions(folder, json_file, keep=keep)
            return
        ours.require_tcpdump()
        ours.require_compiled()
        large = traces.large_trace(folder, packets)
        flood = traces.flood_trace(folder, min(packets, _FLOOD_PACKETS))
        start = traces.prefix(large, _REFERENCE_PACKETS)
        with tempfile.TemporaryDirectory(prefix="edge-ids-meter-") as scratch:
            found, left_out = ours.of_meter(large, flood, start, Path(scratch))
            result, _ = _measured(found, folder, rounds)
        progress_line("imports ...")
        result |= {"left_out": left_out, "import_ms": import_ms()}
        held = targets.of_meter(result)
        _tell(result, held, [report.imports(result["import_ms"])], json_file, plot)

    run_command("benchmarks meter", debug, work)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@_shared
@click.option("--install", is_flag=True, help="First install what is missing: pip, apt-get.")
def peers(
    packets: int,
    folder: Path,
    rounds: int,
    json_file: Path | None,
    plot: Path | None,
    install: bool,
    debug: bool,
) -> None:
    """Our meter beside NFStream, cicflowmeter, softflowd, nfpcapd and tshark.

    Slow ones take the first part of the trace. Python packages are installed into an environment of
    their own under the folder.

    \b
    Example:
      python -m benchmarks peers --install --plot peers.png
    """

    def work() -> None:
        ours.require_tcpdump()
        ours.require_compiled()
        if install:
            others.install(folder)
        large = traces.large_trace(folder, packets)
        with tempfile.TemporaryDirectory(prefix="edge-ids-peers-") as scratch:
            found, left_out, what = _peer_contenders(large, folder, Path(scratch))
            result, turns = _measured(found, folder, rounds)
        result |= {"left_out": left_out, "what": what}
        held = targets.of_peers(_times_nfstream(found, turns))
        notes = [f"{name}: {text}." for name, text in what.items()]
        _tell(result, held, notes, json_file, plot)

    run_command("benchmarks peers", debug, work)


def _count_instructions(folder: Path, json_file: Path | None, *, keep: bool) -> None:
    figures = counting.count(folder)
    end_progress()
    known = counting.kept()
    _write_json({"instructions_per_packet": figures}, json_file)
    if json_file != STDIN:
        print(counting.summary(figures, known.get("instructions_per_packet", {})))
        if known and known["compiler"] != counting.compiler():
            print(f"\nKept are those of another compiler: {known['compiler']}.")
    if keep:
        counting.keep(figures)


def _peer_contenders(
    large: traces.Trace, folder: Path, scratch: Path
) -> tuple[list[Contender], dict[str, str], dict[str, str]]:
    """Contenders; those left out and why; and what each peer is."""
    found = [ours.tcpdump(ours.TCPDUMP, large)]
    found += [ours.meter(ours.meter_name(profile), profile, large) for profile in _PEER_PROFILES]
    left_out = {}
    what = {ours.TCPDUMP: f"{others.system_version('tcpdump')}, tcpdump -r CAPTURE -w /dev/null"}
    empty, trial = traces.empty_trace(folder), traces.prefix(large, _TRIAL_PACKETS)
    for peer in others.PEERS:
        version = others.version(peer, folder)
        if version is None:
            left_out[peer.name] = "is not installed; see --install"
            continue
        contender = others.contender(peer, traces.prefix(large, peer.share), folder, scratch)
        progress_line(f"{peer.name}: a first run ...")
        try:
            # What fails here would otherwise end a measurement of minutes.
            measure.turn(replace(contender, trace=trial), empty)
        except measure.ContenderError as error:
            left_out[peer.name] = str(error).rstrip(".")
            continue
        found.append(contender)
        what[peer.name] = f"{version}, {peer.what}"
    return found, left_out, what


def _times_nfstream(
    contenders: list[Contender], turns: dict[str, list[Turn]]
) -> dict[str, float | None]:
    """Profile → median ratio of our rate to NFStream's, beyond start; None without NFStream."""
    net = {c.name: measure.rates_beyond_start(c, turns[c.name]) for c in contenders}
    found = {
        profile: measure.ratios(net, ours.meter_name(profile), others.NFSTREAM)
        for profile in _PEER_PROFILES
    }
    return {profile: ratio["median"] if ratio else None for profile, ratio in found.items()}


def _measured(
    contenders: list[Contender], folder: Path, rounds: int
) -> tuple[dict[str, Any], dict[str, list[Turn]]]:
    """Run all rounds; returns what every report has, and the turns."""
    floor_bytes = measure.floor_bytes()
    empty = traces.empty_trace(folder)
    turns = measure.take_turns(
        contenders, rounds, partial(measure.turn, empty=empty), progress_line
    )
    end_progress()
    figures = measure.figures(contenders, turns)
    return {
        "rounds": rounds,
        "cpu": measure.pinned_cpu(),
        "floor_bytes": floor_bytes,
        "traces": {c.trace.path.name: c.trace.to_json() for c in contenders},
        "contenders": figures,
    }, turns


def _tell(
    result: dict[str, Any],
    held: list[targets.Target],
    notes: list[str],
    json_file: Path | None,
    plot: Path | None,
) -> None:
    """Print the table, and write what was asked for."""
    end_progress()
    result["targets"] = [target.to_json() for target in held]
    _write_json(result, json_file)
    if json_file != STDIN:
        lines = [trace["summary"] for trace in result["traces"].values()]
        table = report.summary(result)
        print("\n".join([*lines, "", table, *notes, "", targets.summary(held)]))
    if plot is not None:
        report.plot(result, plot)


def _write_json(result: dict[str, Any], json_file: Path | None) -> None:
    text = json.dumps(result, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    if json_file == STDIN:
        sys.stdout.write(text)
    elif json_file is not None:
        write_atomically(json_file, text.encode())
