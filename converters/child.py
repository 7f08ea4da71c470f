"""Runs `converters.worker` in a process of its own and brings back what it made."""

from __future__ import annotations

import errno
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

from converters.formats import (
    DISK_FULL,
    FAILURE,
    Changes,
    Conversion,
    Format,
    Job,
    Preparation,
    Recurrence,
    job_to_bytes,
)
from edge_agent.contract.errors import ConversionError

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

# Enough that a threshold rests on more than chance; seconds to score.
_THRESHOLD_ROWS: Final = 20_000
_TOLD_LINES: Final = 3

PROGRESS: Final = "\x1e"
"""A line of the child's standard output that begins with this is for the user."""


@dataclass(frozen=True, slots=True)
class Order:
    """Which network to prepare, and how.

    Attributes:
        run: The run folder.
        model: Name of one of its models.
        changes: What to do to it.
        folder: For what is made; must last as long as the `Network` is used.
        show_log: Let TensorFlow talk on standard error.
        tell: Called with a few words whenever a step begins.
    """

    run: Path
    model: str
    changes: Changes
    folder: Path
    show_log: bool = False
    tell: Callable[[str], None] = lambda _: None


@dataclass(frozen=True, slots=True)
class Network:
    """A network ready to be converted, beside the full one it comes from.

    Attributes:
        order: What was asked for.
        columns: Places, among the run's features, of those that it takes.
        test: Outputs of the full model for the run's test rows, shape (n_rows, 1) or, where the
            model names the run's families, (n_rows, 1 + n_families); column 0 is the score.
        train: The same for training rows, as `contract.runs.spread` picks them.
        facts: "latency_us" of the full model by batch, "parameters" of it and of the network,
            "zero_share" of the network's weights, whether the network is "recurrent", "versions" of
            the packages at work.
    """

    order: Order
    columns: tuple[int, ...]
    test: NDArray[np.float32]
    train: NDArray[np.float32]
    facts: dict[str, Any]


def prepare(order: Order) -> Network:
    """Load a model, change it as ordered, and score the run's rows with the full one.

    Raises:
        ConversionError: TensorFlow is missing, could not do it, or crashed.
        RunError: The run has no such model.
    """
    for package in ("tensorflow", "tf_keras", "tensorflow_model_optimization"):
        if importlib.util.find_spec(package) is None:
            raise ConversionError(
                f"{package} is not installed; on the workstation: pip install 'edge-ids[train]'."
            )
    job = Preparation(
        run=order.run.resolve(),
        model=order.model,
        changes=order.changes,
        folder=order.folder,
        threshold_rows=_THRESHOLD_ROWS,
    )
    order.tell("loading the full model")
    run_worker(job, order, f"preparing {order.model!r}")
    facts = json.loads((order.folder / Preparation.FACTS).read_bytes())
    with np.load(order.folder / Preparation.OUTPUTS, allow_pickle=False) as outputs:
        return Network(
            order=order,
            columns=tuple(facts.pop("columns")),
            test=outputs["test"],
            train=outputs["train"],
            facts=facts,
        )


def flatbuffer(
    network: Network, form: Format, recurrence: Recurrence, *, static: bool = False
) -> bytes:
    """Convert a network in a fresh process, so that the same network gives the same bytes.

    Args:
        network: From `prepare`.
        form: The format.
        recurrence: Form of its LSTMs.
        static: Fix every shape, for one row at a time.

    Raises:
        ConversionError: TensorFlow could not convert it, or crashed.
    """
    order = network.order
    order.tell(f"converting to {form.value}, {recurrence.value}")
    with tempfile.TemporaryDirectory(prefix="convert-", dir=order.folder) as name:
        job = Conversion(
            run=order.run.resolve(),
            network=order.folder / Preparation.NETWORK,
            columns=network.columns,
            form=form,
            recurrence=recurrence,
            static=static,
            folder=Path(name),
        )
        run_worker(job, order, f"converting {order.model!r} to {form.value}")
        return (job.folder / Conversion.FLATBUFFER).read_bytes()


def run_worker(job: Job, order: Order, what: str, command: list[str] | None = None) -> None:
    """Run a child to its end.

    Args:
        job: What it is to do.
        order: For whom.
        what: The same in words, for messages.
        command: Another program than the worker; for tests.

    Raises:
        ConversionError: It failed or crashed; with its own sentence, or its last words.
        OSError: The disk is full.
    """
    description = job.folder / "job.json"
    description.write_bytes(job_to_bytes(job))
    log = job.folder / "log.txt"
    with (
        log.open("wb") as stream,
        subprocess.Popen(
            command or [sys.executable, "-m", "converters.worker", str(description)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=None if order.show_log else stream,
            env=_environment(),
        ) as child,
    ):
        try:
            for line in child.stdout or ():
                _pass_on(line, order)
        except BaseException:
            # An interrupt must not leave a child that trains on for minutes.
            child.kill()
            raise
        code = child.wait()
    if code == 0:
        return
    failure = job.folder / FAILURE
    if code == DISK_FULL:
        # What the parent writes into the same folder would fail alike, and is told alike.
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    if failure.exists():
        raise ConversionError(failure.read_text(encoding="utf-8"))
    last = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-_TOLD_LINES:]
    raise ConversionError(
        f"{order.run}: {what} {_ending(code)}"
        f" ({' | '.join(line.strip() for line in last) or 'no output'}); try --float32, or --debug"
        " to see TensorFlow's log."
    )


def _pass_on(line: bytes, order: Order) -> None:
    text = line.decode(errors="replace").rstrip("\n")
    if text.startswith(PROGRESS):
        order.tell(text.removeprefix(PROGRESS))
    elif order.show_log:
        print(text, file=sys.stderr)


def _ending(code: int) -> str:
    if code < 0:
        return f"crashed TensorFlow with {signal.Signals(-code).name}"
    return f"failed with exit code {code}"


def _environment() -> dict[str, str]:
    """The child finds this very package, installed or not."""
    here = str(Path(__file__).resolve().parent.parent)
    path = os.pathsep.join(filter(None, (here, os.environ.get("PYTHONPATH"))))
    return {**os.environ, "PYTHONPATH": path}
