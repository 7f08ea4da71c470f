"""Several machines that train one network: `--workers HOST:PORT,HOST:PORT --worker-index N`.

Every machine runs the same command on the same data; each learns from its share of every batch,
and after every step all hold the same weights (`tf.distribute.MultiWorkerMirroredStrategy`). What
must not differ between them (when to stop, which epoch was best) the first worker, the chief,
decides; it alone writes. They meet (`cluster.meet`) before TensorFlow does anything in the process.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from trainer.cluster import CONFIG, Cluster, ClusterError, meet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

# What a worker has to be started in, after the others.
MEETING_S: Final = 300.0


@dataclass(frozen=True, slots=True)
class Share:
    """Which part of every batch is this worker's: rows `index`, `index + count`, ..."""

    index: int = 0
    count: int = 1


_strategy: Any = None
_cluster: Cluster | None = None


def start(
    cluster: Cluster, deadline_s: float = MEETING_S, tell: Callable[[str], None] = lambda _: None
) -> None:
    """Wait for the others, and train together with them from now on.

    Args:
        cluster: Who they are.
        deadline_s: Seconds to wait for them.
        tell: Called with a line for the user.

    Raises:
        ClusterError: One did not come in time, was started otherwise, or this process was late.
    """
    global _strategy, _cluster  # noqa: PLW0603  # one process is one worker, as for TensorFlow
    if len(cluster.workers) == 1:
        return
    tell(f"worker {cluster.index} of {len(cluster.workers)}: waiting for the others")
    meet(cluster, deadline_s)
    os.environ[CONFIG] = cluster.config
    from trainer._tensorflow import tf  # noqa: PLC0415  # not for those who train alone

    gpus = tf.config.list_physical_devices("GPU")
    try:
        # One device a worker: its share of a batch is then one tensor.
        tf.config.set_visible_devices(gpus[:1], "GPU")
        for gpu in gpus[:1]:
            tf.config.experimental.set_memory_growth(gpu, enable=True)
        _strategy = tf.distribute.MultiWorkerMirroredStrategy()
    except (RuntimeError, tf.errors.OpError) as error:
        raise ClusterError(f"the workers cannot train together ({_first_line(error)}).") from error
    _cluster = cluster
    tell(f"all {len(cluster.workers)} workers are there")


def strategy() -> Any:
    """What to build and run models under: the cluster's strategy, or TensorFlow's default."""
    from trainer._tensorflow import tf  # noqa: PLC0415

    return _strategy or tf.distribute.get_strategy()


def share() -> Share:
    """This worker's part of the work; all of it where there is no cluster."""
    return Share(_cluster.index, len(_cluster.workers)) if _cluster else Share()


def is_chief() -> bool:
    """Whether this process is the one that writes: the first worker, or the only process."""
    return share().index == 0


def from_chief(data: bytes) -> bytes:
    """The chief's bytes, on every worker; all must call it.

    Raises:
        ClusterError: A worker was lost.
    """
    if _cluster is None:
        return data
    own = np.frombuffer(data, np.uint8) if is_chief() else np.empty(0, np.uint8)
    length = int(_summed(np.array([len(own)], np.int32))[0])
    if not length:
        return b""
    everyone = np.zeros(length, np.int32)
    everyone[: len(own)] = own
    return _summed(everyone).astype(np.uint8).tobytes()


def numbers_from_chief(values: tuple[float, ...]) -> tuple[float, ...]:
    """The chief's numbers, on every worker; all must call it."""
    return tuple(np.frombuffer(from_chief(np.array(values, np.float64).tobytes())).tolist())


def agree(fingerprint: str) -> None:
    """Make sure that all workers do the same; all must call it.

    Raises:
        ClusterError: Their data or options differ.
    """
    same = from_chief(fingerprint.encode()) == fingerprint.encode()
    # Everyone learns of it, not only those who differ from the chief: none is left waiting.
    if _cluster and int(_summed(np.array([same], np.int32))[0]) < len(_cluster.workers):
        raise ClusterError(
            "the workers were given different data or options; give every one the same command,"
            " but for --worker-index."
        )


@contextlib.contextmanager
def losses_told() -> Iterator[None]:
    """Turn what TensorFlow raises when a worker is gone into a sentence.

    Raises:
        ClusterError: A worker was lost.
    """
    if _cluster is None:
        yield
        return
    from trainer._tensorflow import tf  # noqa: PLC0415

    lost = (
        tf.errors.UnavailableError,
        tf.errors.AbortedError,
        tf.errors.CancelledError,
        tf.errors.DeadlineExceededError,
        tf.errors.InternalError,
    )
    try:
        yield
    except lost as error:
        raise ClusterError(
            f"a worker was lost ({_first_line(error)}); start all of them again: with --resume they"
            " go on from the chief's last checkpoint."
        ) from error


def _summed(values: NDArray[np.int32]) -> NDArray[np.int32]:
    """Element by element over all workers; at least one element, TensorFlow dies of none."""
    from trainer._tensorflow import tf  # noqa: PLC0415

    with losses_told():
        result: NDArray[np.int32] = _total()(tf.constant(values, tf.int32)).numpy()
    return result


@cache
def _total() -> Any:
    """The sum of each worker's int32 vector over all of them, compiled once."""
    from trainer._tensorflow import tf  # noqa: PLC0415

    @tf.function(input_signature=(tf.TensorSpec((None,), tf.int32),))  # type: ignore[untyped-decorator]
    def total(own: Any) -> Any:
        each = _strategy.run(tf.identity, args=(own,))
        return _strategy.reduce(tf.distribute.ReduceOp.SUM, each, axis=None)

    return total


def _first_line(error: Exception) -> str:
    lines = str(getattr(error, "message", error)).strip().splitlines()
    return lines[0] if lines else type(error).__name__
