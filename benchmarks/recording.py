"""A labelled recording, and how verdicts on its flows fit the attacks that were really run.

A campaign counts as found when most of its flows are flagged: an operator sees an incident, not a
flow. False alarms count per hour of recording, because that is how often somebody is disturbed.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from converters.gate import figures
from edge_agent.console import end_progress, progress_line
from edge_agent.contract.errors import TableError
from edge_agent.metering import meter_capture
from trainer.datasets.truth import Campaign, Flow, Truth

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from edge_agent.contract.runs import Run

_HOUR_US: Final = 3_600_000_000
_PROGRESS_EVERY_ROWS: Final = 2_000


@dataclass(frozen=True, slots=True)
class Recording:
    """A metered and labelled capture.

    Attributes:
        capture: Where it was read.
        truth: What happened in it.
        raw: Features in model order, shape (n_flows, n_features).
        campaigns: The campaign of each flow; None is benign.
        learned_from: Whether the run was trained on this very file.
    """

    capture: Path
    truth: Truth
    raw: NDArray[np.float64]
    campaigns: tuple[Campaign | None, ...]
    learned_from: bool

    @property
    def label(self) -> NDArray[np.uint8]:
        """1 for flows of a campaign, shape (n_flows,)."""
        return np.array([campaign is not None for campaign in self.campaigns], dtype=np.uint8)

    @property
    def hours(self) -> float:
        """Length of the recording."""
        return (self.truth.end_us - self.truth.start_us) / _HOUR_US


@dataclass(frozen=True, slots=True)
class CampaignResult:
    """One campaign as a model saw it."""

    campaign: Campaign
    flows: int
    flagged: int

    @property
    def flagged_share(self) -> float:
        """Between 0 and 1; 0 for a campaign without flows."""
        return self.flagged / self.flows if self.flows else 0.0

    @property
    def most_flagged(self) -> bool:
        """Whether more than half of its flows are flagged."""
        return 2 * self.flagged > self.flows

    def to_json(self) -> dict[str, Any]:
        """For the report."""
        return {
            "id": self.campaign.id,
            "label": self.campaign.label,
            "family": self.campaign.family,
            "flows": self.flows,
            "flagged": self.flagged,
            "flagged_share": self.flagged_share,
            "most_flagged": self.most_flagged,
        }


def by_campaign(
    order: Sequence[Campaign],
    campaigns: Sequence[Campaign | None],
    attacks: NDArray[np.bool_],
) -> list[CampaignResult]:
    """Count flows and flagged flows of each campaign.

    Args:
        order: All campaigns of the recording; one without flows stays in the list.
        campaigns: The campaign of each flow; None is benign.
        attacks: Verdict on each flow, shape (n_flows,).
    """
    ids = [campaign.id if campaign else None for campaign in campaigns]
    flows = Counter(ids)
    flagged = Counter(name for name, attack in zip(ids, attacks.tolist(), strict=True) if attack)
    return [
        CampaignResult(campaign, flows[campaign.id], flagged[campaign.id]) for campaign in order
    ]


def judge(recording: Recording, attacks: NDArray[np.bool_]) -> dict[str, Any]:
    """Everything one model's verdicts on a recording amount to, for the report."""
    result = figures(recording.label, attacks)
    found = by_campaign(recording.truth.campaigns, recording.campaigns, attacks)
    false_alarms = result.confusion["fp"]
    return {
        **result.to_json(),
        "false_alarms_per_hour": false_alarms / recording.hours if recording.hours else None,
        "campaigns_found": sum(item.most_flagged for item in found),
        "campaigns": [item.to_json() for item in found],
    }


def read_recording(capture: Path, truth_path: Path, run: Run) -> Recording:
    """Meter a capture with a run's profile and label its flows.

    Args:
        capture: The capture.
        truth_path: Its truth file.
        run: Whose columns are taken.

    Raises:
        CaptureError: The capture cannot be metered.
        TableError: The truth file cannot be read or belongs to another capture, or the capture
            holds no flows.
    """
    truth = Truth.load(truth_path)
    columns = [run.profile.columns.index(feature.name) for feature in run.features]
    flows: list[Flow] = []
    values: list[list[float]] = []
    last_us = 0
    try:
        for row in meter_capture(capture, run.profile):
            flows.append(Flow.of(row))
            values.append([row.values[column] for column in columns])
            last_us = max(last_us, row.end_us)
            if len(flows) % _PROGRESS_EVERY_ROWS == 0:
                progress_line(f"{capture}: {len(flows):,} flows")
    finally:
        end_progress()
    if not flows:
        raise TableError(
            capture,
            "holds no TCP or UDP flow over IPv4",
            remedy="give a capture of the network to be watched",
        )
    truth.check_overlap(min(flow.start_us for flow in flows), last_us, capture)
    campaigns = tuple(truth.match(flows))
    if truth.campaigns and not any(campaigns):
        # Sessions recorded at the same time pass the test above; their networks differ.
        raise TableError(
            truth_path,
            f"describes attacks of which {capture} holds none",
            remedy="use the truth.json that was written with the capture",
        )
    return Recording(
        capture=capture,
        truth=truth,
        raw=np.array(values, dtype=np.float64),
        campaigns=campaigns,
        learned_from=_sha256(capture) in json.dumps(run.provenance),
    )


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        digest = hashlib.sha256()
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
