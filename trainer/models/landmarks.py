"""What a support vector machine is linear in: the features, or likeness to a few landmarks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from trainer.models.base import Part

# Directions in which the landmarks differ by less than this share of the most telling one are
# float32 noise, and would be given enormous weights.
_LEAST_VARIANCE: Final = 1e-6


@dataclass(frozen=True, slots=True)
class Columns:
    """What the machine is linear in.

    Attributes:
        landmarks: Scaled rows, shape (n_landmarks, n_features); none: the features themselves.
        gamma: Narrowness of the kernel.
    """

    landmarks: NDArray[np.float32]
    gamma: float

    @property
    def count(self) -> int:
        """Columns, without the offset."""
        return len(self.landmarks) or self.landmarks.shape[1]

    def of(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Columns of scaled rows: shape (n_flows, count)."""
        if not len(self.landmarks):
            # Around zero, so that the offset has little to make up for.
            return 2 * rows - 1
        likeness = rows @ self.landmarks.T
        likeness *= 2
        likeness -= (self.landmarks**2).sum(axis=1)
        likeness -= (rows**2).sum(axis=1)[:, None]
        # Rounding must not make a row more like a landmark than the landmark is.
        np.minimum(likeness, 0, out=likeness)
        likeness *= np.float32(self.gamma)
        np.exp(likeness, out=likeness)
        return likeness

    def basis(self) -> NDArray[np.float64]:
        """Directions in which the margin is measured, shape (count + 1, n_directions).

        In the space that an RBF kernel spans, weights β over landmarks have the length
        √(βᵀKβ), with K the landmarks' likeness to each other: in the basis UΛ^(-1/2) of K = UΛUᵀ
        that is the plain length. The last row and direction are the offset.
        """
        if not len(self.landmarks):
            return np.eye(self.count + 1)
        variance, directions = np.linalg.eigh(self.of(self.landmarks).astype(np.float64))
        telling = variance > _LEAST_VARIANCE * variance[-1]
        basis = np.zeros((self.count + 1, int(telling.sum()) + 1))
        basis[:-1, :-1] = directions[:, telling] / np.sqrt(variance[telling])
        basis[-1, -1] = 1
        return basis


def choose_landmarks(part: Part, count: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """Indices of rows that stand for all: half benign, half attacks of all families alike.

    A family of a dozen rows among millions would have no landmark near it otherwise.
    """
    shuffled = rng.permutation(len(part)).astype(np.intp)
    group = np.where(part.target[shuffled] == 0, 0, 1 + part.family[shuffled].astype(np.int64))
    order = np.argsort(group, kind="stable")
    sizes = np.unique(group, return_counts=True)[1]
    place = np.empty(len(part), dtype=np.int64)
    place[order] = np.concatenate([np.arange(size) for size in sizes])
    # Benign rows and each attack family take turns; the families together weigh as much as benign.
    families = max(len(sizes) - (group == 0).any(), 1)
    turn = np.where(group == 0, place / families, place)
    return np.sort(shuffled[np.argsort(turn, kind="stable")[:count]])
