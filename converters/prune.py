"""Magnitude pruning: the smallest weights become zero while the others learn to do without them.

What it buys: the file packs better. Size and latency as such stay the same, since the interpreter
multiplies by zeros as by anything else. Half of the weights is nearly free. `converters.shrink` is
what makes a model smaller and faster.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import tensorflow_model_optimization as tfmot

from converters.finetune import GENTLE, Lesson, begin, fine_tune, wrapped_kernels

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

    from edge_agent.contract.runs import Rows


def pruned_copy(
    model: Any,
    share: float,
    scaled: NDArray[np.float32],
    rows: Rows,
    report: Callable[[str], None] | None = None,
) -> Any:
    """A fine-tuned copy of a Keras model in which a share of each kernel's weights is zero.

    Args:
        model: Stays as it is.
        share: Between 0 and 1.
        scaled: Training rows after scaling, shape (n_rows, n_features).
        rows: The same rows, for their labels.
        report: Told after each epoch how far it is.
    """
    begin()
    steps = GENTLE.steps(len(scaled))
    # Zeros are added over the first half, often; the second half is for recovering.
    decay = tfmot.sparsity.keras.PolynomialDecay(
        0.0, share, begin_step=0, end_step=max(1, steps // 2), frequency=max(1, steps // 40)
    )
    wrapper = wrapped_kernels(
        model,
        lambda layer: tfmot.sparsity.keras.prune_low_magnitude(layer, pruning_schedule=decay),
    )
    lesson = Lesson.of(model, scaled, rows)
    fine_tune(wrapper, lesson, GENTLE, [tfmot.sparsity.keras.UpdatePruningStep()], report)
    return tfmot.sparsity.keras.strip_pruning(wrapper)


def zero_share(model: Any) -> float:
    """Share of zeros among the weights of all kernels."""
    kernels = [weight.numpy() for weight in model.trainable_weights if len(weight.shape) > 1]
    zeros = sum(int((kernel == 0).sum()) for kernel in kernels)
    return float(zeros / max(1, sum(kernel.size for kernel in kernels)))
