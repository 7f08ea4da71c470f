"""Makes `micro-fused.tflite` and `micro-unrolled.tflite`, model files of fixed shapes.

    python -m tests.converters.data.make_micro

Needs the workstation's environment. It trains the toy with families and converts it for a batch of
one in both forms. Run it again when the model file's layout, the gateway profile or its columns
change, or when the converter writes fixed shapes in another way; the tests hold no numbers of it.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from converters import worker
from converters.formats import Format, Recurrence
from converters.quantize import to_flatbuffer
from edge_agent.contract.bundle import Bundle
from edge_agent.contract.runs import load_rows
from tests.converters.data import micro_path
from tests.converters.toy_run import NAME, make_family_run


def main() -> None:
    """Train, convert, write."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run = make_family_run(folder)
        model = worker.load_model(folder / run.models[NAME].file)
        scaled = run.scaler.transform(load_rows(folder, "calibration").raw)
    for recurrence in Recurrence:
        bundle = Bundle(
            flatbuffer=to_flatbuffer(model, Format.INT8, scaled, recurrence, batch=1),
            profile=run.profile,
            features=run.features,
            scaler=run.scaler,
            threshold=run.models[NAME].threshold,
            threshold_rule=run.models[NAME].threshold_rule,
            families=run.families,
            name=f"toy {recurrence.value}",
        )
        path = micro_path(recurrence.value)
        bundle.save(path)
        sys.stdout.write(f"{path.name}: {path.stat().st_size:,} bytes\n")


if __name__ == "__main__":
    main()
