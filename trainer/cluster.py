"""The machines that train one network together, and how they meet.

TensorFlow waits for a worker that never comes without saying so. So all workers first meet here:
each listens where TensorFlow will, greets all others and goes on once it has greeted and been
greeted by each, or fails with a sentence when the time is up.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import socket
import socketserver
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from edge_agent.contract.errors import EdgeIdsError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

CONFIG: Final = "TF_CONFIG"
"""The variable in which TensorFlow looks for its cluster."""

_RETRY_S: Final = 0.2
_DIAL_S: Final = 5.0
_GREETING_BYTES: Final = 64


class ClusterError(EdgeIdsError):
    """Workers cannot be found, do not fit together, or were lost."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """Machines that train together.

    Attributes:
        workers: "host:port" of each, in the same order on all; the first is the chief.
        index: Which of them this process is.
    """

    workers: tuple[str, ...]
    index: int

    def __post_init__(self) -> None:
        for worker in self.workers:
            _address(worker)
        if len(set(self.workers)) < len(self.workers):
            raise ClusterError(f"--workers names a worker twice: {', '.join(self.workers)}.")
        if not 0 <= self.index < len(self.workers):
            raise ClusterError(
                f"there is no worker {self.index} among {len(self.workers)}; --worker-index counts"
                " from 0."
            )

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Cluster | None:
        """What TF_CONFIG describes, as cluster managers set it; None where it is not set.

        Raises:
            ClusterError: It describes no cluster of workers.
        """
        text = environment.get(CONFIG)
        if not text:
            return None
        try:
            config = json.loads(text)
            cluster, task = config["cluster"], config["task"]
            chief = tuple(cluster.get("chief", ()))
            workers = chief + tuple(cluster.get("worker", ()))
            kind, index = task["type"], int(task["index"])
            first = {"chief": 0, "worker": len(chief)}[kind]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ClusterError(
                f"the variable TF_CONFIG describes no cluster of workers ({error!r}); unset it, or"
                " use --workers and --worker-index."
            ) from error
        return cls(workers, first + index)

    @property
    def config(self) -> str:
        """TF_CONFIG for this worker."""
        return json.dumps(
            {
                "cluster": {"worker": list(self.workers)},
                "task": {"type": "worker", "index": self.index},
            }
        )


def _address(worker: str) -> tuple[str, int]:
    host, colon, port = worker.rpartition(":")
    if not (colon and host and port.isdecimal() and 0 < int(port) < 65536):
        raise ClusterError(f"--workers: {worker!r} is no host:port.")
    return host.strip("[]"), int(port)


def meet(cluster: Cluster, deadline_s: float) -> None:
    """Greet every other worker and be greeted by each.

    Raises:
        ClusterError: The time is up, or a worker has another idea of the cluster.
    """
    digest = hashlib.sha256(json.dumps(cluster.workers).encode()).hexdigest()[:16]
    others = {i: worker for i, worker in enumerate(cluster.workers) if i != cluster.index}
    reached: set[int] = set()
    until = time.monotonic() + deadline_s
    with _opened(cluster.workers[cluster.index], digest, deadline_s) as door:
        while reached < others.keys() or door.callers < others.keys():
            if time.monotonic() > until:
                raise ClusterError(_absent(others, reached, door.callers, deadline_s))
            if door.astray:
                raise ClusterError(
                    "a worker called that was given other --workers; give all of them the same, in"
                    " the same order."
                )
            for index in others.keys() - reached:
                if _greet(others[index], f"{digest} {cluster.index}", digest):
                    reached.add(index)
            time.sleep(_RETRY_S)


def _absent(
    others: Mapping[int, str], reached: set[int], greeted_by: set[int], deadline_s: float
) -> str:
    missing = [worker for index, worker in others.items() if index not in reached]
    if missing:
        return (
            f"no worker answers at {', '.join(missing)} after {deadline_s:.0f} s; start"
            " edge-train there with the same --workers, and let this machine reach its port."
        )
    silent = [worker for index, worker in others.items() if index not in greeted_by]
    return (
        f"{', '.join(silent)} did not reach this worker within {deadline_s:.0f} s; let it reach"
        " this machine's port of --workers."
    )


class _Door(socketserver.ThreadingTCPServer):
    """Answers whoever calls, each in a thread of its own: two who call each other both hear.

    Args:
        port: To listen on, on every interface, as TensorFlow does: a name may mean another address
            here than elsewhere.
        family: Of addresses.
        digest: Of the cluster.
        patience_s: How long to listen to a caller.
    """

    allow_reuse_address = True
    daemon_threads = True
    # A caller that says nothing must not hold up the end.
    block_on_close = False

    def __init__(self, port: int, family: int, digest: str, patience_s: float) -> None:
        self.address_family = family
        self.digest = digest
        self.patience_s = patience_s
        self.callers: set[int] = set()
        self.astray = False
        super().__init__(("", port), _Caller)


class _Caller(socketserver.BaseRequestHandler):
    """One call. Only who has heard the answer counts as a caller: others will call again."""

    def handle(self) -> None:
        """Answer."""
        door: Any = self.server
        self.request.settimeout(door.patience_s)
        with contextlib.suppress(OSError):
            greeting = _received(self.request).split()
            self.request.sendall(door.digest.ljust(_GREETING_BYTES).encode())
            heard = _received(self.request) == door.digest
            if len(greeting) != 2 or not greeting[1].isdecimal():
                return
            if greeting[0] != door.digest:
                door.astray = True
            elif heard:
                door.callers.add(int(greeting[1]))


@contextlib.contextmanager
def _opened(worker: str, digest: str, patience_s: float) -> Iterator[_Door]:
    host, port = _address(worker)
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        door = _Door(port, family, digest, patience_s)
    except OSError as error:
        raise ClusterError(
            f"worker {worker} cannot listen on port {port} here ({error.strerror or error}); choose"
            " a free port."
        ) from error
    with door:
        listening = threading.Thread(target=door.serve_forever, args=(_RETRY_S,), daemon=True)
        listening.start()
        try:
            yield door
        finally:
            door.shutdown()
            listening.join()


def _greet(worker: str, greeting: str, digest: str) -> bool:
    """Say which worker calls; whether the right one answered.

    Raises:
        ClusterError: A worker of another cluster answered.
    """
    try:
        with socket.create_connection(_address(worker), timeout=_DIAL_S) as link:
            link.sendall(greeting.ljust(_GREETING_BYTES).encode())
            answer = _received(link)
            if answer == digest:
                link.sendall(digest.ljust(_GREETING_BYTES).encode())
                return True
    except OSError:
        # Not started yet; or no network, which only time can tell.
        return False
    if answer:
        raise ClusterError(
            f"what listens at {worker} is no worker of this cluster; give all of them the same"
            " --workers, in the same order."
        )
    return False


def _received(link: socket.socket) -> str:
    data = b""
    while len(data) < _GREETING_BYTES:
        chunk = link.recv(_GREETING_BYTES - len(data))
        if not chunk:
            break
        data += chunk
    return data.decode("ascii", errors="replace").strip()
