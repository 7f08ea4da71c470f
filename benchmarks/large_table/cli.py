"""The command ``python -m benchmarks large-table``."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import click

from benchmarks.large_table.files import FORMS, LAYOUT_NAMES, PUBLISHED_ROWS, Order, write
from benchmarks.tables import table
from edge_agent.capture.problems import STDIN
from edge_agent.console import end_progress, progress_line, run_command
from edge_agent.contract.errors import EdgeIdsError
from edge_agent.contract.files import write_atomically

_FOLDER: Final = Path("build") / "large-table"
_FEATURES: Final = "paper78"
_MIB: Final = 1024 * 1024


@click.command("large-table", context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--rows",
    type=click.IntRange(min=1000),
    default=PUBLISHED_ROWS,
    show_default=True,
    metavar="N",
    help="In all files, about.",
)
@click.option(
    "--layout", type=click.Choice(LAYOUT_NAMES), default=LAYOUT_NAMES[0], show_default=True
)
@click.option("--form", type=click.Choice(FORMS), default=FORMS[0], show_default=True)
@click.option("--split", help="Deal the rows too, by this split of edge-train.")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=_FOLDER,
    show_default=True,
    help="Where the files are kept.",
)
@click.option(
    "--json",
    "json_file",
    type=click.Path(path_type=Path, dir_okay=False, allow_dash=True),
    help="Report to write; - prints it alone.",
)
@click.option("--debug", is_flag=True, help="Show tracebacks.")
def large_table(
    rows: int,
    layout: str,
    form: str,
    split: str | None,
    seed: int,
    folder: Path,
    json_file: Path | None,
    debug: bool,
) -> None:
    """How fast, and in how much memory, tables as large as the published ones are read.

    Writes eight files with the classes and faults of CICIDS2017, of made-up flows, then reads and
    cleans them in a process of its own.

    \b
    Example:
      python -m benchmarks large-table
      python -m benchmarks large-table --layout TrafficLabelling --form csv.gz --split dedup
    """

    def work() -> None:
        order = Order(layout, rows, form, seed)
        files = write(order, folder / layout, progress_line)
        end_progress()
        result = {
            "layout": layout,
            "form": form,
            "files": len(files),
            "stored_bytes": sum(path.stat().st_size for path in files),
            **_measured(files, split),
        }
        text = json.dumps(result, indent=1)
        if json_file == STDIN:
            print(text)
            return
        if json_file is not None:
            write_atomically(json_file, f"{text}\n".encode())
        print(_summary(result))

    run_command("benchmarks large-table", debug, work)


def _measured(files: list[Path], split: str | None) -> dict[str, Any]:
    """What the process that reads the files says."""
    command = [sys.executable, "-m", "benchmarks.large_table.child", _FEATURES, split or "-"]
    # Its progress goes to standard error, as ours.
    done = subprocess.run(
        [*command, *map(str, files)], stdout=subprocess.PIPE, text=True, check=False
    )
    end_progress()
    if done.returncode:
        raise EdgeIdsError(f"Reading failed with status {done.returncode}; see above.")
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def _summary(result: dict[str, Any]) -> str:
    facts = [
        ("rows read", f"{result['rows_read']:,}"),
        ("rows kept", f"{result['rows']:,}"),
        ("stored MiB", f"{result['stored_bytes'] / _MIB:,.0f}"),
        ("seconds", f"{result['read_s']:.1f}"),
        ("of processor time", f"{result['read_cpu_s']:.1f}"),
        ("rows a second", f"{result['rows_read'] / result['read_s']:,.0f}"),
        ("matrix MiB", f"{result['matrix_bytes'] / _MIB:,.0f}"),
        ("peak MiB", f"{result['peak_bytes'] / _MIB:,.0f}"),
        ("MiB before reading", f"{result['start_bytes'] / _MIB:,.0f}"),
    ]
    if "split" in result:
        facts += [
            (f"split {result['split']}, s", f"{result['split_s']:.1f}"),
            ("duplicates", f"{result['duplicates']:,}"),
            ("peak MiB with split", f"{result['split_peak_bytes'] / _MIB:,.0f}"),
        ]
    counts = [
        (f"{what}: {rule}", f"{count:,}")
        for what in ("dropped", "changed", "label")
        for rule, count in result[what].items()
    ]
    return "\n\n".join([table(("", result["layout"]), facts), table(("rows", "count"), counts)])
