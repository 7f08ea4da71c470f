"""The facts of this machine that checks ask for."""

from __future__ import annotations

import ctypes
import os
import pwd
import socket
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from edge_agent.capture import bpf, interfaces, offloads

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

# linux/capability.h
CAP_SETGID: Final = 6
CAP_SETUID: Final = 7
CAP_NET_ADMIN: Final = 12

# What adjtimex answers when no time service keeps the clock.
_TIME_ERROR: Final = 5
# More than any system's struct timex, of which only the first number is ours: what to change.
_TIMEX_BYTES: Final = 512


def may_capture() -> bool:
    """Whether a capture socket can be opened; protocol 0 receives nothing."""
    try:
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0):
            return True
    except OSError:
        return False


def is_synchronised() -> bool | None:
    """Whether a time service keeps the clock, as the kernel knows; None where it does not say."""
    try:
        answer = ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(_TIMEX_BYTES))
    except (OSError, AttributeError):
        return None
    return None if answer < 0 else answer != _TIME_ERROR


def compile_filter(expression: str, snap_length_bytes: int) -> object:
    """The kernel's program for an expression; raises CaptureError."""
    return bpf.compiled(expression, snap_length_bytes, (), load=bpf.load_libpcap)


def free_bytes(folder: Path) -> int:
    """Room in a folder's file system, for who is not root."""
    facts: Any = os.statvfs(folder)
    return int(facts.f_bavail * facts.f_frsize)


@dataclass(frozen=True, slots=True)
class Host:
    """Where facts come from.

    Attributes:
        proc: The kernel's /proc.
        cgroups: Where control groups are mounted.
        environ: The environment's variables; the broker's password may be in one.
        user_id: Who runs the check.
        may_capture: Whether a capture socket can be opened.
        now_s: The clock, seconds since 1970.
        is_synchronised: Whether a time service keeps it; None: unknown.
        interface_names: All interfaces.
        interface_exists: Whether there is one of this name.
        interface_is_up: Whether it is switched on.
        offloads: Which of its offloads are on, by name; raises CaptureError.
        compile_filter: Makes a kernel filter of an expression for a snap length; raises
            CaptureError.
        free_bytes: Room in a folder's file system.
        broker_timeout_s: For the TCP connection to the broker, and again for its answer.
    """

    proc: Path = Path("/proc")
    cgroups: Path = Path("/sys/fs/cgroup")
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)
    user_id: Callable[[], int] = os.geteuid
    may_capture: Callable[[], bool] = may_capture
    now_s: Callable[[], float] = time.time
    is_synchronised: Callable[[], bool | None] = is_synchronised
    interface_names: Callable[[], list[str]] = interfaces.names
    interface_exists: Callable[[str], bool] = interfaces.exists
    interface_is_up: Callable[[str], bool] = interfaces.is_up
    offloads: Callable[[str], dict[str, bool]] = offloads.read
    compile_filter: Callable[[str, int], object] = compile_filter
    free_bytes: Callable[[Path], int] = free_bytes
    broker_timeout_s: float = 5.0

    def has_capability(self, number: int) -> bool:
        """Whether this process may do what a capability stands for."""
        for line in self._lines(self.proc / "self" / "status"):
            if line.startswith("CapEff:"):
                return bool(int(line.split()[1], 16) >> number & 1)
        return False

    def user(self, name: str) -> pwd.struct_passwd | None:
        """A user's entry; None where there is none of this name."""
        try:
            return pwd.getpwnam(name)
        except KeyError:
            return None

    def available_memory_bytes(self) -> int | None:
        """What the kernel says can be had without swapping; None where it does not say."""
        for line in self._lines(self.proc / "meminfo"):
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
        return None

    def memory_limit_bytes(self) -> int | None:
        """The lowest limit of the control groups this process is in; None where there is none."""
        limits = []
        for line in self._lines(self.proc / "self" / "cgroup"):
            _, kinds, path = line.split(":", 2)
            if kinds == "":
                limits += self._limits(self.cgroups, path, "memory.max")
                # Beside version 1 the tree of version 2 is mounted here.
                limits += self._limits(self.cgroups / "unified", path, "memory.max")
            elif "memory" in kinds.split(","):
                limits += self._limits(self.cgroups / "memory", path, "memory.limit_in_bytes")
        return min(limits, default=None)

    def _limits(self, root: Path, path: str, name: str) -> list[int]:
        """Limits of a group and of those it is in."""
        group = root / path.lstrip("/")
        # In a container the path may be the host's, which is not mounted here: the root is ours.
        folders = [group, *group.parents][: len(group.parts) - len(root.parts) + 1]
        texts = [line for folder in folders for line in self._lines(folder / name)]
        numbers = [int(text) for text in texts if text.isascii() and text.isdigit()]
        # Version 1 writes "no limit" as the largest number of pages.
        return [number for number in numbers if number < 2**60]

    def _lines(self, path: Path) -> list[str]:
        try:
            return path.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            return []
