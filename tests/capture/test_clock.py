from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edge_agent.capture.clock import SteadyClock

YEAR_NS = 365 * 24 * 3600 * 10**9
START_NS = 1_700_000_000 * 10**9
# Below half a millisecond a step is not told from how the clocks are read.
TOLERANCE_US = 500


class Clocks:
    """A wall clock that steps and a monotonic one; reading either takes a moment."""

    def __init__(self, reading_ns: int = 100) -> None:
        self.elapsed_ns = 0
        self.step_ns = 0
        self.reading_ns = reading_ns
        self.stalls_ns: list[int] = []

    def wall_ns(self) -> int:
        self._pass()
        return START_NS + self.elapsed_ns + self.step_ns

    def monotonic_ns(self) -> int:
        self._pass()
        return 5_000 + self.elapsed_ns

    def _pass(self) -> None:
        self.elapsed_ns += self.stalls_ns.pop() if self.stalls_ns else self.reading_ns


steps = st.integers(-50 * YEAR_NS, 50 * YEAR_NS) | st.integers(-(10**10), 10**10)


@given(st.lists(st.tuples(steps, st.integers(0, 10**13)), max_size=8))
def test_no_step_of_the_wall_clock_moves_it(moves: list[tuple[int, int]]) -> None:
    clocks = Clocks()
    clock = SteadyClock(clocks.wall_ns, clocks.monotonic_ns)
    for step_ns, elapsed_ns in moves:
        clocks.step_ns += step_ns
        clocks.elapsed_ns += elapsed_ns
        steady_us = (START_NS + clocks.elapsed_ns) // 1000
        assert abs(clock.now_us() - steady_us) <= 2
        stamp_us = clocks.wall_ns() // 1000
        assert abs(stamp_us + clock.shift_us() - clock.now_us()) <= TOLERANCE_US + 2
        assert abs(clock.wall_us(clock.now_us()) - clocks.wall_ns() // 1000) <= TOLERANCE_US + 2


def test_without_a_step_a_stamp_stays_as_it_is() -> None:
    clocks = Clocks()
    clock = SteadyClock(clocks.wall_ns, clocks.monotonic_ns)
    shifts = set()
    for reading_ns in (10, 1_000, 100_000, 400_000):
        clocks.reading_ns = reading_ns
        shifts.add(clock.shift_us())
    assert shifts == {0}


def test_a_reading_interrupted_for_long_is_taken_again() -> None:
    clocks = Clocks()
    clock = SteadyClock(clocks.wall_ns, clocks.monotonic_ns)
    # Popped from the end: the wall is read a second late, and then as always.
    clocks.stalls_ns = [1_000_000_000, 100]
    assert clock.shift_us() == 0


def test_a_machine_that_always_stalls_moves_nothing_by_more_than_the_stall() -> None:
    clocks = Clocks(reading_ns=50_000_000)
    clock = SteadyClock(clocks.wall_ns, clocks.monotonic_ns)
    clocks.stalls_ns = [90_000_000, 20_000_000] * 5
    assert clock.shift_us() == 0
    clocks.step_ns = YEAR_NS
    assert abs(clock.shift_us() + YEAR_NS // 1000) <= 100_000


def test_it_goes_on_from_the_wall_time_at_its_making() -> None:
    clocks = Clocks()
    clock = SteadyClock(clocks.wall_ns, clocks.monotonic_ns)
    clocks.step_ns = 30 * YEAR_NS
    assert abs(clock.now_us() - START_NS // 1000) <= 2
    assert abs(clock.wall_us(clock.now_us()) - (START_NS + 30 * YEAR_NS) // 1000) <= 2
