"""Labelled captures to `FlowTable`s, through the agent's own meter."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edge_agent.contract.errors import TableError
from edge_agent.contract.profiles import PROFILES
from edge_agent.metering import CaptureMeter
from trainer.datasets.flows import FlowTable, SourceFile
from trainer.datasets.labels import BENIGN
from trainer.datasets.layouts import capture_layout
from trainer.datasets.truth import Campaign, Flow, Truth

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from edge_agent.contract.profiles import Profile

TRUTH_NAME = "truth.json"
"""Looked for beside a capture when no `--labels` are given."""


@dataclass(frozen=True, slots=True)
class LabelledCapture:
    """Every flow of a capture, with the campaign it belongs to.

    Attributes:
        path: The capture.
        sha256: Digest of the capture's bytes.
        truth: What happened in it.
        flows: Endpoints and times, in the order given out.
        raw: The features asked for, shape (n_flows, n_features).
        campaigns: The campaign of each flow; None is benign.
    """

    path: Path
    sha256: str
    truth: Truth
    flows: tuple[Flow, ...]
    raw: NDArray[np.float64]
    campaigns: tuple[Campaign | None, ...]


def label_capture(
    path: Path,
    truth_path: Path,
    profile: Profile,
    names: Sequence[str],
    progress: Callable[[int], None] = lambda _: None,
) -> LabelledCapture:
    """Meter a capture and find the campaign of every flow.

    Args:
        path: The capture.
        truth_path: Its truth file.
        profile: What to meter with.
        names: Feature columns to take, of that profile.
        progress: Called now and then with the number of flows.

    Raises:
        CaptureError: The capture cannot be metered.
        TableError: The truth file cannot be read or belongs to another capture, or the capture
            holds no flows.
    """
    truth = Truth.load(truth_path)
    columns = [profile.columns.index(name) for name in names]
    flows: list[Flow] = []
    values: list[NDArray[np.float64]] = []
    last_us = 0
    for batch in CaptureMeter([path], profile).batches():
        # No public training data has IPv6: a model that has seen some would not be comparable.
        rows = batch.only(batch.about["ip_version"] == 4)
        flows += map(Flow.of, rows)
        values.append(rows.values[:, columns])
        last_us = max(last_us, rows.about["end_us"].max(initial=0))
        progress(len(flows))
    if not flows:
        raise TableError(
            path,
            "holds no TCP or UDP flow over IPv4",
            remedy="give a capture of the network to be watched",
        )
    truth.check_overlap(min(flow.start_us for flow in flows), last_us, path)
    campaigns = tuple(truth.match(flows))
    if truth.campaigns and not any(campaigns):
        # Sessions recorded side by side overlap in time: the addresses tell them apart.
        raise TableError(
            truth_path,
            f"explains no flow of {path}, which holds none of its attacks",
            remedy="use the truth.json that was written with the capture",
        )
    return LabelledCapture(
        path=path,
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        truth=truth,
        flows=tuple(flows),
        raw=np.concatenate(values),
        campaigns=campaigns,
    )


def read_capture(path: Path, truth_path: Path, profile: str, names: Sequence[str]) -> FlowTable:
    """Meter a capture and label its flows, for training.

    Args:
        path: The capture.
        truth_path: Its truth file.
        profile: Name of the flow profile to meter with.
        names: Feature columns to take, of that profile.

    Raises:
        CaptureError: As for `label_capture`.
        TableError: As for `label_capture`.
    """
    capture = label_capture(path, truth_path, PROFILES[profile], names)
    flows = capture.flows
    numbers: dict[object, int] = {}
    return FlowTable(
        profile=profile,
        layout=capture_layout(profile).name,
        names=tuple(names),
        raw=capture.raw,
        label=np.array(
            [campaign.label if campaign else BENIGN for campaign in capture.campaigns],
            dtype=np.str_,
        ),
        file=np.zeros(len(flows), dtype=np.int32),
        start_us=np.array([flow.start_us for flow in flows], dtype=np.int64),
        connection=np.array(
            [numbers.setdefault(flow.connection, len(numbers)) for flow in flows], dtype=np.int64
        ),
        files=(SourceFile(path, capture.sha256, len(flows)),),
        dropped=Counter(),
        families={BENIGN: "benign", **capture.truth.families},
    )
