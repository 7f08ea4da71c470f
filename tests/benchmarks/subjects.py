"""The tiny model file beside a full model that needs no TensorFlow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.subjects import FullModel, Installed, Subjects
from edge_agent.contract.bundle import Bundle
from edge_agent.contract.runs import Run, TrainedModel
from edge_agent.detect import interpreter
from edge_agent.detect.detector import Detector
from tests.detect.conftest import TINY
from tests.detect.synthetic import COLUMNS

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

NAME = "cnn-lstm"
RUNTIME = "runtime"
_SRC_FLOWS = COLUMNS.index("Src Flows 10s")


def by_one_column(scaled: NDArray[np.float32]) -> NDArray[np.float32]:
    """A model that asks only how many flows the source began; the last third of ranks attacks."""
    return scaled[:, _SRC_FLOWS, None]


def tiny_run(**changes: Any) -> Run:
    """A run that the tiny model file could have been made of."""
    bundle = Bundle.open(TINY)
    provenance = {key: value for key, value in bundle.provenance.items() if key != "conversion"}
    facts: dict[str, Any] = {
        "profile": bundle.profile,
        "feature_set": "tiny",
        "features": bundle.features,
        "scaler": bundle.scaler,
        "models": {NAME: TrainedModel(f"models/{NAME}.keras", "edge", True, 2 / 3, "fixed")},
        "provenance": provenance,
    }
    return Run(**facts | changes)


def tiny_subjects(folder: Path, *, full: bool = True) -> Subjects:
    """The tiny file in the interpreter that is installed, under the name `RUNTIME`."""
    run, bundle = tiny_run(), Bundle.open(TINY)
    model = interpreter.load(bundle.flatbuffer)
    return Subjects(
        folder=folder,
        run=run,
        file=TINY,
        bundle=bundle,
        model=NAME,
        installed={RUNTIME: Installed(Detector(bundle, model), model)},
        full=FullModel(run, 2 / 3, by_one_column, np.asarray) if full else None,
        left_out={} if full else {"full": "TensorFlow is not installed"},
    )
