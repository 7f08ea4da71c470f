"""A toy run, and both commands on it, in one process: TensorFlow's seconds are paid once.

    python -m tests.benchmarks.workshop FOLDER

Prints the JSON of `latency` and of `accuracy`, a line of `SEPARATOR` after each.
"""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Final

from benchmarks.__main__ import main
from edge_agent.contract.bundle import Bundle
from edge_agent.detect import timing
from tests.converters.toy_run import make_run
from tests.detect.conftest import TINY

SEPARATOR: Final = "---"


def both(folder: Path) -> None:
    from converters._tensorflow import tf

    # The same as latency asks for, which TensorFlow takes only before the training below.
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    # Half a second a burst is for figures that somebody looks at.
    timing._BUDGET_S = 0.05  # type: ignore[misc]
    run, file = folder / "run", folder / "model.tflite"
    made = make_run(run, epochs=2)
    # The file claims to come from this very run: to convert one would take a minute.
    tiny = Bundle.open(TINY)
    dataclasses.replace(tiny, provenance=made.provenance, scaler=made.scaler).save(file)
    for command in (["latency", "--repeats", "1"], ["accuracy"]):
        main([*command, "--json", str(run), str(file)], standalone_mode=False)
        sys.stdout.write(f"{SEPARATOR}\n")


if __name__ == "__main__":
    both(Path(sys.argv[1]))
