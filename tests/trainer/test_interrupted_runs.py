"""`edge-train` killed, interrupted, out of disk: what is left, and how it goes on."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from edge_agent.contract.runs import Run
from tests.trainer.flowfiles import cve, labels_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_COMMAND = (sys.executable, "-c", "from trainer.cli import main; main()")
# Enough epochs that a signal sent after the first still meets the training.
_EPOCHS = 400
_PATIENCE_S = 240.0


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = cve(labels_of(BENIGN=300, DDoS=60, Bot=40))
    return made.write(tmp_path_factory.mktemp("data") / "flows.csv")


def words(data: Path, output: Path, *more: str) -> tuple[str, ...]:
    return (
        *_COMMAND,
        *("--data", str(data), "--model", "boosted-trees", "mlp", "--batch-size", "32"),
        *("--output", str(output)),
        *more,
    )


@contextmanager
def training(command: tuple[str, ...], output: Path) -> Iterator[subprocess.Popen[str]]:
    """A run whose network has ended its first epoch."""
    checkpoints = output.parent / f".{output.name}.partial/unfinished/dedup/checkpoints/mlp"
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            until = time.monotonic() + _PATIENCE_S
            while not (checkpoints.is_dir() and any(checkpoints.iterdir())):
                assert process.poll() is None, process.communicate()
                assert time.monotonic() < until
                time.sleep(0.02)
            yield process
        finally:
            process.kill()


def finished(command: tuple[str, ...]) -> dict[str, Any]:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    metrics: dict[str, Any] = json.loads(done.stdout)
    return metrics


@pytest.mark.slow
def test_a_killed_run_goes_on_to_what_it_would_have_been(data: Path, tmp_path: Path) -> None:
    options = ("--epochs", "12", "--json", "--quiet")
    whole = finished(words(data, tmp_path / "whole", *options))
    command = words(data, tmp_path / "run", *options)
    with training(command, tmp_path / "run") as process:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert not (tmp_path / "run").exists()
    refused = subprocess.run(command, capture_output=True, text=True, check=False)
    assert refused.returncode == 1
    assert "--resume" in refused.stderr
    metrics = finished((*command, "--resume"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run", "whole"]
    for name in ("boosted-trees", "mlp"):
        for key in ("test", "validation", "threshold"):
            assert metrics["models"][name][key] == whole["models"][name][key], name
    epochs = whole["models"]["mlp"]["history"]["loss"]
    assert metrics["models"]["mlp"]["history"]["loss"] == pytest.approx(epochs)


@pytest.mark.slow
def test_ctrl_c_keeps_the_best_weights_so_far(data: Path, tmp_path: Path) -> None:
    command = words(data, tmp_path / "run", "--epochs", str(_EPOCHS))
    with training(command, tmp_path / "run") as process:
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=_PATIENCE_S)
    assert process.returncode == 130, stderr
    assert "Traceback" not in stderr
    assert "mlp" in stdout
    run = Run.open(tmp_path / "run")
    assert run.models.keys() == {"boosted-trees", "mlp"}
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert metrics["interrupted"]
    assert 0 < len(metrics["models"]["mlp"]["history"]["loss"]) < _EPOCHS
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
