"""`edge-agent extract`: flow rows as CSV, under the published names."""

from __future__ import annotations

import csv
import math
import sys
from typing import IO, TYPE_CHECKING, Final

from edge_agent.capture.pcap import STDIN
from edge_agent.console import end_progress, progress_line
from edge_agent.contract.files import atomic_output
from edge_agent.flow.rows import ROW_COLUMNS

if TYPE_CHECKING:
    from pathlib import Path

    from edge_agent.contract.profiles import Profile
    from edge_agent.flow.rows import FlowRow
    from edge_agent.metering import CaptureMeter

_PROGRESS_EVERY_ROWS: Final = 2_000


def header(profile: Profile) -> list[str]:
    """Column names of an extracted CSV; what the row's own columns hold is not repeated."""
    return [*ROW_COLUMNS, *(name for name in profile.columns if name not in ROW_COLUMNS)]


def extract(capture: CaptureMeter, output: Path) -> int:
    """Write every row of a capture, whole or not at all; `-` is standard output.

    Returns:
        The number of rows.

    Raises:
        CaptureError: The capture cannot be used.
        OutputError: The CSV cannot be written.
    """
    if output == STDIN:
        return _write(capture, sys.stdout)
    with atomic_output(output, "w") as stream:
        return _write(capture, stream)  # type: ignore[arg-type]


def _write(capture: CaptureMeter, stream: IO[str]) -> int:
    profile = capture.profile
    kept = [i for i, name in enumerate(profile.columns) if name not in ROW_COLUMNS]
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(header(profile))
    count = 0
    for row in capture.rows():
        writer.writerow([*_identity(row), *(_cell(row.values[i]) for i in kept)])
        count += 1
        if count % _PROGRESS_EVERY_ROWS == 0:
            progress_line(f"{capture.progress()}, {count:,} flows")
    end_progress()
    return count


def _identity(row: FlowRow) -> tuple[str | int, ...]:
    return (
        row.source_address,
        row.source_port,
        row.destination_address,
        row.destination_port,
        row.protocol,
        row.start_us,
    )


def _cell(value: float) -> str | float:
    """The spelling of the published files for what is not finite; floats keep every digit."""
    if math.isfinite(value):
        return int(value) if value.is_integer() else value
    return "NaN" if math.isnan(value) else "Infinity"
