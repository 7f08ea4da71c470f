"""Flagged flows → incidents: a few messages about an attack, never one per flow.

Grouping by source and victim, in three shapes:

    source       one source. Its victims are counted inside: with one victim it is exactly the group
                 (source, victim); a scanner of many hosts stays one incident instead of becoming
                 hundreds.
    distributed  one victim, once `distributed_sources` sources were flagged against it within the
                 window, on whatever ports. Then no address is responsible (a flood invents them):
                 the source is "many". It takes in what its sources had pending; incidents of a
                 single source against this victim alone end by its name.
    overflow     what finds no other place: sources with evidence while the table is full, and
                 pending sources pushed out by newer ones while their flows still count. So a
                 flood of small incidents can neither grow the table nor hide another attack.

The family is no part of the group but a verdict on it: what most of its flows look like
(`Tally.family`). A model names families flow by flow and wavers between kindred ones, such as `dos`
and `ddos`, so grouping by family would tell one attack several times over, or spread its flows so
thin that none of the groups is evidence. What it costs: a source that changes its attack within
`quiet_s` stays one incident, under the family that most of its flows have.

Life: `new` when the evidence suffices (`IncidentLimits`), `update` with growing distance, or at
once when the flows grew tenfold or the severity rose, `end` when the evidence that would open the
incident has been gone for `quiet_s`. Single false alarms after an attack are counted but keep
nothing alive. Every flagged flow counts in exactly one incident, or expires as noise.

No clock: `now_us` is an argument. It should not run backwards; where it does, the latest time
known holds.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

from edge_agent.alerting.evidence import Pending, RecentTable, VictimWatch, Window
from edge_agent.alerting.incident import Incident, Key
from edge_agent.alerting.limits import IncidentLimits, MessageBudget
from edge_agent.alerting.tally import Tally, Verdict
from edge_agent.contract.alerts import (
    SEVERITIES,
    Alert,
    is_node_name,
    printable,
)

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Mapping

__all__ = ["IncidentCounts", "IncidentLimits", "IncidentTable", "Verdict"]


@dataclass(frozen=True, slots=True)
class IncidentCounts:
    """What the table holds and has seen. flagged = in_incidents + pending + expired.

    Attributes:
        active: Incidents begun and not ended.
        flagged_flows: Flagged flows taken in.
        incident_flows: Those that belong to an incident.
        pending_flows: Those that may yet.
        expired_flows: Those that stayed alone: noise.
        pending_sources: Sources with pending flows.
        messages: Alerts given out.
    """

    active: int
    flagged_flows: int
    incident_flows: int
    pending_flows: int
    expired_flows: int
    pending_sources: int
    messages: int


class IncidentTable:
    """Groups flagged flows and says when there is something to tell.

    Args:
        limits: Constants of grouping.
        node: This gateway's name.
        model_name: The model that judges, for alerts.

    Raises:
        ValueError: The node's name does not fit into a topic.
    """

    def __init__(self, limits: IncidentLimits, node: str, model_name: str) -> None:
        if not is_node_name(node):
            raise ValueError(f"not a node name: {printable(repr(node), 80)}")
        self._limits = limits
        self._node = node
        self._model = model_name
        self._window_us = int(limits.window_s * 1e6)
        self._now_us = 0
        self._bucket = 0
        self._budget: MessageBudget | None = None
        self._open: dict[Key, Incident] = {}
        # Ended, but not told yet: the message budget was spent.
        self._ending: list[Incident] = []
        self._seen: RecentTable[Window] = RecentTable(limits.max_seen)
        self._pending: RecentTable[Pending] = RecentTable(limits.max_pending)
        self._watches: RecentTable[VictimWatch] = RecentTable(limits.max_victims)
        # Flagged flows by source, of sources that open incidents of many sources took in.
        self._taken_in: RecentTable[Window] = RecentTable(limits.max_pending)
        # All flows but those that open incidents of many sources took in: what one victim's flood
        # is must not make an attack of a false alarm elsewhere.
        self._all_seen = Window(0)
        self._all_flagged = Window(0)
        self._begun = 0
        self._flagged_flows = 0
        self._pending_flows = 0
        self._expired_flows = 0
        self._messages = 0

    def add(
        self,
        verdicts: Iterable[Verdict],
        now_us: int,
        seen: Mapping[str, int] | None = None,
    ) -> list[Alert]:
        """Take in flagged flows.

        Args:
            verdicts: Flagged flows, in the order given out; scores finite.
            now_us: The present, µs since 1970.
            seen: All flows scored since the last call, flagged or not, by source. Without it every
                source counts as if it had flagged flows only.

        Returns:
            Messages to publish, in order.
        """
        self._advance(now_us)
        for source, count in (seen or {}).items():
            window = self._seen.touch(source)
            if window is None:
                window = Window(self._bucket)
                self._seen.put(source, window)
            window.add(self._bucket, count)
            self._all_seen.add(self._bucket, count)
        for verdict in verdicts:
            self._flagged_flows += 1
            self._place(verdict)
        return self._report()

    def tick(self, now_us: int) -> list[Alert]:
        """Let time pass: incidents end, due updates leave. Call about once a second."""
        self._advance(now_us)
        return self._report()

    def close(self, now_us: int, ending: str = "the agent stopped") -> list[Alert]:
        """End everything, whatever the message budget: the capture or the service ends.

        Args:
            now_us: The present, µs since 1970.
            ending: Why, for the explanations.

        Returns:
            Messages to publish, in order.
        """
        self._advance(now_us)
        for incident in list(self._open.values()):
            self._finish(incident, ending)
        while (oldest := self._pending.oldest()) is not None:
            self._take_pending(oldest[0], expired=True)
        alerts = []
        for incident in self._ending:
            if not incident.announced:
                alerts.append(self._tell(incident, "new"))
            alerts.append(self._tell(incident, "end"))
        self._ending.clear()
        return alerts

    def afresh(self) -> IncidentTable:
        """An empty table of the same settings, for when time begins anew."""
        return IncidentTable(self._limits, self._node, self._model)

    def adjust(self, limits: IncidentLimits, model_name: str) -> None:
        """Go on with other limits and under another model's name; what is open stays open.

        The sizes of tables and the window stay as they were.
        """
        self._limits = limits
        self._model = model_name
        if self._budget is not None:
            self._budget.limits = limits

    def alerting_sources(self) -> frozenset[str]:
        """Sources of open incidents, those without one responsible source left out."""
        return frozenset(source for shape, source in self._open if shape == "source")

    @property
    def counts(self) -> IncidentCounts:
        """See `IncidentCounts`."""
        return IncidentCounts(
            active=len(self._open) + len(self._ending),
            flagged_flows=self._flagged_flows,
            incident_flows=self._flagged_flows - self._pending_flows - self._expired_flows,
            pending_flows=self._pending_flows,
            expired_flows=self._expired_flows,
            pending_sources=len(self._pending),
            messages=self._messages,
        )

    def _advance(self, now_us: int) -> None:
        self._now_us = max(self._now_us, now_us)
        if self._budget is None:
            full = float(self._limits.burst_messages)
            self._budget = MessageBudget(self._limits, full, self._now_us)
        self._budget.refill(self._now_us)
        bucket = self._now_us // self._window_us
        if bucket != self._bucket:
            self._bucket = bucket
            self._forget()
        quiet_us = int(self._limits.quiet_s * 1e6)
        for incident in list(self._open.values()):
            if self._now_us - incident.alive_us >= quiet_us:
                self._finish(incident, f"over, no more evidence for {self._limits.quiet_s:.0f} s")

    def _forget(self) -> None:
        """Drop what lies two buckets back; tables are in order of last use, stale ones first."""
        while (oldest := self._pending.oldest()) and oldest[1].bucket < self._bucket - 1:
            self._take_pending(oldest[0], expired=True)
        while (watch := self._watches.oldest()) and watch[1].bucket < self._bucket - 1:
            self._watches.pop(watch[0])
        for table in (self._seen, self._taken_in):
            while (window := table.oldest()) and window[1].bucket < self._bucket - 1:
                table.pop(window[0])

    def _place(self, verdict: Verdict) -> None:
        """Count a flow in the one place where it belongs."""
        source_key = ("source", verdict.source)
        victim_key = ("distributed", verdict.destination)
        distributed = self._open.get(victim_key)
        watch = distributed.watch if distributed else self._watch(victim_key)
        if distributed is None:
            self._all_flagged.add(self._bucket)
        if watch is not None:
            watch.add(verdict.source, self._bucket)
            if distributed is None and self._is_distributed(watch):
                distributed = self._collapse(victim_key, watch)
        if own := self._open.get(source_key):
            own.tally.add(verdict)
            own.flagged.add(self._bucket)
            if own.alive_us < self._now_us and self._is_evidence(
                verdict.source, own.flagged.total(self._bucket), verdict.score
            ):
                own.alive_us = self._now_us
        elif distributed is not None and watch is not None:
            if self._stands_out(verdict) and self._has_room():
                first = Tally(1, self._limits.max_targets)
                first.add(verdict)
                self._begin(source_key, 1, (first,)).flagged.add(self._bucket)
                return
            distributed.tally.add(verdict)
            distributed.flagged.add(self._bucket)
            self._all_seen.add(self._bucket, -1)
            if distributed.alive_us < self._now_us and self._is_distributed(
                watch, distributed.flagged.total(self._bucket)
            ):
                distributed.alive_us = self._now_us
        else:
            self._hold(source_key, verdict)

    def _stands_out(self, verdict: Verdict) -> bool:
        """Whether a source among many does far more than they: then it is an attack of its own.

        A scanner of a host that is being flooded, say. A host that a botnet attacks is attacked by
        each of its members alike, and an invented address hardly comes twice.
        """
        window = self._taken_in.touch(verdict.source)
        if window is None:
            window = Window(self._bucket)
            self._taken_in.put(verdict.source, window)
        window.add(self._bucket)
        flows = window.total(self._bucket)
        if flows % self._limits.outstanding_flows:
            return False
        usual = sum(one.total(self._bucket) for one in self._taken_in) / len(self._taken_in)
        return flows >= self._limits.outstanding_times * usual

    def _watch(self, victim_key: Key) -> VictimWatch:
        watch = self._watches.touch(victim_key)
        if watch is None:
            watch = VictimWatch(self._limits.distributed_sources, self._bucket)
            self._watches.put(victim_key, watch)
        return watch

    def _hold(self, source_key: Key, verdict: Verdict) -> None:
        """Keep a flow until its source has enough of them for an incident."""
        pending = self._pending.touch(source_key)
        if pending is None:
            pending = Pending(self._bucket)
            evicted = self._pending.put(source_key, pending)
            if evicted is not None:
                self._evict(evicted)
        forgotten = pending.roll(self._bucket)
        self._expired_flows += forgotten
        self._pending_flows += 1 - forgotten
        pending.add(verdict)
        if self._is_evidence(verdict.source, pending.flows, pending.top_score):
            taken = self._take_pending(source_key)
            if self._has_room():
                incident = self._begin(source_key, 1, taken)
                incident.flagged.add(self._bucket, incident.tally.flows)
            else:
                self._overflow(taken)

    def _evict(self, pending: Pending) -> None:
        forgotten = pending.roll(self._bucket)
        self._expired_flows += forgotten
        self._pending_flows -= forgotten + pending.flows
        if pending.flows:
            self._overflow(pending.parts())

    def _take_pending(self, key: Hashable, expired: bool = False) -> tuple[Tally, ...]:
        pending = self._pending.pop(key)
        if pending is None:
            return ()
        forgotten = pending.roll(self._bucket)
        self._pending_flows -= forgotten + pending.flows
        self._expired_flows += forgotten + (pending.flows if expired else 0)
        return pending.parts()

    def _is_evidence(self, source: str, flagged: int, top_score: float) -> bool:
        """Whether a source's flagged flows are enough for an incident."""
        limits = self._limits
        if limits.lone_score is not None and top_score >= limits.lone_score:
            return True
        if flagged < limits.min_flows:
            return False
        window = self._seen.peek(source)
        return limits.exceeds_noise(flagged, window.total(self._bucket) if window else 0)

    def _is_distributed(self, watch: VictimWatch, taken_in: int = 0) -> bool:
        """Whether so many sources against one victim are an attack.

        A busy server draws a false alarm each from many clients. Judged by those clients alone
        they would look bad (they are the flagged ones), so all traffic is the yardstick, and the
        flows that the victim's open incident has taken in lately.
        """
        return watch.crowded(self._bucket) and self._limits.exceeds_noise(
            self._all_flagged.total(self._bucket) + taken_in,
            self._all_seen.total(self._bucket) + taken_in,
        )

    def _has_room(self) -> bool:
        # One place is the overflow's.
        return len(self._open) + len(self._ending) < self._limits.max_open - 1

    def _collapse(self, victim_key: Key, watch: VictimWatch) -> Incident | None:
        """Make one distributed incident of all that its sources did against the victim."""
        _, victim = victim_key
        parts: list[Tally] = []
        superseded = []
        for incident in list(self._open.values()):
            shape, _ = incident.key
            if shape != "source" or incident.tally.targets.first(2) != (victim,):
                continue
            if incident.announced:
                superseded.append(incident)
            else:
                # Nobody has heard of it yet, so nobody needs to hear of its end.
                del self._open[incident.key]
                parts.append(incident.tally)
        for source in watch.sources:
            key = ("source", source)
            pending = self._pending.peek(key)
            if pending is not None and pending.only_targets(victim):
                parts.extend(self._take_pending(key))
        if not self._has_room():
            self._overflow(tuple(parts))
            return None
        distributed = self._begin(victim_key, self._limits.max_sources, tuple(parts))
        distributed.watch = watch
        self._watches.pop(victim_key)
        for incident in superseded:
            self._finish(incident, f"one of many sources, continues as {distributed.id}")
        return distributed

    def _overflow(self, parts: tuple[Tally, ...]) -> None:
        key: Key = ("overflow", "")
        incident = self._open.get(key)
        waiting = next((one for one in self._ending if one.key == key), None)
        if incident is None and waiting is not None:
            # Its end was not told yet: it goes on.
            self._ending.remove(waiting)
            waiting.ending = ""
            self._open[key] = incident = waiting
        if incident is None:
            self._begin(key, self._limits.max_sources, parts)
            return
        for part in parts:
            incident.tally.merge(part)
        incident.alive_us = self._now_us

    def _begin(self, key: Key, max_sources: int, parts: tuple[Tally, ...]) -> Incident:
        self._begun += 1
        # Reproducible in a replay; the first flow's time tells the runs of a service apart.
        tally = Tally.of(parts, max_sources, self._limits.max_targets)
        facts = "|".join((self._node, *key, str(tally.first_seen_us), str(self._begun)))
        incident = Incident(
            id=hashlib.blake2b(facts.encode(), digest_size=12).hexdigest(),
            node=self._node,
            model=self._model,
            key=key,
            tally=tally,
            alive_us=self._now_us,
            flagged=Window(self._bucket),
        )
        self._open[key] = incident
        return incident

    def _finish(self, incident: Incident, ending: str) -> None:
        del self._open[incident.key]
        incident.ending = ending
        self._ending.append(incident)

    def _report(self) -> list[Alert]:
        """All that is due and within the budget: first what is new, worst first, then ends."""
        alerts: list[Alert] = []
        for incident in self._open.values():
            incident.judge()
        fresh = [one for one in chain(self._open.values(), self._ending) if not one.announced]
        fresh.sort(key=lambda one: -SEVERITIES.index(one.severity))
        due = [(one, "new") for one in fresh]
        due += [(one, "end") for one in self._ending]
        due += [
            (one, "update")
            for one in self._open.values()
            if one.announced and one.has_news(self._now_us)
        ]
        for incident, event in due:
            if self._budget is None or not self._budget.spend():
                break
            alerts.append(self._tell(incident, event))
            if event == "end":
                self._ending.remove(incident)
        return alerts

    def _tell(self, incident: Incident, event: str) -> Alert:
        self._messages += 1
        return incident.message(event, self._now_us, self._limits)
