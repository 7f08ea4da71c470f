"""The run folder: what edge-train leaves and edge-convert takes. They meet only here.

    RUN/
    ├── run.json              this module's `Run`
    ├── metrics.json          per model: accuracy, precision, recall, F1, false-alarm rate, ...
    ├── report.html, plots/   for people
    ├── scaler.npy            the scaler's table
    ├── models/NAME.keras     one file per trained model
    └── rows/PART.npz         `train`, `calibration` and `test`: raw features, labels, families

`FORMAT_VERSION` is one integer: raise it when an older reader would misread the folder. As with
the model file (`contract.bundle`): add the number below, let `Run._parse` and `load_rows` say what
an older folder means, and keep a test that reads one. Versions:

1. The first.
2. `families` in run.json, `family` in PART.npz. A folder of version 1 has none: () and zeros.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from edge_agent.contract.alerts import checked_families
from edge_agent.contract.bundle import ModelFeature, fingerprint
from edge_agent.contract.errors import RunError
from edge_agent.contract.files import atomic_output, write_atomically
from edge_agent.contract.profiles import PROFILES, Profile
from edge_agent.contract.scaling import Scaler

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

FORMAT_VERSION: Final = 2
PARTS: Final = ("train", "calibration", "test")
_TRAIN_AGAIN: Final = "train the run again with edge-train"


@dataclass(frozen=True, slots=True)
class TrainedModel:
    """One model of a run.

    Attributes:
        file: Path below the run folder.
        size: "edge", "paper", or "" where a model has only one.
        convertible: Whether edge-convert can make a TFLite file of it.
        threshold: Scores at or above it are attacks; between 0 and 1.
        threshold_rule: How it was chosen, in words.
    """

    file: str
    size: str
    convertible: bool
    threshold: float
    threshold_rule: str


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of one part.

    Attributes:
        raw: float32, shape (n_flows, n_features), columns in model order, rates finite.
        label: uint8, shape (n_flows,): 0 benign, 1 attack.
        family: uint8, shape (n_flows,): k the k-th of `Run.families`; 0 for benign rows, and for
            attacks whose family is none of them or not known. Left out: zeros.

    Raises:
        ValueError: The arrays are of different lengths.
    """

    raw: NDArray[np.float32]
    label: NDArray[np.uint8]
    family: NDArray[np.uint8] = field(default_factory=lambda: np.zeros(0, dtype=np.uint8))

    def __post_init__(self) -> None:
        if not len(self.family):
            object.__setattr__(self, "family", np.zeros(len(self.label), dtype=np.uint8))
        if not len(self.raw) == len(self.label) == len(self.family):
            raise ValueError(
                f"{len(self.raw)} rows, {len(self.label)} labels and {len(self.family)} families"
            )


@dataclass(frozen=True, slots=True)
class Run:
    """What a run folder says about itself.

    Attributes:
        profile: Flow profile of the rows.
        feature_set: Name of the columns' set.
        features: Columns in model order.
        scaler: Fitted on the training rows.
        models: Name → trained model.
        provenance: Data files with hashes, row counts, split, seed, package versions, date.
        families: Attack families that `Rows.family` counts from 1, and that the columns behind the
            score stand for in the output of those models that have any.
    """

    profile: Profile
    feature_set: str
    features: tuple[ModelFeature, ...]
    scaler: Scaler
    models: dict[str, TrainedModel]
    provenance: dict[str, Any] = field(default_factory=dict)
    families: tuple[str, ...] = ()

    def save(self, folder: Path) -> None:
        """Write `scaler.npy` and, last of all, `run.json`.

        Raises:
            OutputError: The folder cannot be written.
        """
        table = self.scaler.to_bytes()
        write_atomically(folder / "scaler.npy", table)
        facts = {
            "format_version": FORMAT_VERSION,
            "profile": self.profile.name,
            "feature_set": self.feature_set,
            "features": [asdict(feature) for feature in self.features],
            "fingerprint": fingerprint(self.profile, self.features, self.scaler),
            "scaler": {"kind": self.scaler.kind, "sha256": hashlib.sha256(table).hexdigest()},
            "models": {name: asdict(model) for name, model in self.models.items()},
            "provenance": self.provenance,
            "families": list(self.families),
        }
        write_atomically(folder / "run.json", json.dumps(facts, indent=1).encode())

    @classmethod
    def open(cls, folder: Path) -> Run:
        """Read and check a run folder.

        Raises:
            RunError: It is missing, incomplete, altered or of a newer version.
        """
        path = folder / "run.json"
        try:
            facts = json.loads(path.read_bytes())
            table = (folder / "scaler.npy").read_bytes()
        except OSError as error:
            raise RunError(
                folder,
                f"is no complete run folder ({error.filename}: {error.strerror})",
                remedy=_TRAIN_AGAIN,
            ) from error
        except ValueError as error:
            raise RunError(path, f"is not JSON ({error})", remedy=_TRAIN_AGAIN) from error
        try:
            return cls._parse(facts, table, path)
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise RunError(path, f"lacks or garbles {error}", remedy=_TRAIN_AGAIN) from error

    @classmethod
    def _parse(cls, facts: dict[str, Any], table: bytes, path: Path) -> Run:
        if facts["format_version"] > FORMAT_VERSION:
            raise RunError(
                path,
                f"has format version {facts['format_version']}, newer than {FORMAT_VERSION}",
                remedy="update edge-ids on this machine",
            )
        scaler = Scaler.from_bytes(facts["scaler"]["kind"], table)
        profile = PROFILES[facts["profile"]]
        features = tuple(ModelFeature(**item) for item in facts["features"])
        if fingerprint(profile, features, scaler) != facts["fingerprint"]:
            raise RunError(
                path,
                "has a fingerprint that does not fit its profile, features and scaler.npy here",
                remedy=_TRAIN_AGAIN,
            )
        try:
            families = checked_families(facts["families"] if facts["format_version"] >= 2 else ())
        except ValueError as error:
            raise RunError(path, str(error), remedy=_TRAIN_AGAIN) from error
        return cls(
            profile=profile,
            feature_set=facts["feature_set"],
            features=features,
            scaler=scaler,
            models={name: TrainedModel(**item) for name, item in facts["models"].items()},
            provenance=facts["provenance"],
            families=families,
        )


def spread(rows: Rows, count: int) -> Rows:
    """At most `count` rows, evenly spaced: rows stand in the order of their files or in none."""
    if len(rows.raw) <= count:
        return rows
    picked = np.linspace(0, len(rows.raw) - 1, count).astype(np.intp)
    return Rows(raw=rows.raw[picked], label=rows.label[picked], family=rows.family[picked])


def save_rows(folder: Path, part: str, rows: Rows) -> None:
    """Write `rows/PART.npz`.

    Raises:
        OutputError: The folder cannot be written.
    """
    with atomic_output(folder / "rows" / f"{part}.npz") as stream:
        arrays = {"raw": rows.raw, "label": rows.label, "family": rows.family}
        np.savez_compressed(stream, **arrays)  # type: ignore[arg-type]


def load_rows(folder: Path, part: str) -> Rows:
    """Read `rows/PART.npz`.

    Raises:
        RunError: It is missing or not such a file.
    """
    path = folder / "rows" / f"{part}.npz"
    try:
        with np.load(path, allow_pickle=False) as arrays:
            family = {"family": arrays["family"]} if "family" in arrays else {}
            return Rows(raw=arrays["raw"], label=arrays["label"], **family)
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise RunError(path, f"cannot be read ({error})", remedy=_TRAIN_AGAIN) from error
