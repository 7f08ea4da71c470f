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
from trainer.datasets.captures import TRUTH_NAME, Talk, read_capture
from trainer.datasets.cleaning import CleaningSettings
from trainer.datasets.csvfile import reading
from trainer.datasets.flows import TableBuilder
from trainer.datasets.layouts import capture_layout
from trainer.datasets.rulefile import find_labels, is_rules
from trainer.datasets.tables import read_into, sniff

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from trainer.datasets.flows import FlowTable
    from trainer.datasets.layouts import Layout

CAPTURE_PROFILE: Final = "gateway"
"""What captures are metered with unless told otherwise: the profile of live detection."""

_TABLE_SUFFIXES: Final = (".csv", ".csv.gz", ".csv.xz", ".csv.zst", ".parquet")

# The original CSVs are for comparison with papers, and those use every column.
_DEFAULT_FEATURES: Final = {"cic2017": "paper78"}


@dataclass(frozen=True, slots=True)
class Source:
    """One file to read.

    Attributes:
        path: The file.
        layout: Its layout; for a capture the one its rows will have.
        rules: How a capture's flows are labelled: a truth file, or rules in TOML; None for a table.
    """

    path: Path
    layout: Layout
    rules: Path | None


def find_files(arguments: Sequence[str]) -> list[Path]:
    """Files that the arguments name: files, folders of tables, or patterns; each once, in order.

    A folder stands for every table below it, by name, but for what is hidden.

    Raises:
        TableError: An argument names nothing.
    """
    files: dict[Path, None] = {}
    for argument in arguments:
        path = Path(argument)
        if path.is_dir():
            found = _tables_below(path)
            problem = f"holds no table ({', '.join(_TABLE_SUFFIXES)})"
            remedy = "name the files"
        elif path.exists():
            found, problem, remedy = [path], "", ""
        else:
            found = [Path(name) for name in sorted(glob.glob(argument))]  # noqa: PTH207  # may be absolute
            problem, remedy = "does not exist", "check the path"
        if not found:
            raise TableError(path, problem, remedy=remedy)
        files.update(dict.fromkeys(found))
    return list(files)


def _tables_below(folder: Path) -> list[Path]:
    return sorted(
        path
        for path in folder.rglob("*")
        if path.name.lower().endswith(_TABLE_SUFFIXES)
        and path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )


def is_capture(path: Path) -> bool:
    """Whether a file begins as a packet capture does, compressed or not.

    Raises:
        TableError: It cannot be read.
    """
    # What is wrong with any file is said in the words of tables.
    with reading(path):
        path.open("rb").close()
        return pcap.is_capture(path)


def _rules(captures: Sequence[Path], labels: Sequence[str | Path]) -> dict[Path, Path]:
    """Capture → file that says how its flows are labelled.

    Raises:
        TableError: A file is missing, or there are more or fewer than captures.
    """
    if not labels:
        return {path: path.parent / TRUTH_NAME for path in captures}
    files = [find_labels(label) for label in labels]
    # Rules speak of times and addresses, whichever capture they are in.
    if len(files) == 1 and captures and is_rules(files[0]):
        return dict.fromkeys(captures, files[0])
    if len(files) != len(captures):
        raise TableError(
            files[0],
            f"{len(files)} label files were given for {len(captures)} captures",
            remedy="give --labels once for each capture, in the same order, or one file of rules"
            " (.toml) for all",
        )
    return dict(zip(captures, files, strict=True))


def plan(files: Sequence[Path], labels: Sequence[str | Path], profile: str | None) -> list[Source]:
    """Find out what each file is, and that all fit together.

    Args:
        files: Tables and captures.
        labels: For the captures: a truth file or rules for each, in their order, or one file of
            rules for all, by path or by the name of rules that come with this project; empty: each
            capture's own `truth.json` beside it.
        profile: Flow profile to meter captures with and to expect of tables; None: `gateway` for
            captures, and what the tables' headers say.

    Raises:
        TableError: Layouts are mixed, a table is of another profile, or a capture has no labels.
    """
    captures = [path for path in files if is_capture(path)]
    rules = _rules(captures, labels)
    sources = []
    for path in files:
        if path in rules:
            layout = capture_layout(profile or CAPTURE_PROFILE)
            if not rules[path].exists():
                raise TableError(
                    path,
                    f"is a capture without labels ({rules[path]} does not exist)",
                    remedy="name its truth file with --labels",
                )
        else:
            layout = sniff(path).layout
        sources.append(Source(path, layout, rules.get(path)))
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


def read(
    sources: Sequence[Source],
    names: Sequence[str],
    settings: CleaningSettings | None = None,
    talk: Talk | None = None,
) -> FlowTable:
    """Read and clean all sources into one table.

    Args:
        sources: What `plan` gave.
        names: Feature columns.
        settings: Of cleaning.
        talk: Its `progress` is called now and then with the bytes read of all files, the bytes
            there are, and the rows read; its `tell` with sentences about captures.

    Raises:
        TableError, CaptureError: A file cannot be used.
    """
    talk = talk or Talk()
    settings = settings or CleaningSettings()
    first = sources[0].layout
    builder = TableBuilder(first.profile, first.name, names)
    sizes = [source.path.stat().st_size for source in sources]
    known: Path | None = None
    for number, source in enumerate(sources):
        progress = _part_of(talk.progress, sum(sizes[:number]), sum(sizes), builder.rows_read)
        if source.rules is None:
            build = read_into(builder, source.path, settings, progress, known)
            known = known or (source.path if build else None)
        else:
            part = Talk(progress, talk.tell)
            builder.append(
                read_capture(source.path, source.rules, first.profile, names, settings, part)
            )
    return builder.build()


def _part_of(
    progress: Callable[[int, int, int], None], before: int, total: int, rows_before: int
) -> Callable[[int, int, int], None]:
    """The progress of one file as progress of all."""
    return lambda done, _, rows: progress(before + done, total, rows_before + rows)
