"""The small model files, opened with whichever interpreter is installed."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_agent.contract.bundle import Bundle
from edge_agent.detect.detector import Detector

TINY = Path(__file__).with_name("data") / "tiny.tflite"
FAMILIES_MODEL = TINY.with_name("families.tflite")


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


@pytest.fixture(scope="session")
def family_detector() -> Detector:
    """Of a model that names families and takes protocol flags; see `data/make_tiny.py`."""
    return Detector.open(FAMILIES_MODEL)
