"""The command ``python -m benchmarks accuracy``."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, Final

import click
import numpy as np

from benchmarks.recording import Recording, judge, naming, read_recording
from benchmarks.subjects import FULL, Subjects, Verdicts, open_subjects
from benchmarks.tables import NOTHING, percent, table
from converters.gate import figures
from edge_agent.console import end_progress, progress_line, run_command
from edge_agent.contract.alerts import FAMILIES
from edge_agent.contract.errors import RunError
from edge_agent.contract.runs import Rows, load_rows

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
    families = subjects.run.families
    report: dict[str, Any] = {
        **subjects.facts(),
        "held_out": {
            "rows": len(rows.raw),
            "models": {
                name: {
                    **figures(rows.label, said.attacks).to_json(),
                    "label_agreement": agreement(verdicts, name),
                    **held_out_families(rows, families, said),
                }
                for name, said in verdicts.items()
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
                name: {**judge(recording, said), "label_agreement": agreement(verdicts, name)}
                for name, said in verdicts.items()
            },
        }
    return report


def agreement(verdicts: dict[str, Verdicts], name: str) -> float | None:
    """Share of rows on which a model says what the full one says; None without a comparison."""
    if name == FULL or FULL not in verdicts:
        return None
    return float((verdicts[name].attacks == verdicts[FULL].attacks).mean())


def held_out_families(rows: Rows, families: tuple[str, ...], said: Verdicts) -> dict[str, Any]:
    """How well a model names the attacks it finds whose family is known; nothing if it does not.

    Args:
        rows: The run's held-out rows.
        families: Of the run.
        said: What the model says of them.
    """
    if said.families is None:
        return {}
    chosen = np.flatnonzero(said.attacks & (rows.label == 1) & (rows.family > 0)).tolist()
    truth = [families[rows.family[row] - 1] for row in chosen]
    return {"families": {"flows": naming(truth, [said.families[row] for row in chosen])}}


def summary(report: dict[str, Any]) -> str:
    """The report as tables for people."""
    held_out = report["held_out"]
    parts = [_figures_table(f"{held_out['rows']:,} held-out rows", held_out["models"])]
    parts += _family_tables("held-out attacks found", held_out["models"], "flows")
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
    flows = _figures_table(f"{recording['flows']:,} flows", models)
    return [
        f"{where}\n\n{flows}",
        alarms,
        _campaigns_table(models),
        *_family_tables("flows of campaigns", models, "flows"),
        *_family_tables("campaigns", models, "campaigns"),
    ]


def _campaigns_table(models: dict[str, dict[str, Any]]) -> str:
    # Campaigns and their flows are the same for all models; only what is flagged differs.
    families = any("families" in result for result in models.values())
    titles = ("most flagged", "named") if families else ("most flagged",)
    rows = [
        (
            same[0]["id"],
            same[0]["label"],
            *((same[0]["family"],) if families else ()),
            f"{same[0]['flows']:,}",
            *(cell for item in same for cell in _flagged(item)[: 1 + len(titles)]),
        )
        for same in zip(*(result["campaigns"] for result in models.values()), strict=True)
    ]
    about = ("campaign", "label", "family") if families else ("campaign", "label")
    head = (*about, "flows", *(title for name in models for title in (name, *titles)))
    return table(head, rows, text_columns=len(about))


def _flagged(item: dict[str, Any]) -> tuple[str, str, str]:
    if not item["flows"]:
        return NOTHING, NOTHING, NOTHING
    flagged = "yes" if item["most_flagged"] else "no"
    return percent(item["flagged_share"]), flagged, item["named"] or NOTHING


def _family_tables(what: str, models: dict[str, dict[str, Any]], key: str) -> list[str]:
    """Shares named right, and the last model's confusions: the file's, which is what is shipped."""
    found = {
        name: result["families"][key] for name, result in models.items() if "families" in result
    }
    if not found:
        return []
    shares = table(
        (f"families of {what}", "named right", "of", "share"),
        [
            (name, f"{item['right']:,}", f"{item['named']:,}", percent(item["accuracy"]))
            for name, item in found.items()
        ],
    )
    last = list(found)[-1]
    confusion: dict[str, dict[str, int]] = found[last]["confusion"]
    called = [name for name in FAMILIES if any(name in calls for calls in confusion.values())]
    if not called:
        return [shares]
    rows = [
        (family, *(f"{calls.get(name, 0):,}" for name in called))
        for family, calls in confusion.items()
    ]
    return [shares, table((f"{last} calls {what}", *called), rows)]


def _number(value: float | None) -> str:
    return NOTHING if value is None else f"{value:,.1f}"
