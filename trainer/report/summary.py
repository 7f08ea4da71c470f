"""The results on a terminal, beside the paper's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from trainer.paper import PUBLISHED, Published
from trainer.report.caveats import f1_text
from trainer.report.wording import NONE, decimal, model_title, percent

if TYPE_CHECKING:
    from collections.abc import Mapping

HEADER: Final = (
    "model",
    "F1 (95 %)",
    "accuracy",
    "precision",
    "recall",
    "false alarms",
    "threshold",
)
NOT_AT_HAND: Final = "not at hand"


def results_table(models: Mapping[str, Any], *, paper: bool = False) -> list[list[str]]:
    """Header and one line per model: the figures of the test rows as text.

    Args:
        models: `metrics["models"]`.
        paper: Whether to add what the paper published; only beside rows of CICIDS2017
            (`trainer.paper.LAYOUTS`) does that say anything.
    """
    lines = [list(HEADER)]
    for name, facts in models.items():
        test = facts["test"]
        lines.append(
            [
                model_title(name, facts),
                f1_text(test),
                decimal(test["accuracy"]),
                decimal(test["precision"]),
                decimal(test["recall"]),
                percent(test["false_alarm_rate"]).replace("\u00a0", " "),
                f"{facts['threshold']:.3f}",
            ]
        )
    if paper:
        lines += [published_line(published) for published in PUBLISHED]
    return lines


def published_line(published: Published) -> list[str]:
    """A line of the paper under the same header."""
    title = f"paper's {published.name}"
    if not published.at_hand:
        return [title, NOT_AT_HAND, *[NONE] * (len(HEADER) - 2)]
    rate = published.false_alarm_rate
    return [
        title,
        decimal(published.f1),
        # As many digits as were published.
        NONE if published.accuracy is None else f"{published.accuracy:.5g}",
        decimal(published.precision),
        decimal(published.recall),
        NONE if rate is None else f"{100 * rate:.3g} %",
        NONE,
    ]


def aligned(lines: list[list[str]]) -> list[str]:
    """The lines as text, the first column to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return [
        "  ".join(
            [first.ljust(widths[0])]
            + [cell.rjust(width) for cell, width in zip(rest, widths[1:], strict=True)]
        )
        for first, *rest in lines
    ]
