"""The child process that holds TensorFlow: `python -m converters.worker JOB.json`.

Its own process for three reasons: a converter that crashes takes only this one down; the bytes of a
flatbuffer are the same from run to run only in a fresh process; and 550 MB go back to the system
before the converted model is timed.
"""

from __future__ import annotations

import errno
import json
import sys
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from converters.child import PROGRESS
from converters.formats import (
    DISK_FULL,
    FAILURE,
    Conversion,
    Preparation,
    first_line,
    job_from_bytes,
)
from edge_agent.contract.errors import EdgeIdsError, RunError
from edge_agent.contract.runs import Rows, Run, load_rows, spread
from edge_agent.contract.scaling import rate_inputs, recompute_rates
from edge_agent.detect.timing import BATCHES, latency_us

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from converters.formats import Changes

_PREDICT_ROWS: Final = 1024
# What the bytes of a file depend on besides the run.
_MADE_WITH: Final = ("tensorflow", "tf-keras", "tensorflow-model-optimization")


def main(arguments: list[str]) -> int:
    """Do one job; a known failure is told in a file, anything else by the traceback."""
    job = job_from_bytes(Path(arguments[0]).read_bytes())
    try:
        if isinstance(job, Preparation):
            _prepare(job)
        else:
            _convert(job)
    except EdgeIdsError as error:
        (job.folder / FAILURE).write_text(str(error), encoding="utf-8")
        return 1
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        return DISK_FULL
    return 0


def _prepare(job: Preparation) -> None:
    # Imported late, so that a job that cannot be read fails before TensorFlow takes its seconds.
    from converters._tensorflow import tf  # noqa: PLC0415
    from converters.prune import zero_share  # noqa: PLC0415
    from converters.quantize import check_shape  # noqa: PLC0415
    from converters.twin import is_recurrent  # noqa: PLC0415

    run = Run.open(job.run)
    model = load_model(job.run / run.models[job.model].file)
    train, test = (load_rows(job.run, part) for part in ("train", "test"))
    check_shape(model, run.families)
    forward = tf.function(lambda rows: model(rows, training=False))
    scaled = _scaled(run, test)
    _tell("scoring the test rows with the full model")
    np.savez(
        job.folder / Preparation.OUTPUTS,
        test=_outputs(forward, scaled),
        train=_outputs(forward, _scaled(run, spread(train, job.threshold_rows))),
    )
    full_us = {
        str(batch): latency_us(_call(forward, tf.constant(scaled[:batch])), batch)
        for batch in BATCHES
        if len(scaled) >= batch
    }
    needs = rate_inputs([feature.name for feature in run.features])
    network, columns = _changed(model, job.changes, _scaled(run, train), train, needs)
    network.save(job.folder / Preparation.NETWORK)
    facts = {
        "latency_us": full_us,
        "parameters": {
            "full": int(model.count_params()),
            "converted": int(network.count_params()),
        },
        "zero_share": zero_share(network),
        "recurrent": is_recurrent(network),
        "versions": {name: version(name) for name in _MADE_WITH},
        "columns": columns,
    }
    (job.folder / Preparation.FACTS).write_text(json.dumps(facts), encoding="utf-8")


def _changed(
    model: Any,
    changes: Changes,
    scaled: NDArray[np.float32],
    rows: Rows,
    needs: Mapping[int, Sequence[int]],
) -> tuple[Any, Sequence[int]]:
    """The network to convert and the columns it takes: first smaller, then sparser, then rounder.

    Each step leaves what the one before it reached: a pruned kernel is clustered around its zeros.
    """
    columns: Sequence[int] = range(scaled.shape[1])
    network = model
    if changes.shrink_share:
        from converters.shrink import Shrinking, shrunk_copy  # noqa: PLC0415

        shrinking = Shrinking(changes.shrink_share, needs)
        shrunk = shrunk_copy(network, shrinking, scaled, rows, report=_tell)
        network, columns = shrunk.model, shrunk.columns
        scaled = scaled[:, columns]
    if changes.prune_share:
        from converters.prune import pruned_copy  # noqa: PLC0415

        network = pruned_copy(network, changes.prune_share, scaled, rows, report=_tell)
    if changes.clusters:
        from converters.cluster import clustered_copy  # noqa: PLC0415

        network = clustered_copy(network, changes.clusters, scaled, rows, report=_tell)
    return network, [int(column) for column in columns]


def _convert(job: Conversion) -> None:
    from converters.quantize import to_flatbuffer  # noqa: PLC0415

    run = Run.open(job.run)
    network = load_model(job.network)
    calibration = _scaled(run, load_rows(job.run, "calibration"))[:, job.columns]
    made = to_flatbuffer(
        network, job.form, calibration, job.recurrence, batch=1 if job.static else None
    )
    (job.folder / Conversion.FLATBUFFER).write_bytes(made)


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


def _tell(text: str) -> None:
    """Words for the user; the parent shows them."""
    print(f"{PROGRESS}{text}", flush=True)


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
