"""What a run folder holds for people: plots, report and model card; and the figures themselves."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from edge_agent.contract.files import write_atomically
from trainer.card import model_card
from trainer.figures import Scored
from trainer.gallery import Trained, gallery
from trainer.judging import truth_of
from trainer.report import page

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from trainer.judging import Judged
    from trainer.parts import Deal


def save_report(
    folder: Path, metrics: Mapping[str, Any], judged: Sequence[Judged], rows: Deal
) -> None:
    """Write `plots/`, `report.html`, `MODEL_CARD.md` and `metrics.json`.

    Args:
        folder: The run folder.
        metrics: What `metrics.json` is to hold.
        judged: The models of the main experiment.
        rows: Its rows.

    Raises:
        OutputError: A file cannot be written.
    """
    test = rows.parts["test"]
    trained = {
        item.name: Trained(
            Scored(item.fitted.scores["test"], test.part.target, item.threshold.value),
            item.fitted.history,
            item.fitted.importance,
        )
        for item in judged
    }
    images = gallery(trained, truth_of(test, rows))
    for name, png in images.items():
        write_atomically(folder / "plots" / f"{name}.png", png)
    write_atomically(folder / "report.html", page(metrics, images).encode())
    write_atomically(folder / "MODEL_CARD.md", model_card(metrics).encode())
    write_atomically(folder / "metrics.json", json.dumps(metrics, indent=1).encode())
