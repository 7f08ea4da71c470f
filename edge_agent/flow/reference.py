"""What each flow profile means, in plain Python: the oracle that the compiled meter must equal.

A meter takes packets in capture order and gives out rows. Time comes in with the packets.

`cic2017` (spec A.5). The first FIN of either side ends a row at once; the peer's FIN and the last
ACK open another. RST ends nothing. A packet more than 120 s after the row's first one opens a new
row, is booked forward whatever its direction, and inherits the old row's orientation. Rows of one
packet are not written.

`improved` (spec C.2). A TCP row whose both sides sent FIN and then an ACK came, or that saw a RST,
is closed, but absorbs what follows until a SYN or until 120 s have passed. A SYN-ACK that comes
first is turned round. Rows of one packet are written.

`gateway`. The counters and the closing of `improved`, but a row is given out as soon as it can be,
with its context: after a short linger behind teardown or RST, after silence (shorter for a flow
that got no answer), and at every `active_timeout_s` of a long life, which then goes on in a new
row. A TCP flow whose beginning was not seen is oriented by its lower port.

The table is bounded. A new flow that finds it full pushes out the one that loses least: one silent
for so long that its row is complete; else one that is closed; else of one packet; else without an
answer; else any: in each case the longest silent. Its row is given out, and counted by the reason.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter, OrderedDict
from typing import TYPE_CHECKING

from edge_agent.flow.columns import cic2017_columns, improved_columns
from edge_agent.flow.context import ContextTable, Endpoints
from edge_agent.flow.counters import Counters
from edge_agent.flow.entries import STATES, Flow, Key, directed_key, undirected_key
from edge_agent.flow.limits import DEFAULT_MAX_FLOWS, DEFAULT_MAX_KEYS
from edge_agent.flow.packets import ACK, FIN, SYN, TCP
from edge_agent.flow.rows import FlowRow, address_text
from edge_agent.flow.timeline import Timeline

if TYPE_CHECKING:
    from edge_agent.contract.profiles import Profile
    from edge_agent.flow.packets import Packet
    from edge_agent.flow.timeline import Admitted


class ReferenceMeter(ABC):
    """Packets in, rows out. `meter` chooses the class for a profile.

    Args:
        profile: What a flow is and what is counted of it.
        max_flows: Bound of the table.

    Attributes:
        timeline: The clock, and what it found wrong with stamps.
        context: The neighbourhoods, where the profile has them.
        evicted: Flows pushed out of the full table, by reason.
    """

    def __init__(self, profile: Profile, max_flows: int = DEFAULT_MAX_FLOWS) -> None:
        self.profile = profile
        self.timeline = Timeline()
        self.context: ContextTable | None = None
        self.evicted: Counter[str] = Counter()
        self._max_flows = max_flows
        self._timeout_us = round(profile.flow_timeout_s * 1e6)
        self._flows: dict[Key, Flow] = {}
        # State → flow → clock at its last packet, in that order: the head is the longest silent.
        self._waiting: dict[str, OrderedDict[Key, int]] = {state: OrderedDict() for state in STATES}

    @property
    def now_us(self) -> int:
        """The clock, µs since 1970; 0 before the first packet."""
        return self.timeline.now_us or 0

    @property
    def flows(self) -> int:
        """Flows in the table."""
        return len(self._flows)

    def add(self, packet: Packet) -> list[FlowRow]:
        """Take the next packet in capture order; returns the rows it completed."""
        return self._take_admitted(self.timeline.admit(packet))

    def advance(self, now_us: int) -> list[FlowRow]:
        """Give out what is due before `now_us`; for a live agent when no packet comes."""
        self.timeline.advance(now_us)
        return []

    def flush(self) -> list[FlowRow]:
        """Give out everything that is left, as at the end of a capture."""
        rows = self._take_admitted(self.timeline.settle())
        return rows + self._drop_all()

    def _take_admitted(self, admitted: list[Admitted]) -> list[FlowRow]:
        rows: list[FlowRow] = []
        for item in admitted:
            if item.begins_anew:
                rows += self._drop_all()
                if self.context is not None:
                    self.context.clear()
                self.timeline.begin_anew(item.packet.time_us)
            elif item.packet.time_us < self.now_us:
                self.timeline.disorder += 1
            rows += self.advance(item.packet.time_us)
            rows += self._take(item.packet)
        return rows

    @abstractmethod
    def _take(self, packet: Packet) -> list[FlowRow]:
        """Take a packet of which the clock knows."""

    @abstractmethod
    def _give_out(self, flow: Flow, now_us: int) -> list[FlowRow]:
        """The row of a flow, if it has one to be written."""

    def _wait(self, key: Key, flow: Flow) -> None:
        """Queue a flow that a packet has just touched."""
        for queue in self._waiting.values():
            queue.pop(key, None)
        self._waiting[flow.state][key] = self.now_us

    def _drop(self, key: Key, now_us: int) -> list[FlowRow]:
        """Forget a flow; its row is given out if it has one."""
        for queue in self._waiting.values():
            queue.pop(key, None)
        return self._give_out(self._flows.pop(key), now_us)

    def _drop_all(self) -> list[FlowRow]:
        return [row for key in list(self._flows) for row in self._drop(key, self.now_us)]

    def _make_room(self) -> list[FlowRow]:
        """Push a flow out if the table is full."""
        if len(self._flows) < self._max_flows:
            return []
        heads = [
            (state, *next(iter(queue.items()))) for state, queue in self._waiting.items() if queue
        ]
        complete = [
            ("complete", key, touched_us)
            for _, key, touched_us in heads
            if self.now_us - touched_us > self._timeout_us
        ]
        reason, key, _ = (complete or heads)[0]
        self.evicted[reason] += 1
        return self._drop(key, self.now_us)

    def _row(
        self, flow: Flow, counters: Counters, now_us: int, values: tuple[float, ...]
    ) -> FlowRow:
        return FlowRow(
            source_address=_text(flow.source),
            source_port=flow.source_port,
            destination_address=_text(flow.destination),
            destination_port=flow.destination_port,
            protocol=flow.protocol,
            start_us=counters.start_us,
            end_us=counters.end_us,
            released_us=max(now_us, counters.end_us),
            values=values,
        )


def meter(
    profile: Profile,
    max_flows: int = DEFAULT_MAX_FLOWS,
    max_context_keys: int = DEFAULT_MAX_KEYS,
    context_seed: int = 0,
) -> ReferenceMeter:
    """The reference meter of a profile.

    Args:
        profile: What a flow is and what is counted of it.
        max_flows: Bound of the flow table.
        max_context_keys: Bound of each of the four context tables, where the profile has them.
        context_seed: See `context.spread`.
    """
    if profile.live is not None:
        return _GatewayMeter(profile, max_flows, max_context_keys, context_seed)
    return {"cic2017": _Cic2017Meter, "improved": _ImprovedMeter}[profile.name](profile, max_flows)


class _Cic2017Meter(ReferenceMeter):
    """The original tool (spec A.5)."""

    def _take(self, packet: Packet) -> list[FlowRow]:
        # The original tool tells directions apart by address: a host that speaks to itself has one
        # flow each way.
        to_itself = packet.source == packet.destination
        key = directed_key(packet) if to_itself else undirected_key(packet)
        flow = self._flows.get(key)
        if flow is None:
            rows = self._make_room()
            flow = self._flows[key] = Flow(packet)
            flow.counters = Counters(packet, forward=True)
            self._wait(key, flow)
            return rows
        counters = _counters(flow)
        if packet.time_us - counters.start_us > self._timeout_us:
            rows = self._give_out(flow, packet.time_us)
            # Also a backward packet is booked forward here, and only here.
            flow.counters = Counters(packet, forward=True)
            self._wait(key, flow)
            return rows
        ends = bool(packet.flags & FIN)
        counters.add(packet, forward=flow.is_forward(packet), closes_activity=not ends)
        if ends:
            return self._drop(key, packet.time_us)
        self._wait(key, flow)
        return []

    def _give_out(self, flow: Flow, now_us: int) -> list[FlowRow]:
        counters = _counters(flow)
        if counters.packets < 2:
            return []
        values = cic2017_columns(flow.destination_port, counters)
        return [self._row(flow, counters, now_us, values)]


class _ImprovedMeter(ReferenceMeter):
    """The corrected tool (spec C.2)."""

    def _take(self, packet: Packet) -> list[FlowRow]:
        key = undirected_key(packet)
        flow = self._flows.get(key)
        rows: list[FlowRow] = []
        if flow is None:
            rows = self._make_room()
            flow = self._flows[key] = self._open(packet)
        else:
            counters = _counters(flow)
            late = packet.time_us - counters.start_us > self._timeout_us
            silent = packet.time_us - counters.end_us > self._timeout_us
            if (flow.closed and (late or packet.flags & SYN)) or (
                late and silent and packet.protocol != TCP
            ):
                rows = self._give_out(flow, packet.time_us)
                flow = self._flows[key] = self._open(packet)
            else:
                forward = flow.is_forward(packet)
                if late:
                    rows = self._give_out(flow, packet.time_us)
                    flow.counters = Counters(packet, forward=forward)
                else:
                    counters.add(packet, forward=forward)
                flow.note_teardown(packet)
        self._wait(key, flow)
        return rows

    def _open(self, packet: Packet) -> Flow:
        flow = Flow(packet, turned=packet.flags & (SYN | ACK) == SYN | ACK)
        flow.counters = Counters(packet, forward=flow.is_forward(packet))
        flow.note_teardown(packet)
        return flow

    def _give_out(self, flow: Flow, now_us: int) -> list[FlowRow]:
        counters = _counters(flow)
        values = improved_columns(flow.destination_port, counters)
        return [self._row(flow, counters, now_us, values)]


def _counters(flow: Flow) -> Counters:
    if flow.counters is None:
        raise AssertionError("only the gateway meter keeps flows between two rows")
    return flow.counters


class _GatewayMeter(ReferenceMeter):
    """Live detection: rows in seconds, with their context, in bounded memory.

    Every flow waits in two queues: one of its state, whose time-out is counted from its last
    packet, one of its age. As each queue has one time-out, its head is always the next to go, and
    no timer is needed. Deadlines are served in order of time before a later packet is looked at,
    so rows do not depend on how packets come in batches.
    """

    def __init__(
        self, profile: Profile, max_flows: int, max_context_keys: int, context_seed: int
    ) -> None:
        super().__init__(profile, max_flows)
        if profile.live is None:
            raise AssertionError(f"profile {profile.name} has no live time-outs")
        live = profile.live
        self.context = self._neighbourhoods = ContextTable(max_context_keys, context_seed)
        unanswered_us = round(live.unanswered_timeout_s * 1e6)
        self._silence_us = {
            "closed": round(live.linger_s * 1e6),
            "single": unanswered_us,
            "unanswered": unanswered_us,
            "answered": round(live.idle_timeout_s * 1e6),
        }
        self._active_us = round(live.active_timeout_s * 1e6)
        # Flow → when its row is cut. Insertion order is the order of these times.
        self._aging: OrderedDict[Key, int] = OrderedDict()

    def _take(self, packet: Packet) -> list[FlowRow]:
        rows: list[FlowRow] = []
        key = undirected_key(packet)
        flow = self._flows.get(key)
        if flow is not None and flow.closed and packet.flags & SYN:
            rows += self._drop(key, self.now_us)
            flow = None
        if flow is None:
            rows += self._make_room()
            flow = self._flows[key] = Flow(packet, turned=_begins_backward(packet))
            self._neighbourhoods.begin(_endpoints(flow), self.now_us)
        forward = flow.is_forward(packet)
        if flow.counters is None:
            flow.counters = Counters(packet, forward=forward)
            self._aging[key] = self.now_us + self._active_us
        else:
            flow.counters.add(packet, forward=forward)
        flow.note_teardown(packet)
        self._wait(key, flow)
        return rows

    def advance(self, now_us: int) -> list[FlowRow]:
        rows: list[FlowRow] = []
        while dues := self._dues():
            due_us, state, key = min(dues)
            if due_us >= now_us:
                break
            rows += self._cut(key, due_us) if state == "aging" else self._drop(key, due_us)
        return rows + super().advance(now_us)

    def _dues(self) -> list[tuple[int, str, Key]]:
        """When the head of each queue is due; at the same time they go in order of the names."""
        dues = []
        for state, queue in self._waiting.items():
            if queue:
                key, touched_us = next(iter(queue.items()))
                dues.append((touched_us + self._silence_us[state], state, key))
        if self._aging:
            key, due_us = next(iter(self._aging.items()))
            dues.append((due_us, "aging", key))
        return dues

    def _cut(self, key: Key, now_us: int) -> list[FlowRow]:
        """Give out the row of a long flow; the flow itself goes on."""
        del self._aging[key]
        flow = self._flows[key]
        rows = self._give_out(flow, now_us)
        flow.counters = None
        return rows

    def _drop(self, key: Key, now_us: int) -> list[FlowRow]:
        self._aging.pop(key, None)
        return super()._drop(key, now_us)

    def _give_out(self, flow: Flow, now_us: int) -> list[FlowRow]:
        counters = flow.counters
        if counters is None:
            return []
        context = self._neighbourhoods.end(
            _endpoints(flow), now_us, answered=bool(counters.backward.packets)
        )
        values = (*improved_columns(flow.destination_port, counters), *context)
        return [self._row(flow, counters, now_us, values)]


def _begins_backward(packet: Packet) -> bool:
    """Whether a flow's first packet comes from its server."""
    if packet.protocol != TCP:
        return False
    if packet.flags & SYN:
        return bool(packet.flags & ACK)
    return packet.source_port < packet.destination_port


def _endpoints(flow: Flow) -> Endpoints:
    return Endpoints(flow.source, flow.destination, flow.destination_port, flow.protocol)


def _text(address: bytes) -> str:
    return address_text(address, 4 if len(address) == 4 else 6)
