"""The child process that holds TensorFlow: `python -m converters.worker JOB.json`.

Its own process for three reasons: a converter that crashes takes only this one down; the bytes of a
flatbuffer are the same from run to run only in a fresh process; and 550 MB go back to the system
before the converted model is timed.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from converters.formats import Job, first_line
from converters.timing import BATCHES, latency_us
from edge_agent.contract.errors import EdgeIdsError, RunError
from edge_agent.contract.runs import Rows, Run, load_rows, spread
from edge_agent.contract.scaling import recompute_rates

if TYPE_CHECKING:
    from numpy.typing import NDArray

_PREDICT_ROWS: Final = 1024


def main(arguments: list[str]) -> int:
    """Do one job; a known failure is told in a file, anything else by the traceback."""
    job = Job.from_bytes(Path(arguments[0]).read_bytes())
    try:
        _convert(job)
    except EdgeIdsError as error:
        (job.folder / Job.FAILURE).write_text(str(error), encoding="utf-8")
        return 1
    return 0


def _convert(job: Job) -> None:
    # Imported late, so that a job that cannot be read fails before TensorFlow takes its seconds.
    from converters._tensorflow import tf  # noqa: PLC0415
    from converters.prune import pruned_copy, zero_share  # noqa: PLC0415
    from converters.quantize import check_shape, to_flatbuffer  # noqa: PLC0415

    run = Run.open(job.run)
    model = load_model(job.run / run.models[job.model].file)
    calibration, train, test = (
        load_rows(job.run, part) for part in ("calibration", "train", "test")
    )
    check_shape(model, run.families)
    converted = model
    if job.prune_share:
        converted = pruned_copy(model, job.prune_share, _scaled(run, train), train)
    flatbuffer = to_flatbuffer(converted, job.form, _scaled(run, calibration))
    (job.folder / Job.FLATBUFFER).write_bytes(flatbuffer)
    forward = tf.function(lambda rows: model(rows, training=False))
    scaled = _scaled(run, test)
    np.savez(
        job.folder / Job.OUTPUTS,
        test=_outputs(forward, scaled),
        train=_outputs(forward, _scaled(run, spread(train, job.threshold_rows))),
    )
    facts = {
        "latency_us": {
            str(batch): latency_us(_call(forward, tf.constant(scaled[:batch])), batch)
            for batch in BATCHES
            if len(scaled) >= batch
        },
        "parameters": int(model.count_params()),
        "zero_share": zero_share(converted),
    }
    (job.folder / Job.FACTS).write_text(json.dumps(facts), encoding="utf-8")


def load_model(path: Path) -> Any:
    """A Keras model from its file.

    Raises:
        RunError: It is none.
    """
    from converters._tensorflow import keras  # noqa: PLC0415

    try:
        return keras.models.load_model(path, compile=False)
    # Keras lets through whatever its file formats raise; all of it means this one thing.
    except Exception as error:
        raise RunError(
            path,
            f"is no Keras model that can be loaded ({first_line(error)})",
            remedy="train the run again",
        ) from error


def _scaled(run: Run, rows: Rows) -> NDArray[np.float32]:
    names = [feature.name for feature in run.features]
    return run.scaler.transform(recompute_rates(rows.raw, names))


def _outputs(forward: Any, scaled: NDArray[np.float32]) -> NDArray[np.float32]:
    """Outputs of the full model, shape (n_rows, 1 or 1 + n_families)."""
    # At least one call: where there are no rows, it tells the width.
    starts = range(0, max(len(scaled), 1), _PREDICT_ROWS)
    return np.concatenate(
        [np.asarray(forward(scaled[start : start + _PREDICT_ROWS])) for start in starts]
    )


def _call(forward: Any, rows: Any) -> Any:
    return lambda: np.asarray(forward(rows))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
