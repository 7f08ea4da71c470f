"""The sections of the report that say what data and settings the run had."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from trainer.report.markup import Cell, Table, paragraph, section, subheading, table
from trainer.report.wording import NONE, model_title, percent

if TYPE_CHECKING:
    from collections.abc import Mapping

# Settings that `metrics.json` has beside "options", in the order of interest.
_SETTINGS: Final = ("split", "seed", "scaler", "attempted", "loss")


def data_section(metrics: Mapping[str, Any]) -> str:
    """Files, what was dropped and why, and the classes of each part."""
    data = metrics["data"]
    dropped = {rule: rows for rule, rows in data["dropped"].items() if rows}
    return section(
        "data",
        "Data",
        paragraph(
            f"{data['rows']:,} of {data['rows_read']:,} rows were used; layout {data['layout']},"
            f" profile {data['profile']}, feature set {data['feature_set']}. Rows that have every"
            f" value of an earlier one: {data['duplicates']:,}. Combinations of values that are"
            f" both BENIGN and attack: {data['ambiguous_vectors']:,}."
        ),
        table(
            Table(
                "Files",
                ["file", "rows", "SHA-256"],
                [[file["path"], f"{file['rows']:,}", file["sha256"]] for file in data["files"]],
                frozenset({2}),
            )
        ),
        table(
            Table(
                "Rows dropped",
                ["because", "rows"],
                [[rule, f"{rows:,}"] for rule, rows in dropped.items()],
            )
        )
        if dropped
        else paragraph("No row was dropped."),
        _classes(data),
    )


def _classes(data: Mapping[str, Any]) -> str:
    parts = data["parts"]
    rows: list[list[Cell]] = [
        [label, f"{rows:,}", percent(rows / data["rows"])]
        + [f"{part['labels'].get(label, 0):,}" for part in parts.values()]
        for label, rows in data["labels"].items()
        if rows
    ]
    total: list[Cell] = ["all", f"{data['rows']:,}", percent(1.0)]
    rows.append(total + [f"{part['rows']:,}" for part in parts.values()])
    return table(Table("Rows by class and part", ["class", "rows", "share", *parts], rows))


def settings_section(metrics: Mapping[str, Any]) -> str:
    """Settings of the run, and what the training of each model came to."""
    settings = {name: metrics[name] for name in _SETTINGS if metrics.get(name) is not None}
    settings |= {
        name: value for name, value in metrics.get("options", {}).items() if name not in settings
    }
    models: list[list[Cell]] = [
        [
            model_title(name, facts),
            f"{facts['parameters']:,}" if "parameters" in facts else NONE,
            f"{facts['training_s']:,.0f} s" if "training_s" in facts else NONE,
            _epochs(facts.get("history", {})),
        ]
        for name, facts in metrics["models"].items()
    ]
    return section(
        "training",
        "Training",
        table(
            Table(
                "What the training came to",
                ["model", "trained numbers", "time", "epochs (kept)"],
                models,
            )
        ),
        subheading("Settings"),
        table(
            Table(
                "Settings of the run",
                ["setting", "value"],
                [[name, _text(value)] for name, value in settings.items()],
                frozenset({1}),
            )
        ),
    )


def _epochs(history: Mapping[str, Any]) -> str:
    epochs = len(history.get("loss", []))
    return f"{epochs} ({history['best_epoch']})" if epochs else NONE


def _text(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_text, value)) or NONE
    if hasattr(value, "items"):
        return ", ".join(f"{key} = {_text(item)}" for key, item in value.items()) or NONE
    return NONE if value is None or value == "" else str(value)
