"""Makes `families.tflite`, a model file of the detector's tests, from nothing but a seed.

    python -m tests.detect.data.make_tiny

Needs the workstation's environment. It trains a CNN-LSTM of toy size on `tests.detect.synthetic`,
leaves a run folder in a temporary directory, and sends it through edge-convert's own code. Run it
again when the layout of the model file, the gateway profile or its columns change; the tests hold
verdicts, not bytes, so a new file needs no new numbers.

`tiny.tflite` and `tiny_scores.json`, the scores of the interpreter that was there when it was made,
came from here too, of `toy_run.make_run`. That file is of format version 1 and stays as it is: that
it still opens is what keeps old files readable.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Final

from converters.conversion import convert
from converters.formats import Format, Recurrence
from converters.request import Request
from tests.converters.toy_run import make_family_run

FAMILIES: Final = Path(__file__).with_name("families.tflite")


def main() -> None:
    """Train, convert, write."""
    with tempfile.TemporaryDirectory() as name:
        run, output = Path(name) / "run", Path(name) / "model.tflite"
        make_family_run(run)
        report = convert(Request(run, recurrence=Recurrence.UNROLLED), Format.INT8, output)
        FAMILIES.write_bytes(output.read_bytes())
    size, found = FAMILIES.stat().st_size, report["converted"]
    sys.stdout.write(
        f"{FAMILIES}: {size:,} bytes, F1 {found['f1']:.4f}, family {found['family_accuracy']:.4f}\n"
    )


if __name__ == "__main__":
    main()
