"""What the meter gives out: one row per flow."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FlowRow:
    """One flow, as a profile counts it.

    Attributes:
        source_address, source_port, destination_address, destination_port: As the profile
            orients the flow; addresses as text.
        protocol: IP protocol number, 6 or 17.
        start_us: Time of its first packet, µs since 1970.
        end_us: Time of its last packet.
        released_us: The meter's time when the row was given out; never before `end_us`.
        values: The profile's columns in order (`Profile.columns`).
    """

    source_address: str
    source_port: int
    destination_address: str
    destination_port: int
    protocol: int
    start_us: int
    end_us: int
    released_us: int
    values: tuple[float, ...]


ROW_COLUMNS = ("Src IP", "Src Port", "Dst IP", "Dst Port", "Protocol", "Start us")
"""Columns of an extracted CSV before the profile's own; a profile's `Dst Port` is not repeated."""
