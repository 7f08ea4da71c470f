"""What each flow profile means, in plain Python: the oracle that a faster meter must equal.

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
"""

from __future__ import annotations

import socket
from abc import ABC, abstractmethod
from collections import OrderedDict
from typing import TYPE_CHECKING, Final, TypeAlias

from edge_agent.flow.columns import cic2017_columns, improved_columns
from edge_agent.flow.context import DEFAULT_MAX_KEYS, ContextTable, Endpoints
from edge_agent.flow.counters import Counters
from edge_agent.flow.packets import ACK, FIN, RST, SYN, TCP
from edge_agent.flow.rows import FlowRow

if TYPE_CHECKING:
    from edge_agent.contract.profiles import Profile
    from edge_agent.flow.packets import Packet

DEFAULT_MAX_FLOWS: Final = 65_536

Key: TypeAlias = tuple[bytes, int, bytes, int, int]


class Flow:
    """An entry of the flow table: who speaks with whom, and the row being counted.

    `counters` is None between two rows of a long flow.
    """

    __slots__ = (
        "closed",
        "counters",
        "destination",
        "destination_port",
        "fins",
        "last_us",
        "protocol",
        "source",
        "source_port",
    )

    def __init__(self, packet: Packet, *, turned: bool = False) -> None:
        ends = (packet.source, packet.source_port), (packet.destination, packet.destination_port)
        (self.source, self.source_port), (self.destination, self.destination_port) = (
            reversed(ends) if turned else ends
        )
        self.protocol = packet.protocol
        self.last_us = packet.time_us
        self.fins: set[bool] = set()  # the directions (forward?) that sent FIN
        self.closed = False
        self.counters: Counters | None = None

    def is_forward(self, packet: Packet) -> bool:
        """Direction is decided by the address alone, as the tools do."""
        return packet.source == self.source

    def note_teardown(self, packet: Packet) -> None:
        """Follow FIN, ACK and RST of a TCP connection (spec C.2)."""
        if packet.flags & RST or (
            len(self.fins) == 2 and packet.flags & ACK and not packet.flags & FIN
        ):
            self.closed = True
        if packet.flags & FIN:
            self.fins.add(self.is_forward(packet))


class ReferenceMeter(ABC):
    """Packets in, rows out. `meter` chooses the class for a profile."""

    def __init__(self, profile: Profile) -> None:
        self.profile = profile
        self._timeout_us = round(profile.flow_timeout_s * 1e6)

    @abstractmethod
    def add(self, packet: Packet) -> list[FlowRow]:
        """Take the next packet in capture order; returns the rows it completed."""

    @abstractmethod
    def flush(self) -> list[FlowRow]:
        """Give out everything that is left, as at the end of a capture."""

    def _row(
        self, flow: Flow, counters: Counters, now_us: int, values: tuple[float, ...]
    ) -> FlowRow:
        return FlowRow(
            source_address=socket.inet_ntoa(flow.source),
            source_port=flow.source_port,
            destination_address=socket.inet_ntoa(flow.destination),
            destination_port=flow.destination_port,
            protocol=flow.protocol,
            start_us=counters.start_us,
            end_us=counters.end_us,
            released_us=max(now_us, counters.end_us),
            values=values,
        )


def meter(profile: Profile) -> ReferenceMeter:
    """The reference meter of a profile."""
    if profile.live is not None:
        return _GatewayMeter(profile)
    return {"cic2017": _Cic2017Meter, "improved": _ImprovedMeter}[profile.name](profile)


def _directed_key(packet: Packet) -> Key:
    return (
        packet.source,
        packet.source_port,
        packet.destination,
        packet.destination_port,
        packet.protocol,
    )


def _key(packet: Packet) -> Key:
    """The 5-tuple, the same for both directions."""
    source = packet.source, packet.source_port
    destination = packet.destination, packet.destination_port
    low, high = sorted((source, destination))
    return (*low, *high, packet.protocol)


class _Cic2017Meter(ReferenceMeter):
    """The original tool (spec A.5)."""

    def __init__(self, profile: Profile) -> None:
        super().__init__(profile)
        self._flows: dict[Key, Flow] = {}

    def add(self, packet: Packet) -> list[FlowRow]:
        # The original tool tells directions apart by address: a host that speaks to itself has one
        # flow each way.
        to_itself = packet.source == packet.destination
        key = _directed_key(packet) if to_itself else _key(packet)
        flow = self._flows.get(key)
        if flow is None or flow.counters is None:
            flow = self._flows[key] = Flow(packet)
            flow.counters = Counters(packet, forward=True)
            return []
        counters = flow.counters
        if packet.time_us - counters.start_us > self._timeout_us:
            # Also a backward packet is booked forward here, and only here.
            flow.counters = Counters(packet, forward=True)
            return self._give_out(flow, counters, packet.time_us)
        ends = bool(packet.flags & FIN)
        counters.add(packet, forward=flow.is_forward(packet), closes_activity=not ends)
        if not ends:
            return []
        del self._flows[key]
        return self._give_out(flow, counters, packet.time_us)

    def flush(self) -> list[FlowRow]:
        flows = list(self._flows.values())
        self._flows.clear()
        rows: list[FlowRow] = []
        for flow in flows:
            if flow.counters is not None:
                rows += self._give_out(flow, flow.counters, flow.counters.end_us)
        return rows

    def _give_out(self, flow: Flow, counters: Counters, now_us: int) -> list[FlowRow]:
        if counters.packets < 2:
            return []
        values = cic2017_columns(flow.destination_port, counters)
        return [self._row(flow, counters, now_us, values)]


class _ImprovedMeter(ReferenceMeter):
    """The corrected tool (spec C.2)."""

    def __init__(self, profile: Profile) -> None:
        super().__init__(profile)
        self._flows: dict[Key, Flow] = {}

    def add(self, packet: Packet) -> list[FlowRow]:
        key = _key(packet)
        flow = self._flows.get(key)
        if flow is None:
            self._flows[key] = self._open(packet)
            return []
        counters = _counters(flow)
        late = packet.time_us - counters.start_us > self._timeout_us
        silent = packet.time_us - flow.last_us > self._timeout_us
        if (flow.closed and (late or packet.flags & SYN)) or (
            late and silent and packet.protocol != TCP
        ):
            rows = self._give_out(flow, packet.time_us)
            self._flows[key] = self._open(packet)
            return rows
        forward = flow.is_forward(packet)
        rows = []
        if late:
            rows = self._give_out(flow, packet.time_us)
            flow.counters = Counters(packet, forward=forward)
        else:
            counters.add(packet, forward=forward)
        flow.last_us = packet.time_us
        flow.note_teardown(packet)
        return rows

    def flush(self) -> list[FlowRow]:
        flows = list(self._flows.values())
        self._flows.clear()
        return [row for flow in flows for row in self._give_out(flow, flow.last_us)]

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

    Every flow waits in two queues: one of its state (closed, unanswered, answered), whose time-out
    is counted from its last packet, one of its age. As each queue has one time-out, its head is
    always the next to go, and no timer is needed. Deadlines are served in order of time before a
    later packet is looked at, so rows do not depend on how packets come in batches.

    The clock is the latest packet time seen; a packet stamped earlier does not turn it back.
    """

    def __init__(
        self,
        profile: Profile,
        max_flows: int = DEFAULT_MAX_FLOWS,
        max_context_keys: int = DEFAULT_MAX_KEYS,
    ) -> None:
        super().__init__(profile)
        if profile.live is None:
            raise AssertionError(f"profile {profile.name} has no live time-outs")
        live = profile.live
        self._max_flows = max_flows
        self._flows: dict[Key, Flow] = {}
        self._context = ContextTable(max_context_keys)
        self._now_us = 0
        self._silence_us = {
            "closed": round(live.linger_s * 1e6),
            "unanswered": round(live.unanswered_timeout_s * 1e6),
            "answered": round(live.idle_timeout_s * 1e6),
        }
        self._active_us = round(live.active_timeout_s * 1e6)
        # Key → deadline. Insertion order is deadline order, see the class docstring.
        self._waiting: dict[str, OrderedDict[Key, int]] = {
            state: OrderedDict() for state in (*self._silence_us, "aging")
        }
        self.evicted_flows = 0

    def add(self, packet: Packet) -> list[FlowRow]:
        rows = self.advance(packet.time_us)
        key = _key(packet)
        flow = self._flows.get(key)
        if flow is not None and flow.closed and packet.flags & SYN:
            rows += self._drop(key, self._now_us)
            flow = None
        if flow is None:
            if len(self._flows) >= self._max_flows:
                rows += self._evict()
            flow = self._flows[key] = Flow(packet, turned=_begins_backward(packet))
            self._context.begin(_endpoints(flow), self._now_us)
        forward = flow.is_forward(packet)
        if flow.counters is None:
            flow.counters = Counters(packet, forward=forward)
            self._waiting["aging"][key] = self._now_us + self._active_us
        else:
            flow.counters.add(packet, forward=forward)
        flow.note_teardown(packet)
        self._wait(key, flow)
        return rows

    def advance(self, now_us: int) -> list[FlowRow]:
        """Give out what is due before `now_us`; for a live agent when no packet comes."""
        rows: list[FlowRow] = []
        while True:
            due_us, state = (
                min(
                    (next(iter(queue.values())), state)
                    for state, queue in self._waiting.items()
                    if queue
                )
                if any(self._waiting.values())
                else (now_us, "")
            )
            if due_us >= now_us:
                break
            key = next(iter(self._waiting[state]))
            if state == "aging":
                rows += self._cut(key, due_us)
            else:
                rows += self._drop(key, due_us)
        self._now_us = max(self._now_us, now_us)
        return rows

    def flush(self) -> list[FlowRow]:
        rows: list[FlowRow] = []
        for key in list(self._flows):
            rows += self._drop(key, self._now_us)
        return rows

    def _wait(self, key: Key, flow: Flow) -> None:
        if flow.closed:
            state = "closed"
        elif flow.counters is not None and not flow.counters.backward.packets:
            state = "unanswered"
        else:
            state = "answered"
        for name in self._silence_us:
            self._waiting[name].pop(key, None)
        self._waiting[state][key] = self._now_us + self._silence_us[state]

    def _cut(self, key: Key, now_us: int) -> list[FlowRow]:
        """Give out the row of a long flow; the flow itself goes on."""
        del self._waiting["aging"][key]
        flow = self._flows[key]
        rows = self._give_out(flow, now_us)
        flow.counters = None
        return rows

    def _drop(self, key: Key, now_us: int) -> list[FlowRow]:
        """Forget a flow; its row is given out if it has one."""
        for queue in self._waiting.values():
            queue.pop(key, None)
        return self._give_out(self._flows.pop(key), now_us)

    def _evict(self) -> list[FlowRow]:
        """Make room for a flow: first those closed, then unanswered, then longest silent."""
        self.evicted_flows += 1
        queue = next(self._waiting[state] for state in self._silence_us if self._waiting[state])
        return self._drop(next(iter(queue)), self._now_us)

    def _give_out(self, flow: Flow, now_us: int) -> list[FlowRow]:
        counters = flow.counters
        if counters is None:
            return []
        context = self._context.end(
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
    return Endpoints(
        source=int.from_bytes(flow.source, "big"),
        destination=int.from_bytes(flow.destination, "big"),
        port=flow.destination_port,
        protocol=flow.protocol,
    )
