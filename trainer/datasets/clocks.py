"""The ways in which layouts write the time of a flow's first packet, to µs since 1970.

The original files print local time by a 12-hour clock without AM and PM. The recordings ran in
working hours, so an hour before seven is in the afternoon (section 2 of the label specification).
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Final

import numpy as np
import polars as pl

from trainer.datasets.layouts import Clock

if TYPE_CHECKING:
    from numpy.typing import NDArray

_ISO: Final = "%Y-%m-%d %H:%M:%S%.f"
_DAY_FIRST: Final = re.compile(
    r"(\d{1,2})/(\d{1,2})/(\d{4}) (\d{1,2}):(\d{2})(?::(\d{2}))?(?: ([AP]M))?", re.ASCII
)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=timezone.utc)
_MICROSECOND: Final = timedelta(microseconds=1)
_HOUR_US: Final = 3_600_000_000
# Nobody was at work earlier, and a 12-hour clock shows afternoons so.
_FIRST_HOUR: Final = 7
# Hours to add to local time.
_TO_UTC: Final = {Clock.LOCAL_2017: 3, Clock.LOCAL_2018: 4, Clock.TOOL: 0}


def parse(text: pl.Series, clock: Clock) -> pl.Series:
    """Times as Int64; null where a cell cannot be understood."""
    if clock is Clock.EPOCH_US:
        # Through floats, as which some programs write them; below 2**53 those are exact.
        return text.cast(pl.Float64, strict=False).cast(pl.Int64, strict=False)
    if clock is Clock.ISO_UTC:
        return _iso(text)
    if clock is Clock.TOOL:
        iso = _iso(text)
        if iso.null_count() == 0:
            return iso
    # Of days by the second there are few: each spelling is looked at once.
    spellings = text.unique().to_list()
    times = [None if cell is None else _day_first(cell, clock) for cell in spellings]
    return text.replace_strict(spellings, times, return_dtype=pl.Int64)


def _iso(text: pl.Series) -> pl.Series:
    return text.str.to_datetime(_ISO, time_unit="us", strict=False).cast(pl.Int64)


def _day_first(text: str, clock: Clock) -> int | None:
    found = _DAY_FIRST.fullmatch(text)
    if found is None:
        return None
    day, month, year, hour, minute = (int(digits) for digits in found.groups()[:5])
    half = found[7]
    if half:
        if not 1 <= hour <= 12:
            return None
        hour = hour % 12 + (12 if half == "PM" else 0)
    elif clock is Clock.LOCAL_2017 and hour < _FIRST_HOUR:
        hour += 12
    try:
        moment = datetime(year, month, day, hour, minute, int(found[6] or 0), tzinfo=timezone.utc)
    except ValueError:
        return None
    return (moment - _EPOCH + timedelta(hours=_TO_UTC[clock])) // _MICROSECOND


def settle(start_us: NDArray[np.int64], clock: Clock) -> NDArray[np.int64]:
    """Correct the times of a whole file, where only all of them say by which clock they are.

    What CSE-CIC-IDS2018 was printed by is not known: where no row of a file shows an hour that a
    12-hour clock lacks (0, or 13 and later), its hours before seven are taken for afternoons.
    """
    if clock is not Clock.LOCAL_2018 or not len(start_us):
        return start_us
    hour = (start_us // _HOUR_US - _TO_UTC[clock]) % 24
    if ((hour == 0) | (hour > 12)).any():
        return start_us
    return start_us + np.where(hour < _FIRST_HOUR, 12 * _HOUR_US, 0)
