"""Formats of a converted model, and the jobs that the parent process gives its children."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Final


class Format(Enum):
    """How weights and activations are stored."""

    INT8 = "int8"
    FLOAT32 = "float32"
    FLOAT16 = "float16"
    DYNAMIC_RANGE = "dynamic-range"


class Recurrence(Enum):
    """How an LSTM is laid out."""

    UNROLLED = "unrolled"
    FUSED = "fused"


@dataclass(frozen=True, slots=True)
class Changes:
    """What is done to the network before it is converted; by default nothing.

    Attributes:
        prune_share: Share of each kernel's weights to set to zero.
        shrink_share: Share of filters and units to remove.
        clusters: Distinct values that each kernel keeps; 0: as many as it has.
    """

    prune_share: float = 0.0
    shrink_share: float = 0.0
    clusters: int = 0

    @property
    def any(self) -> bool:
        """Whether the network is changed at all."""
        return bool(self.prune_share or self.shrink_share or self.clusters)

    def words(self) -> str:
        """For a model's name: "", or such as "shrunk 0.5 pruned 0.25"."""
        told = {
            "shrunk": self.shrink_share,
            "pruned": self.prune_share,
            "clustered": self.clusters,
        }
        return " ".join(f"{word} {value:g}" for word, value in told.items() if value)


@dataclass(frozen=True, slots=True)
class Preparation:
    """Job one: the network as it will be converted, and what the full one says of the rows.

    Attributes:
        run: The run folder.
        model: Name of one of its models.
        changes: What to do to the network.
        folder: Gets `NETWORK`, `OUTPUTS` and `FACTS`, or `FAILURE` alone.
        threshold_rows: How many training rows are scored to carry the threshold over.
    """

    run: Path
    model: str
    changes: Changes
    folder: Path
    threshold_rows: int

    NETWORK = "network.keras"
    # Arrays `test` and `train`, outputs of the full model, shape (n_rows, 1 or 1 + n_families).
    OUTPUTS = "outputs.npz"
    FACTS = "facts.json"


@dataclass(frozen=True, slots=True)
class Conversion:
    """Job two: a flatbuffer of the prepared network.

    Attributes:
        run: The run folder.
        network: A Keras file.
        columns: Places, among the run's features, of those that the network takes.
        form: The format to convert it to.
        recurrence: Form of its LSTMs.
        static: Whether every shape is fixed, for one row at a time.
        folder: Gets `FLATBUFFER`, or `FAILURE`.
    """

    run: Path
    network: Path
    columns: tuple[int, ...]
    form: Format
    recurrence: Recurrence
    static: bool
    folder: Path

    FLATBUFFER = "model.tflite"


Job = Preparation | Conversion

FAILURE = "failure.txt"
"""A child that fails for a known reason leaves its sentence in this file of the job's folder."""


DISK_FULL: Final = 28
"""Exit code of a child that cannot even leave a sentence, for want of space."""


def job_to_bytes(job: Job) -> bytes:
    """As JSON."""
    facts = {"job": type(job).__name__, **asdict(job)}
    return json.dumps(facts, default=_plain).encode()


def job_from_bytes(data: bytes) -> Job:
    """What `job_to_bytes` wrote."""
    facts: dict[str, Any] = json.loads(data)
    kind = facts.pop("job")
    facts.update(run=Path(facts["run"]), folder=Path(facts["folder"]))
    if kind == Preparation.__name__:
        return Preparation(**facts | {"changes": Changes(**facts["changes"])})
    return Conversion(
        **facts
        | {
            "network": Path(facts["network"]),
            "columns": tuple(facts["columns"]),
            "form": Format(facts["form"]),
            "recurrence": Recurrence(facts["recurrence"]),
        }
    )


def _plain(value: object) -> object:
    return value.value if isinstance(value, Enum) else str(value)


def first_line(error: Exception) -> str:
    """What an error of a foreign library says, fit for a sentence."""
    lines = str(error).strip().splitlines()
    return lines[0].strip() if lines else type(error).__name__
