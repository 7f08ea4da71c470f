"""Formats of a converted model, and the order that the parent process gives its child."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from enum import Enum
from pathlib import Path


class Format(Enum):
    """How weights and activations are stored."""

    INT8 = "int8"
    FLOAT32 = "float32"
    FLOAT16 = "float16"
    DYNAMIC_RANGE = "dynamic-range"


@dataclass(frozen=True, slots=True)
class Job:
    """What the child process is to do; its results go into `folder`.

    Attributes:
        run: The run folder.
        model: Name of one of its models.
        form: The format to convert it to.
        folder: An empty folder for `FLATBUFFER`, `OUTPUTS`, `FACTS`, or `FAILURE` alone.
        threshold_rows: How many training rows are scored to carry the threshold over.
        prune_share: Share of each kernel's weights to set to zero first; 0 prunes nothing.
    """

    run: Path
    model: str
    form: Format
    folder: Path
    threshold_rows: int
    prune_share: float = 0.0

    FLATBUFFER = "model.tflite"
    # Arrays `test` and `train`, outputs of the full model, shape (n_rows, 1 or 1 + n_families).
    OUTPUTS = "outputs.npz"
    FACTS = "facts.json"
    FAILURE = "failure.txt"

    def to_bytes(self) -> bytes:
        """As JSON."""
        facts = asdict(self)
        facts.update(run=str(self.run), folder=str(self.folder), form=self.form.value)
        return json.dumps(facts).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> Job:
        """What `to_bytes` wrote."""
        facts = json.loads(data)
        facts.update(
            run=Path(facts["run"]), folder=Path(facts["folder"]), form=Format(facts["form"])
        )
        return cls(**facts)


def first_line(error: Exception) -> str:
    """What an error of a foreign library says, fit for a sentence."""
    lines = str(error).strip().splitlines()
    return lines[0].strip() if lines else type(error).__name__
