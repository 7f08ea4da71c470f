"""`python -m benchmarks models`: every model on the very same rows, over several seeds.

Each seed is a run of `edge-train` as a user would start it, with the split and the weights of
networks drawn anew; the CNN-LSTM is then converted with `edge-convert --int8`. What is printed, and
written as Markdown and JSON, is the mean over the seeds and each seed's figure.
"""

from __future__ import annotations

import json
import platform
import tempfile
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from benchmarks.models.report import report
from benchmarks.models.running import call
from edge_agent.console import run_command
from edge_agent.contract.files import write_atomically
from trainer.options import SeveralValues

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_MODELS: Final = ("cnn-lstm", "autoencoder", "svm", "random-forest", "boosted-trees")
_CONVERTED: Final = "cnn-lstm"


@click.command(
    "models", cls=SeveralValues, context_settings={"help_option_names": ["-h", "--help"]}
)
@click.option(
    "--data", multiple=True, required=True, metavar="PATH...", help="As edge-train takes."
)
@click.option("--features", help="Feature set.  [default: edge-train's]")
@click.option("--model", "models", multiple=True, default=_MODELS, metavar="NAME...")
@click.option(
    "--split", "splits", multiple=True, default=("dedup",), metavar="NAME...", show_default=True
)
@click.option("--seed", "seeds", multiple=True, type=int, default=(0, 1, 2), metavar="SEED...")
@click.option("--ablation", is_flag=True, help="Also without ports, windows and header sizes.")
@click.option("--epochs", type=int, help="[default: edge-train's]")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="STEM",
    help="Write STEM.md and STEM.json.",
)
@click.option("--debug", is_flag=True, help="Show tracebacks instead of one sentence.")
def compare(
    data: tuple[str, ...],
    features: str | None,
    models: tuple[str, ...],
    splits: tuple[str, ...],
    seeds: tuple[int, ...],
    ablation: bool,
    epochs: int | None,
    output: Path | None,
    debug: bool,
) -> None:
    """Compare the models on the same rows, over several seeds, int8 file included.

    \b
    Example:
      python -m benchmarks models --data MachineLearningCVE/*.csv --split dedup -o results/original
    """
    command = [
        *("--data", *data),
        *("--model", *models),
        *("--split", *splits),
        *(("--features", features) if features else ()),
        *(("--epochs", str(epochs)) if epochs else ()),
        *(("--ablation",) if ablation else ()),
    ]

    def work() -> None:
        found = [_seed(command, seed, convert=_CONVERTED in models) for seed in seeds]
        facts = {
            "data": [Path(path).name for path in data],
            "date": date.today().isoformat(),
            "processor": platform.machine(),
            "seeds": dict(zip(map(str, seeds), found, strict=True)),
        }
        text = report(facts, splits[0])
        print(text)
        if output is not None:
            write_atomically(output.with_suffix(".md"), text.encode())
            document = json.dumps(facts, indent=1) + "\n"
            write_atomically(output.with_suffix(".json"), document.encode())

    run_command("benchmarks models", debug, work)


def _seed(command: Sequence[str], seed: int, *, convert: bool) -> dict[str, Any]:
    """Figures of one seed: table name → model → figures of the test rows."""
    with tempfile.TemporaryDirectory(prefix="edge-ids-models-") as name:
        run = Path(name) / "run"
        call("edge-train", *command, "--seed", str(seed), "--output", str(run))
        metrics = json.loads((run / "metrics.json").read_bytes())
        tables = {"main": metrics["models"]}
        tables |= {name: block["models"] for name, block in metrics.get("splits", {}).items()}
        if "ablation" in metrics:
            tables["without leaky columns"] = metrics["ablation"]["models"]
        figures: dict[str, Any] = {
            table: {model: _kept(entry["test"]) for model, entry in entries.items()}
            for table, entries in tables.items()
        }
        if convert:
            file = Path(name) / "model.tflite"
            # Whatever it costs is to be told here, not to be refused.
            order = ("--int8", str(run), "--model", _CONVERTED, "--max-f1-drop", "100")
            call("edge-convert", *order, "--output", str(file))
            conversion = json.loads((Path(name) / "conversion.json").read_bytes())
            figures["main"][f"{_CONVERTED} int8"] = conversion["converted"] | {
                "size_bytes": conversion["size_bytes"]["file"],
                "latency_us_per_flow": conversion["latency_us_per_flow"]["converted"],
            }
        for model, entry in metrics["models"].items():
            figures["main"][model] |= {
                key: entry[key] for key in ("training_s", "parameters", "threshold")
            }
        return figures


def _kept(test: Mapping[str, Any]) -> dict[str, Any]:
    wanted = ("f1", "false_alarm_rate", "precision", "recall", "accuracy", "roc_auc", "confusion")
    kept = {key: test[key] for key in wanted if key in test}
    if "naming" in test:
        kept["family_named_right"] = test["naming"]["share"]
    return kept
