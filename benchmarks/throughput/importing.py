"""How long importing takes until the compiled meter can be opened, in interpreters of their own."""

from __future__ import annotations

import subprocess
import sys
from typing import Final

from benchmarks.throughput.measure import ROOT, spread

_CHILDREN: Final = 9
# Both clocks of one child: a ratio or difference between two children would be noise.
_PROGRAM: Final = """\
import time
begun = time.perf_counter()
import numpy
between = time.perf_counter()
import edge_agent.flow.meter
print(between - begun, time.perf_counter() - between)
"""


def import_ms(children: int = _CHILDREN) -> dict[str, dict[str, float]]:
    """Time the imports that opening a meter needs.

    Returns:
        "beyond_numpy" and "with_numpy": milliseconds, as of `spread`.
    """
    times = []
    # One more than counts: the first may have to compile.
    for _ in range(children + 1):
        done = subprocess.run(
            [sys.executable, "-c", _PROGRAM], cwd=ROOT, capture_output=True, text=True, check=True
        )
        numpy_s, own_s = map(float, done.stdout.split())
        times.append((1000 * own_s, 1000 * (numpy_s + own_s)))
    own_ms, all_ms = zip(*times[1:], strict=True)
    return {"beyond_numpy": spread(own_ms), "with_numpy": spread(all_ms)}
