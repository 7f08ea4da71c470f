"""Model files of fixed shapes, as microcontrollers want them; `make_micro` made them."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from edge_agent.contract.bundle import Bundle

MICRO_FORMS: Final = ("fused", "unrolled")


def micro_path(form: str) -> Path:
    """Where the model file is."""
    return Path(__file__).with_name(f"micro-{form}.tflite")


def micro_bundle(form: str) -> Bundle:
    """The model file."""
    return Bundle.open(micro_path(form))
