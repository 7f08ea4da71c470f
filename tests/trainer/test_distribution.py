"""Several processes on this machine train one network, or say why they do not."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.trainer.toys import ROOT, Job, finished, fitted, started
from trainer.cluster import Cluster, ClusterError, meet
from trainer.distribution import Share, is_chief, share

if TYPE_CHECKING:
    from pathlib import Path


def addresses(count: int) -> tuple[str, ...]:
    """Free ports of this machine."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return tuple(f"127.0.0.1:{each.getsockname()[1]}" for each in sockets)


def jobs(folder: Path) -> list[Job]:
    workers = addresses(2)
    return [
        Job(
            str(folder / f"{index}.npz"),
            epochs=2,
            tuning={"units": [16], "dropout": 0.0},
            checkpoints=str(folder / f"kept-{index}"),
            workers=workers,
            index=index,
        )
        for index in range(2)
    ]


@pytest.mark.slow
def test_two_workers_learn_what_one_does(tmp_path: Path) -> None:
    orders = jobs(tmp_path)
    children = [started(job, tmp_path, str(job.index)) for job in orders]
    chief, other = (finished(child, job) for child, job in zip(children, orders, strict=True))
    assert chief.history == other.history
    for ours, theirs in zip(chief.weights, other.weights, strict=True):
        assert np.array_equal(ours, theirs)
    # The chief alone writes.
    assert (tmp_path / "kept-0" / "checkpoint.npz").exists()
    assert not (tmp_path / "kept-1").exists()

    alone = fitted(
        replace(orders[0], workers=(), checkpoints=None, result=str(tmp_path / "alone.npz")),
        tmp_path,
        "alone",
    )
    # Batches are the same rows; but each worker normalises by the mean of its own half of them.
    for figure in ("loss", "validation_loss", "validation_f1"):
        assert chief.history[figure] == pytest.approx(alone.history[figure], abs=0.05)
    assert np.abs(chief.scores - alone.scores).mean() < 0.05
    # Halves of batches, and not all of them twice: then only rounding would differ.
    assert not np.allclose(chief.scores, alone.scores, atol=1e-6)


@pytest.mark.slow
def test_a_worker_with_other_data_stops_all(tmp_path: Path) -> None:
    chief, other = jobs(tmp_path)
    other = replace(other, rows=1500)
    for child in [started(chief, tmp_path, "0"), started(other, tmp_path, "1")]:
        _, errors = child.communicate(timeout=250)
        assert child.returncode == 1
        assert "the workers were given different data or options" in errors


@pytest.mark.slow
def test_a_worker_that_dies_ends_the_others(tmp_path: Path) -> None:
    chief, other = (replace(job, epochs=10_000) for job in jobs(tmp_path))
    staying, dying = started(chief, tmp_path, "0"), started(other, tmp_path, "1")
    assert dying.stdout is not None
    for line in dying.stdout:
        if line == "1 ended\n":
            dying.kill()
            break
    dying.communicate()
    _, errors = staying.communicate(timeout=250)
    assert staying.returncode == 1
    assert "a worker was lost" in errors


def test_a_worker_that_never_comes_is_named() -> None:
    here, there = addresses(2)
    begin = time.monotonic()
    with pytest.raises(ClusterError, match=f"no worker answers at {there} after 1 s"):
        meet(Cluster((here, there), 0), deadline_s=1)
    # A bound, not a measurement: TensorFlow alone would wait for ever.
    assert time.monotonic() - begin < 60


def test_a_stranger_at_the_port_is_no_worker() -> None:
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        there = f"127.0.0.1:{stranger.getsockname()[1]}"
        # It takes the call and never answers, as a web server does that waits for a request.
        with pytest.raises(ClusterError, match="no worker answers"):
            meet(Cluster((*addresses(1), there), 0), deadline_s=1)


def test_a_taken_port_is_named() -> None:
    with socket.socket() as taken:
        taken.bind(("", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ClusterError, match=f"cannot listen on port {port}"):
            meet(Cluster((f"127.0.0.1:{port}", *addresses(1)), 0), deadline_s=1)


MEETING = """
import sys
from trainer.cluster import Cluster, ClusterError, meet
try:
    meet(Cluster(tuple(sys.argv[2].split(",")), int(sys.argv[1])), 60)
except ClusterError as error:
    sys.exit(str(error))
"""


@pytest.mark.parametrize("late", [0, 1, 2])
def test_workers_meet_in_any_order(late: int) -> None:
    workers = ",".join(addresses(3))

    def meet(index: int, names: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", MEETING, str(index), names],
            cwd=ROOT,
            stderr=subprocess.PIPE,
            text=True,
        )

    children = [meet(index, workers) for index in range(3) if index != late]
    children.append(meet(late, workers))
    for child in children:
        _, errors = child.communicate(timeout=120)
        assert child.returncode == 0, errors


def test_workers_of_another_cluster_are_told_so() -> None:
    one, two, three = addresses(3)
    first = [sys.executable, "-c", MEETING, "0", f"{one},{two}"]
    second = [sys.executable, "-c", MEETING, "1", f"{one},{two},{three}"]
    children = [
        subprocess.Popen(words, cwd=ROOT, stderr=subprocess.PIPE, text=True)
        for words in (first, second)
    ]
    endings = [child.communicate(timeout=120)[1] for child in children]
    assert all(child.returncode for child in children)
    assert all("the same" in ending for ending in endings)
    # Told by the other, not by the clock.
    assert not any("no worker answers" in ending for ending in endings)


def test_one_process_is_chief_of_all_the_work() -> None:
    assert share() == Share(0, 1)
    assert is_chief()


@pytest.mark.parametrize(
    ("workers", "index", "message"),
    [
        (("a:1", "b"), 0, "'b' is no host:port"),
        (("a:1", "b:99999"), 0, "'b:99999' is no host:port"),
        (("a:1", "a:1"), 0, "names a worker twice"),
        (("a:1", "b:1"), 2, "no worker 2 among 2"),
        (("a:1", "b:1"), -1, "no worker -1 among 2"),
    ],
)
def test_impossible_clusters(workers: tuple[str, ...], index: int, message: str) -> None:
    with pytest.raises(ClusterError, match=message):
        Cluster(workers, index)


def test_the_environment_of_cluster_managers() -> None:
    assert Cluster.from_environment({}) is None
    cluster = Cluster(("a:1", "b:2"), 1)
    assert Cluster.from_environment({"TF_CONFIG": cluster.config}) == cluster
    with_chief = {
        "cluster": {"chief": ["c:3"], "worker": ["a:1", "b:2"]},
        "task": {"type": "worker", "index": 0},
    }
    found = Cluster.from_environment({"TF_CONFIG": json.dumps(with_chief)})
    assert found == Cluster(("c:3", "a:1", "b:2"), 1)


@pytest.mark.parametrize(
    "text",
    [
        "no json",
        "[]",
        '{"cluster": {}}',
        '{"cluster": {"worker": ["a:1"]}, "task": {"type": "ps", "index": 0}}',
    ],
)
def test_an_environment_of_something_else(text: str) -> None:
    with pytest.raises(ClusterError, match="TF_CONFIG describes no cluster"):
        Cluster.from_environment({"TF_CONFIG": text})
