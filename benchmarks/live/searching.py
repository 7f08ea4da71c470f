"""The highest rate without drops: what a trial says, and which rate is tried next.

Rates stand on a ladder, each rung a fifth above the one before (2 to the power of a quarter). The
search begins at the top, which many programs bear; then it halves what is left between a rate that
was borne and one that was not. A rate that was not borne is tried once more: a machine that others
use stalls now and then.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

RUNG: Final = 2**0.25
_TRIES: Final = 2
# A trial that the sender could not send at its rate says nothing; it is made anew so often at most.
_UNSENT_TRIES: Final = 4
_KEPT: Final = 0.95


@dataclass(frozen=True, slots=True)
class Trial:
    """One rate, tried.

    Attributes:
        wanted_rate: Packets a second that were asked for.
        sent: Packets that the sender gave to the interface.
        seconds: In how long.
        received: Packets that the program says it has read.
        dropped: Packets that it says it has lost, by its own drop counter.
        cpu_s: Processor time of the program meanwhile.
        peak_bytes: Its peak memory until the end.
    """

    wanted_rate: float
    sent: int
    seconds: float
    received: int
    dropped: int
    cpu_s: float
    peak_bytes: int

    @property
    def rate(self) -> float:
        """Packets a second that were really sent."""
        return self.sent / self.seconds if self.seconds else 0.0

    @property
    def as_wanted(self) -> bool:
        """Whether the sender kept the rate."""
        return self.rate >= _KEPT * self.wanted_rate

    @property
    def complete(self) -> bool:
        """Whether nothing was lost: neither by its counter nor by ours."""
        return self.sent > 0 and self.dropped == 0 and self.received >= self.sent

    @property
    def borne(self) -> bool:
        """Whether it says that the program bears the rate."""
        return self.complete and self.as_wanted

    @property
    def lost_share(self) -> float:
        """Share of the packets that it has not read."""
        return max(0.0, 1 - self.received / self.sent) if self.sent else 0.0

    @property
    def cpu_s_per_100k(self) -> float | None:
        """Processor time a hundred thousand packets that it has read."""
        return self.cpu_s * 100_000 / self.received if self.received else None

    def to_json(self) -> dict[str, Any]:
        """For the report."""
        return {**asdict(self), "rate": self.rate, "borne": self.borne}


def ladder(lowest: float, highest: float) -> list[float]:
    """Rates, ascending: the highest, and down from there to the lowest or a little above it."""
    rungs = max(0, math.floor(math.log(highest / lowest) / math.log(RUNG) + 1e-9))
    return [highest / RUNG**step for step in range(rungs, -1, -1)]


def highest_borne(
    rates: list[float], attempt: Callable[[float], Trial]
) -> tuple[Trial | None, list[Trial]]:
    """Find the highest rate that is borne.

    Args:
        rates: The ladder, ascending.
        attempt: Tries a rate.

    Returns:
        The best trial that was borne, None if none was; and all trials, in their order.
    """
    trials: list[Trial] = []

    def bears(rate: float) -> bool:
        lossy = unsent = 0
        while lossy < _TRIES and unsent < _UNSENT_TRIES:
            trial = attempt(rate)
            trials.append(trial)
            if trial.borne:
                return True
            lossy += not trial.complete
            unsent += trial.complete
        return False

    low, high = -1, len(rates)  # The rung below everything is borne, that above is not.
    middle = len(rates) - 1
    while high - low > 1:
        if bears(rates[middle]):
            low = middle
        else:
            high = middle
        middle = (low + high) // 2
    borne = [trial for trial in trials if trial.borne]
    return max(borne, key=lambda trial: trial.wanted_rate, default=None), trials
