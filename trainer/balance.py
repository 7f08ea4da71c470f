"""How much each row of a labelled recording counts in training.

A recording of our lab is three quarters attack flows, most of them a few floods. Row by row, a
flood of 5,000 equal SYNs drowns a scan of twelve flows; attack by attack, it does not. Measured in
benchmarks/results/time-dimension.md: of 63 campaigns of recordings never seen, boosted trees find
48 instead of 43, at a tenth of the false alarms.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

SWAPPED_SHARE: Final = 0.1
"""Swap noise of networks that learn from recordings: they are to find attacks in other houses."""

# A flood of 5,000 equal flows says no more than some hundred of them.
_CAMPAIGN_FLOWS: Final = 400


def campaign_weights(file: NDArray[np.int16], label: NDArray[np.int16]) -> NDArray[np.float32]:
    """Weights under which all attacks count as much as all benign rows.

    A campaign is a label of one file. Among campaigns the weight goes with the root of their size,
    up to `_CAMPAIGN_FLOWS` flows.

    Args:
        file: Of the training rows, as in `FlowTable`; shape (n_flows,).
        label: Likewise.

    Returns:
        Shape (n_flows,), of mean 1.
    """
    campaign = file.astype(np.int64) << 16 | label
    _, member, count = np.unique(campaign, return_inverse=True, return_counts=True)
    share = np.sqrt(np.minimum(count, _CAMPAIGN_FLOWS)) / count
    attack = label > 0
    weight = np.where(attack, share[member], 1.0)
    if attack.any() and not attack.all():
        weight[attack] *= (~attack).sum() / weight[attack].sum()
    weights: NDArray[np.float32] = (weight / weight.mean()).astype(np.float32)
    return weights
