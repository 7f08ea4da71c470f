"""Runs `converters.worker` in a process of its own and brings back what it made."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from converters.formats import Format, Job
from edge_agent.contract.errors import ConversionError

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Enough that a threshold rests on more than chance; seconds to score.
_THRESHOLD_ROWS: Final = 20_000
_TOLD_LINES: Final = 3


@dataclass(frozen=True, slots=True)
class Order:
    """What to convert.

    Attributes:
        run: The run folder.
        model: Name of one of its models.
        form: Format to convert it to.
        prune_share: Share of each kernel's weights to set to zero first; 0 prunes nothing.
        show_log: Let TensorFlow talk on standard error.
    """

    run: Path
    model: str
    form: Format
    prune_share: float = 0.0
    show_log: bool = False


@dataclass(frozen=True, slots=True)
class Product:
    """What the child made.

    Attributes:
        flatbuffer: The converted model.
        test: Outputs of the full model for the run's test rows, shape (n_rows, 1) or, where the
            model names the run's families, (n_rows, 1 + n_families); column 0 is the score.
        train: The same for training rows, as `contract.runs.spread` picks them.
        facts: "latency_us" of the full model by batch, "parameters", "zero_share" of the
            converted model's weights.
    """

    flatbuffer: bytes
    test: NDArray[np.float32]
    train: NDArray[np.float32]
    facts: dict[str, Any]


def convert_in_child(order: Order) -> Product:
    """Convert in a fresh process.

    Raises:
        ConversionError: TensorFlow is missing, could not convert the model, or crashed.
    """
    for package in ("tensorflow", "tf_keras", "tensorflow_model_optimization"):
        if importlib.util.find_spec(package) is None:
            raise ConversionError(
                f"{package} is not installed; on the workstation: pip install 'edge-ids[train]'."
            )
    with tempfile.TemporaryDirectory(prefix="edge-convert-") as name:
        folder = Path(name)
        job = Job(
            run=order.run.resolve(),
            model=order.model,
            form=order.form,
            folder=folder,
            threshold_rows=_THRESHOLD_ROWS,
            prune_share=order.prune_share,
        )
        (folder / "job.json").write_bytes(job.to_bytes())
        run_worker(
            [sys.executable, "-m", "converters.worker", str(folder / "job.json")], job, order
        )
        with np.load(folder / Job.OUTPUTS, allow_pickle=False) as outputs:
            return Product(
                flatbuffer=(folder / Job.FLATBUFFER).read_bytes(),
                test=outputs["test"],
                train=outputs["train"],
                facts=json.loads((folder / Job.FACTS).read_bytes()),
            )


def run_worker(command: list[str], job: Job, order: Order) -> None:
    """Run the child to its end.

    Raises:
        ConversionError: It failed or crashed; with its own sentence, or its last words.
    """
    log = job.folder / "log.txt"
    with log.open("wb") as stream:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=sys.stderr if order.show_log else stream,
            stderr=None if order.show_log else stream,
            env=_environment(),
            check=False,
        )
    if done.returncode == 0:
        return
    failure = job.folder / Job.FAILURE
    if failure.exists():
        raise ConversionError(failure.read_text(encoding="utf-8"))
    last = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-_TOLD_LINES:]
    raise ConversionError(
        f"{order.run}: converting {order.model!r} to {order.form.value} {_ending(done.returncode)}"
        f" ({' | '.join(line.strip() for line in last) or 'no output'}); try --float32, or --debug"
        " to see TensorFlow's log."
    )


def _ending(code: int) -> str:
    if code < 0:
        return f"crashed TensorFlow with {signal.Signals(-code).name}"
    return f"failed with exit code {code}"


def _environment() -> dict[str, str]:
    """The child finds this very package, installed or not."""
    here = str(Path(__file__).resolve().parent.parent)
    path = os.pathsep.join(filter(None, (here, os.environ.get("PYTHONPATH"))))
    return {**os.environ, "PYTHONPATH": path}
