"""The tiny model file beside a full model that needs no TensorFlow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.subjects import FullModel, Installed, Subjects, columns
from edge_agent.contract.bundle import Bundle
from edge_agent.contract.runs import Run, TrainedModel
from edge_agent.detect import interpreter
from edge_agent.detect.detector import Detector
from tests.detect.conftest import FAMILIES_MODEL, TINY
from tests.detect.synthetic import COLUMNS, FAMILIES

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

NAME = "cnn-lstm"
RUNTIME = "runtime"
_SRC_FLOWS = COLUMNS.index("Src Flows 10s")


def by_one_column(scaled: NDArray[np.float32]) -> NDArray[np.float32]:
    """A model that asks only how many flows the source began; the last third of ranks attacks."""
    return scaled[:, _SRC_FLOWS, None]


def by_one_column_a_scan(scaled: NDArray[np.float32]) -> NDArray[np.float32]:
    """The same model, to which every attack is a scan."""
    shares = np.eye(len(FAMILIES))[[FAMILIES.index("scan")] * len(scaled)]
    return np.concatenate([by_one_column(scaled), shares], axis=1).astype(np.float32)


def tiny_run(file: Path = TINY, **changes: Any) -> Run:
    """A run that a small model file could have been made of."""
    bundle = Bundle.open(file)
    provenance = {key: value for key, value in bundle.provenance.items() if key != "conversion"}
    facts: dict[str, Any] = {
        "profile": bundle.profile,
        "feature_set": "tiny",
        "features": bundle.features,
        "scaler": bundle.scaler,
        "models": {NAME: TrainedModel(f"models/{NAME}.keras", "edge", True, 2 / 3, "fixed")},
        "provenance": provenance,
        "families": bundle.families,
    }
    return Run(**facts | changes)


def tiny_subjects(folder: Path, *, full: bool = True) -> Subjects:
    """The tiny file in the interpreter that is installed, under the name `RUNTIME`."""
    run = tiny_run()
    return _subjects(folder, TINY, FullModel(run, 2 / 3, by_one_column, np.asarray), full=full)


def family_subjects(folder: Path) -> Subjects:
    """The same of the file that names families."""
    run = tiny_run(FAMILIES_MODEL)
    full = FullModel(run, 2 / 3, by_one_column_a_scan, np.asarray, run.families)
    return _subjects(folder, FAMILIES_MODEL, full)


def _subjects(folder: Path, file: Path, stub: FullModel, *, full: bool = True) -> Subjects:
    bundle = Bundle.open(file)
    model = interpreter.load(bundle.flatbuffer)
    return Subjects(
        folder=folder,
        run=stub.run,
        file=file,
        bundle=bundle,
        model=NAME,
        installed={RUNTIME: Installed(Detector(bundle, model), model, columns(stub.run, bundle))},
        full=stub if full else None,
        left_out={} if full else {"full": "TensorFlow is not installed"},
    )
