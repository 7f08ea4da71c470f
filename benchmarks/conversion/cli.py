"""The command ``python -m benchmarks conversion``."""

from __future__ import annotations

import json
import platform
from datetime import date
from pathlib import Path
from typing import Final

import click

from benchmarks.conversion.measuring import Order, measure
from benchmarks.conversion.report import report
from edge_agent.console import progress_line, run_command
from edge_agent.contract.files import write_atomically

_DEFAULT_ROUNDS: Final = 5


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("runs", nargs=-1, required=True, metavar="RUN...", type=click.Path(path_type=Path))
@click.option("--model", metavar="NAME", help="Which model.  [default: edge-convert's choice]")
@click.option(
    "--shrink",
    "shares",
    multiple=True,
    type=click.FloatRange(min=0, max=1, min_open=True, max_open=True),
    metavar="SHARE",
    help="Also a file shrunk by this share; may be given several times.",
)
@click.option(
    "--interpreter",
    "interpreters",
    multiple=True,
    metavar="PYTHON",
    help="As edge-convert takes; may be given several times.",
)
@click.option(
    "--repeats",
    "rounds",
    type=click.IntRange(min=1),
    default=_DEFAULT_ROUNDS,
    show_default=True,
    metavar="N",
    help="Rounds in which full model and file take turns on the clock.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="STEM",
    help="Write STEM.md and STEM.json.",
)
@click.option("--debug", is_flag=True, help="Show tracebacks instead of one sentence.")
def conversion(
    runs: tuple[Path, ...],
    model: str | None,
    shares: tuple[float, ...],
    interpreters: tuple[str, ...],
    rounds: int,
    output: Path | None,
    debug: bool,
) -> None:
    """Convert RUN... to int8, also shrunk, and hold the files against the targets.

    \b
    Example:
      python -m benchmarks conversion runs/first --shrink 0.5 \\
          --interpreter .venv-tflite/bin/python \\
          --interpreter "$(python -m benchmarks arm64 command build/arm64)" -o results/conversion
    """
    order = Order(model, shares, interpreters, rounds, progress_line)

    def work() -> None:
        facts = {
            "date": date.today().isoformat(),
            "processor": platform.machine(),
            "rounds": rounds,
            # Names, not paths: the report is for people on other machines.
            "runs": {run.name: measure(run, order) for run in runs},
        }
        text = report(facts)
        print(text)
        if output is not None:
            write_atomically(output.with_suffix(".md"), text.encode())
            document = json.dumps(facts, indent=1, ensure_ascii=False) + "\n"
            write_atomically(output.with_suffix(".json"), document.encode())

    run_command("benchmarks conversion", debug, work)
