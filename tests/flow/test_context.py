"""The sketches and counters behind the context columns."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.contract.features import CONTEXT
from edge_agent.flow.context import ContextTable, Distinct, Endpoints, Neighbourhood, spread

S = 1_000_000


@pytest.mark.parametrize("n", [1, 5])
def test_a_few_distinct_values_are_counted_exactly(n: int) -> None:
    sketch = Distinct()
    for value in range(n):
        sketch.add(spread(value, seed=1), now_us=0)
    assert sketch.estimate(0) == n


@pytest.mark.parametrize("n", [50, 300])
def test_many_distinct_values_are_estimated_without_bias(n: int) -> None:
    estimates = []
    draw = random.Random(0)
    for _ in range(100):
        sketch, seed = Distinct(), draw.getrandbits(64)
        for value in range(n):
            sketch.add(spread(value, seed), now_us=0)
        estimates.append(sketch.estimate(0))
    # Linear counting in 256 bits errs by 5 to 6 % (Whang, eq. 12); the mean of a hundred seeds by
    # a tenth of that.
    assert sum(estimates) / 100 == pytest.approx(n, rel=0.02)
    assert max(abs(estimate - n) for estimate in estimates) < 0.25 * n


def test_distinct_saturates_instead_of_failing() -> None:
    sketch = Distinct()
    for value in range(100_000):
        sketch.add(spread(value, seed=1), now_us=0)
    assert sketch.estimate(0) == 1420


def test_distinct_forgets_after_the_second_minute() -> None:
    sketch = Distinct()
    sketch.add(spread(7, 0), now_us=59 * S)
    assert sketch.estimate(61 * S) == 1
    assert sketch.estimate(120 * S) == 0


def test_a_steady_rate_reads_as_rate_times_window() -> None:
    neighbourhood = Neighbourhood(0)
    for i in range(10_000):
        neighbourhood.begin(i * S // 10)  # ten a second for 1,000 s
    assert neighbourhood.begun_short == pytest.approx(100, rel=0.02)
    assert neighbourhood.begun_long == pytest.approx(600, rel=0.02)
    assert neighbourhood.eighth_ago_us(1000 * S) == pytest.approx(0.8 * S, rel=0.01)


def test_counters_fade_with_their_time_constant() -> None:
    neighbourhood = Neighbourhood(0)
    neighbourhood.begin(0)
    neighbourhood.decay(10 * S)
    assert neighbourhood.begun_short == pytest.approx(math.exp(-1))
    assert neighbourhood.begun_long == pytest.approx(math.exp(-1 / 6))


@given(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1))
def test_spread_stays_in_64_bits(value: int, seed: int) -> None:
    assert 0 <= spread(value, seed) < 2**64


@given(
    st.lists(
        st.tuples(
            st.integers(0, 3),
            st.integers(0, 3),
            st.integers(0, 3),
            st.integers(0, 10**9),
            st.booleans(),
        ),
        max_size=100,
    )
)
def test_columns_are_finite_and_in_range(events: list[tuple[int, int, int, int, bool]]) -> None:
    table = ContextTable(max_keys=2)  # small enough that neighbourhoods come and go
    # The meter's clock does not go back while a table lives.
    for source, destination, port, now_us, answered in sorted(events, key=lambda event: event[3]):
        ends = Endpoints(bytes([10, 0, 0, source]), bytes([10, 0, 0, destination]), port, 6)
        table.begin(ends, now_us)
        columns = table.end(ends, now_us, answered=answered)
        named = dict(zip((feature.name for feature in CONTEXT), columns, strict=True))
        assert all(math.isfinite(value) and value >= 0 for value in columns)
        assert all(named[f"{scope} Unanswered"] <= 1 for scope in ("Src", "Dst", "Service"))
