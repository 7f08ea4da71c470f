"""The sections of the report that show what the models of the run do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from trainer.paper import CITATION, LAYOUTS, PUBLISHED
from trainer.report.caveats import traffic_of
from trainer.report.markup import (
    Cell,
    Figured,
    Table,
    bullets,
    paragraph,
    section,
    subheading,
    table,
)
from trainer.report.summary import HEADER, published_line
from trainer.report.wording import (
    MIN_ROWS,
    NONE,
    count,
    decimal,
    decimal_range,
    listed,
    model_title,
    one_in,
    percent,
    percent_range,
)
from trainer.traffic import expected

if TYPE_CHECKING:
    from collections.abc import Mapping

# In the order of interest: what no mix of classes sways comes early.
_FIGURES: Final = {
    "f1": "F1",
    "recall": "recall",
    "false_alarm_rate": "false-alarm rate",
    "precision": "precision",
    "accuracy": "accuracy",
    "mcc": "MCC",
    "roc_auc": "ROC-AUC",
    "average_precision": "average precision",
}


def figured(test: Mapping[str, Any], figure: str) -> Cell:
    """A figure of the test rows as a cell, its interval below; the false-alarm rate in percent."""
    value, bounds = test.get(figure), test.get("intervals", {}).get(figure)
    if value is None:
        return NONE
    if figure == "false_alarm_rate":
        return Figured(percent(value), percent_range(bounds) if bounds else "")
    return Figured(decimal(value), decimal_range(bounds) if bounds else "")


def models_section(metrics: Mapping[str, Any]) -> str:
    """Every figure of every model, and the paper's where they are of the same data."""
    rows = [
        [model_title(name, facts), *(figured(facts["test"], figure) for figure in _FIGURES)]
        for name, facts in metrics["models"].items()
    ]
    header = ["model", *_FIGURES.values()]
    return section(
        "models",
        "Test rows",
        table(Table("Figures of the test rows, 95 % intervals below", header, rows)),
        paragraph(
            "False-alarm rate: share of the benign rows that were flagged. MCC: Matthews'"
            " correlation, 1 for a perfect model, 0 for guessing. Average precision: the area"
            " under precision over recall, whatever the threshold."
        ),
        _paper(metrics) if metrics["data"]["layout"] in LAYOUTS else "",
    )


def _paper(metrics: Mapping[str, Any]) -> str:
    rows = [[*published_line(published)[:-1], published.source] for published in PUBLISHED]
    if metrics["data"]["layout"] == "MachineLearningCVE":
        same = (
            "The files here are in the same layout; whether they hold the same rows, their digests"
            " below tell."
        )
    else:
        same = (
            "These rows come from the corrected tool and carry corrected labels: other rows than"
            " the paper's."
        )
    return "\n".join(
        [
            subheading("Beside the paper"),
            table(
                Table(
                    f"What was published: {CITATION}",
                    ["", "F1", *HEADER[2:-1], "where"],
                    rows,
                    frozenset({len(HEADER) - 1}),
                )
            ),
            paragraph(f"The paper dealt rows at random, duplicates included. {same}"),
        ]
    )


def work_section(metrics: Mapping[str, Any]) -> str:
    """False alarms a day, and how many alarms are real, for each model."""
    traffic = traffic_of(metrics)
    rows: list[list[Cell]] = []
    for name, facts in metrics["models"].items():
        if "intervals" not in facts["test"]:
            continue
        there = expected(facts["test"], traffic)
        bounds, daily = there["false_alarms_interval"], there["false_alarms_per_day"]
        real, real_bounds = there["precision"], there["precision_interval"]
        rows.append(
            [
                model_title(name, facts),
                NONE
                if daily is None
                else Figured(count(daily), f"{count(bounds[0])}–{count(bounds[1])}"),
                NONE if real is None else Figured(percent(real), percent_range(real_bounds)),
            ]
        )
    if not rows:
        return ""
    flows = f"{traffic.flows_per_hour:,.0f} benign flows an hour"
    return section(
        "work",
        "At work in a network",
        paragraph(
            f"Should the rates of the test rows hold where there are {flows}, and"
            f" {one_in(traffic.attack_share)} flows is part of an attack. Ten thousand flows an"
            " hour are fifty devices with a flow every 18 s each; --flows-per-hour sets another"
            " number. These are flows: the agent joins flows of one attacker into one incident,"
            " so people see fewer alerts."
        ),
        table(
            Table(
                f"Expected with {flows}",
                ["model", "false alarms a day", "flagged flows that are attacks"],
                rows,
            )
        ),
    )


def families_section(metrics: Mapping[str, Any]) -> str:
    """Recall by family and by class, and how well families are named."""
    models = metrics["models"]
    naming = "".join(
        _naming(model_title(name, facts), facts["test"]["naming"])
        for name, facts in models.items()
        if "naming" in facts["test"]
    )
    return section(
        "families",
        "By family and class",
        paragraph(
            "Share of the test rows that were flagged, with its 95 % interval; for BENIGN that is"
            f" the false-alarm rate. Fewer than {MIN_ROWS} rows make no share: their count is"
            " given."
        ),
        _flagged(models, "per_family", "family"),
        _flagged(models, "per_class", "class"),
        naming,
    )


def _flagged(models: Mapping[str, Any], key: str, what: str) -> str:
    known = {name: facts["test"].get(key, {}) for name, facts in models.items()}
    first = next(iter(known.values()))
    if not first:
        return ""
    by_class = key == "per_class"
    rows: list[list[Cell]] = [
        [item, *([facts["family"]] if by_class else []), f"{facts['rows']:,}"]
        + [_flagged_cell(entries.get(item)) for entries in known.values()]
        for item, facts in first.items()
    ]
    titles = [model_title(name, facts) for name, facts in models.items()]
    header = [what, *(["family"] if by_class else []), "test rows", *titles]
    text_columns = frozenset({1} if by_class else ())
    return table(Table(f"Flagged, by {what}", header, rows, text_columns))


def _flagged_cell(facts: Mapping[str, Any] | None) -> Cell:
    if facts is None:
        return NONE
    if facts["rows"] < MIN_ROWS:
        return f"{facts['detected']} of {facts['rows']}"
    bounds = facts.get("interval")
    return Figured(percent(facts["recall"]), percent_range(bounds) if bounds else "")


def _naming(title: str, naming: Mapping[str, Any]) -> str:
    rows = [
        [
            family,
            *(f"{named[other]:,}" if named[other] else "" for other in naming["families"]),
            _right(named.get(family, 0), sum(named.values())),
        ]
        for family, named in naming["confusion"].items()
    ]
    share = _right(naming["right"], naming["rows"])
    bounds = naming["interval"] if naming["rows"] >= MIN_ROWS else None
    return (
        subheading(f"Families named by {title}")
        + paragraph(
            f"Of the attack rows that were flagged, {naming['right']:,} of {naming['rows']:,}"
            " got their own family's name"
            + (f" ({share}; 95 % interval {percent_range(bounds)})." if bounds else ".")
        )
        + table(
            Table(
                f"Flagged attack rows by family (down) and by the name {title} gave (across)",
                ["family", *naming["families"], "right"],
                rows,
            )
        )
    )


def _right(right: int, rows: int) -> str:
    return percent(right / rows) if rows >= MIN_ROWS else f"{right} of {rows}"


def thresholds_section(metrics: Mapping[str, Any]) -> str:
    """How each threshold was chosen, and what it gives on both parts."""
    models = metrics["models"]
    rows: list[list[Cell]] = [
        [
            model_title(name, facts),
            f"{facts['threshold']:.4f}",
            *(
                percent(facts[part][figure]) if part in facts else NONE
                for figure in ("recall", "false_alarm_rate")
                for part in ("validation", "test")
            ),
        ]
        for name, facts in models.items()
    ]
    ruled: dict[str, list[str]] = {}
    for name, facts in models.items():
        ruled.setdefault(facts["threshold_rule"], []).append(model_title(name, facts))
    return section(
        "thresholds",
        "Thresholds",
        paragraph(
            "A flow whose score reaches the threshold is flagged. Thresholds were chosen on the"
            " validation rows; the test rows had no part in it."
        ),
        table(
            Table(
                "Thresholds and what they give",
                [
                    "model",
                    "threshold",
                    "recall, validation",
                    "recall, test",
                    "false alarms, validation",
                    "false alarms, test",
                ],
                rows,
            )
        ),
        bullets(f"{listed(titles)}: {rule}." for rule, titles in ruled.items()),
    )
