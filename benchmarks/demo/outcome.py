"""Alerts held against the truth: which campaigns were heard of, how soon, and what was false."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import TYPE_CHECKING

from edge_agent.contract.alerts import MANY_SOURCES
from trainer.datasets.truth import TAIL_S

if TYPE_CHECKING:
    from collections.abc import Iterable

    from edge_agent.contract.alerts import Alert
    from trainer.datasets.endpoints import Span
    from trainer.datasets.truth import Campaign, Truth

_TAIL_US = round(TAIL_S * 1e6)


@dataclass(frozen=True, slots=True)
class Detection:
    """One campaign and what was told of it.

    Attributes:
        campaign: The campaign.
        first_alert_us: When the first alert about it came; None: there was none.
        named: The family in the last message of the incident that told first; None likewise.
    """

    campaign: Campaign
    first_alert_us: int | None
    named: str | None = None

    @property
    def delay_s(self) -> float | None:
        """From the campaign's start to the first alert, in the capture's time."""
        if self.first_alert_us is None:
            return None
        return (self.first_alert_us - self.campaign.start_us) / 1e6


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the alerts of a recording were worth.

    Attributes:
        detections: One per campaign, in order of time.
        false_incidents: Ids of incidents that no campaign explains.
        hours: Length of the recording. Benign traffic runs all the time.
    """

    detections: tuple[Detection, ...]
    false_incidents: tuple[str, ...]
    hours: float

    @property
    def detected(self) -> int:
        """Campaigns with an alert."""
        return sum(detection.first_alert_us is not None for detection in self.detections)

    @property
    def named_right(self) -> int:
        """Campaigns told of under their own family."""
        return sum(detection.named == detection.campaign.family for detection in self.detections)

    @property
    def false_alerts_per_hour(self) -> float:
        """Incidents without a campaign, per hour of benign traffic."""
        return len(self.false_incidents) / self.hours


def explains(campaign: Campaign, alert: Alert) -> bool:
    """Whether an alert is about a campaign.

    Its source must be an attacker (or "many"), one of its targets a victim, and the flows it tells
    of must reach into the campaign's time.
    """
    return (
        alert.time_us >= campaign.start_us
        and alert.last_seen_us >= campaign.start_us
        and alert.first_seen_us <= campaign.end_us + _TAIL_US
        and (alert.source == MANY_SOURCES or _inside(alert.source, campaign.attackers))
        and any(_inside(target, campaign.victims) for target in alert.targets)
    )


def judge(alerts: Iterable[Alert], truth: Truth) -> Outcome:
    """Hold alerts against the truth of their recording."""
    alerts = list(alerts)
    detections = []
    for campaign in sorted(truth.campaigns, key=lambda campaign: campaign.start_us):
        about = sorted(
            (alert for alert in alerts if explains(campaign, alert)), key=lambda one: one.time_us
        )
        if not about:
            detections.append(Detection(campaign, None))
            continue
        first = about[0]
        last = [alert for alert in about if alert.id == first.id][-1]
        detections.append(Detection(campaign, first.time_us, last.family))
    incidents = dict.fromkeys(alert.id for alert in alerts)
    explained = {
        alert.id
        for alert in alerts
        if any(explains(campaign, alert) for campaign in truth.campaigns)
    }
    return Outcome(
        detections=tuple(detections),
        false_incidents=tuple(name for name in incidents if name not in explained),
        hours=(truth.end_us - truth.start_us) / 3600e6,
    )


def _inside(address: str, spans: tuple[Span, ...]) -> bool:
    try:
        value = int(IPv4Address(address))
    except ValueError:  # "many" among targets, or IPv6
        return False
    return any(low <= value <= high for low, high in spans)
