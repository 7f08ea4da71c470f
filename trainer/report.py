"""`report.html`: one self-contained page with the figures and the plots of a run."""

from __future__ import annotations

import base64
from html import escape
from string import Template
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_PAGE: Final = Template("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>edge-train: $title</title>
<style>
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; margin: 1rem 0; }
th, td { border-bottom: 1px solid #ccc; padding: .25rem .75rem; text-align: right; }
th:first-child, td:first-child { text-align: left; }
img { max-width: 100%; }
</style>
</head>
<body>
<h1>$title</h1>
<p>$summary</p>
<h2>Test rows</h2>
$models
<h2>Recall by class</h2>
<p>Share of a class's test rows that were flagged; for BENIGN that is the false-alarm rate. A share
of fewer than 50 rows says little.</p>
$classes
<h2>Data</h2>
$files
$labels
$dropped
<h2>Plots</h2>
$plots
</body>
</html>
""")


def results_table(models: Mapping[str, Any]) -> list[list[str]]:
    """Header and one line per model: the figures of the test rows as text."""
    lines = [["model", "F1", "accuracy", "precision", "recall", "false alarms", "threshold"]]
    for name, facts in models.items():
        test = facts["test"]
        lines.append(
            [
                f"{name} {facts['size']}".strip(),
                f"{test['f1']:.4f}",
                f"{test['accuracy']:.4f}",
                f"{test['precision']:.4f}",
                f"{test['recall']:.4f}",
                f"{test['false_alarm_rate']:.2%}",
                f"{facts['threshold']:.3f}",
            ]
        )
    return lines


def _table(lines: Iterable[Iterable[str]]) -> str:
    header, *rows = ([escape(cell) for cell in line] for line in lines)
    head = "".join(f"<th>{cell}</th>" for cell in header)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>\n" for row in rows)
    return f"<table>\n<tr>{head}</tr>\n{body}</table>"


def _class_lines(models: Mapping[str, Any]) -> list[list[str]]:
    per_class = {name: facts["test"]["per_class"] for name, facts in models.items()}
    first = next(iter(per_class.values()))
    lines = [["class", "family", "rows", *per_class]]
    lines += [
        [label, facts["family"], f"{facts['rows']:,}"]
        + [f"{classes[label]['recall']:.2%}" for classes in per_class.values()]
        for label, facts in first.items()
    ]
    return lines


def page(metrics: Mapping[str, Any], plots: Mapping[str, bytes]) -> str:
    """The report of a run.

    Args:
        metrics: What `metrics.json` holds.
        plots: File name → PNG.
    """
    data = metrics["data"]
    images = "".join(
        f'<p><img alt="{escape(name)}" src="data:image/png;base64,'
        f'{base64.b64encode(png).decode()}"></p>\n'
        for name, png in plots.items()
    )
    parts = data["parts"]
    label_lines = [["label", "rows", *parts]] + [
        [label, f"{rows:,}"] + [f"{part['labels'].get(label, 0):,}" for part in parts.values()]
        for label, rows in data["labels"].items()
    ]
    return _PAGE.substitute(
        title=escape(f"{data['feature_set']}, {metrics['split']} split, seed {metrics['seed']}"),
        summary=escape(
            f"{data['rows']:,} flows of the layout {data['layout']} (profile {data['profile']}),"
            f" {data['rows_read']:,} rows read."
        ),
        models=_table(results_table(metrics["models"])),
        classes=_table(_class_lines(metrics["models"])),
        files=_table(
            [["file", "rows", "sha256"]]
            + [[file["path"], f"{file['rows']:,}", file["sha256"]] for file in data["files"]]
        ),
        labels=_table(label_lines),
        dropped=_table(
            [["rows dropped because", "rows"]]
            + [[rule, f"{rows:,}"] for rule, rows in data["dropped"].items()]
        ),
        plots=images,
    )
