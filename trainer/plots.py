"""Training curves and confusion matrices as PNG."""

from __future__ import annotations

import io
from itertools import cycle
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trainer.evaluate import Confusion
    from trainer.models.base import History

_SIZE_INCHES: Final = (6.4, 4.0)
_DPI: Final = 120
# Tellable also without colour vision: the palette of Okabe and Ito, less the yellow, which is too
# pale on white.
COLOURS: Final = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
STYLES: Final = ("-", "--", ":", "-.")
_TRAIN_COLOUR: Final = COLOURS[0]
_VALIDATION_COLOUR: Final = COLOURS[1]


def canvas(size_inches: tuple[float, float] = _SIZE_INCHES) -> Figure:
    """An empty figure."""
    # Without pyplot: no global state, no window system, nothing to close.
    figure = Figure(figsize=size_inches, dpi=_DPI, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def to_png(figure: Figure) -> bytes:
    """The figure as a file; equal figures give equal bytes."""
    buffer = io.BytesIO()
    # Without the date and version that matplotlib would write: equal runs give equal files.
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def curves(histories: Mapping[str, History], what: str) -> bytes:
    """Training and validation curves of every network, one line pair each.

    Args:
        histories: Model → curves; models without epochs are left out.
        what: "loss" or "accuracy".
    """
    figure = canvas()
    axes: Any = figure.add_subplot()
    shown = {name: history for name, history in histories.items() if history.loss}
    # What is learned from may weigh classes or hard rows; what is watched never does.
    weighted = " (as weighted)" if what == "loss" else ""
    for (name, history), style in zip(shown.items(), cycle(STYLES), strict=False):
        epochs = np.arange(1, len(history.loss) + 1)
        train, validation = getattr(history, what), getattr(history, f"validation_{what}")
        axes.plot(epochs, train, style, color=_TRAIN_COLOUR, label=f"{name}, training{weighted}")
        axes.plot(epochs, validation, style, color=_VALIDATION_COLOUR, label=f"{name}, validation")
        best = history.best_epoch
        axes.plot(best, validation[best - 1], "o", color=_VALIDATION_COLOUR)
        # Towards the middle of the plot: the best loss lies low, the best accuracy high.
        offset = (-4, 8) if what == "loss" else (-4, -16)
        axes.annotate(
            "kept", (best, validation[best - 1]), offset, textcoords="offset points", ha="right"
        )
    axes.set_xlabel("epoch")
    axes.set_ylabel("cross-entropy" if what == "loss" else "accuracy")
    axes.set_title("Loss by epoch" if what == "loss" else "Accuracy by epoch")
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.grid(visible=True, alpha=0.3)
    if shown:
        axes.legend()
    else:
        axes.text(0.5, 0.5, "no model of this run learns in epochs", ha="center", va="center")
    return to_png(figure)


def confusion(name: str, counts: Confusion) -> bytes:
    """A confusion matrix with counts and shares of the true class.

    Args:
        name: The model, for the title.
        counts: Of the rows, by truth and verdict.
    """
    figure = canvas()
    axes: Any = figure.add_subplot()
    table = np.array([[counts.tn, counts.fp], [counts.fn, counts.tp]], dtype=float)
    shares = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row in range(2):
        for column in range(2):
            axes.text(
                column,
                row,
                f"{int(table[row, column]):,}\n{100 * shares[row, column]:.2f} %",
                ha="center",
                va="center",
                # White on dark cells.
                color="white" if shares[row, column] > 0.5 else "black",
            )
    axes.set_xticks([0, 1], ["benign", "attack"])
    axes.set_yticks([0, 1], ["benign", "attack"])
    axes.set_xlabel("verdict")
    axes.set_ylabel("truth")
    axes.set_title(f"{name}: test rows")
    figure.colorbar(image, ax=axes, label="share of the true class")
    return to_png(figure)
