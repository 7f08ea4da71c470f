"""Our programs, and the one that all are compared to, as contenders."""

from __future__ import annotations

import importlib.util
import json
import shutil
import sys
from typing import TYPE_CHECKING, Final

from benchmarks.throughput.measure import Contender
from edge_agent.contract.errors import EdgeIdsError
from edge_agent.contract.profiles import PROFILES
from edge_agent.native import library, why_missing

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.throughput.traces import Trace

TCPDUMP: Final = "tcpdump"
TCPDUMP_FLOOD: Final = "tcpdump, flood"
REFERENCE: Final = "plain Python, improved"
CSV: Final = "extract to CSV, improved"
PARQUET: Final = "extract to Parquet, improved"


class MissingProgramError(EdgeIdsError):
    """Something that the measurement cannot do without is not installed."""


def require_tcpdump() -> None:
    """Make sure that there is something to compare to.

    Raises:
        MissingProgramError: tcpdump is not installed.
    """
    if shutil.which("tcpdump") is None:
        raise MissingProgramError(
            "tcpdump is not installed, and all rates are compared to its; apt-get install tcpdump."
        )


def require_compiled() -> None:
    """Make sure that the meter under measurement is the compiled one.

    Raises:
        MissingProgramError: It was not built.
    """
    if library is None:
        raise MissingProgramError(
            f"the compiled meter cannot be measured: {why_missing}; install a C compiler and"
            " install edge-ids again."
        )


def tcpdump(name: str, trace: Trace) -> Contender:
    """Copies every packet and looks at none: what reading a capture costs at least."""
    return Contender(
        name, trace, lambda capture: ("tcpdump", "-r", str(capture), "-w", "/dev/null")
    )


def meter_name(profile: str, trace: str = "") -> str:
    """The contender's name of our meter."""
    return f"meter, {profile}" + (f", {trace}" if trace else "")


def meter(name: str, profile: str, trace: Trace, baseline: str = TCPDUMP) -> Contender:
    """Our meter; rows are dropped."""
    return _child("meter", name, profile, trace, baseline)


def reference(name: str, profile: str, trace: Trace) -> Contender:
    """The plain Python of the same meter."""
    return _child("reference", name, profile, trace, TCPDUMP)


def _child(engine: str, name: str, profile: str, trace: Trace, baseline: str) -> Contender:
    def command(capture: Path) -> tuple[str, ...]:
        module = "benchmarks.throughput.child"
        return (sys.executable, "-m", module, engine, profile, str(capture))

    # As its original does, cic2017 drops flows of one packet: of the flood it keeps none.
    needs_flows = baseline != TCPDUMP_FLOOD
    return Contender(name, trace, command, int, baseline, needs_flows=needs_flows, ours=True)


def extract(name: str, profile: str, trace: Trace, output: Path) -> Contender:
    """`edge-agent extract`, rows written to a file."""

    def command(capture: Path) -> tuple[str, ...]:
        options = ("--profile", profile, "--output", str(output), "--json")
        return (sys.executable, "-m", "edge_agent.cli", "extract", str(capture), *options)

    def flows(said: str) -> int:
        return int(json.loads(said)["flows"])

    return Contender(name, trace, command, flows, TCPDUMP, needs_flows=True, ours=True)


def of_meter(
    large: Trace, flood: Trace, start: Trace, scratch: Path
) -> tuple[list[Contender], dict[str, str]]:
    """What `meter` measures.

    Args:
        large: The lab's houses.
        flood: One-packet flows.
        start: The beginning of `large`, for plain Python.
        scratch: A folder for the tables that `extract` writes.

    Returns:
        The contenders; and those left out, with the reason.
    """
    contenders = [tcpdump(TCPDUMP, large), tcpdump(TCPDUMP_FLOOD, flood)]
    for profile in PROFILES:
        contenders += [
            meter(meter_name(profile), profile, large),
            meter(meter_name(profile, "flood"), profile, flood, TCPDUMP_FLOOD),
        ]
    contenders += [
        reference(REFERENCE, "improved", start),
        extract(CSV, "improved", large, scratch / "flows.csv"),
    ]
    if importlib.util.find_spec("pyarrow") is None:
        return contenders, {PARQUET: "pyarrow is not installed (pip install 'edge-ids[extract]')"}
    return [*contenders, extract(PARQUET, "improved", large, scratch / "flows.parquet")], {}
