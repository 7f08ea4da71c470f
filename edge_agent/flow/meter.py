"""The meter as the rest of the agent knows it: blocks of captured frames in, arrays of rows out.

`open_meter` gives the compiled meter where it was built, else the plain Python of `reference`
behind the same face, some hundred times slower.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from edge_agent.flow.compiled import CompiledMeter
from edge_agent.flow.limits import Limits
from edge_agent.flow.packets import BEYOND_FRAME, OVER_IPV6, PACKETS, PacketReader, Skip
from edge_agent.flow.rows import FlowRows
from edge_agent.native import library

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge_agent.contract.frames import FrameBlock
    from edge_agent.contract.profiles import Padding, Profile
    from edge_agent.flow.reference import ReferenceMeter
    from edge_agent.flow.rows import FlowRow

DISORDER: Final = "stamped before the packet before"
STRAYS: Final = "stamped half an hour or more off, left out"
JUMPS: Final = "jumps of time"
EVICTED: Final = {
    "complete": "evicted flows, complete",
    "closed": "evicted flows, closed",
    "single": "evicted flows, one packet",
    "unanswered": "evicted flows, unanswered",
    "answered": "evicted flows, answered",
}
EVICTED_CONTEXT: Final = "evicted neighbourhoods"

COUNTS: Final = (
    PACKETS,
    OVER_IPV6,
    BEYOND_FRAME,
    *(reason.value for reason in Skip),
    DISORDER,
    STRAYS,
    JUMPS,
    *EVICTED.values(),
    EVICTED_CONTEXT,
)
"""What a meter counts beside flows; `enum count` in `native/packet.h`."""


class Meter(Protocol):
    """Packets in capture order → flow rows.

    What a call gives must be exhausted; rows are valid until the next are asked for.
    """

    @property
    def now_us(self) -> int:
        """The clock, which packets move: µs since 1970; 0 before the first packet."""

    @property
    def flows(self) -> int:
        """Flows in the table."""

    def add(self, block: FrameBlock) -> Iterator[FlowRows]:
        """Take a block of frames in; gives the rows they complete."""

    def advance(self, now_us: int) -> Iterator[FlowRows]:
        """Give out what is due before `now_us` though no packet came."""

    def flush(self) -> Iterator[FlowRows]:
        """Give out everything that is left, as at the end of a capture."""

    def counts(self) -> dict[str, int]:
        """Packets, skipped frames and evictions by the names in `COUNTS`, in that order."""


def open_meter(
    profile: Profile,
    limits: Limits | None = None,
    *,
    padding: Padding | None = None,
    context_seed: int = 0,
    compiled: bool | None = None,
) -> Meter:
    """Open a meter.

    Args:
        profile: What a flow is and what is counted of it.
        limits: Bounds of its memory.
        padding: Other than the profile's: to replay the captures of 2017.
        context_seed: Secret on a live gateway, so that nobody can aim at the bits of a distinct
            count; the default makes captures reproducible.
        compiled: None takes the compiled meter where there is one.

    Raises:
        MemoryError: The bounds are more than this machine has.
        LookupError: `compiled` is asked for and was not built.
    """
    limits = limits or Limits()
    padding = padding or profile.padding
    if compiled is None:
        compiled = library is not None
    if compiled:
        return CompiledMeter(
            profile, limits.max_flows, limits.max_context_keys, padding, context_seed, COUNTS
        )
    # Imported only where it runs: a gateway with the compiled meter starts without it.
    from edge_agent.flow import reference  # noqa: PLC0415

    engine = reference.meter(profile, limits.max_flows, limits.max_context_keys, context_seed)
    return _SlowMeter(engine, PacketReader(padding))


class _SlowMeter:
    """The reference behind the face of `Meter`."""

    def __init__(self, engine: ReferenceMeter, reader: PacketReader) -> None:
        self._engine = engine
        self._reader = reader

    @property
    def now_us(self) -> int:
        return self._engine.now_us

    @property
    def flows(self) -> int:
        return self._engine.flows

    def add(self, block: FrameBlock) -> Iterator[FlowRows]:
        rows: list[FlowRow] = []
        for time_us, offset, captured, wire, link_type in block.frames.tolist():
            data = block.data[offset : offset + captured].tobytes()
            packet = self._reader.decode(time_us, link_type, data, wire)
            if packet is not None:
                rows += self._engine.add(packet)
        yield from self._gathered(rows)

    def advance(self, now_us: int) -> Iterator[FlowRows]:
        yield from self._gathered(self._engine.advance(now_us))

    def flush(self) -> Iterator[FlowRows]:
        yield from self._gathered(self._engine.flush())

    def counts(self) -> dict[str, int]:
        timeline, evicted = self._engine.timeline, self._engine.evicted
        context = self._engine.context
        return {
            **self._reader.summary(),
            DISORDER: timeline.disorder,
            STRAYS: timeline.strays,
            JUMPS: timeline.jumps,
            **{name: evicted[reason] for reason, name in EVICTED.items()},
            EVICTED_CONTEXT: context.evicted if context is not None else 0,
        }

    def _gathered(self, rows: list[FlowRow]) -> Iterator[FlowRows]:
        if rows:
            yield FlowRows.of(rows, len(self._engine.profile.features))
