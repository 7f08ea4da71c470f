"""`--data` arguments to one `FlowTable`."""

from __future__ import annotations

import glob
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from edge_agent.capture import pcap
from edge_agent.contract.errors import TableError
from edge_agent.contract.features import FEATURE_SETS
from edge_agent.contract.profiles import PROFILES
from trainer.datasets.captures import TRUTH_NAME, read_capture
from trainer.datasets.csvfile import read_start, reading
from trainer.datasets.flows import join
from trainer.datasets.layouts import capture_layout
from trainer.datasets.tables import read_table, sniff

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from trainer.datasets.flows import FlowTable
    from trainer.datasets.layouts import Layout

CAPTURE_PROFILE: Final = "gateway"
"""What captures are metered with unless told otherwise: the profile of live detection."""

_TABLE_SUFFIXES: Final = (".csv", ".csv.gz")

# The original CSVs are for comparison with papers, and those use every column.
_DEFAULT_FEATURES: Final = {"cic2017": "paper78"}


@dataclass(frozen=True, slots=True)
class Source:
    """One file to read.

    Attributes:
        path: The file.
        layout: Its layout; for a capture the one its rows will have.
        truth: The truth file of a capture; None for a table.
    """

    path: Path
    layout: Layout
    truth: Path | None


def find_files(arguments: Sequence[str]) -> list[Path]:
    """Files that the arguments name: files, folders of CSVs, or patterns; each once, in order.

    Raises:
        TableError: An argument names nothing.
    """
    files: dict[Path, None] = {}
    for argument in arguments:
        path = Path(argument)
        if path.is_dir():
            found = sorted(
                child for child in path.iterdir() if child.name.endswith(_TABLE_SUFFIXES)
            )
            problem, remedy = "holds no .csv or .csv.gz file", "name the files"
        elif path.exists():
            found, problem, remedy = [path], "", ""
        else:
            found = [Path(name) for name in sorted(glob.glob(argument))]  # noqa: PTH207  # may be absolute
            problem, remedy = "does not exist", "check the path"
        if not found:
            raise TableError(path, problem, remedy=remedy)
        files.update(dict.fromkeys(found))
    return list(files)


def is_capture(path: Path) -> bool:
    """Whether a file begins as a packet capture does, compressed or not.

    Raises:
        TableError: It cannot be read.
    """
    read_start(path, 1)  # what is wrong with any file is said in the words of tables
    with reading(path):
        return pcap.is_capture(path)


def plan(files: Sequence[Path], labels: Sequence[Path], profile: str | None) -> list[Source]:
    """Find out what each file is, and that all fit together.

    Args:
        files: Tables and captures.
        labels: Truth files for the captures, in their order; empty: each capture's own
            `truth.json` beside it.
        profile: Flow profile to meter captures with and to expect of tables; None: `gateway` for
            captures, and what the tables' headers say.

    Raises:
        TableError: Layouts are mixed, a table is of another profile, or a capture has no labels.
    """
    captures = [path for path in files if is_capture(path)]
    if labels and len(labels) != len(captures):
        raise TableError(
            labels[0],
            f"{len(labels)} label files were given for {len(captures)} captures",
            remedy="give --labels once for each capture, in the same order",
        )
    truths = dict(
        zip(captures, labels or [path.parent / TRUTH_NAME for path in captures], strict=True)
    )
    sources = []
    for path in files:
        if path in truths:
            layout = capture_layout(profile or CAPTURE_PROFILE)
            if not truths[path].exists():
                raise TableError(
                    path,
                    f"is a capture without labels ({truths[path]} does not exist)",
                    remedy="name its truth file with --labels",
                )
        else:
            layout = sniff(path).layout
        sources.append(Source(path, layout, truths.get(path)))
    first = sources[0]
    for source in sources:
        if source.layout.name != first.layout.name:
            raise TableError(
                source.path,
                f"is of the layout {source.layout.name}, but {first.path} of {first.layout.name}",
                remedy="train on one layout at a time, since their columns mean different things",
            )
    if profile is not None and first.layout.profile != profile:
        raise TableError(
            first.path,
            f"holds flows of the profile {first.layout.profile}, not {profile}",
            remedy=f"leave --profile out, or say --profile {first.layout.profile}",
        )
    return sources


def feature_set(profile: str, wanted: str | None) -> str:
    """The feature set to train on: the one asked for, or the profile's default.

    Raises:
        ValueError: The set belongs to another profile.
    """
    choices = PROFILES[profile].feature_sets
    if wanted is None:
        return _DEFAULT_FEATURES.get(profile, choices[0])
    if wanted not in choices:
        raise ValueError(
            f"the feature set {wanted} is for the profile {FEATURE_SETS[wanted][0]}, but the data"
            f" are of {profile}: choose {' or '.join(choices)}"
        )
    return wanted


def read(sources: Sequence[Source], names: Sequence[str], tell: Callable[[str], None]) -> FlowTable:
    """Read all sources into one table.

    Args:
        sources: What `plan` gave.
        names: Feature columns.
        tell: Called with a line per file.

    Raises:
        TableError, CaptureError: A file cannot be used.
    """
    tables = []
    for source in sources:
        if source.truth is None:
            table = read_table(source.path, names)
        else:
            table = read_capture(source.path, source.truth, source.layout.profile, names)
        tell(f"{source.path}: {len(table):,} flows")
        tables.append(table)
    return join(tables)
