"""``python -m benchmarks.large_table.child FEATURES SPLIT FILE...``: the process that is measured.

Reads and cleans tables as `edge-train` does, deals the rows if SPLIT is not `-`, and prints what
that took.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path
from typing import Any, Final

import numpy as np

from edge_agent.console import end_progress, progress_line, run_command
from edge_agent.contract.features import FEATURE_SETS
from trainer.datasets.captures import Talk
from trainer.datasets.sources import plan, read

# Linux counts the peak of resident memory in KiB.
_PEAK_UNIT_BYTES: Final = 1024


def _resident_bytes() -> int:
    # The peak that a process begins with is its parent's.
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize()


def _peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _PEAK_UNIT_BYTES


def _read(features: str, split: str, files: list[Path]) -> dict[str, Any]:
    """The work that is measured."""
    start_bytes = _resident_bytes()
    begin, begin_cpu = time.monotonic(), time.process_time()

    def progress(done: int, total: int, rows: int) -> None:
        rate = done / (time.monotonic() - begin)
        progress_line(f"{done / total:.0%}, {rows:,} rows, {(total - done) / rate:.0f} s left")

    flows = read(plan(files, [], None), FEATURE_SETS[features][1], talk=Talk(progress))
    end_progress()
    result: dict[str, Any] = {
        "rows_read": sum(file.rows for file in flows.files),
        "rows": len(flows),
        "read_s": time.monotonic() - begin,
        "read_cpu_s": time.process_time() - begin_cpu,
        "matrix_bytes": flows.raw.nbytes,
        "start_bytes": start_bytes,
        "peak_bytes": _peak_bytes(),
        "dropped": dict(flows.dropped),
        "changed": dict(flows.changed),
        "label": dict(
            zip(flows.labels, np.bincount(flows.label, minlength=len(flows.labels)).tolist())  # noqa: B905
        ),
    }
    if split != "-":
        from trainer.datasets.splits import split as deal

        begin = time.monotonic()
        dealt = deal(flows, split, 0)
        result |= {
            "split": split,
            "split_s": time.monotonic() - begin,
            "split_peak_bytes": _peak_bytes(),
            "duplicates": dealt.duplicates,
            "parts": np.bincount(dealt.part).tolist(),
        }
    return result


if __name__ == "__main__":
    _, features, kind, *names = sys.argv
    run_command(
        "benchmarks large-table",
        False,
        lambda: print(json.dumps(_read(features, kind, [Path(name) for name in names]))),
    )
