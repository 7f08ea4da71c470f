"""Labelled captures to `FlowTable`s, through the agent's own meter.

Rows are kept as float32 until they are labelled: what a truth file says of one depends on others
that may come later. Only the columns asked for are kept.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from edge_agent.contract.alerts import FAMILIES
from edge_agent.contract.errors import TableError
from edge_agent.contract.features import is_categorical, one_hot
from edge_agent.contract.profiles import PROFILES
from edge_agent.metering import CaptureMeter
from trainer.datasets.cleaning import OVER_IPV6, clean_chunk, settle_attempted
from trainer.datasets.conditions import FEATURE_NUMBERS
from trainer.datasets.csvfile import sha256_of
from trainer.datasets.endpoints import connections, ends_of, hosts
from trainer.datasets.flows import Chunk, SourceFile, TableBuilder
from trainer.datasets.labels import BENIGN, unify
from trainer.datasets.layouts import capture_layout
from trainer.datasets.plausibility import attempts, check_days, doubts
from trainer.datasets.rulefile import is_rules, load_rules
from trainer.datasets.rules import BETWEEN, Flows, number_columns
from trainer.datasets.truth import Campaign, Truth

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from edge_agent.contract.profiles import Profile
    from edge_agent.flow.rows import FlowRows
    from trainer.datasets.cleaning import CleaningSettings
    from trainer.datasets.flows import FlowTable
    from trainer.datasets.rules import Rules

TRUTH_NAME: Final = "truth.json"
"""Looked for beside a capture when no `--labels` are given."""


def _nothing(*_: object) -> None:
    return None


@dataclass(frozen=True, slots=True)
class Talk:
    """How reading a capture tells what it does.

    Attributes:
        progress: Called now and then with bytes read, bytes in all or 0, and rows so far.
        tell: Called with sentences for the user.
    """

    progress: Callable[[int, int, int], None] = _nothing
    tell: Callable[[str], None] = _nothing


@dataclass(frozen=True, slots=True)
class LabelledCapture:
    """Every flow of a capture, with the campaign it belongs to.

    Attributes:
        path: The capture.
        sha256: Digest of the capture's bytes.
        truth: What happened in it.
        ends: Who talked to whom and when, dtype `endpoints.ENDS`, shape (n_flows,), in the order
            given out.
        raw: The features asked for, shape (n_flows, n_features), as metered.
        campaigns: The campaign of each flow; None is benign.
    """

    path: Path
    sha256: str
    truth: Truth
    ends: NDArray[Any]
    raw: NDArray[np.float64]
    campaigns: tuple[Campaign | None, ...]


@dataclass(frozen=True, slots=True)
class _Metered:
    """Who talked when in a capture.

    Attributes:
        path: The capture.
        profile: Name of the profile it was metered with.
        ends: dtype `ENDS`, shape (n_flows,), at least one.
        first_us, last_us: When its first flow began and its last one ended.
        over_ipv6: Flows over IPv6, which are not among them.
    """

    path: Path
    profile: str
    ends: NDArray[Any]
    first_us: int
    last_us: int
    over_ipv6: int


@dataclass(frozen=True, slots=True)
class _Found:
    """What truth or rules say of every flow.

    Attributes:
        labels, label: As in `FlowTable`, shape (n_flows,), with marks of mere attempts.
        families: Family of every label.
        left_out: bool, shape (n_flows,): nobody should learn from these.
    """

    labels: tuple[str, ...]
    label: NDArray[np.int16]
    families: dict[str, str]
    left_out: NDArray[np.bool_]


def label_capture(
    path: Path,
    truth_path: Path,
    profile: Profile,
    names: Sequence[str],
    progress: Callable[[int], None] = _nothing,
) -> LabelledCapture:
    """Meter a capture and find the campaign of every flow.

    Args:
        path: The capture.
        truth_path: Its truth file.
        profile: What to meter with.
        names: Feature columns to take, of that profile; `Protocol=6` is 1 for TCP, else 0.
        progress: Called now and then with the number of flows.

    Raises:
        CaptureError: The capture cannot be metered.
        TableError: The truth file cannot be read or belongs to another capture, or the capture
            holds no flows.
    """
    truth = Truth.load(truth_path)
    values: list[NDArray[np.float64]] = []
    metered = _meter(
        path,
        profile,
        lambda rows: values.append(_columns(rows, profile, names)),
        lambda *facts: progress(facts[2]),
    )
    number = _campaigns(truth, metered)
    return LabelledCapture(
        path=path,
        sha256=sha256_of(path),
        truth=truth,
        ends=metered.ends,
        raw=np.concatenate(values),
        campaigns=tuple((*truth.campaigns, None)[index] for index in number.tolist()),
    )


def read_capture(
    path: Path,
    rules: Path,
    profile: str,
    names: Sequence[str],
    settings: CleaningSettings,
    talk: Talk | None = None,
) -> FlowTable:
    """Meter a capture, label its flows and clean them, for training.

    Args:
        path: The capture.
        rules: Its truth file, or label rules.
        profile: Name of the flow profile to meter with.
        names: Feature columns to take, of that profile; `Protocol=6` is 1 for TCP, else 0.
        settings: How to clean.
        talk: How to tell what is done.

    Raises:
        CaptureError: The capture cannot be metered.
        TableError: The rules cannot be read or belong to another capture, or the capture holds no
            flows.
    """
    talk = talk or Talk()
    kind = PROFILES[profile]
    known = load_rules(rules) if is_rules(rules) else Truth.load(rules)
    number_at = number_columns(kind)
    values: list[NDArray[np.float32]] = []
    numbers: list[NDArray[np.float64]] = []

    def take(rows: FlowRows) -> None:
        values.append(_columns(rows, kind, names).astype(np.float32))
        if not isinstance(known, Truth):
            numbers.append(rows.values[:, number_at])

    metered = _meter(path, kind, take, talk.progress)
    if isinstance(known, Truth):
        found = _by_truth(known, metered)
    else:
        found = _by_rules(known, metered, np.concatenate(numbers), talk.tell)
    return _table(metered, found, values, tuple(names), settings)


def _meter(
    path: Path,
    profile: Profile,
    take: Callable[[FlowRows], None],
    progress: Callable[[int, int, int], None],
) -> _Metered:
    """Meter a capture, handing rows over IPv4 to `take`, a batch at a time."""
    meter = CaptureMeter([path], profile)
    ends: list[NDArray[Any]] = []
    flows = over_ipv6 = last_us = 0

    def tell() -> None:
        progress(meter.reached(flows).bytes_read, meter.size_bytes or 0, flows)

    for batch in meter.batches(tell):
        # No public training data has IPv6: a model that has seen some would not be comparable.
        rows = batch.only(batch.about["ip_version"] == 4)
        over_ipv6 += len(batch) - len(rows)
        if len(rows):
            flows += len(rows)
            ends.append(ends_of(rows.about))
            last_us = max(last_us, int(rows.about["end_us"].max()))
            take(rows)
    if not flows:
        raise TableError(
            path,
            "holds no TCP or UDP flow over IPv4",
            remedy="give a capture of the network to be watched",
        )
    tell()
    all_ends = np.concatenate(ends)
    first_us = int(all_ends["start_us"].min())
    return _Metered(path, profile.name, all_ends, first_us, last_us, over_ipv6)


def _columns(rows: FlowRows, profile: Profile, names: Sequence[str]) -> NDArray[np.float64]:
    """The features asked for, shape (n_flows, n_features)."""
    values = np.empty((len(rows), len(names)), dtype=np.float64)
    for index, name in enumerate(names):
        if is_categorical(name):
            values[:, index] = one_hot(rows.about["protocol"], (name,))[:, 0]
        else:
            values[:, index] = rows.values[:, profile.columns.index(name)]
    return values


def _campaigns(truth: Truth, metered: _Metered) -> NDArray[np.int32]:
    """The campaign of every flow, as `Truth.match` gives it.

    Raises:
        TableError: The truth is of another recording.
    """
    truth.check_overlap(metered.first_us, metered.last_us, metered.path)
    number = truth.match(metered.ends)
    if truth.campaigns and (number < 0).all():
        # Sessions recorded side by side overlap in time: the addresses tell them apart.
        raise TableError(
            truth.path,
            f"explains no flow of {metered.path}, which holds none of its attacks",
            remedy="use the truth.json that was written with the capture",
        )
    return number


def _by_truth(truth: Truth, metered: _Metered) -> _Found:
    families = {BENIGN: "benign"}
    for campaign in truth.campaigns:
        family = campaign.family if campaign.family in FAMILIES else "unknown"
        families.setdefault(unify(campaign.label), family)
    labels = tuple(families)
    codes = [labels.index(unify(campaign.label)) for campaign in truth.campaigns]
    # Campaign -1, none, is the last entry: BENIGN.
    label = np.array([*codes, 0], dtype=np.int16)[_campaigns(truth, metered)]
    return _Found(labels, label, families, np.zeros(len(label), dtype=bool))


def _by_rules(
    rules: Rules, metered: _Metered, numbers: NDArray[np.float64], tell: Callable[[str], None]
) -> _Found:
    check_days(rules, metered.first_us, metered.last_us, metered.path)
    by_name = dict(zip(FEATURE_NUMBERS, numbers.T, strict=True))
    found = rules.match(Flows(metered.ends, by_name), metered.profile)
    start_us = metered.ends["start_us"]
    for sentence in doubts(rules, found, start_us, metered.profile, metered.path):
        tell(sentence)
    why = attempts(rules, found)
    if why:
        tell(f"{metered.path}: attempted attacks: {why}")
    return _Found(found.labels, found.label, rules.families, found.left_out)


def _table(
    metered: _Metered,
    found: _Found,
    values: list[NDArray[np.float32]],
    names: tuple[str, ...],
    settings: CleaningSettings,
) -> FlowTable:
    """Clean labelled rows. Uses `values` up, so that a day's rows are in memory once."""
    settled = settle_attempted(found.labels, found.label, settings.attempted)
    wanted = settled.keep & ~found.left_out
    used = np.unique(np.append(settled.label[wanted], np.int16(0)))
    code = np.zeros(len(settled.labels), dtype=np.int16)
    code[used] = np.arange(len(used))
    labels, label = tuple(settled.labels[index] for index in used), code[settled.label]
    ends = metered.ends
    connection, host = connections(ends), hosts(ends)
    dropped = Counter({OVER_IPV6: metered.over_ipv6, BETWEEN: int(found.left_out.sum())})
    dropped.update(settled.dropped)
    changed = Counter(settled.changed)
    builder = TableBuilder(metered.profile, capture_layout(metered.profile).name, names)
    begin = 0
    values.reverse()
    while values:
        batch = values.pop()
        here = slice(begin, begin + len(batch))
        begin += len(batch)
        # Back to float64, which cleaning takes: the counts that rates are made of lost nothing.
        rows = clean_chunk(batch.astype(np.float64), names, wanted[here])
        chunk = Chunk(
            raw=rows.raw,
            labels=labels,
            label=label[here][rows.keep],
            start_us=ends["start_us"][here][rows.keep],
            connection=connection[here][rows.keep],
            host=host[here][rows.keep],
        )
        builder.add(chunk, dropped + rows.dropped, changed + rows.changed)
        dropped, changed = Counter(), Counter()
    flows = len(ends) + metered.over_ipv6
    builder.end_file(SourceFile(metered.path, sha256_of(metered.path), flows))
    return builder.build({label: found.families[label] for label in labels})
