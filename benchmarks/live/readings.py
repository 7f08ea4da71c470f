"""What a program and its children use, read from /proc: processor time and memory."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

_TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")
# Behind the name in brackets, which may hold anything: state is the first.
_PARENT, _USER, _SYSTEM, _RESIDENT = 1, 11, 12, 21


def family(root: int) -> list[int]:
    """A process and its living descendants."""
    children: dict[int, list[int]] = {}
    for path in Path("/proc").iterdir():
        if path.name.isdigit():
            fields = _fields(int(path.name))
            if fields:
                children.setdefault(int(fields[_PARENT]), []).append(int(path.name))
    found, ahead = [], [root]
    while ahead:
        process = ahead.pop()
        found.append(process)
        ahead += children.get(process, [])
    return found


def cpu_s(processes: list[int]) -> float:
    """User and system time that living processes have used, in seconds."""
    every = [fields for process in processes if (fields := _fields(process))]
    return sum(int(fields[_USER]) + int(fields[_SYSTEM]) for fields in every) / _TICKS_PER_S


def resident_bytes(processes: list[int]) -> int:
    """Memory in RAM, now; what processes share counts in each."""
    every = [fields for process in processes if (fields := _fields(process))]
    return sum(int(fields[_RESIDENT]) for fields in every) * _PAGE_BYTES


def peak_bytes(processes: list[int]) -> int:
    """The most memory in RAM that each has had, added up; what they share counts in each."""
    total = 0
    for process in processes:
        try:
            text = Path(f"/proc/{process}/status").read_text()
        except OSError:
            continue
        total += sum(
            int(line.split()[1]) * 1024 for line in text.splitlines() if line[:6] == "VmHWM:"
        )
    return total


def running_s(process: int) -> float:
    """Time on a processor of a process's living threads, to the nanosecond, in seconds."""
    total_ns = 0
    for path in Path(f"/proc/{process}/task").iterdir():
        total_ns += int((path / "schedstat").read_text().split()[0])
    return total_ns / 1e9


def _fields(process: int) -> list[str]:
    """What stands in its stat behind the name; nothing if it is gone."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []
