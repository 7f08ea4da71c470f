"""Instructions per packet of the compiled meter: a figure without noise.

The library runs without Python (`driver.c`) under valgrind, which counts every instruction; what it
executes on a capture without packets is left out. Two runs agree to the last digits, on every
machine with the same compiler; so a change of one per cent is a change of the code. What
instructions cost differs, so this complements measured time and does not replace it.

The figures are kept in `instructions.json`, and a test holds the code to them.
"""

from __future__ import annotations

import ast
import json
import platform
import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from benchmarks.tables import NOTHING, table
from benchmarks.throughput.measure import ROOT
from benchmarks.throughput.traces import empty_trace, flood_trace, large_trace
from edge_agent.console import progress_line
from edge_agent.contract.errors import EdgeIdsError
from edge_agent.contract.files import write_atomically
from edge_agent.contract.profiles import PROFILES, Padding
from edge_agent.flow.limits import Limits

if TYPE_CHECKING:
    from edge_agent.contract.profiles import Profile

KEPT: Final = Path(__file__).with_name("instructions.json")
TOLERATED: Final = 0.03
"""Growth beyond what is kept that a change may cause unnoticed."""

UPDATE: Final = "python -m benchmarks meter --instructions --keep"

_NATIVE: Final = ROOT / "edge_agent" / "native"
# Enough that every time-out passes many times, little enough for a test.
_LARGE_PACKETS: Final = 100_000
_FLOOD_PACKETS: Final = 50_000
Figures = dict[str, dict[str, float]]
"""Trace → profile → instructions per packet."""


class ToolError(EdgeIdsError):
    """What counting needs is missing or failed."""


def compiler() -> str | None:
    """The C compiler in a line, processor included; None if there is none."""
    if shutil.which("gcc") is None:
        return None
    done = subprocess.run(("gcc", "--version"), capture_output=True, text=True, check=True)
    return f"{done.stdout.splitlines()[0]}, {platform.machine()}, {' '.join(_flags())}"


def _flags() -> list[str]:
    """The options that `setup.py` compiles the library with; it is read, not run."""
    for node in ast.walk(ast.parse((ROOT / "setup.py").read_text())):
        if isinstance(node, ast.keyword) and node.arg == "extra_compile_args":
            flags: list[str] = ast.literal_eval(node.value)
            return flags
    raise ToolError("setup.py does not say extra_compile_args.")


def missing() -> str | None:
    """What is missing for counting, in a clause; None if nothing is."""
    absent = [name for name in ("valgrind", "gcc") if shutil.which(name) is None]
    return f"{' and '.join(absent)} not installed (apt-get install)" if absent else None


def count(folder: Path) -> Figures:
    """Count for all profiles.

    Args:
        folder: Where traces and the program are put.

    Raises:
        ToolError: valgrind or gcc is missing or failed.
    """
    why = missing()
    if why is not None:
        raise ToolError(f"instructions cannot be counted: {why}.")
    driver = build(folder)
    empty = empty_trace(folder)
    figures: Figures = {}
    for name, trace in (
        ("large", large_trace(folder, _LARGE_PACKETS)),
        ("flood", flood_trace(folder, _FLOOD_PACKETS)),
    ):
        figures[name] = {}
        for profile in PROFILES.values():
            progress_line(f"instructions: {name}, {profile.name} ...")
            executed = _executed(driver, profile, trace.path) - _executed(driver, profile, empty)
            figures[name][profile.name] = round(executed / trace.packets, 1)
    return figures


def build(folder: Path) -> Path:
    """Compile the library and the driver into one program.

    Raises:
        ToolError: The compiler refuses.
    """
    driver = folder / "driver"
    sources = [Path(__file__).with_name("driver.c"), *sorted(_NATIVE.glob("*.c"))]
    folder.mkdir(parents=True, exist_ok=True)
    _run("gcc", *_flags(), f"-I{_NATIVE}", *map(str, sources), "-o", str(driver), "-lm")
    return driver


def options(profile: Profile) -> list[int]:
    """The numbers that the driver takes behind the capture."""
    limits, live = Limits(), profile.live
    timeouts_s = (
        (live.linger_s, live.unanswered_timeout_s, live.idle_timeout_s, live.active_timeout_s)
        if live
        else (0.0, 0.0, 0.0, 0.0)
    )
    return [
        list(PROFILES).index(profile.name),
        list(Padding).index(profile.padding),
        limits.max_flows,
        limits.max_context_keys,
        *(round(1_000_000 * seconds) for seconds in (profile.flow_timeout_s, *timeouts_s)),
        0,
    ]


def _executed(driver: Path, profile: Profile, capture: Path) -> int:
    said = _run(
        *("valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null"),
        *(str(driver), str(capture), *map(str, options(profile))),
    )
    found = re.search(r"Collected : (\d+)", said)
    if found is None:
        raise ToolError("valgrind did not say how many instructions it counted.")
    return int(found[1])


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise ToolError(f"{command[0]} failed: {last}")
    return done.stderr


def kept() -> dict[str, Any]:
    """What is kept: "compiler" and "instructions_per_packet"; empty if nothing is."""
    if not KEPT.is_file():
        return {}
    known: dict[str, Any] = json.loads(KEPT.read_text())
    return known


def keep(figures: Figures) -> None:
    """Keep figures, with the compiler that they are of."""
    facts = {"compiler": compiler(), "instructions_per_packet": figures}
    write_atomically(KEPT, (json.dumps(facts, indent=1) + "\n").encode())


def growth(figures: Figures, known: Figures) -> list[tuple[str, str, float]]:
    """By trace and profile, how much more than kept: 0.01 is one per cent."""
    return [
        (trace, profile, figure / known[trace][profile] - 1)
        for trace, by_profile in figures.items()
        for profile, figure in by_profile.items()
        if profile in known.get(trace, {})
    ]


def summary(figures: Figures, known: Figures) -> str:
    """The figures beside those kept, as a table for people."""
    more = {(trace, profile): share for trace, profile, share in growth(figures, known)}
    rows = [
        (
            profile,
            trace,
            f"{figure:,.1f}",
            f"{known[trace][profile]:,.1f}" if (trace, profile) in more else NOTHING,
            f"{more[trace, profile]:+.2%}" if (trace, profile) in more else NOTHING,
        )
        for trace, by_profile in figures.items()
        for profile, figure in by_profile.items()
    ]
    head = ("instructions per packet", "of trace", "now", "kept", "change")
    return table(head, rows, text_columns=2)
