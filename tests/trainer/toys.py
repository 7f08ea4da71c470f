"""A small problem that networks can learn, and a process of its own that learns it.

`python -m tests.trainer.toys JOB.json`: see `Job`. Prints a line per progress report, so that a
test knows when to kill it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from trainer.models.base import FitSettings, Part

ROOT = Path(__file__).resolve().parents[2]
FEATURES = 24
FAMILIES = ("scan", "dos")


def part(rows: int, seed: int, *, noise: bool = False) -> Part:
    """Attacks have the larger first half, each family two larger columns.

    Args:
        rows: How many; a quarter of them attacks.
        seed: Of the draws.
        noise: Labels that have nothing to do with the rows.
    """
    rng = np.random.default_rng(seed)
    target = (np.arange(rows) % 4 == 0).astype(np.uint8)
    bins = rng.integers(0, 180, (rows, FEATURES)).astype(np.uint8)
    if not noise:
        bins[target == 1, : FEATURES // 2] += 75
    family = (target * (1 + np.arange(rows) // 4 % 2)).astype(np.uint8)
    for number in (1, 2):
        bins[family == number, -2 * number : None if number == 1 else -2] += 75
    return Part(bins.astype(np.float32), bins, target, family)


@dataclass(frozen=True)
class Job:
    """What a child is to do."""

    result: str
    model: str = "mlp"
    epochs: int = 4
    seed: int = 5
    rows: int = 1600
    checkpoints: str | None = None
    tuning: dict[str, Any] = field(default_factory=dict)
    workers: tuple[str, ...] = ()
    index: int = 0
    deadline_s: float = 120.0


@dataclass(frozen=True)
class Result:
    """What a child brought back."""

    weights: list[np.ndarray[Any, Any]]
    scores: np.ndarray[Any, Any]
    history: dict[str, Any]


def started(job: Job, folder: Path, name: str) -> subprocess.Popen[str]:
    """A child at work; its standard output is a pipe."""
    path = folder / f"{name}.json"
    path.write_text(json.dumps(asdict(job)), encoding="utf-8")
    return subprocess.Popen(
        [sys.executable, "-m", "tests.trainer.toys", str(path)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finished(child: subprocess.Popen[str], job: Job) -> Result:
    """What it did."""
    _, errors = child.communicate(timeout=250)
    assert child.returncode == 0, errors
    with np.load(job.result, allow_pickle=False) as archive:
        count = sum(name.startswith("w") for name in archive.files)
        return Result(
            weights=[archive[f"w{number}"] for number in range(count)],
            scores=archive["scores"],
            history=json.loads(str(archive["history"])),
        )


def fitted(job: Job, folder: Path, name: str) -> Result:
    """Start a child and wait for it."""
    return finished(started(job, folder, name), job)


def _main(path: str) -> None:
    job = Job(**json.loads(Path(path).read_text(encoding="utf-8")))
    from edge_agent.contract.errors import EdgeIdsError
    from trainer import cluster, distribution

    try:
        if job.workers:
            distribution.start(cluster.Cluster(tuple(job.workers), job.index), job.deadline_s)
        _fit(job)
    except EdgeIdsError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)


def _fit(job: Job) -> None:
    from trainer.models import cnn_lstm, mlp

    settings = FitSettings(
        size="edge" if job.model == "cnn-lstm" else "",
        epochs=job.epochs,
        batch_size=64,
        seed=job.seed,
        tuning=job.tuning,
        checkpoints=Path(job.checkpoints) if job.checkpoints else None,
        report=lambda now: print(now.epoch, "ended" if now.epoch_ended else "running", flush=True),
        tell=lambda line: print(line, flush=True),
    )
    model = {"mlp": mlp, "cnn-lstm": cnn_lstm}[job.model].make(settings)
    history = model.fit(part(job.rows, 1), part(300, 2))
    weights = model._scorer.model.get_weights()
    np.savez(
        job.result,
        scores=model.scores(part(300, 3)),
        history=json.dumps(asdict(history)),
        **{f"w{number}": weight for number, weight in enumerate(weights)},
    )


if __name__ == "__main__":
    _main(sys.argv[1])
