"""Figures of several seeds as a table for people."""

from __future__ import annotations

from statistics import mean
from typing import TYPE_CHECKING, Any

from benchmarks.tables import markdown

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def report(facts: Mapping[str, Any], split: str) -> str:
    """Markdown: a table for each split, models by mean F1."""
    seeds = facts["seeds"]
    first = next(iter(seeds.values()))
    lines = [
        f"# {', '.join(facts['data'])}",
        "",
        (
            f"Test rows; mean over seeds {', '.join(seeds)}, F1 of each seed behind it."
            f" Measured on {facts['date']}, {facts['processor']}."
        ),
    ]
    for table in first:
        lines += ["", f"## {f'split {split}' if table == 'main' else table}", ""]
        lines += markdown(_lines([figures[table] for figures in seeds.values()]))
    return "\n".join(lines) + "\n"


def _lines(tables: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    header = ["model", "F1", "each", "false-alarm rate", "recall", "accuracy", "family named right"]
    rows = []
    for model in sorted(tables[0], key=lambda name: -mean(table[name]["f1"] for table in tables)):
        figures = [table[model] for table in tables]
        named = [entry["family_named_right"] for entry in figures if "family_named_right" in entry]
        rows.append(
            [
                model,
                f"{mean(entry['f1'] for entry in figures):.4f}",
                " ".join(f"{entry['f1']:.4f}".lstrip("0") for entry in figures),
                f"{mean(entry['false_alarm_rate'] for entry in figures):.3%}",
                f"{mean(entry['recall'] for entry in figures):.3%}",
                f"{mean(entry['accuracy'] for entry in figures):.3%}",
                f"{mean(named):.2%}" if named else "",
            ]
        )
    return [header, *rows]
