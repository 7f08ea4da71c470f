"""What a search may try: a TOML file, held against the hyper-parameters of a model.

method = "tpe"        # or "grid": every combination
trials = 20           # tpe only
epochs = 5            # of a trial; networks only
rows = 20000          # train trials on so many rows
prune = true          # end a trial that falls behind the others; for grid not unless asked for

[space]
learning_rate = { low = 1e-4, high = 1e-2, log = true }   # a range; for grid with a step
lstm_units = [16, 32]                                     # choices
filters = [[16, 32], [32, 64]]                            # choices that are lists
"""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any, Final

from edge_agent.contract.errors import InputError
from trainer.models.tunables import KINDS, Tunable, offered

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping
    from pathlib import Path

    from trainer.models.registry import ModelKind

METHODS: Final = ("grid", "tpe")
MAX_COMBINATIONS: Final = 500
_MAX_TRIALS: Final = 10_000
_TRIALS: Final = 20
_KEYS: Final = ("method", "trials", "epochs", "rows", "prune", "space")
_RANGE_KEYS: Final = ("low", "high", "log", "step")
# A step that ends at 0.30000000000000004 was meant to end at 0.3.
_ROUNDING: Final = 1e-9


class SearchSpaceError(InputError):
    """A search space cannot be read, or does not fit the model."""


@dataclass(frozen=True, slots=True)
class Dimension:
    """What one hyper-parameter may be: one of `choices`, or within a range.

    Attributes:
        name: One of the model's `tunables`.
        choices: Values to choose from; empty: a range.
        low, high: Ends of the range, both within it.
        step: Distance of neighbouring values from `low` on; 0: any value.
        log: Whether to draw evenly over the range's logarithm.
        whole: Whether values are whole numbers.
    """

    name: str
    choices: tuple[object, ...] = ()
    low: float = 0.0
    high: float = 0.0
    step: float = 0.0
    log: bool = False
    whole: bool = False

    @property
    def count(self) -> int:
        """How many values a grid has here."""
        if self.choices:
            return len(self.choices)
        return math.floor((self.high - self.low) / self.step + _ROUNDING) + 1

    def values(self) -> tuple[object, ...]:
        """All values a grid has here."""
        if self.choices:
            return self.choices
        if self.whole:
            return tuple(int(self.low + index * self.step) for index in range(self.count))
        # Twelve digits: what a person would have written.
        return tuple(float(f"{self.low + index * self.step:.12g}") for index in range(self.count))

    def to_json(self) -> Any:
        """As the file has it."""
        if self.choices:
            return [list(value) if isinstance(value, tuple) else value for value in self.choices]
        number = int if self.whole else float
        facts: dict[str, Any] = {"low": number(self.low), "high": number(self.high)}
        if self.step:
            facts["step"] = number(self.step)
        return facts | ({"log": True} if self.log else {})


@dataclass(frozen=True, slots=True)
class SearchSpace:
    """A search space that fits its model.

    Attributes:
        path: Where it was read from.
        method: One of `METHODS`.
        dimensions: In the file's order.
        trials: How many to make; for a grid, its combinations.
        epochs: Of a trial; None: as many as the training that follows.
        rows: Training rows of a trial, at most; None: all.
        prune: Whether trials that fall behind end early.
    """

    path: Path
    method: str
    dimensions: tuple[Dimension, ...]
    trials: int
    epochs: int | None = None
    rows: int | None = None
    prune: bool = False

    @classmethod
    def load(
        cls, path: Path, kind: ModelKind, size: str = "", trials: int | None = None
    ) -> SearchSpace:
        """Read a space for a model.

        Args:
            path: A TOML file; see the head of this module.
            kind: The model to be searched.
            size: Its variant; some hyper-parameters are of one variant only.
            trials: Overrides the file's, if given.

        Raises:
            SearchSpaceError: The file cannot be read, or does not fit the model.
        """
        try:
            facts = tomllib.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise SearchSpaceError(
                path, f"cannot be read ({error.strerror or error})", remedy="check --search"
            ) from error
        except ValueError as error:
            raise SearchSpaceError(path, f"is not TOML ({error})", remedy="correct it") from error
        return _Reader(path).space(facts, kind, size, trials)

    def combinations(self) -> Iterator[dict[str, object]]:
        """Every combination of a grid; the last dimension changes fastest."""
        names = [dimension.name for dimension in self.dimensions]
        for values in product(*(dimension.values() for dimension in self.dimensions)):
            yield dict(zip(names, values, strict=True))

    def to_json(self) -> dict[str, Any]:
        """As the file has it, for `metrics.json`."""
        return {
            "method": self.method,
            "trials": self.trials,
            "epochs": self.epochs,
            "rows": self.rows,
            "prune": self.prune,
            "space": {dimension.name: dimension.to_json() for dimension in self.dimensions},
        }


@dataclass(frozen=True, slots=True)
class _Reader:
    path: Path

    def space(
        self, facts: Mapping[str, Any], kind: ModelKind, size: str, trials: int | None
    ) -> SearchSpace:
        self._known(facts, _KEYS, None)
        method = facts.get("method")
        if method not in METHODS:
            raise self._error("method", f"{method!r} is no method", f"write {_or(METHODS)}")
        tunables = offered(kind.tunables, size)
        wanted = facts.get("space")
        if not isinstance(wanted, dict) or not wanted:
            raise self._error(
                "space", "there is nothing to search", f"add a table [space] of {_or(tunables)}"
            )
        model = f"{kind.name}:{size}" if size else kind.name
        self._known(wanted, tunables, "space", of=f" of {model}")
        dimensions = tuple(
            self._dimension(name, value, tunables[name], method) for name, value in wanted.items()
        )
        prune = facts.get("prune", method == "tpe")
        if not isinstance(prune, bool):
            raise self._error("prune", f"{prune!r} is not true or false", "write one of them")
        return SearchSpace(
            path=self.path,
            method=method,
            dimensions=dimensions,
            trials=self._trials(facts, method, dimensions, trials),
            epochs=self._whole("epochs", facts["epochs"], 100_000) if "epochs" in facts else None,
            rows=self._whole("rows", facts["rows"], 10**12) if "rows" in facts else None,
            prune=prune,
        )

    def _trials(
        self,
        facts: Mapping[str, Any],
        method: str,
        dimensions: tuple[Dimension, ...],
        trials: int | None,
    ) -> int:
        if method == "tpe":
            found = facts.get("trials", _TRIALS) if trials is None else trials
            return self._whole("trials", found, _MAX_TRIALS)
        if "trials" in facts or trials is not None:
            raise self._error(
                "trials", "a grid tries every combination", 'leave it out, or say method = "tpe"'
            )
        count = math.prod(dimension.count for dimension in dimensions)
        if count > MAX_COMBINATIONS:
            raise self._error(
                "space",
                f"the grid has {count:,} combinations, more than {MAX_COMBINATIONS}",
                'name fewer values, or say method = "tpe"',
            )
        return count

    def _dimension(self, name: str, value: object, tunable: Tunable, method: str) -> Dimension:
        where = f"space.{name}"
        if isinstance(value, list):
            return Dimension(name, choices=self._choices(where, value, tunable))
        if not isinstance(value, dict):
            raise self._error(
                where, f"{value!r} is neither choices nor a range", f"write [{value!r}]"
            )
        if tunable.kind == "integers":
            raise self._error(
                where, "a list of numbers has no range", "list the choices, each a list"
            )
        self._known(value, _RANGE_KEYS, where)
        for end in ("low", "high"):
            if end not in value:
                raise self._error(where, f"the range has no {end!r}", "give it low and high")
            self._check(where, value[end], tunable)
        log, step = value.get("log", False), value.get("step", 0)
        low, high = value["low"], value["high"]
        if low >= high:
            raise self._error(where, f"low {low:g} is not below high {high:g}", "exchange them")
        if not isinstance(log, bool):
            raise self._error(where, f"log {log!r} is not true or false", "write one of them")
        if log and (low <= 0 or "step" in value):
            raise self._error(
                where,
                "a logarithmic range begins above 0 and has no step",
                "leave out log, or the step, or raise low",
            )
        if "step" in value:
            self._check_step(where, step, tunable, high - low)
        elif method == "grid":
            raise self._error(
                where, "a grid needs to know which values", "give the range a step, or list them"
            )
        return Dimension(
            name,
            low=float(low),
            high=float(high),
            step=float(step),
            log=log,
            whole=tunable.kind == "integer",
        )

    def _choices(self, where: str, values: list[Any], tunable: Tunable) -> tuple[object, ...]:
        if not values:
            raise self._error(where, "there are no choices", "list one at least")
        if tunable.kind == "integers" and not any(isinstance(value, list) for value in values):
            raise self._error(
                where, "its choices are lists themselves", f"write [{values!r}] for this one"
            )
        choices = tuple(self._check(where, value, tunable) for value in values)
        if len(set(choices)) < len(choices):
            raise self._error(where, "a choice is there twice", "leave one of them out")
        return choices

    def _check(self, where: str, value: object, tunable: Tunable) -> object:
        try:
            return tunable.check(value)
        except ValueError as error:
            raise self._error(
                where, str(error), f"write {KINDS[tunable.kind]}, {tunable.summary}"
            ) from error

    def _check_step(self, where: str, step: object, tunable: Tunable, span: float) -> None:
        whole = tunable.kind == "integer"
        if isinstance(step, bool) or not isinstance(step, int if whole else int | float):
            raise self._error(where, f"step {step!r} is not {KINDS[tunable.kind]}", "write one")
        if not 0 < step <= span:
            raise self._error(
                where, f"step {step:g} does not fit the range", f"write one of up to {span:g}"
            )

    def _whole(self, key: str, value: object, most: int) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
            raise self._error(
                key, f"{value!r} is not a whole number from 1 to {most:,}", "write one"
            )
        return value

    def _known(
        self, found: Mapping[str, Any], known: Collection[str], where: str | None, of: str = ""
    ) -> None:
        for key in found:
            if key not in known:
                place = f"{where}.{key}" if where else key
                raise self._error(place, f"is not known{of}", f"there are {', '.join(known)}")

    def _error(self, key: str, problem: str, remedy: str) -> SearchSpaceError:
        return SearchSpaceError(self.path, problem, remedy=remedy, where=key)


def _or(names: Collection[str]) -> str:
    return " or ".join(f'"{name}"' for name in names)
