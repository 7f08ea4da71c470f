"""Hyper-parameters: what each model lets one choose, within what, and what it takes unasked.

The models read their own defaults from here and a search reads what it may try, so that neither
can drift from the other. Nothing here needs the models' libraries.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trainer.models.base import FitSettings

KINDS: Final = {
    "integer": "a whole number",
    "number": "a number",
    "integers": "a list of whole numbers",
}


@dataclass(frozen=True, slots=True)
class Tunable:
    """One hyper-parameter.

    Attributes:
        kind: One of `KINDS`.
        low, high: Least and greatest value; of each number in a list.
        default: What the model takes unasked; None: its variant, or the command line, says that.
        summary: For messages and tables.
        sizes: Variants that have it; empty: all.
        length: Of lists; 0: any.
    """

    kind: str
    low: float
    high: float
    default: object
    summary: str
    sizes: tuple[str, ...] = ()
    length: int = 0

    def check(self, value: object) -> object:
        """The value in its own type: 1 becomes 1.0 where numbers are asked for, lists tuples.

        Raises:
            ValueError: It is of another type or out of range; the message is a clause.
        """
        if self.kind == "integers":
            if not isinstance(value, list | tuple) or not value:
                raise ValueError(f"{_shown(value)} is not {KINDS[self.kind]}")
            if self.length not in (0, len(value)):
                raise ValueError(f"{_shown(value)} is not {self.length} numbers")
            return tuple(self._number(item, "a whole number") for item in value)
        return self._number(value, KINDS[self.kind])

    def _number(self, value: object, wanted: str) -> int | float:
        whole = self.kind != "number"
        # bool is a kind of int to Python, and `true` is no number of units.
        if isinstance(value, bool) or not isinstance(value, int if whole else int | float):
            raise ValueError(f"{_shown(value)} is not {wanted}")  # noqa: TRY004  # no bug of a caller
        if not self.low <= value <= self.high:
            raise ValueError(f"{_shown(value)} is not within {self.low:g} to {self.high:g}")
        return int(value) if whole else float(value)


def _shown(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else repr(value)


def offered(tunables: Mapping[str, Tunable], size: str) -> dict[str, Tunable]:
    """Those that a variant has."""
    return {
        name: tunable
        for name, tunable in tunables.items()
        if not tunable.sizes or size in tunable.sizes
    }


def tuned(tunables: Mapping[str, Tunable], settings: FitSettings) -> dict[str, Any]:
    """Every hyper-parameter of the settings' variant: the value asked for, or the default.

    Raises:
        ValueError: The settings name one that the model does not have, or give it a bad value.
    """
    known = offered(tunables, settings.size)
    values: dict[str, Any] = {name: tunable.default for name, tunable in known.items()}
    for name, value in settings.tuning.items():
        if name not in known:
            raise ValueError(f"no hyper-parameter {name!r}; there are {', '.join(known)}")
        try:
            values[name] = known[name].check(value)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error
    return values


_INF: Final = math.inf

_ANY_NETWORK: Final = {
    "learning_rate": Tunable("number", 1e-6, 1.0, None, "step of Adam at its highest"),
    "batch_size": Tunable("integer", 1, 1_000_000, None, "rows in a step"),
    "weight_decay": Tunable("number", 0.0, 1.0, None, "share of a weight that decays in a step"),
    "averaging": Tunable("number", 0.0, 0.99999, None, "share of the old in averaged weights"),
    "swap_noise": Tunable("number", 0.0, 0.9, None, "share of values taken from another row"),
}
_DROPOUT: Final = Tunable("number", 0.0, 0.95, None, "share of outputs left out of a step")
_FOCAL_GAMMA: Final = Tunable("number", 0.0, 10.0, None, "how little easy rows count (focal loss)")
_UNITS: Final = Tunable("integers", 1, 4096, None, "widths of the layers")

CNN_LSTM: Final = _ANY_NETWORK | {
    "focal_gamma": _FOCAL_GAMMA,
    "filters": Tunable("integers", 1, 4096, None, "filters of each convolution", length=2),
    "kernel": Tunable("integer", 1, 31, None, "width of the convolutions"),
    "lstm_units": Tunable("integer", 1, 4096, None, "width of the LSTM"),
    "dense_units": Tunable("integer", 1, 4096, None, "width of the layer after it"),
    "dropout": _DROPOUT,
}

MLP: Final = _ANY_NETWORK | {"focal_gamma": _FOCAL_GAMMA, "units": _UNITS, "dropout": _DROPOUT}

AUTOENCODER: Final = _ANY_NETWORK | {
    "units": _UNITS,
    "bottleneck": Tunable("integer", 1, 4096, None, "width of the narrowest layer"),
}

FOREST: Final = {
    "trees": Tunable("integer", 1, 10_000, 100, "trees"),
    "depth": Tunable("integer", 0, 1000, 0, "greatest depth; 0: as deep as it takes"),
    "min_leaf": Tunable("integer", 1, _INF, 1, "least rows in a leaf"),
}

BOOSTED_TREES: Final = {
    "rounds": Tunable("integer", 1, 100_000, 300, "trees at most"),
    "leaves": Tunable("integer", 2, 65_536, 31, "leaves of a tree at most"),
    "learning_rate": Tunable("number", 1e-6, 1.0, 0.1, "share that each tree counts"),
    "depth": Tunable("integer", 0, 1000, 0, "greatest depth; 0: what the leaves allow"),
    "min_leaf": Tunable("integer", 1, _INF, 20, "least rows in a leaf"),
}

SVM: Final = {
    "regularisation": Tunable("number", 1e-12, 1e3, 1e-6, "weight of the margin against errors"),
    "components": Tunable("integer", 2, 10_000, 1000, "rows that stand for all", ("kernel",)),
    "gamma": Tunable("number", 1e-6, 1e6, 2.0, "narrowness of the kernel", ("kernel",)),
}
