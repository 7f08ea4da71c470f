"""A labelled recording, and how verdicts on its flows fit the attacks that were really run.

A campaign counts as found when most of its flows are flagged: an operator sees an incident, not a
flow. False alarms count per hour of recording, because that is how often somebody is disturbed.
Its family is what most of its flagged flows are named, as an incident's is.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from converters.gate import figures
from edge_agent.alerting.tally import leading_family
from edge_agent.console import end_progress, progress_line
from trainer.datasets.captures import label_capture

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from benchmarks.subjects import Verdicts
    from edge_agent.contract.runs import Run
    from trainer.datasets.truth import Campaign, Truth

_HOUR_US: Final = 3_600_000_000


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
    """One campaign as a model saw it; `named` is its family, None where the model told none."""

    campaign: Campaign
    flows: int
    flagged: int
    named: str | None = None

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
            "named": self.named,
            "flows": self.flows,
            "flagged": self.flagged,
            "flagged_share": self.flagged_share,
            "most_flagged": self.most_flagged,
        }


def by_campaign(
    order: Sequence[Campaign],
    campaigns: Sequence[Campaign | None],
    verdicts: Verdicts,
) -> list[CampaignResult]:
    """Count flows and flagged flows of each campaign.

    Args:
        order: All campaigns of the recording; one without flows stays in the list.
        campaigns: The campaign of each flow; None is benign.
        verdicts: A model's on each flow.
    """
    attacks = verdicts.attacks
    ids = [campaign.id if campaign else None for campaign in campaigns]
    flows = Counter(ids)
    flagged = Counter(name for name, attack in zip(ids, attacks.tolist(), strict=True) if attack)
    votes: dict[str | None, Counter[str]] = {name: Counter() for name in flagged}
    if verdicts.families is not None:
        for name, attack, family in zip(ids, attacks.tolist(), verdicts.families, strict=True):
            if attack:
                votes[name][family] += 1
    return [
        CampaignResult(
            campaign,
            flows[campaign.id],
            flagged[campaign.id],
            leading_family(votes[campaign.id]) if votes.get(campaign.id) else None,
        )
        for campaign in order
    ]


def naming(truth: Sequence[str], named: Sequence[str]) -> dict[str, Any]:
    """How well families are named, for the report.

    Args:
        truth: What each thing is.
        named: What it was called.
    """
    confusion: dict[str, Counter[str]] = {}
    for is_a, called in zip(truth, named, strict=True):
        confusion.setdefault(is_a, Counter())[called] += 1
    right = sum(calls[is_a] for is_a, calls in confusion.items())
    return {
        "named": len(truth),
        "right": right,
        "accuracy": right / len(truth) if truth else None,
        "confusion": {is_a: dict(calls) for is_a, calls in sorted(confusion.items())},
    }


def judge(recording: Recording, verdicts: Verdicts) -> dict[str, Any]:
    """Everything one model's verdicts on a recording amount to, for the report."""
    attacks = verdicts.attacks
    result = figures(recording.label, attacks)
    found = by_campaign(recording.truth.campaigns, recording.campaigns, verdicts)
    false_alarms = result.confusion["fp"]
    families = {}
    if verdicts.families is not None:
        flows = [
            (campaign.family, name)
            for campaign, name, attack in zip(
                recording.campaigns, verdicts.families, attacks, strict=True
            )
            if campaign and attack
        ]
        told = [(item.campaign.family, item.named) for item in found if item.named is not None]
        families = {
            "families": {
                "flows": naming(*_columns(flows)),
                "campaigns": naming(*_columns(told)),
            }
        }
    return {
        **families,
        **result.to_json(),
        "false_alarms_per_hour": false_alarms / recording.hours if recording.hours else None,
        "campaigns_found": sum(item.most_flagged for item in found),
        "campaigns": [item.to_json() for item in found],
    }


def _columns(pairs: Sequence[tuple[str, str]]) -> tuple[list[str], list[str]]:
    return [first for first, _ in pairs], [second for _, second in pairs]


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
    names = [feature.name for feature in run.features]
    labelled = label_capture(
        capture,
        truth_path,
        run.profile,
        names,
        lambda flows: progress_line(f"{capture}: {flows:,} flows"),
    )
    end_progress()
    return Recording(
        capture=capture,
        truth=labelled.truth,
        raw=labelled.raw,
        campaigns=labelled.campaigns,
        learned_from=labelled.sha256 in json.dumps(run.provenance),
    )
