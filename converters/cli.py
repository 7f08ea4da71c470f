"""`edge-convert`: a trained model becomes one checked model file."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click

from converters.conversion import Request, convert
from converters.formats import Format
from converters.gate import DEFAULT_MAX_F1_DROP_POINTS
from edge_agent import __version__
from edge_agent.console import end_progress, progress_line, run_command


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "--int8",
    "form",
    flag_value=Format.INT8.value,
    default=True,
    help="Whole model in 8-bit integers (the default): smallest, and made for the agent.",
)
@click.option("--float32", "form", flag_value=Format.FLOAT32.value, help="Weights as trained.")
@click.option("--float16", "form", flag_value=Format.FLOAT16.value, help="Weights in half floats.")
@click.option(
    "--dynamic-range",
    "form",
    flag_value=Format.DYNAMIC_RANGE.value,
    help="8-bit weights, float arithmetic; for ai-edge-litert only.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    metavar="MODEL",
    help="The model file; conversion.json is written beside it.",
)
@click.option(
    "--model",
    metavar="NAME",
    help="Which model of the run; by default its first convertible one, edge size first.",
)
@click.option(
    "--prune",
    "prune_share",
    type=click.FloatRange(min=0, max=1, max_open=True),
    default=0.0,
    metavar="SHARE",
    help="Set this share of the weights to zero and fine-tune first: packs better, runs alike.",
)
@click.option(
    "--max-f1-drop",
    type=click.FloatRange(min=0),
    default=DEFAULT_MAX_F1_DROP_POINTS,
    show_default=True,
    metavar="POINTS",
    help="Points of F1 (hundredths) on the test rows that the conversion may cost.",
)
@click.option("--json", "as_json", is_flag=True, help="Print conversion.json instead of a table.")
@click.option("--debug", is_flag=True, help="Show TensorFlow's log, and tracebacks.")
@click.version_option(__version__, prog_name="edge-convert")
def main(
    run: Path,
    form: str,
    output: Path,
    model: str | None,
    prune_share: float,
    max_f1_drop: float,
    as_json: bool,
    debug: bool,
) -> None:
    """Convert a model of the run folder RUN into one file for the agent.

    The file is compared with the full model on the run's test rows, through the agent's own
    detector. Where it differs too much, no file is written and the exit code is 3.

    \b
    Example:
      edge-convert --int8 runs/first --output model.tflite
    """
    request = Request(
        run=run,
        output=output,
        form=Format(form),
        model=model,
        max_f1_drop_points=max_f1_drop,
        prune_share=prune_share,
        show_log=debug,
    )

    def work() -> None:
        progress_line("converting and comparing ...")
        report = convert(request)
        end_progress()
        sys.stdout.write(json.dumps(report, indent=1) + "\n" if as_json else summary(report))

    run_command("edge-convert", debug, work)


def summary(report: dict[str, Any]) -> str:
    """The report as a table for people."""
    full, converted, gate = report["full"], report["converted"], report["gate"]
    latency = report["latency_us_per_flow"]
    lines = [
        f"{report['output']}: {report['model']}, {report['format']}",
        "",
        f"{'on the test rows':<26}{'full model':>14}{'this file':>14}",
    ]
    lines += [
        f"{title:<26}{full[key]:>14.3%}{converted[key]:>14.3%}"
        for title, key in (
            ("F1", "f1"),
            ("false-alarm rate", "false_alarm_rate"),
            ("precision", "precision"),
            ("recall", "recall"),
        )
    ]
    if report["families"]:
        lines.append(
            f"{'family named right':<26}{full['family_accuracy']:>14.3%}"
            f"{converted['family_accuracy']:>14.3%}"
        )
    lines += [
        f"{f'µs per flow, batch {batch}':<26}{latency['full'][batch]['p50']:>14,.1f}"
        f"{timing['p50']:>14,.1f}"
        for batch, timing in latency["converted"].items()
    ]
    size = report["size_bytes"]
    verdict = (
        f"Same verdict in {gate['label_agreement']:.3%} of {full['rows']:,} rows; F1 drops by"
        f" {gate['f1_drop_points']:.3f} points, {gate['max_f1_drop_points']:g} are allowed."
    )
    if report["families"]:
        verdict += f" Same family in {gate['families']['agreement']:.3%} of the attacks flagged."
    lines += [f"{'bytes':<26}{size['keras']:>14,}{size['file']:>14,}", "", verdict]
    return "\n".join(lines) + "\n"
