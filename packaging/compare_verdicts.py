"""Are the verdicts of two score tables the same, flow by flow?

python packaging/compare_verdicts.py HERE.csv THERE.csv SHARE

Both are written by `edge-agent score` from flows of the same capture, so rows stand in the same
order. Exit 0 where at least SHARE of the verdicts are equal, 1 where not, or where flows differ.
"""

from __future__ import annotations

import csv
import math
import sys
from itertools import zip_longest
from pathlib import Path

# What says which flow a row is about.
_IDENTITY = ("Src IP", "Src Port", "Dst IP", "Dst Port", "Protocol", "Start us")
# Decayed counts go through exp() of the C library, whose last digit is each processor's own.
_TOLERANCE = 1e-9


def same(ours: str, theirs: str, *, exactly: bool) -> bool:
    """Whether two cells say the same, numbers within the tolerance."""
    if exactly or ours == theirs:
        return ours == theirs
    return math.isclose(float(ours), float(theirs), rel_tol=_TOLERANCE)


def main(here: Path, there: Path, share: float) -> int:
    """Print how many verdicts are equal, and say whether they are enough."""
    flows = equal = flagged = flagged_there = 0
    largest = 0.0
    with here.open(encoding="utf-8") as ours, there.open(encoding="utf-8") as theirs:
        for row, other in zip_longest(csv.DictReader(ours), csv.DictReader(theirs)):
            if row is None or other is None:
                print(f"one table has more than {flows:,} flows, the other one not.")
                return 1
            for name in row:
                judged = name in {"score", "verdict"}
                if not judged and not same(row[name], other[name], exactly=name in _IDENTITY):
                    print(f"flow {flows + 1}: {name} is {row[name]} here, {other[name]} there.")
                    return 1
            flows += 1
            equal += row["verdict"] == other["verdict"]
            flagged += row["verdict"] != "benign"
            flagged_there += other["verdict"] != "benign"
            largest = max(largest, abs(float(row["score"]) - float(other["score"])))
    if not flows:
        print("the tables have no flows.")
        return 1
    print(
        f"{equal:,} of {flows:,} verdicts are equal ({equal / flows:.3%}); {flagged:,} are attacks"
        f" here, {flagged_there:,} there; scores differ by at most {largest:.4f}."
    )
    return 0 if equal >= share * flows else 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3])))
