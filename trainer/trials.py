"""Trials of a search, and the file that they are written down in as they end."""

from __future__ import annotations

import json
import math
import os
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from edge_agent.contract.errors import OutputError, RunError
from edge_agent.contract.files import write_atomically
from trainer.search_space import SearchSpaceError

if TYPE_CHECKING:
    from pathlib import Path

    from trainer.search_space import SearchSpace

_VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class Trial:
    """One trial, over.

    Attributes:
        number: From 1.
        parameters: Name → value.
        state: "finished"; "pruned", ended early; or "failed", its F1 was not a number.
        f1, loss: See `Outcome`; None if failed. Of a pruned one: when it ended.
        epochs: Epoch and F1 after it, as far as the objective told.
        took_s: Seconds.
    """

    number: int
    parameters: dict[str, object]
    state: str
    f1: float | None
    loss: float | None
    epochs: tuple[tuple[int, float], ...]
    took_s: float

    @property
    def rank(self) -> tuple[float, float]:
        """The greater the better, among finished trials."""
        return (
            -math.inf if self.f1 is None else self.f1,
            -math.inf if self.loss is None else -self.loss,
        )

    def to_json(self) -> dict[str, Any]:
        """For the journal and `metrics.json`."""
        return asdict(self) | {
            "parameters": {name: plain(value) for name, value in self.parameters.items()}
        }


class Journal:
    """The trials of a search in a file: a line about the search, then one for each trial."""

    def __init__(self, path: Path | None, space: SearchSpace, seed: int) -> None:
        self._path = path
        self._space = space
        facts = space.to_json() | {"version": _VERSION, "seed": seed}
        # More trials than at first is no other search.
        self._head = {name: fact for name, fact in facts.items() if name != "trials"}

    def begin(self) -> list[Trial]:
        """Trials so far; the file is there afterwards."""
        if self._path is None:
            return []
        lines = []
        if self._path.exists():
            try:
                # What follows the last line end is a line that a kill cut short.
                lines = self._path.read_text(encoding="utf-8").split("\n")[:-1]
            except (OSError, UnicodeDecodeError) as error:
                raise self._damaged(str(error)) from error
        trials = self._parse(lines)
        if not lines:
            lines = [json.dumps(self._head)]
        write_atomically(self._path, "".join(f"{line}\n" for line in lines).encode())
        return trials

    def add(self, trial: Trial) -> None:
        """Write a trial down, for good."""
        if self._path is None:
            return
        try:
            with self._path.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(trial.to_json()) + "\n")
                stream.flush()
                os.fsync(stream.fileno())
        except OSError as error:
            raise OutputError(
                f"{self._path}: cannot be written ({error.strerror or error}); check the folder,"
                " its permissions and the free space."
            ) from error

    def _parse(self, lines: list[str]) -> list[Trial]:
        if not lines:
            return []
        try:
            head, *rest = [json.loads(line) for line in lines]
            if head != self._head:
                raise SearchSpaceError(
                    self._space.path,
                    f"is not the search that {self._path} was begun with",
                    remedy="go on with that one, or begin anew in another folder",
                )
            trials = [_trial(facts, self._space) for facts in rest]
        except (ValueError, KeyError, TypeError) as error:
            raise self._damaged(str(error)) from error
        if [trial.number for trial in trials] != list(range(1, len(trials) + 1)):
            raise self._damaged("a trial is missing")
        return trials

    def _damaged(self, what: str) -> RunError:
        return RunError(
            str(self._path), f"is no record of a search ({what})", remedy="search without --resume"
        )


def _trial(facts: dict[str, Any], space: SearchSpace) -> Trial:
    """What `_facts` wrote; the parameters must be of the space."""
    found = facts["parameters"]
    parameters = {
        dimension.name: tuple(found[dimension.name])
        if isinstance(found[dimension.name], list)
        else found[dimension.name]
        for dimension in space.dimensions
    }
    for dimension in space.dimensions:
        if dimension.choices and parameters[dimension.name] not in dimension.choices:
            raise ValueError(f"{dimension.name} {parameters[dimension.name]!r} is no choice")
    if facts["state"] not in ("finished", "pruned", "failed"):
        raise ValueError(f"state {facts['state']!r}")
    epochs = tuple((int(epoch), float(f1)) for epoch, f1 in facts["epochs"])
    return Trial(**(facts | {"parameters": parameters, "epochs": epochs}))


def plain(value: object) -> object:
    """As JSON has it."""
    return list(value) if isinstance(value, tuple) else value
