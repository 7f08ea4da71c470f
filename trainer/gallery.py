"""Every plot of a run under the name that the report knows it by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from trainer import figures, plots
from trainer.evaluate import Confusion

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from trainer.evaluate import Truth
    from trainer.figures import Scored
    from trainer.importance import Importance
    from trainer.models.base import History


@dataclass(frozen=True, slots=True)
class Trained:
    """What is plotted of a model.

    Attributes:
        scored: Its scores on the test rows.
        history: Its training curves.
        importance: Columns it leans on, most important first; empty: no such plot.
    """

    scored: Scored
    history: History
    importance: Sequence[Importance] = ()


def gallery(models: Mapping[str, Trained], truth: Truth) -> dict[str, bytes]:
    """Name → PNG, in the order in which the report shows them.

    Args:
        models: Name → what is plotted; a colon in a name becomes a hyphen in that of a plot, which
            also names a file.
        truth: Of the test rows, both classes present.
    """
    histories = {name: model.history for name, model in models.items()}
    scored = {name: model.scored for name, model in models.items()}
    images = {what: plots.curves(histories, what) for what in ("accuracy", "loss")}
    images["precision-recall"] = figures.precision_recall(scored)
    images["roc"] = figures.roc(scored)
    for name, model in models.items():
        stem = name.replace(":", "-")
        hits, alarms = model.scored.verdicts
        attacks, benign = model.scored.sizes
        counts = Confusion(tn=benign - alarms, fp=alarms, fn=attacks - hits, tp=hits)
        images[f"confusion-{stem}"] = plots.confusion(name, counts)
        images[f"calibration-{stem}"] = figures.calibration(name, model.scored)
        images[f"scores-{stem}"] = figures.histograms(name, model.scored, truth)
        if model.importance:
            images[f"importance-{stem}"] = figures.importance_bars(name, model.importance)
    return images
