"""The command ``python -m benchmarks accuracy``."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from benchmarks.recording import Recording, judge, read_recording
from benchmarks.subjects import FULL, Subjects, open_subjects
from benchmarks.tables import NOTHING, percent, table
from converters.gate import figures
from edge_agent.console import end_progress, progress_line, run_command
from edge_agent.contract.errors import RunError
from edge_agent.contract.runs import Rows, load_rows

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_FIGURES: Final = {
    "accuracy": "accuracy",
    "precision": "precision",
    "recall": "recall",
    "F1": "f1",
    "false alarms": "false_alarm_rate",
    "same verdict": "label_agreement",
}
"""Column title → key of the JSON."""


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("model", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--capture",
    type=click.Path(path_type=Path, dir_okay=False),
    help="A recording that the model has never seen; needs --truth.",
)
@click.option(
    "--truth",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The truth.json that was written with the recording.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")
@click.option("--debug", is_flag=True, help="Show tracebacks.")
def accuracy(
    run: Path, model: Path, capture: Path | None, truth: Path | None, as_json: bool, debug: bool
) -> None:
    """How well a model file finds attacks, beside its full model.

    The file MODEL and the Keras model of RUN that it was made of judge the run's held-out
    rows, and with --capture the flows of a recording; the file does so in every interpreter that is
    installed.

    \b
    Example:
      python -m benchmarks accuracy runs/first model.tflite \\
        --capture benchmarks/lab/sessions/session-b/capture.pcap.gz \\
        --truth benchmarks/lab/sessions/session-b/truth.json
    """  # noqa: D301
    if (capture is None) != (truth is None):
        raise click.UsageError("--capture and --truth go together.")

    def work() -> None:
        progress_line("loading the models ...")
        subjects = open_subjects(run, model)
        end_progress()
        recording = None
        rows = load_rows(run, "test")
        if capture is not None and truth is not None:
            recording = read_recording(capture, truth, subjects.run)
        report = measure(subjects, rows, recording)
        text = json.dumps(report, indent=1, ensure_ascii=False, allow_nan=False)
        sys.stdout.write(text + "\n" if as_json else f"{subjects.title()}\n\n{summary(report)}\n")

    run_command("benchmarks accuracy", debug, work)


def measure(subjects: Subjects, rows: Rows, recording: Recording | None) -> dict[str, Any]:
    """Let every model judge every row.

    Args:
        subjects: The models.
        rows: The run's held-out rows.
        recording: More flows to judge.

    Raises:
        RunError: The run has no held-out rows.
    """
    if not len(rows.raw):
        raise RunError(subjects.folder, "has no held-out rows", remedy="train on more flows")
    verdicts = subjects.verdicts(rows.raw)
    report = {
        **subjects.facts(),
        "held_out": {
            "rows": len(rows.raw),
            "models": {
                name: {
                    **figures(rows.label, attacks).to_json(),
                    "label_agreement": agreement(verdicts, name),
                }
                for name, attacks in verdicts.items()
            },
        },
    }
    if recording is not None:
        verdicts = subjects.verdicts(recording.raw)
        report["recording"] = {
            "capture": str(recording.capture),
            "truth": str(recording.truth.path),
            "learned_from": recording.learned_from,
            "hours": recording.hours,
            "flows": len(recording.raw),
            "models": {
                name: {
                    **judge(recording, attacks),
                    "label_agreement": agreement(verdicts, name),
                }
                for name, attacks in verdicts.items()
            },
        }
    return report


def agreement(verdicts: dict[str, NDArray[np.bool_]], name: str) -> float | None:
    """Share of rows on which a model says what the full one says; None without a comparison."""
    if name == FULL or FULL not in verdicts:
        return None
    return float((verdicts[name] == verdicts[FULL]).mean())


def summary(report: dict[str, Any]) -> str:
    """The report as tables for people."""
    held_out = report["held_out"]
    parts = [_figures_table(f"{held_out['rows']:,} held-out rows", held_out["models"])]
    if "recording" in report:
        parts += _recording_tables(report["recording"])
    return "\n\n".join(parts)


def _figures_table(title: str, models: dict[str, dict[str, Any]]) -> str:
    return table(
        (title, *_FIGURES),
        [
            (name, *(percent(result[key]) for key in _FIGURES.values()))
            for name, result in models.items()
        ],
    )


def _recording_tables(recording: dict[str, Any]) -> list[str]:
    models: dict[str, dict[str, Any]] = recording["models"]
    where = f"{recording['capture']}: {recording['hours']:.2f} hours"
    if recording["learned_from"]:
        where += "; the run was TRAINED on this recording, so these figures prove nothing"
    alarms = table(
        ("", "false alarms", "per hour", "campaigns found"),
        [
            (
                name,
                f"{result['confusion']['fp']:,}",
                _number(result["false_alarms_per_hour"]),
                f"{result['campaigns_found']} of {len(result['campaigns'])}",
            )
            for name, result in models.items()
        ],
    )
    # Campaigns and their flows are the same for all models; only what is flagged differs.
    rows = [
        (
            same[0]["id"],
            same[0]["label"],
            f"{same[0]['flows']:,}",
            *(cell for item in same for cell in _flagged(item)),
        )
        for same in zip(*(result["campaigns"] for result in models.values()), strict=True)
    ]
    head = ("campaign", "label", "flows", *(t for name in models for t in (name, "most flagged")))
    flows = _figures_table(f"{recording['flows']:,} flows", models)
    return [f"{where}\n\n{flows}", alarms, table(head, rows, text_columns=2)]


def _flagged(item: dict[str, Any]) -> tuple[str, str]:
    if not item["flows"]:
        return NOTHING, NOTHING
    return percent(item["flagged_share"]), "yes" if item["most_flagged"] else "no"


def _number(value: float | None) -> str:
    return NOTHING if value is None else f"{value:,.1f}"
