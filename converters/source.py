"""What a run folder must offer before TensorFlow is started for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_agent.contract.errors import RunError
from edge_agent.contract.runs import load_rows

if TYPE_CHECKING:
    from pathlib import Path

    from edge_agent.contract.runs import Run


def convertible_models(run: Run, folder: Path) -> list[str]:
    """Names of the run's networks.

    Raises:
        RunError: It has none.
    """
    names = [name for name, model in run.models.items() if model.convertible]
    return names or [chosen_model(run, folder, None)]


def chosen_model(run: Run, folder: Path, asked: str | None) -> str:
    """The model to convert: the one named, else the run's first convertible edge-sized one.

    Raises:
        RunError: The run has no such model, or it cannot become a TFLite file.
    """
    convertible = [name for name, model in run.models.items() if model.convertible]
    if asked is None and convertible:
        return min(convertible, key=lambda name: run.models[name].size != "edge")
    if asked in convertible:
        return str(asked)
    if asked is not None and asked not in run.models:
        raise RunError(
            folder,
            f"has no model {asked!r}",
            remedy=f"choose one of: {', '.join(run.models)}",
        )
    others = asked or ", ".join(run.models) or "no model"
    choose = f"choose one of: {', '.join(convertible)}; or " if convertible else ""
    raise RunError(
        folder,
        f"holds {others}, which TFLite has no operators for",
        remedy=f"{choose}train a network on the same data: edge-train --model cnn-lstm learns from"
        " boosted trees, mlp is the smallest",
    )


def check_calibration(folder: Path) -> None:
    """Refuse calibration rows that show the converter only half of what the model will see."""
    labels = load_rows(folder, "calibration").label
    for value, what in ((0, "benign flow"), (1, "attack")):
        if not (labels == value).any():
            raise RunError(
                folder / "rows" / "calibration.npz",
                f"has no {what} among its {len(labels):,} rows, so ranges would not fit it",
                remedy="train the run again, on data that has both",
            )
