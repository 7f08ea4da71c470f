"""Plots of scores as PNG: precision and recall, ROC, histograms, calibration, importance."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import cycle
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from trainer.evaluate import BENIGN_FAMILY
from trainer.intervals import wilson
from trainer.plots import COLOURS, STYLES, canvas, to_png

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from trainer.evaluate import Truth
    from trainer.importance import Importance

_WIDE_INCHES: Final = (9.6, 4.2)
# Good models differ in the corner only; it is wider where one of them is not that good.
_CORNER: Final = 0.9
_HISTOGRAM_BINS: Final = 50
_CALIBRATION_BINS: Final = 10
# More points than pixels only cost time.
_CURVE_POINTS: Final = 1000
_BARS: Final = 20


@dataclass(frozen=True, slots=True)
class Scored:
    """A model's scores on the test rows.

    Attributes:
        scores: float32, shape (n_flows,), in [0, 1].
        target: uint8, shape (n_flows,), 1 for attacks.
        threshold: Scores at or above it are attacks.
    """

    scores: NDArray[np.float32]
    target: NDArray[np.uint8]
    threshold: float

    @property
    def verdicts(self) -> tuple[int, int]:
        """True and false positives at the threshold."""
        flagged = self.scores >= self.threshold
        attack = self.target == 1
        return int((flagged & attack).sum()), int((flagged & ~attack).sum())

    @property
    def sizes(self) -> tuple[int, int]:
        """Attack and benign rows."""
        attacks = int(self.target.sum())
        return attacks, len(self.target) - attacks


def precision_recall(models: Mapping[str, Scored]) -> bytes:
    """Precision over recall: all of it, and the corner. A dot is the threshold in use.

    Args:
        models: Name → scores of the same rows, both classes present.
    """
    figure = canvas(_WIDE_INCHES)
    whole, corner = figure.subplots(1, 2)
    corner_low = _CORNER
    for (name, scored), colour, style in zip(
        models.items(), cycle(COLOURS), cycle(STYLES), strict=False
    ):
        true, false = steps(scored)
        recall = true / scored.sizes[0]
        precision = true / np.maximum(true + false, 1)
        hits, alarms = scored.verdicts
        dot = hits / scored.sizes[0], hits / max(hits + alarms, 1)
        corner_low = min(corner_low, _tenth_below(min(dot)))
        for axes in (whole, corner):
            axes.plot(recall[1:], precision[1:], style, color=colour, label=name)
            axes.plot(*dot, "o", color=colour, clip_on=False)
    for axes, low, title in ((whole, 0.0, "Precision and recall"), (corner, corner_low, "Corner")):
        axes.set(xlim=(low, 1), ylim=(low, 1.005 if low else 1.02))
        axes.set(xlabel="recall", ylabel="precision", title=title)
        axes.grid(visible=True, alpha=0.3)
    whole.legend(loc="lower left")
    return to_png(figure)


def roc(models: Mapping[str, Scored]) -> bytes:
    """Recall over the false-alarm rate: linear, and logarithmic, where the choice is made.

    Args:
        models: Name → scores of the same rows, both classes present.
    """
    figure = canvas(_WIDE_INCHES)
    linear, logarithmic = figure.subplots(1, 2)
    least, lowest = 1.0, _CORNER
    for (name, scored), colour, style in zip(
        models.items(), cycle(COLOURS), cycle(STYLES), strict=False
    ):
        true, false = steps(scored)
        attacks, benign = scored.sizes
        least = min(least, 0.5 / benign)
        hits, alarms = scored.verdicts
        lowest = min(lowest, _tenth_below(min(hits, int(true[false == 0].max())) / attacks))
        for axes in (linear, logarithmic):
            axes.plot(
                np.maximum(false / benign, 0.5 / benign if axes is logarithmic else 0),
                true / attacks,
                style,
                color=colour,
                label=name,
            )
            dot = max(alarms, 0.5 if axes is logarithmic else 0) / benign, hits / attacks
            axes.plot(*dot, "o", color=colour, clip_on=False)
    for axes in (linear, logarithmic):
        axes.set(xlabel="false-alarm rate", ylabel="recall")
        axes.grid(visible=True, alpha=0.3)
    linear.set(xlim=(0, 1), ylim=(0, 1.02), title="ROC")
    logarithmic.set_xscale("log")
    logarithmic.set(xlim=(least, 1), ylim=(lowest, 1 + 0.02 * (1 - lowest)))
    logarithmic.set_title("ROC, logarithmic (left edge: no false alarm)")
    linear.legend(loc="lower right")
    return to_png(figure)


def _tenth_below(share: float) -> float:
    return float(np.floor(10 * share) / 10)


def steps(scored: Scored) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """True and false positives at falling thresholds, from none flagged to all flagged."""
    order = np.argsort(-scored.scores, kind="stable")
    falling = scored.scores[order]
    attack = scored.target[order] == 1
    ends = np.append(np.flatnonzero(np.diff(falling)), len(falling) - 1)
    true = np.concatenate([[0], np.cumsum(attack)[ends]])
    false = np.concatenate([[0], np.cumsum(~attack)[ends]])
    # Evenly in recall, and evenly in the logarithm of false alarms.
    kept = np.unique(
        np.concatenate(
            [
                [0, len(true) - 1],
                np.searchsorted(true, np.linspace(0, true[-1], _CURVE_POINTS)),
                np.searchsorted(false, np.geomspace(1, max(int(false[-1]), 1), _CURVE_POINTS)),
                np.searchsorted(false, np.geomspace(1, max(int(false[-1]), 1), _CURVE_POINTS)) - 1,
            ]
        ).clip(0, len(true) - 1)
    )
    return true[kept], false[kept]


def histograms(name: str, scored: Scored, truth: Truth) -> bytes:
    """Scores of each family's rows, one strip each, counts logarithmic.

    Args:
        name: The model, for the title.
        scored: Its scores.
        truth: Of the same rows.
    """
    family = np.array([truth.family_of(label) for label in truth.labels])[truth.label]
    present = [str(item) for item in np.unique(family)]
    present.sort(key=lambda item: (item != BENIGN_FAMILY, item))
    figure = canvas((6.4, 1.2 + 0.8 * len(present)))
    strips = figure.subplots(len(present), 1, sharex=True, squeeze=False)[:, 0]
    edges = np.linspace(0, 1, _HISTOGRAM_BINS + 1)
    for axes, item in zip(strips, present, strict=True):
        scores = scored.scores[family == item]
        counts, _ = np.histogram(scores, edges)
        colour = COLOURS[0] if item == BENIGN_FAMILY else COLOURS[1]
        axes.stairs(counts, edges, fill=True, color=colour)
        axes.axvline(scored.threshold, color="black", linewidth=1, linestyle="--")
        axes.set_yscale("log")
        axes.set(ylim=(0.5, max(10.0, 3.0 * counts.max())), xlim=(0, 1))
        axes.set_ylabel(
            f"{item}\n{len(scores):,}", rotation=0, ha="right", va="center", fontsize="small"
        )
        axes.tick_params(labelsize="small")
    strips[0].set_title(f"{name}: scores by family, test rows (dashes: threshold)")
    strips[-1].set_xlabel("score")
    return to_png(figure)


def calibration(name: str, scored: Scored) -> bytes:
    """Whether scores can be read as probabilities: share of attacks per tenth of the scale.

    Args:
        name: The model, for the title.
        scored: Its scores.
    """
    figure = canvas((6.4, 5.2))
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    edges = np.linspace(0, 1, _CALIBRATION_BINS + 1)
    member = np.clip(np.digitize(scored.scores, edges) - 1, 0, _CALIBRATION_BINS - 1)
    rows = np.bincount(member, minlength=_CALIBRATION_BINS)
    attacks = np.bincount(member, weights=scored.target, minlength=_CALIBRATION_BINS).astype(int)
    sums = np.bincount(member, weights=scored.scores, minlength=_CALIBRATION_BINS)
    upper.plot([0, 1], [0, 1], "--", color="grey", linewidth=1, label="score = share of attacks")
    for place in np.flatnonzero(rows):
        share = attacks[place] / rows[place]
        bounds = wilson(int(attacks[place]), int(rows[place]))
        if bounds is not None:
            mean = sums[place] / rows[place]
            upper.plot([mean, mean], bounds, color=COLOURS[0], linewidth=1.5)
            upper.plot(mean, share, "o", color=COLOURS[0], clip_on=False)
    upper.set(ylim=(0, 1), xlim=(0, 1), ylabel="share of attacks, 95 %")
    upper.set_title(f"{name}: calibration, test rows")
    upper.legend(loc="upper left")
    lower.bar(edges[:-1], rows, width=0.1, align="edge", color=COLOURS[0], edgecolor="white")
    lower.set_yscale("log")
    lower.set(ylim=(0.5, max(10.0, 4.0 * rows.max())), xlabel="score", ylabel="rows")
    for place in np.flatnonzero(rows):
        lower.annotate(
            f"{rows[place]:,}", (edges[place] + 0.05, rows[place]), ha="center", va="bottom",
            fontsize="x-small",
        )  # fmt: skip
    for axes in (upper, lower):
        axes.grid(visible=True, alpha=0.3)
    return to_png(figure)


def importance_bars(name: str, found: Sequence[Importance]) -> bytes:
    """The columns a model leans on most.

    Args:
        name: The model, for the title.
        found: Most important first.
    """
    shown = found[:_BARS][::-1]
    figure = canvas((6.4, 1.4 + 0.24 * max(len(shown), 4)))
    axes: Any = figure.add_subplot()
    axes.barh(
        [item.title for item in shown],
        [item.drop for item in shown],
        xerr=[item.spread for item in shown],
        color=COLOURS[0],
        error_kw={"elinewidth": 1},
    )
    largest = max((item.drop + item.spread for item in shown), default=0.0)
    for place, item in enumerate(shown):
        # One column often dwarfs the others: their bars need numbers.
        beyond = max(item.drop + item.spread, 0) + 0.01 * largest
        axes.text(beyond, place, f"{item.drop:.4f}", va="center", fontsize="x-small")
    axes.margins(x=0.12)
    axes.set_xlabel("average precision lost when the column is shuffled")
    axes.set_title(f"{name}: columns it leans on")
    axes.tick_params(axis="y", labelsize="small")
    axes.grid(visible=True, axis="x", alpha=0.3)
    if not shown:
        axes.text(0.5, 0.5, "no column to shuffle", ha="center", va="center")
    return to_png(figure)
