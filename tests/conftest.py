"""What all tests share."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# A shared machine stalls now and then: no deadline on single examples; the same draws every time.
settings.register_profile(
    "repeatable",
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
# Where every instruction is translated, a tenth of the examples (`make test-arm64`).
settings.register_profile("emulated", settings.get_profile("repeatable"), max_examples=10)
settings.load_profile("repeatable")

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def shared() -> Path:
    """The third-party data beside the checkout; tests that need it skip where it is missing."""
    folder = ROOT.parent / "shared"
    if not folder.is_dir():
        pytest.skip("the third-party data folder ../shared is not beside this checkout")
    return folder


@pytest.fixture(scope="session")
def sessions() -> Path:
    """The recordings of the lab."""
    return ROOT / "benchmarks" / "lab" / "sessions"
