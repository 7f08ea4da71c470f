"""What a fit needs to go on after a kill, in one file that is replaced whole.

Written after every epoch. A kill at any moment leaves the file of the epoch before: the new one
takes its name only when it is complete.
"""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from edge_agent.contract.errors import RunError
from edge_agent.contract.files import write_atomically
from trainer.models.base import History

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

FILE: Final = "checkpoint.npz"
# To be raised when a file of today can no longer be gone on from.
_FORMAT: Final = 1
_FACTS: Final = "facts"


@dataclass(frozen=True, slots=True)
class State:
    """A fit between two epochs.

    Random numbers need no place here: every epoch draws its own from the seed and its number.

    Attributes:
        fingerprint: Of everything that was asked for; a fit goes on only from its own state.
        epoch: How many are over.
        batch_rows: Rows in a batch, which memory may have cut.
        learner: What the learner's `state` gave: weights, averages, optimizer.
        best: Weights to keep; empty before the first epoch ends.
        rank: Of those weights.
        history: So far; `best_epoch` is that of the weights to keep.
        finished: There is nothing left to do.
    """

    fingerprint: str
    epoch: int
    batch_rows: int
    learner: list[NDArray[Any]]
    best: list[NDArray[Any]] = field(default_factory=list)
    rank: tuple[float, float] = (-np.inf, -np.inf)
    history: History = field(default_factory=History)
    finished: bool = False

    def to_bytes(self) -> bytes:
        """As a .npz without pickles."""
        facts = {
            "format": _FORMAT,
            "fingerprint": self.fingerprint,
            "epoch": self.epoch,
            "batch_rows": self.batch_rows,
            "rank": self.rank,
            "history": asdict(self.history),
            "finished": self.finished,
        }
        arrays = {f"learner_{number:04}": array for number, array in enumerate(self.learner)}
        arrays |= {f"best_{number:04}": array for number, array in enumerate(self.best)}
        arrays[_FACTS] = np.frombuffer(json.dumps(facts).encode(), np.uint8)
        buffer = io.BytesIO()
        np.savez(buffer, **arrays)  # type: ignore[arg-type]  # names are arrays' names, never options
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes) -> State:
        """What `to_bytes` wrote.

        Raises:
            ValueError: It is nothing of the kind, or of another format.
        """
        try:
            with np.load(io.BytesIO(data), allow_pickle=False) as archive:
                arrays = {name: archive[name] for name in sorted(archive.files)}
            facts = json.loads(arrays.pop(_FACTS).tobytes())
            if facts["format"] != _FORMAT:
                raise ValueError(f"format {facts['format']}, expected {_FORMAT}")
            return cls(
                fingerprint=facts["fingerprint"],
                epoch=facts["epoch"],
                batch_rows=facts["batch_rows"],
                learner=[array for name, array in arrays.items() if name.startswith("learner_")],
                best=[array for name, array in arrays.items() if name.startswith("best_")],
                rank=(facts["rank"][0], facts["rank"][1]),
                history=History(**facts["history"]),
                finished=facts["finished"],
            )
        except (
            OSError,
            EOFError,
            KeyError,
            TypeError,
            AttributeError,
            zipfile.BadZipFile,
        ) as error:
            raise ValueError(f"not a checkpoint ({error})") from error


class Checkpoints:
    """The checkpoint of one fit.

    Args:
        folder: Where it lies; made when first written to. None: nothing is kept.
    """

    def __init__(self, folder: Path | None) -> None:
        self._path = folder / FILE if folder else None

    def save(self, state: State) -> None:
        """Replace what lies there.

        Raises:
            OutputError: The folder cannot be written.
        """
        if self._path is not None:
            write_atomically(self._path, state.to_bytes())

    def load(self, fingerprint: str) -> State | None:
        """What lies there; None if nothing does.

        Args:
            fingerprint: What the state must have been made for.

        Raises:
            RunError: It cannot be read, or was made for something else.
        """
        if self._path is None or not self._path.exists():
            return None
        try:
            state = State.from_bytes(self._path.read_bytes())
        except (OSError, ValueError) as error:
            raise RunError(
                self._path,
                f"cannot be gone on from ({error})",
                remedy="remove it to train from the start",
            ) from error
        if state.fingerprint != fingerprint:
            raise RunError(
                self._path,
                "was made with other data, options or another version",
                remedy="repeat those options, or remove it to train from the start",
            )
        return state
