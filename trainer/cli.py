"""`edge-train`: flow tables and labelled captures to trained, evaluated models."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edge_agent import __version__
from edge_agent.console import end_progress, progress_line, run_command
from edge_agent.contract.features import FEATURE_SETS
from edge_agent.contract.profiles import PROFILES
from edge_agent.contract.scaling import SCALERS
from trainer.datasets.cleaning import ATTEMPTED_CHOICES
from trainer.datasets.splits import SPLITS
from trainer.models.registry import MODELS
from trainer.options import SeveralValues
from trainer.report import results_table

if TYPE_CHECKING:
    from trainer.training import Options

_SIZES = tuple(dict.fromkeys(size for kind in MODELS.values() for size in kind.sizes))
# Lines in a log are for people who come later: every fifth epoch is enough for them.
_SPARSE_EPOCHS = 5


@click.command(cls=SeveralValues, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="edge-train")
@click.option(
    "--data",
    multiple=True,
    required=True,
    metavar="PATH...",
    help="Flow CSVs (original or improved layout of CICIDS2017, or of edge-agent extract with a"
    " Label column; gzipped or not), folders of them, or packet captures.",
)
@click.option(
    "--labels",
    multiple=True,
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="RULES...",
    help="Truth file of each capture, in their order.  [default: truth.json beside each]",
)
@click.option(
    "--profile",
    type=click.Choice(list(PROFILES)),
    help="Flow profile.  [default: what a CSV's header says; gateway for captures]",
)
@click.option(
    "--features",
    type=click.Choice(list(FEATURE_SETS)),
    help="Feature set.  [default: paper78 for cic2017, else the profile's own]",
)
@click.option(
    "--model",
    "models",
    multiple=True,
    type=click.Choice(list(MODELS)),
    default=("cnn-lstm",),
    show_default=True,
    metavar="NAME...",
    help="; ".join(f"{kind.name}: {kind.summary}" for kind in MODELS.values()) + ".",
)
@click.option(
    "--size", type=click.Choice(_SIZES), default="edge", show_default=True, help="Of cnn-lstm."
)
@click.option(
    "--scaler", type=click.Choice(SCALERS), default="quantile", show_default=True, help="Of rows."
)
@click.option(
    "--split",
    type=click.Choice(SPLITS),
    default="random",
    show_default=True,
    help="70/15/15: at random; at random without duplicates; past from future; connections whole.",
)
@click.option(
    "--attempted",
    type=click.Choice(ATTEMPTED_CHOICES),
    default="drop",
    show_default=True,
    help='What to do with rows labelled "Attempted".',
)
@click.option("--epochs", type=click.IntRange(min=1), default=15, show_default=True)
@click.option("--batch-size", type=click.IntRange(min=1), default=256, show_default=True)
@click.option("--seed", type=click.IntRange(0, 2**31 - 1), default=0, show_default=True)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    required=True,
    metavar="RUN",
    help="Folder to write; appears whole or not at all.",
)
@click.option("--force", is_flag=True, help="Replace the folder if it holds files.")
@click.option("--json", "as_json", is_flag=True, help="Print metrics.json instead of a table.")
@click.option("-q", "--quiet", is_flag=True, help="Nothing on standard error but errors.")
@click.option("--debug", is_flag=True, help="Show tracebacks instead of one sentence.")
def main(
    data: tuple[str, ...],
    labels: tuple[Path, ...],
    profile: str | None,
    features: str | None,
    models: tuple[str, ...],
    size: str,
    scaler: str,
    split: str,
    attempted: str,
    epochs: int,
    batch_size: int,
    seed: int,
    output: Path,
    force: bool,
    as_json: bool,
    quiet: bool,
    debug: bool,
) -> None:
    """Train intrusion detection models and measure them.

    Writes a run folder: metrics.json, report.html, plots, the models, the scaler, and the rows
    that edge-convert calibrates and tests with.

    \b
    Example:
      edge-train --data MachineLearningCVE/*.csv --model cnn-lstm boosted-trees --output runs/one
      edge-train --data capture.pcap.gz --labels truth.json --output runs/home
    """
    # TensorFlow takes seconds to import; --help and usage errors need not wait for it.
    from trainer.training import Options  # noqa: PLC0415

    options = Options(
        data=data,
        labels=labels,
        profile=profile,
        features=features,
        models=tuple(dict.fromkeys(models)),
        size=size,
        scaler=scaler,
        split=split,
        attempted=attempted,
        epochs=epochs,
        batch_size=batch_size,
        seed=seed,
        output=output,
        force=force,
    )
    run_command("edge-train", debug, lambda: _work(options, as_json=as_json, quiet=quiet))


def _work(options: Options, *, as_json: bool, quiet: bool) -> None:
    from trainer.training import Talk, prepare, train  # noqa: PLC0415

    try:
        task = prepare(options)
    except ValueError as error:
        raise click.UsageError(str(error)) from error

    def step(text: str) -> None:
        if not quiet:
            end_progress()
            print(text, file=sys.stderr, flush=True)

    def epoch(name: str, number: int, epochs: int, loss: float, f1: float) -> None:
        text = f"{name}: epoch {number}/{epochs}, validation loss {loss:.4f}, F1 {f1:.4f}"
        if quiet:
            return
        if sys.stderr.isatty():
            progress_line(text)
        elif number % _SPARSE_EPOCHS == 0:
            print(text, file=sys.stderr, flush=True)

    metrics = train(task, Talk(step, epoch))
    if as_json:
        print(json.dumps(metrics, indent=1))
        return
    lines = results_table(metrics["models"])
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        first, *rest = line
        cells = [cell.rjust(width) for cell, width in zip(rest, widths[1:], strict=True)]
        print("  ".join([first.ljust(widths[0]), *cells]))
