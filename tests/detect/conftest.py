"""The tiny model file, opened with whichever interpreter is installed."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_agent.contract.bundle import Bundle
from edge_agent.detect.detector import Detector

TINY = Path(__file__).with_name("data") / "tiny.tflite"


@pytest.fixture(scope="session")
def tiny_path() -> Path:
    """See `data/make_tiny.py`."""
    return TINY


@pytest.fixture(scope="session")
def tiny() -> Bundle:
    return Bundle.open(TINY)


@pytest.fixture(scope="session")
def detector() -> Detector:
    return Detector.open(TINY)
