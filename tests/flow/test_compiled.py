"""The compiled meter equals the reference on every row and every count."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from edge_agent.capture.blocks import CaptureBlocks
from edge_agent.contract.profiles import PROFILES, Padding
from edge_agent.flow.limits import Limits
from edge_agent.flow.meter import Meter, open_meter
from tests.flow.test_parity import CAPTURES
from tests.flow.traffic import Traffic
from tests.packets import needs_library

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from edge_agent.contract.frames import FrameBlock
    from edge_agent.flow.rows import FlowRows

pytestmark = needs_library


def all_rows(meter: Meter, blocks: Iterable[FrameBlock]) -> list[FlowRows]:
    rows = [given_out.copy() for block in blocks for given_out in meter.add(block)]
    return [*rows, *(given_out.copy() for given_out in meter.flush())]


def assert_equal(found: list[FlowRows], expected: list[FlowRows]) -> None:
    assert sum(map(len, found)) == sum(map(len, expected))
    about = [np.concatenate([rows.about for rows in side]) for side in (found, expected)]
    for name in about[0].dtype.names or ():
        np.testing.assert_array_equal(about[0][name], about[1][name], err_msg=name)
    values = [np.concatenate([rows.values for rows in side]) for side in (found, expected)]
    np.testing.assert_allclose(values[0], values[1], rtol=1e-12, atol=1e-9)


def check(
    profile: str, blocks: list[FrameBlock], limits: Limits, padding: Padding | None = None
) -> None:
    seed = 7
    meters = [
        open_meter(PROFILES[profile], limits, padding=padding, context_seed=seed, compiled=compiled)
        for compiled in (True, False)
    ]
    found, expected = (all_rows(meter, blocks) for meter in meters)
    assert meters[0].counts() == meters[1].counts()
    assert meters[0].now_us == meters[1].now_us
    if expected or found:
        assert_equal(found, expected)


@pytest.mark.parametrize("profile", PROFILES)
@settings(
    max_examples=6,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    # A smaller seed is not smaller traffic: shrinking would only take its time.
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
)
@given(
    seed=st.integers(0, 2**32),
    hosts=st.sampled_from([2, 5, 40, 400]),
    rate=st.sampled_from([1.0, 30.0, 1000.0, 50_000.0]),
    max_flows=st.sampled_from([1, 7, 60, 65_536]),
    max_context_keys=st.sampled_from([1, 4, 16_384]),
    padding=st.sampled_from([None, *Padding]),
)
def test_random_traffic(
    profile: str,
    seed: int,
    hosts: int,
    rate: float,
    max_flows: int,
    max_context_keys: int,
    padding: Padding | None,
) -> None:
    traffic = Traffic(seed, hosts, rate)
    blocks = [traffic.block(packets) for packets in (1, 3, 20_000, 31, 33)]
    check(profile, blocks, Limits(max_flows, max_context_keys), padding)


@pytest.mark.shared
@pytest.mark.parametrize("name", CAPTURES)
@pytest.mark.parametrize("profile", PROFILES)
def test_every_parity_capture(shared: Path, profile: str, name: str) -> None:
    blocks = CaptureBlocks(shared / "data" / "parity" / f"{name}.pcap", compiled=False)
    check(profile, list(blocks), Limits())


@pytest.mark.parametrize("profile", PROFILES)
def test_a_recording_of_the_lab(sessions: Path, profile: str) -> None:
    blocks = CaptureBlocks(sessions / "session-c" / "capture.pcap.gz", compiled=False)
    check(profile, list(blocks), Limits(max_flows=300, max_context_keys=100))


def test_a_table_without_room_is_refused() -> None:
    with pytest.raises(MemoryError):
        open_meter(PROFILES["improved"], Limits(max_flows=0))
