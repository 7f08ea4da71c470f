"""`edge-train`: flow tables and labelled captures to trained, evaluated models."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from edge_agent import __version__
from edge_agent.console import INTERRUPTED, run_command
from edge_agent.contract.features import FEATURE_SETS
from edge_agent.contract.profiles import PROFILES
from edge_agent.contract.scaling import SCALERS
from trainer.datasets.cleaning import ATTEMPTED_CHOICES
from trainer.datasets.splits import GROUPS, SPLITS
from trainer.models.base import LOSSES
from trainer.models.registry import MODELS, parse
from trainer.options import Distinct, SeveralValues
from trainer.paper import LAYOUTS
from trainer.report.summary import aligned, results_table
from trainer.telling import Teller
from trainer.traffic import Traffic

if TYPE_CHECKING:
    from trainer.task import Options

# Of the length of the learning rate's cosine: networks are at their best after 10 to 16 epochs.
_DEFAULT_EPOCHS: Final = 20


class _ModelName(click.ParamType[str]):
    """NAME or NAME:VARIANT of the registry."""

    name = "name"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """See `registry.parse`."""
        try:
            parse(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)
        return value


def _models_help() -> str:
    names = (
        f"{kind.name}: {kind.summary}"
        + (f" ({', '.join(f':{size}' for size in kind.sizes)})" if kind.sizes else "")
        for kind in MODELS.values()
    )
    return "; ".join(names) + ".  [default: cnn-lstm]"


@click.command(cls=SeveralValues, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="edge-train")
@click.option(
    "--data",
    multiple=True,
    required=True,
    metavar="PATH...",
    help="Flow tables (CSV, gzipped or not, or Parquet; MachineLearningCVE, TrafficLabelling,"
    " CSE-CIC-IDS2018, improved 2017 and 2018, or what edge-agent extract writes with a Label"
    " column), folders or patterns of them, or packet captures.",
)
@click.option(
    "--labels",
    multiple=True,
    metavar="RULES...",
    help="For captures: the truth.json of each, in their order, or one file of label rules for all;"
    " the name cicids2017 stands for the rules that come along.  [default: truth.json beside each]",
)
@click.option(
    "--profile",
    type=click.Choice(list(PROFILES)),
    help="Flow profile.  [default: what a table's header says; gateway for captures]",
)
@click.option(
    "--features",
    type=click.Choice(list(FEATURE_SETS)),
    help="Feature set.  [default: paper78 for cic2017, else the profile's own]",
)
@click.option(
    "--one-hot",
    is_flag=True,
    help="Add the protocol as a column for TCP and one for UDP, where a layout has it.",
)
@click.option(
    "--model",
    "models",
    multiple=True,
    type=_ModelName(),
    default=("cnn-lstm",),
    callback=Distinct(),
    metavar="NAME[:VARIANT]...",
    help=_models_help(),
)
@click.option(
    "--scaler", type=click.Choice(SCALERS), default="quantile", show_default=True, help="Of rows."
)
@click.option(
    "--split",
    "splits",
    multiple=True,
    type=click.Choice(SPLITS),
    default=("dedup",),
    callback=Distinct(),
    metavar="NAME...",
    help="70/15/15. random: the paper's; dedup: at random, without duplicates; time: past from"
    " future; group: what belongs together stays together. The models of the first are kept, the"
    " others only measured.  [default: dedup]",
)
@click.option(
    "--group-by",
    type=click.Choice(GROUPS),
    default="auto",
    show_default=True,
    help="What --split group keeps together; auto: connections, or days, or files, as there are.",
)
@click.option(
    "--attempted",
    type=click.Choice(ATTEMPTED_CHOICES),
    default="drop",
    show_default=True,
    help='Rows labelled "Attempted": drop them, call them benign, or keep them as classes of their'
    " own among the attacks.",
)
@click.option(
    "--test-data",
    multiple=True,
    metavar="PATH...",
    help="Other data of the same profile to measure the trained models on.",
)
@click.option(
    "--test-labels", multiple=True, metavar="RULES...", help="As --labels, for --test-data."
)
@click.option(
    "--ablation", is_flag=True, help="Measure also without ports, windows and header sizes."
)
@click.option("--epochs", type=click.IntRange(min=1), default=_DEFAULT_EPOCHS, show_default=True)
@click.option("--batch-size", type=click.IntRange(min=1), default=256, show_default=True)
@click.option(
    "--loss",
    type=click.Choice(LOSSES),
    default="weighted",
    show_default=True,
    help="Of networks: the rarer class weighted up, focal, or plain cross-entropy.",
)
@click.option(
    "--families/--no-families",
    default=True,
    show_default=True,
    help="Second output of networks, which names the attack family.",
)
@click.option(
    "--max-far",
    type=click.FloatRange(0, 1),
    metavar="SHARE",
    help="Choose the threshold for the highest recall at this false-alarm rate on validation rows."
    "  [default: for the highest F1]",
)
@click.option(
    "--flows-per-hour",
    type=click.FloatRange(min=0, min_open=True),
    default=Traffic().flows_per_hour,
    show_default=True,
    help="Benign flows an hour of the network that false alarms per day are told for.",
)
@click.option(
    "--search",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="SPACE.toml",
    help="Search the first model's hyper-parameters in this space before it is trained.",
)
@click.option("--seed", type=click.IntRange(0, 2**31 - 1), default=0, show_default=True)
@click.option(
    "--workers",
    metavar="HOST:PORT,...",
    help="Train networks on several machines: the same command on each, with its --worker-index.",
)
@click.option(
    "--worker-index",
    type=click.IntRange(min=0),
    help="Which of --workers this machine is, from 0; worker 0 writes the run.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    required=True,
    metavar="RUN",
    help="Folder to write; appears whole or not at all.",
)
@click.option("--resume", is_flag=True, help="Go on with the same command's unfinished run.")
@click.option("--force", is_flag=True, help="Replace the folder if it holds files.")
@click.option("--json", "as_json", is_flag=True, help="Print metrics.json instead of a table.")
@click.option("-q", "--quiet", is_flag=True, help="Nothing on standard error but errors.")
@click.option("--debug", is_flag=True, help="Show tracebacks instead of one sentence.")
def main(
    workers: str | None,
    worker_index: int | None,
    as_json: bool,
    quiet: bool,
    debug: bool,
    **given: Any,
) -> None:
    """Train intrusion detection models and measure them.

    Writes a run folder: report.html, metrics.json, MODEL_CARD.md, plots, the models, the scaler,
    and the rows that edge-convert calibrates and tests with. Ctrl-C while a model learns keeps
    what it has learned so far; after a kill, the same command with --resume goes on.

    \b
    Examples:
      edge-train --data MachineLearningCVE/*.csv --model cnn-lstm boosted-trees --output runs/one
      edge-train --data improved/*.csv --split dedup time group --ablation --output runs/honest
      edge-train --data Tuesday.pcap --labels cicids2017 --profile improved --output runs/own
      edge-train --data capture.pcap.gz --labels truth.json --output runs/home
    """
    # TensorFlow takes seconds to import; --help and usage errors need not wait for it.
    from trainer.task import Options  # noqa: PLC0415

    if (workers is None) != (worker_index is None):
        raise click.UsageError("--workers and --worker-index go together.")
    if workers and given["search"]:
        raise click.UsageError("--search works on one machine; search first, then use --workers.")
    teller = Teller(quiet=quiet)

    def work() -> None:
        _join(workers, worker_index, teller)
        _work(Options(**given), teller, as_json=as_json)

    run_command("edge-train", debug, work)


def _join(workers: str | None, index: int | None, teller: Teller) -> None:
    """Meet the other workers, if there are any, before TensorFlow does anything."""
    from trainer.cluster import Cluster  # noqa: PLC0415
    from trainer.distribution import start  # noqa: PLC0415

    if workers is not None and index is not None:
        cluster: Cluster | None = Cluster(tuple(workers.split(",")), index)
    else:
        cluster = Cluster.from_environment()
    if cluster is not None:
        start(cluster, tell=teller.step)


def _work(options: Options, teller: Teller, *, as_json: bool) -> None:
    from trainer.task import prepare  # noqa: PLC0415
    from trainer.training import train  # noqa: PLC0415

    try:
        task = prepare(options)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    metrics = train(task, teller)
    if metrics is None:
        teller.step("done; worker 0 writes the run")
        return
    if as_json:
        print(json.dumps(metrics, indent=1))
    else:
        paper = metrics["data"]["layout"] in LAYOUTS
        print("\n".join(aligned(results_table(metrics["models"], paper=paper))))
    if metrics["interrupted"]:
        teller.step(f"{options.output}: holds what was learned before the interruption")
        sys.stdout.flush()
        sys.exit(INTERRUPTED)
