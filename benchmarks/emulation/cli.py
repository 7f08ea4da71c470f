"""The commands ``python -m benchmarks arm64``."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from benchmarks.emulation.arm64 import Machine
from benchmarks.emulation.arm64 import prepare as prepared
from benchmarks.emulation.labels import agreement
from edge_agent.console import progress_line, run_command

_FOLDER = click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
_DEBUG = click.option("--debug", is_flag=True, help="Show tracebacks.")


@click.group()
def arm64() -> None:
    """An arm64 gateway's interpreter on this machine, under emulation (QEMU)."""


@arm64.command(context_settings={"help_option_names": ["-h", "--help"]})
@_FOLDER
@_DEBUG
def prepare(folder: Path, debug: bool) -> None:
    """Fetch Python, numpy and ai-edge-litert for arm64 into FOLDER; 180 MB.

    Prints the command to give to edge-convert --interpreter. Where FOLDER is prepared already, it
    is only checked.
    """
    run_command(
        "benchmarks arm64 prepare", debug, lambda: print(prepared(folder, progress_line).command())
    )


@arm64.command(context_settings={"help_option_names": ["-h", "--help"]})
@_FOLDER
@_DEBUG
def command(folder: Path, debug: bool) -> None:
    """Print the command of the Python in FOLDER.

    \b
    Example:
      edge-convert --int8 runs/first --output model.tflite \\
          --interpreter "$(python -m benchmarks arm64 command build/arm64)"
    """
    run_command("benchmarks arm64 command", debug, lambda: print(Machine(folder).command()))


@arm64.command(context_settings={"help_option_names": ["-h", "--help"]})
@_FOLDER
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("model", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@_DEBUG
def labels(folder: Path, run: Path, model: Path, as_json: bool, debug: bool) -> None:
    """In how many test rows of RUN the file MODEL gives the same label there as here."""

    def work() -> None:
        progress_line("scoring here and under emulation ...")
        found = agreement(run, model, Machine(folder).command())
        told = json.dumps(found.to_json(), indent=1)
        sentence = (
            f"{found.there}: the same label as {found.here} in {found.same_label:.3%} of"
            f" {found.rows:,} test rows, the same score in {found.same_score:.3%}; scores differ by"
            f" at most {found.largest_score_difference:.4f}."
        )
        sys.stdout.write((told if as_json else sentence) + "\n")

    run_command("benchmarks arm64 labels", debug, work)
