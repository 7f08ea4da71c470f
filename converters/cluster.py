"""Weight clustering: each kernel's weights move to a few values, so that the file packs better.

Size and latency as such stay the same, as with `converters.prune`. What pruning has set to zero
stays zero.
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


def clustered_copy(
    model: Any,
    clusters: int,
    scaled: NDArray[np.float32],
    rows: Rows,
    report: Callable[[str], None] | None = None,
) -> Any:
    """A fine-tuned copy of a Keras model whose kernels hold few different weights each.

    Args:
        model: Stays as it is.
        clusters: How many different weights a kernel may have, at least 2.
        scaled: Training rows after scaling, shape (n_rows, n_features).
        rows: The same rows, for their labels.
        report: Told after each epoch how far it is.
    """
    begin()
    clustering = tfmot.clustering.keras
    first = clustering.CentroidInitialization.KMEANS_PLUS_PLUS

    def wrapped(layer: Any) -> Any:
        kernels = [weight.numpy() for weight in layer.trainable_weights if len(weight.shape) > 1]
        # A kernel of fewer weights has few values as it is.
        if min(kernel.size for kernel in kernels) <= clusters:
            return layer
        sparse = any((kernel == 0).any() for kernel in kernels)
        return clustering.cluster_weights(layer, clusters, first, preserve_sparsity=sparse)

    wrapper = wrapped_kernels(model, wrapped)
    fine_tune(wrapper, Lesson.of(model, scaled, rows), GENTLE, report=report)
    return clustering.strip_clustering(wrapper)
