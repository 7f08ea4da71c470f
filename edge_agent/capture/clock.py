"""A clock that no step of the wall clock moves.

A board without a battery-backed clock starts in 1970 or at its last shutdown, and steps by years
when the network tells it the time. Frames are stamped with the wall clock; on the steady clock they
keep their distances, so that no flow ends and none lives for years because of such a step.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

# The two clocks are read one after the other. Their distance changes by steps alone (NTP's slewing
# bends both alike), so what is less than this is how they were read, and is not followed.
_TOLERANCE_NS: Final = 500_000
# A reading during which we lost the processor is poor; of three, one is good.
_READINGS: Final = 3


class SteadyClock:
    """Wall time when it was made, and the time that has gone by since.

    Args:
        wall_ns: The wall clock, ns since 1970; it may step.
        monotonic_ns: A clock that never steps, ns since whenever.
    """

    def __init__(
        self,
        wall_ns: Callable[[], int] = time.time_ns,
        monotonic_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._wall_ns = wall_ns
        self._monotonic_ns = monotonic_ns
        self._start_ns = self._distance_ns()[0]
        self._shift_ns = 0

    def now_us(self) -> int:
        """Steady time, in µs."""
        return (self._monotonic_ns() + self._start_ns) // 1000

    def shift_us(self) -> int:
        """What makes a stamp that the wall clock would give now steady when added, in µs."""
        distance_ns, doubt_ns = self._distance_ns()
        shift_ns = self._start_ns - distance_ns
        if abs(shift_ns - self._shift_ns) > max(_TOLERANCE_NS, doubt_ns):
            self._shift_ns = shift_ns
        return self._shift_ns // 1000

    def wall_us(self, steady_us: int) -> int:
        """When it was by the wall clock as it goes now, in µs since 1970."""
        return steady_us - self.shift_us()

    def _distance_ns(self) -> tuple[int, int]:
        """From the monotonic clock to the wall's, and how far that may be off."""
        readings = []
        for _ in range(_READINGS):
            before_ns = self._monotonic_ns()
            wall_ns = self._wall_ns()
            after_ns = self._monotonic_ns()
            readings.append((after_ns - before_ns, wall_ns - (before_ns + after_ns) // 2))
            if after_ns - before_ns < _TOLERANCE_NS:
                break
        doubt_ns, distance_ns = min(readings)
        return distance_ns, doubt_ns
