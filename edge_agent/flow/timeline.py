"""One clock out of packet stamps that may lie.

The clock is the latest stamp taken. Packets overtake each other by a little; they do not by half an
hour. A packet stamped farther than that from the clock is held until the next one: if that one is
back where the clock was, the held one was a stray and is left out, so that a single wrong stamp
cannot end every flow of the table; if it agrees, time did jump (a silent network, a gateway that
learnt the date after booting in 1970) and the clock follows. Backward, everything known belongs to
another time and is given out first.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from edge_agent.flow.packets import Packet

FAR_US: Final = 1_800_000_000


@dataclass(frozen=True, slots=True)
class Admitted:
    """A packet to be metered.

    Attributes:
        packet: The packet.
        begins_anew: Time jumped back before it: whatever is known must be given out first.
    """

    packet: Packet
    begins_anew: bool = False


class Timeline:
    """Admits packets in an order of time that a meter can live with.

    Attributes:
        now_us: The clock; None before the first packet.
        disorder: Packets stamped before the clock, but near it.
        strays: Packets left out.
        jumps: Times the clock followed a jump.
    """

    def __init__(self) -> None:
        self.now_us: int | None = None
        self.disorder = 0
        self.strays = 0
        self.jumps = 0
        self._held: Packet | None = None

    def admit(self, packet: Packet) -> list[Admitted]:
        """Packets that can be metered now that this one has come, in order."""
        if self.now_us is None or abs(packet.time_us - self.now_us) <= FAR_US:
            self.strays += self._held is not None
            self._held = None
            return [Admitted(packet)]
        held, self._held = self._held, None
        if held is not None and self._agree(held, packet):
            return [*self._jump(held), Admitted(packet)]
        self.strays += held is not None
        self._held = packet
        return []

    def settle(self) -> list[Admitted]:
        """The packet still held at the end, which nothing contradicts."""
        held, self._held = self._held, None
        return [] if held is None else self._jump(held)

    def advance(self, time_us: int) -> None:
        """Move the clock to a packet admitted, or on without one."""
        if self.now_us is None or time_us > self.now_us:
            self.now_us = time_us

    def begin_anew(self, time_us: int) -> None:
        """Set the clock back."""
        self.now_us = time_us

    def _jump(self, held: Packet) -> list[Admitted]:
        self.jumps += 1
        return [Admitted(held, begins_anew=held.time_us < (self.now_us or 0))]

    def _agree(self, held: Packet, packet: Packet) -> bool:
        """Whether both are far from the clock on the same side, the second not before the first."""
        now_us = self.now_us or 0
        same_side = (held.time_us > now_us) == (packet.time_us > now_us)
        return same_side and packet.time_us >= held.time_us - FAR_US
