"""Makes `tiny.tflite`, the model file of the detector's tests, from nothing but a seed.

    python -m tests.detect.data.make_tiny

Needs the workstation's environment. It trains a CNN-LSTM of toy size on `tests.detect.synthetic`,
leaves a run folder in a temporary directory, and sends it through edge-convert's own code.
`tiny_scores.json` gets scores of this machine's interpreter, for others to be near to. Run it
again when the layout of the model file, the gateway profile or its columns change; the tests hold
verdicts, not bytes, so a new file needs no new numbers.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Final

from converters.conversion import Request, convert
from converters.formats import Format
from edge_agent.detect.detector import Detector
from tests.converters.toy_run import make_run
from tests.detect.synthetic import problem

TINY: Final = Path(__file__).with_name("tiny.tflite")
_SCORES: Final = 40


def main() -> None:
    """Train, convert, write."""
    with tempfile.TemporaryDirectory() as name:
        run, output = Path(name) / "run", Path(name) / "model.tflite"
        make_run(run)
        report = convert(Request(run, output, Format.INT8, None, max_f1_drop_points=0.1))
        TINY.write_bytes(output.read_bytes())
    raw, _ = problem(_SCORES, seed=2)
    scores = [round(score, 6) for score in Detector.open(TINY).score(raw).tolist()]
    TINY.with_name("tiny_scores.json").write_text(json.dumps(scores) + "\n", encoding="utf-8")
    sys.stdout.write(f"{TINY}: {TINY.stat().st_size:,} bytes, F1 {report['converted']['f1']:.4f}\n")


if __name__ == "__main__":
    main()
