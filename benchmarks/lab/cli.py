"""The command ``python -m benchmarks lab``."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import click

from benchmarks.lab import session, verify
from benchmarks.lab.errors import LabError


@click.group()
def lab() -> None:
    """Record labelled traffic of real programs in network namespaces, and check recordings."""


@lab.command()
@click.argument("plan", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    required=True,
    help="Folder for capture.pcap.gz, truth.json and plan.toml.",
)
@click.option("--keep-logs", type=click.Path(file_okay=False, path_type=Path),
              help="Folder for what the programs of the lab said.")  # fmt: skip
def record(plan: Path, output: Path, keep_logs: Path | None) -> None:
    """Record the session of PLAN (needs root and the programs that the README names)."""
    begun = time.monotonic()

    def say(text: str) -> None:
        click.echo(f"[{time.monotonic() - begun:7.1f} s] {text}", err=True)

    try:
        truth = session.record(plan, output, keep_logs, say)
    except LabError as error:
        raise click.ClickException(str(error)) from error
    except KeyboardInterrupt:
        click.echo("interrupted; everything that was started has been removed", err=True)
        sys.exit(130)
    say(f"{truth.packets} packets in {output / session.CAPTURE}")


@lab.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")
def check(folder: Path, as_json: bool) -> None:
    """Check the recording in FOLDER and print what it holds; exit 1 if a check fails."""
    try:
        report = verify.check(folder)
    except LabError as error:
        raise click.ClickException(str(error)) from error
    click.echo(report.as_json() if as_json else report.as_text())
    if report.faults:
        sys.exit(1)
