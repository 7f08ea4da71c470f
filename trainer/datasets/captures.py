"""Labelled captures to `FlowTable`s, through the agent's own meter."""

from __future__ import annotations

import hashlib
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from edge_agent.contract.errors import TableError
from edge_agent.contract.profiles import PROFILES
from edge_agent.metering import meter_capture
from trainer.datasets.flows import FlowTable, SourceFile
from trainer.datasets.labels import BENIGN
from trainer.datasets.layouts import capture_layout
from trainer.datasets.truth import Flow, Truth

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

TRUTH_NAME = "truth.json"
"""Looked for beside a capture when no `--labels` are given."""


def read_capture(path: Path, truth_path: Path, profile: str, names: Sequence[str]) -> FlowTable:
    """Meter a capture and label its flows.

    Args:
        path: The capture.
        truth_path: Its truth file.
        profile: Name of the flow profile to meter with.
        names: Feature columns to take, of that profile.

    Raises:
        CaptureError: The capture cannot be metered.
        TableError: The truth file cannot be read or belongs to another capture, or the capture
            holds no flows.
    """
    truth = Truth.load(truth_path)
    semantics = PROFILES[profile]
    columns = [semantics.columns.index(name) for name in names]
    flows: list[Flow] = []
    values: list[list[float]] = []
    first_us = last_us = None
    for row in meter_capture(path, semantics):
        flows.append(Flow.of(row))
        values.append([row.values[column] for column in columns])
        first_us = row.start_us if first_us is None else min(first_us, row.start_us)
        last_us = row.end_us if last_us is None else max(last_us, row.end_us)
    if first_us is None or last_us is None:
        raise TableError(
            path,
            "holds no TCP or UDP flow over IPv4",
            remedy="give a capture of the network to be watched",
        )
    truth.check_overlap(first_us, last_us, path)
    matches = truth.match(flows)
    if truth.campaigns and not any(matches):
        # Sessions recorded side by side overlap in time: the addresses tell them apart.
        raise TableError(
            truth_path,
            f"explains no flow of {path} by any of its campaigns",
            remedy="use the truth.json that was written with the capture",
        )
    numbers: dict[object, int] = {}
    return FlowTable(
        profile=profile,
        layout=capture_layout(profile).name,
        names=tuple(names),
        raw=np.array(values, dtype=np.float64),
        label=np.array([match.label if match else BENIGN for match in matches], dtype=np.str_),
        file=np.zeros(len(flows), dtype=np.int32),
        start_us=np.array([flow.start_us for flow in flows], dtype=np.int64),
        connection=np.array(
            [numbers.setdefault(flow.connection, len(numbers)) for flow in flows], dtype=np.int64
        ),
        files=(SourceFile(path, hashlib.sha256(path.read_bytes()).hexdigest(), len(flows)),),
        dropped=Counter(),
        families={BENIGN: "benign", **truth.families},
    )
