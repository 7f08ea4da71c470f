"""One incident: its totals, what was told of it, and the messages it makes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from edge_agent.alerting.tally import Tally, explain, severity
from edge_agent.contract.alerts import (
    MANY_SOURCES,
    MAX_MODEL_NAME,
    MAX_PORTS,
    MAX_TARGETS,
    SEVERITIES,
    Alert,
    printable,
)

if TYPE_CHECKING:
    from edge_agent.alerting.evidence import VictimWatch, Window
    from edge_agent.alerting.limits import IncidentLimits

# An incident that grew this much since its last message is news at once.
_NEWS_FACTOR: Final = 10
# Each update comes after this many times the wait for the one before.
_UPDATE_BACKOFF: Final = 3

Key = tuple[str, str]
"""Shape ("source", "distributed", "overflow") and the address it is about."""


@dataclass(slots=True)
class Incident:
    """An attack being watched.

    Attributes:
        id: The same in all its messages.
        node: The gateway.
        model: The model that judged.
        key: See `Key`.
        tally: Totals since it began.
        alive_us: When its evidence last sufficed.
        flagged: Recent flagged flows.
        watch: Recent sources, of a distributed incident.
        severity: Highest so far.
        ending: A clause about how it ended.
        announced: Whether its first message left.
        told_flows: Flows in its last message.
        told_severity: Severity in its last message.
        next_update_us: When the next regular update is due.
        update_step_us: The wait for it.
    """

    id: str
    node: str
    model: str
    key: Key
    tally: Tally
    alive_us: int
    flagged: Window
    watch: VictimWatch | None = None
    severity: str = SEVERITIES[0]
    ending: str = ""
    announced: bool = False
    told_flows: int = 0
    told_severity: str = SEVERITIES[0]
    next_update_us: int = 0
    update_step_us: int = 0

    @property
    def many_sources(self) -> bool:
        """Whether no single address is responsible."""
        return self.key[0] != "source"

    def judge(self) -> None:
        """Bring the severity up to date; it never falls."""
        judged = severity(self.tally, self.many_sources)
        self.severity = max(self.severity, judged, key=SEVERITIES.index)

    def has_news(self, now_us: int) -> bool:
        """Whether an update should leave."""
        if self.tally.flows == self.told_flows:
            return False
        return (
            now_us >= self.next_update_us
            or self.tally.flows >= _NEWS_FACTOR * self.told_flows
            or self.severity != self.told_severity
        )

    def message(self, event: str, now_us: int, limits: IncidentLimits) -> Alert:
        """Tell its present state, and remember that it was told."""
        self.judge()
        if event == "new":
            self.announced = True
            self.update_step_us = int(limits.update_after_s * 1e6)
            self.next_update_us = now_us + self.update_step_us
        elif now_us >= self.next_update_us:
            longest_us = int(limits.max_update_after_s * 1e6)
            self.update_step_us = min(self.update_step_us * _UPDATE_BACKOFF, longest_us)
            self.next_update_us = now_us + self.update_step_us
        tally = self.tally
        self.told_flows = tally.flows
        self.told_severity = self.severity
        source = MANY_SOURCES if self.many_sources else self.key[1]
        return Alert(
            id=self.id,
            event=event,
            time_us=now_us,
            first_seen_us=tally.first_seen_us,
            last_seen_us=tally.last_seen_us,
            node=self.node,
            source=source,
            source_count=len(tally.sources),
            targets=tally.targets.first(MAX_TARGETS),
            target_count=len(tally.targets),
            target_ports=tally.ports.lowest(MAX_PORTS),
            port_count=len(tally.ports),
            at_least=tally.at_least,
            protocol=tally.protocol,
            family=tally.family,
            severity=self.severity,
            score=tally.top_score,
            mean_score=tally.mean_score,
            flows=tally.flows,
            explanation=explain(
                tally,
                None if self.many_sources else source,
                self.ending if event == "end" else "",
            ),
            model=printable(self.model, MAX_MODEL_NAME - 1) or "unnamed",
        )
