"""`report.html`: one page that needs nothing but itself."""

from __future__ import annotations

from html import escape
from string import Template
from typing import TYPE_CHECKING, Any, Final

from trainer.report.caveats import meaning, verdict
from trainer.report.comparisons import (
    ablation_section,
    cross_section,
    search_section,
    splits_section,
)
from trainer.report.facts import data_section, settings_section
from trainer.report.markup import bullets, image, paragraph, section
from trainer.report.sections import (
    families_section,
    models_section,
    thresholds_section,
    work_section,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

_PAGE: Final = Template("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>edge-train: $title</title>
<style>
:root {
  color-scheme: light dark;
  --text: #1c2024; --quiet: #555d66; --back: #ffffff; --line: #d5dae0; --band: #f4f6f8;
  --link: #005a9c;
}
@media (prefers-color-scheme: dark) {
  :root {
    --text: #e4e7ea; --quiet: #a4adb6; --back: #16191d; --line: #3a4149; --band: #1f242a;
    --link: #7cc0f5;
  }
}
* { box-sizing: border-box; }
body {
  font: 16px/1.55 system-ui, sans-serif; color: var(--text); background: var(--back);
  max-width: 68rem; margin: 0 auto; padding: 1rem 1rem 4rem;
}
a { color: var(--link); }
.skip { position: absolute; left: -100rem; }
.skip:focus { position: static; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 1rem 0 .25rem; }
h2 { font-size: 1.25rem; margin: 2.5rem 0 .5rem; padding-top: .5rem;
  border-top: 1px solid var(--line); }
h3 { font-size: 1.05rem; margin: 1.5rem 0 .25rem; }
p, ul { max-width: 46rem; }
li { margin: .35rem 0; }
.quiet, small, caption, figcaption { color: var(--quiet); }
.verdict { border-left: .3rem solid var(--link); background: var(--band); padding: .25rem 1rem;
  max-width: 48rem; font-size: 1.05rem; }
nav ul { max-width: none; list-style: none; padding: 0; display: flex; flex-wrap: wrap;
  gap: .25rem 1.25rem; }
nav li { margin: 0; }
.scroll { overflow-x: auto; margin: 1rem 0; max-width: 100%; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
caption { text-align: left; padding: .25rem 0; font-size: .9rem; }
th, td { border-bottom: 1px solid var(--line); padding: .3rem .55rem; text-align: right;
  vertical-align: top; white-space: nowrap; }
th.text, td.text, tbody th { text-align: left; }
th:first-child { padding-left: 0; }
thead th { background: var(--band); vertical-align: bottom; white-space: normal; }
thead th:first-child { padding-left: .5rem; }
tbody th { font-weight: 600; padding-left: .5rem !important; position: sticky; left: 0;
  background: var(--back); }
td.long { white-space: normal; min-width: 14rem; overflow-wrap: anywhere; }
small { display: block; font-size: .78rem; }
.plots { display: flex; flex-wrap: wrap; gap: 1rem; align-items: flex-start; }
figure { margin: 0; flex: 1 1 28rem; max-width: min(100%, 33rem); }
figure.wide { flex-basis: 100%; max-width: 100%; }
figure img { max-width: 100%; height: auto; background: #ffffff; border: 1px solid var(--line); }
figcaption { font-size: .9rem; }
@media print {
  :root { --text: #000; --quiet: #333; --back: #fff; --line: #999; --band: #fff; --link: #000; }
  nav, .skip { display: none; }
  body { font-size: 10pt; max-width: none; padding: 0; }
  th, td { white-space: normal; padding: .15rem .35rem; }
  .scroll { overflow: visible; }
  figure, tr { break-inside: avoid; }
  h2, h3 { break-after: avoid; }
}
</style>
</head>
<body>
<a class="skip" href="#verdict">Skip to the results</a>
<header>
<h1>$title</h1>
<p class="quiet">$summary</p>
</header>
<nav aria-label="Sections"><ul>
$links
</ul></nav>
<main>
$sections
</main>
</body>
</html>
""")

# What a plot shows, by what its name begins with.
_ALTS: Final = {
    "accuracy": "Accuracy of the training and validation rows by epoch",
    "loss": "Loss of the training and validation rows by epoch",
    "precision-recall": "Precision over recall on the test rows, all models",
    "roc": "Recall over the false-alarm rate on the test rows, all models",
    "confusion": "Confusion matrix of the test rows",
    "scores": "Scores of the test rows by family",
    "calibration": "Calibration: share of attacks among test rows of equal score",
    "importance": "Columns by what the model loses when they are shuffled",
}

# Two plots side by side: they get a line of the page for themselves.
_WIDE: Final = ("precision-recall", "roc")

_TITLES: Final = {
    "verdict": "Verdict",
    "meaning": "What these figures mean",
    "models": "Test rows",
    "work": "At work",
    "families": "Families and classes",
    "thresholds": "Thresholds",
    "splits": "Other splits",
    "ablation": "Without leaky columns",
    "cross": "On other data",
    "plots": "Plots",
    "data": "Data",
    "training": "Training",
    "search": "Search",
}


def page(metrics: Mapping[str, Any], plots: Mapping[str, bytes]) -> str:
    """The report of a run.

    Args:
        metrics: What `metrics.json` holds; "splits", "ablation", "cross" and "search" where the
            run has them.
        plots: Name → PNG, in the order to be shown. A name is one of `_ALTS`, followed by
            "-MODEL" where it is of one model.
    """
    data = metrics["data"]
    sections = {
        "verdict": _verdict(metrics),
        "meaning": section("meaning", "What these figures mean", bullets(meaning(metrics))),
        "models": models_section(metrics),
        "work": work_section(metrics),
        "families": families_section(metrics),
        "thresholds": thresholds_section(metrics),
        "splits": splits_section(metrics),
        "ablation": ablation_section(metrics),
        "cross": cross_section(metrics),
        "plots": _plots(plots),
        "data": data_section(metrics),
        "training": settings_section(metrics),
        "search": search_section(metrics),
    }
    present = [anchor for anchor, content in sections.items() if content]
    return _PAGE.substitute(
        title=escape(f"{data['feature_set']}, {metrics['split']} split, seed {metrics['seed']}"),
        summary=escape(
            f"{data['rows']:,} flows of the layout {data['layout']} (profile {data['profile']}),"
            f" {data['rows_read']:,} rows read."
        ),
        links="\n".join(
            f'<li><a href="#{anchor}">{escape(_TITLES[anchor])}</a></li>' for anchor in present
        ),
        sections="\n".join(sections[anchor] for anchor in present),
    )


def _verdict(metrics: Mapping[str, Any]) -> str:
    words = "\n".join(map(paragraph, verdict(metrics)))
    return section("verdict", "Verdict", f'<div class="verdict">\n{words}\n</div>')


def _plots(plots: Mapping[str, bytes]) -> str:
    if not plots:
        return ""
    images = "\n".join(
        image(png, alt_text(name), wide=name in _WIDE) for name, png in plots.items()
    )
    return section("plots", "Plots", f'<div class="plots">\n{images}\n</div>')


def alt_text(name: str) -> str:
    """What a plot of this name shows."""
    for kind, text in _ALTS.items():
        if name == kind:
            return text
        if name.startswith(f"{kind}-"):
            return f"{name.removeprefix(f'{kind}-')}: {text[0].lower()}{text[1:]}"
    return name
