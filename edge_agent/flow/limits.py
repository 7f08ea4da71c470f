"""Bounds of what a meter holds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

DEFAULT_MAX_FLOWS: Final = 65_536
DEFAULT_MAX_KEYS: Final = 16_384


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of a meter's memory, fixed when it is opened.

    Attributes:
        max_flows: Flows in the table; about 500 bytes each with the compiled meter.
        max_context_keys: Neighbourhoods of each of the four kinds, `gateway` profile only; about
            900 bytes for the four.
    """

    max_flows: int = DEFAULT_MAX_FLOWS
    max_context_keys: int = DEFAULT_MAX_KEYS
