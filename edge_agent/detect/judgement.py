"""What a model says of flows: how sure it is of an attack, and which family that would be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from edge_agent.contract.alerts import UNKNOWN_FAMILY

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

NAMED_FROM_SHARE: Final = 0.5
"""A family is named from this share on: then it is as likely as all others together. Below it a
network spreads its guess, as it does over attacks of a family it was never shown."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """Scores and families of flows.

    Attributes:
        scores: float32, shape (n_flows,), from 0 (benign) to 1 (attack); NaN where a number of the
            flow is not finite.
        family: uint8, shape (n_flows,): what the flow is, should it be an attack; k for
            families[k - 1], 0 where none is convincing.
        families: What the model can name.
    """

    scores: NDArray[np.float32]
    family: NDArray[np.uint8]
    families: tuple[str, ...]

    @classmethod
    def of(cls, outputs: NDArray[np.float32], families: Sequence[str]) -> Judgement:
        """Read a model's outputs, shape (n_flows, 1 + n_families), as `Detector.outputs` gives."""
        scores, shares = outputs[:, 0], outputs[:, 1:]
        if not families:
            return cls(scores, np.zeros(len(scores), dtype=np.uint8), ())
        family = top_family(shares)
        family[~(shares.max(axis=1) >= NAMED_FROM_SHARE)] = 0
        return cls(scores, family, tuple(families))

    def names(self, chosen: NDArray[np.bool_] | slice = slice(None)) -> list[str]:
        """Names of the families of the flows chosen; "unknown" where none is convincing."""
        names: list[str] = np.array((UNKNOWN_FAMILY, *self.families))[self.family[chosen]].tolist()
        return names


def top_family(shares: NDArray[np.float32]) -> NDArray[np.uint8]:
    """The largest share's family, shape (n_flows,), from 1; however small it is.

    Args:
        shares: Shape (n_flows, n_families), at least one.
    """
    numbers: NDArray[np.uint8] = (shares.argmax(axis=1) + 1).astype(np.uint8)
    return numbers
