"""A network namespace with one pair of interfaces in it: what is sent on one arrives on the other.

Nothing outside is touched. The namespace goes when the measurement ends, whatever ends it.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from edge_agent.contract.errors import EdgeIdsError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NEAR: Final = "near"
"""Where programs listen."""
FAR: Final = "far"
"""Where traffic is sent."""

_NEW_NETWORK: Final = 0x40000000
_LOOK_S: Final = 0.005


class MeasuringError(EdgeIdsError):
    """A measurement cannot be made: something is missing, or a program failed."""


def missing() -> str:
    """What this machine lacks for namespaces; nothing if all is there."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    if shutil.which("ip") is None:
        return "network namespaces need ip, of iproute2"
    name = f"edge-probe-{os.getpid()}"
    try:
        _ip("netns", "add", name)
        _ip("-n", name, "link", "add", NEAR, "type", "veth", "peer", "name", FAR)
    except MeasuringError as error:
        return f"this machine lets nobody make network namespaces or veth pairs ({error})"
    finally:
        subprocess.run(("ip", "netns", "delete", name), check=False, capture_output=True)
    return ""


def _ip(*arguments: str) -> None:
    done = subprocess.run(("ip", *arguments), check=False, capture_output=True, text=True)
    if done.returncode:
        raise MeasuringError(f"ip {' '.join(arguments)}: {done.stderr.strip()}.")


@dataclass(frozen=True, slots=True)
class Space:
    """A namespace."""

    name: str

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """This thread's sockets, its files of /proc and its children are the namespace's."""
        libc = ctypes.CDLL(None, use_errno=True)
        with (
            Path("/proc/thread-self/ns/net").open() as before,
            Path("/run/netns", self.name).open() as inside,
        ):
            if libc.setns(inside.fileno(), _NEW_NETWORK):
                raise MeasuringError(f"{self.name}: {os.strerror(ctypes.get_errno())}.")
            try:
                yield
            finally:
                libc.setns(before.fileno(), _NEW_NETWORK)

    def listens(self, interface: str) -> bool:
        """Whether somebody captures on an interface."""
        with self.entered():
            wanted = str(socket.if_nametoindex(interface))
            lines = Path("/proc/thread-self/net/packet").read_text().splitlines()[1:]
        return any(line.split()[4] == wanted for line in lines)


@contextlib.contextmanager
def space() -> Iterator[Space]:
    """A namespace with the pair `NEAR` and `FAR`, gone afterwards.

    Raises:
        MeasuringError: It cannot be made.
    """
    made = Space(f"edge-live-{os.getpid()}")
    _ip("netns", "add", made.name)
    try:
        with made.entered():
            # No neighbour discovery: only what we send is on the wire.
            for what in ("all", "default"):
                path = Path(f"/proc/sys/net/ipv6/conf/{what}/disable_ipv6")
                if path.exists():
                    path.write_text("1")
        _ip("-n", made.name, "link", "add", NEAR, "type", "veth", "peer", "name", FAR)
        for interface in (NEAR, FAR, "lo"):
            _ip("-n", made.name, "link", "set", interface, "up")
        yield made
    finally:
        subprocess.run(("ip", "netns", "delete", made.name), check=False, capture_output=True)


def awaited(holds: Callable[[], bool], limit_s: float) -> bool:
    """Wait until something is so; whether it was, in time."""
    end_s = time.monotonic() + limit_s
    while not holds():
        if time.monotonic() > end_s:
            return False
        time.sleep(_LOOK_S)
    return True
