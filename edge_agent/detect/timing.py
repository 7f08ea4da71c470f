"""How long one call takes: the same stopwatch for every model."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

BATCHES: Final = (1, 16, 64, 256)

# Enough calls for a 99th percentile, and half a second at most for a slow model.
_CALLS: Final = 400
_WARM_UP_CALLS: Final = 5
_BUDGET_S: Final = 0.5


def latency_us(call: Callable[[], object], rows: int) -> dict[str, float]:
    """Median and 99th percentile of a call's duration, in µs per row of its `rows`."""
    for _ in range(_WARM_UP_CALLS):
        call()
    durations_ns: list[int] = []
    begin = time.perf_counter()
    while len(durations_ns) < _CALLS and time.perf_counter() - begin < _BUDGET_S:
        start_ns = time.perf_counter_ns()
        call()
        durations_ns.append(time.perf_counter_ns() - start_ns)
    p50, p99 = np.percentile(durations_ns, (50, 99)) / 1e3 / rows
    return {"p50": round(float(p50), 2), "p99": round(float(p99), 2)}
