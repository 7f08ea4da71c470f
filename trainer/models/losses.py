"""What a network is told about its mistakes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from trainer._tensorflow import tf

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray


# Families are an explanation, the score is the verdict: a fifth of its weight names them as well as
# more does, and leaves the score what it is without them.
_FAMILY_WEIGHT: Final = 0.2
# The exponent of T.-Y. Lin et al., "Focal Loss for Dense Object Detection", ICCV 2017, section 4.1.
FOCAL_GAMMA: Final = 2.0


def verdict_loss(loss: str, focal_gamma: float = FOCAL_GAMMA) -> Callable[[Any, Any], Any]:
    """The loss of `heads.logits`.

    Args:
        loss: One of `base.LOSSES`; class weights are not applied here but by `row_weights`.
        focal_gamma: Exponent of the focal loss.

    Returns:
        Logits of shape (n, 1 + n_families) and a `feeding.Batch` → loss of each row, shape (n,):
        that of the score, and for attacks a share of that of the families.
    """

    def of_rows(logits: Any, batch: Any) -> Any:
        score = logits[:, 0]
        losses = tf.nn.sigmoid_cross_entropy_with_logits(batch.aim, score)
        if loss == "focal":
            # The chance given to the other class, to the power of gamma.
            miss = tf.sigmoid(tf.where(batch.target == 1, -score, score))
            losses *= tf.pow(miss, focal_gamma)
        if logits.shape[1] > 1:
            # A family of 0 is benign, or an attack of no family that has a column.
            named = batch.family > 0
            labels = tf.maximum(tf.cast(batch.family, tf.int32) - 1, 0)
            families = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits[:, 1:])
            losses += _FAMILY_WEIGHT * tf.where(named, families, tf.zeros_like(families))
        return losses

    return of_rows


def verdict_right(logits: Any, batch: Any) -> Any:
    """Whether each row's score is on the right side of one half, shape (n,), boolean."""
    return (logits[:, 0] >= 0) == (batch.target == 1)


def cross_entropy(score: NDArray[np.float32], target: NDArray[np.uint8]) -> float:
    """Mean over rows, of scores in [0, 1]."""
    chance = np.clip(np.where(target == 1, score, 1 - score).astype(np.float64), 1e-7, 1)
    return float(-np.log(chance).mean())
