"""Every constant of grouping, with its reason."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class IncidentLimits:
    """When flagged flows become an incident, when it is told again, when it ends, what it may cost.

    Attributes:
        window_s: Evidence is gathered in two buckets of this length, so any burst this long is seen
            whole and nothing older than twice this counts. A minute holds several tries of a
            patient password guesser and few false alarms of a quiet device.
        min_flows: Flagged flows of a source that make an incident. One or two lone false positives
            a minute are what a good model still gives; a scan or a flood has three at once.
        false_alarm_share: Share of a benign source's flows that the model may flag by mistake.
            2 % is what the worst of the measured models did on recordings it had not seen.
        noise_sigmas: A source is noise until its flagged flows exceed what that share explains by
            this many standard deviations. At four, chance alone rarely gets there.
        lone_score: A single flow at or above it is evidence enough; None: never. Off, because an
            int8 output saturates: false positives too reach its highest code.
        distributed_sources: Sources flagged against one victim within the window that make one
            distributed incident. A household has fewer devices that all misbehave at once.
        outstanding_flows: Flagged flows of one source among many that may make an attack of its
            own: a scan has as many in a second.
        outstanding_times: How many times as many as the sources beside it has.
        quiet_s: An incident ends when its evidence has been gone this long. Tools pause between
            rounds for seconds, not for a minute.
        update_after_s: First update of a lasting incident; the next ones follow at three times the
            distance each: about 10 s, 40 s, 2 min, 7 min after the first message.
        max_update_after_s: The distance grows to this, so that a lasting attack is heard of at
            least four times an hour.
        max_open: Incidents open at once, and thereby the memory; a household never has as many.
        max_pending: Sources whose flagged flows are not yet enough. One in a flood of invented
            addresses costs about 2 KB until it is forgotten.
        max_victims: Victims watched for distributed attacks.
        max_seen: Sources whose benign flows are counted.
        max_targets: Victims an incident counts exactly.
        max_sources: Sources a distributed incident counts exactly.
        burst_messages: Messages at once after a calm time: all that a bad minute needs.
        messages_per_s: Sustained rate beyond that. What cannot be told now is told later, with
            the totals of then.
    """

    window_s: float = 60.0
    min_flows: int = 3
    false_alarm_share: float = 0.02
    noise_sigmas: float = 4.0
    lone_score: float | None = None
    distributed_sources: int = 20
    outstanding_flows: int = 20
    outstanding_times: float = 5.0
    quiet_s: float = 60.0
    update_after_s: float = 10.0
    max_update_after_s: float = 900.0
    max_open: int = 128
    max_pending: int = 4096
    max_victims: int = 512
    max_seen: int = 4096
    max_targets: int = 256
    max_sources: int = 1024
    burst_messages: int = 50
    messages_per_s: float = 1.0

    def __post_init__(self) -> None:
        for name in (
            "window_s",
            "min_flows",
            "distributed_sources",
            "outstanding_flows",
            "outstanding_times",
            "quiet_s",
            "update_after_s",
            "max_pending",
            "max_victims",
            "max_seen",
            "max_targets",
            "max_sources",
            "burst_messages",
            "messages_per_s",
        ):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be above 0, not {getattr(self, name)}")
        if self.max_open < 2:
            raise ValueError(
                "max_open must be at least 2: one place is kept for what finds no other"
            )
        if not 0 <= self.false_alarm_share < 1 or self.noise_sigmas < 0:
            raise ValueError(
                "false_alarm_share is a share below 1 and noise_sigmas is not negative"
            )
        if self.max_update_after_s < self.update_after_s:
            raise ValueError("max_update_after_s cannot be below update_after_s")

    def exceeds_noise(self, flagged: int, seen: int) -> bool:
        """Whether so many flagged flows among those seen are more than the model's own mistakes."""
        expected = self.false_alarm_share * max(seen, flagged)
        return flagged >= expected + self.noise_sigmas * math.sqrt(expected)


@dataclass(slots=True)
class MessageBudget:
    """A token bucket: how many messages may leave now.

    Attributes:
        limits: Its size and rate.
        tokens: Messages that may leave at once.
        filled_us: When it was last topped up.
    """

    limits: IncidentLimits
    tokens: float
    filled_us: int

    def refill(self, now_us: int) -> None:
        """Credit the time passed."""
        gained = (now_us - self.filled_us) / 1e6 * self.limits.messages_per_s
        self.tokens = min(self.tokens + gained, float(self.limits.burst_messages))
        self.filled_us = now_us

    def spend(self) -> bool:
        """Take one message from the budget; False when it is spent."""
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True
