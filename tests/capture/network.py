"""Network namespaces for the tests of live capture: pairs of interfaces, and frames on them."""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from edge_agent.capture.clock import SteadyClock
from edge_agent.capture.live import CaptureOptions, Fanout, LiveCapture
from tests.packets import Segment

# How long something that is bound to come may take on a machine that stalls.
PATIENCE_S = 20.0
_NEW_NETWORK = 0x40000000

Seen = tuple[int, int, int, bytes]  # time_us, link type, wire bytes, bytes


def missing() -> str:
    """What this machine lacks for these tests; nothing if all is there."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    if not shutil.which("ip"):
        return "network namespaces need ip, of iproute2"
    with probe() as works:
        return "" if works else "this machine lets nobody make network namespaces or veth pairs"


@contextlib.contextmanager
def probe() -> Iterator[bool]:
    name = f"edge-probe-{os.getpid()}"
    try:
        commands = (
            f"ip netns add {name}",
            f"ip -n {name} link add v0 type veth peer name v1",
        )
        yield all(
            subprocess.run(command.split(), check=False, capture_output=True).returncode == 0
            for command in commands
        )
    finally:
        subprocess.run(("ip", "netns", "delete", name), check=False, capture_output=True)


@dataclass(frozen=True, slots=True)
class Space:
    """A network namespace with nothing in it but loopback."""

    name: str

    def ip(self, command: str) -> None:
        """Run ip in it."""
        done = subprocess.run(
            ["ip", "-n", self.name, *command.split()], check=False, capture_output=True, text=True
        )
        assert done.returncode == 0, f"ip {command}: {done.stderr}"

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """This thread's sockets, files of /proc and children are the namespace's."""
        libc = ctypes.CDLL(None, use_errno=True)
        with (
            Path("/proc/thread-self/ns/net").open() as before,
            Path("/run/netns", self.name).open() as inside,
        ):
            assert libc.setns(inside.fileno(), _NEW_NETWORK) == 0, os.strerror(ctypes.get_errno())
            try:
                yield
            finally:
                assert libc.setns(before.fileno(), _NEW_NETWORK) == 0

    def quiet(self) -> None:
        """Nothing but what the tests send: no neighbour discovery."""
        with self.entered():
            for what in ("all", "default"):
                path = Path(f"/proc/sys/net/ipv6/conf/{what}/disable_ipv6")
                if path.exists():
                    path.write_text("1")

    def pair(self, one: str, other: str) -> None:
        """Two interfaces, up, each of which gets what is sent on the other."""
        self.ip(f"link add name {one} type veth peer name {other}")
        self.ip(f"link set dev {one} up")
        self.ip(f"link set dev {other} up")

    def sender(self, interface: str) -> socket.socket:
        """A socket that sends whole frames."""
        with self.entered():
            made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
            made.bind((interface, 0))
        return made

    def send(self, interface: str, *frames: bytes) -> None:
        """Send whole frames."""
        # From one processor: each has a queue of its own, and frames might overtake each other.
        before = os.sched_getaffinity(0)
        os.sched_setaffinity(0, {min(before)})
        try:
            with contextlib.closing(self.sender(interface)) as sender:
                for frame in frames:
                    sender.send(frame)
        finally:
            os.sched_setaffinity(0, before)


@contextlib.contextmanager
def namespace(name: str) -> Iterator[Space]:
    """A namespace that is gone afterwards."""
    space = Space(f"edge-{name}-{os.getpid()}")
    subprocess.run(("ip", "netns", "add", space.name), check=True, capture_output=True)
    try:
        space.quiet()
        space.ip("link set lo up")
        yield space
    finally:
        subprocess.run(("ip", "netns", "delete", space.name), check=False, capture_output=True)


@pytest.fixture(scope="session")
def networks() -> None:
    """Skips where there can be no namespaces; fails there if they are required, as CI does."""
    reason = missing()
    if reason and os.environ.get("EDGE_IDS_REQUIRE_NAMESPACES") == "1":
        pytest.fail(reason)
    if reason:
        pytest.skip(reason)


@pytest.fixture
def space(networks: None) -> Iterator[Space]:
    """A namespace with the pair near, far."""
    with namespace("capture") as made:
        made.pair("near", "far")
        yield made


def datagram(number: int, payload: int = 20) -> bytes:
    """A UDP frame that is like no other of another number."""
    segment = Segment(0, "10.0.0.1", 1024 + number, "10.0.0.2", 53, payload=payload, protocol=17)
    return segment.frame()


def opened(
    space: Space,
    *interfaces: str,
    options: CaptureOptions | None = None,
    fanout: Fanout | None = None,
    compiled: bool | None = None,
) -> LiveCapture:
    """A capture of interfaces of a namespace; `near` unless told."""
    with space.entered():
        return LiveCapture(
            interfaces or ("near",),
            options or CaptureOptions(),
            SteadyClock(),
            fanout,
            compiled=compiled,
        )


def frames_in(capture: LiveCapture, timeout_s: float = 0.0) -> list[Seen]:
    """What has come in, copied."""
    return [
        (int(time_us), int(link), int(wire), block.data[at : at + kept].tobytes())
        for block in capture.blocks(timeout_s)
        for time_us, at, kept, wire, link in block.frames.tolist()
    ]


def collected(capture: LiveCapture, wanted: int) -> list[Seen]:
    """As many frames as are bound to come; what comes beyond them too."""
    seen: list[Seen] = []
    end_s = time.monotonic() + PATIENCE_S
    while len(seen) < wanted and time.monotonic() < end_s:
        seen += frames_in(capture, 0.2)
    return seen


def everything_until(capture: LiveCapture, last: bytes) -> list[Seen]:
    """All up to a frame that was sent last, without it."""
    seen: list[Seen] = []
    end_s = time.monotonic() + PATIENCE_S
    while not any(frame[3] == last for frame in seen):
        assert time.monotonic() < end_s, "the last frame did not come"
        seen += frames_in(capture, 0.2)
    return [frame for frame in seen if frame[3] != last]


def awaited(holds: Callable[[], bool], what: str) -> None:
    """Wait until something is so."""
    end_s = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < end_s, f"never: {what}"
        time.sleep(0.02)


def payloads(seen: list[Seen]) -> list[bytes]:
    """The bytes of frames alone."""
    return [frame[3] for frame in seen]
