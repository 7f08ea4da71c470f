"""Times as the layouts write them."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.datasets.clocks import parse, settle
from trainer.datasets.layouts import Clock


def times(clock: Clock, *cells: str) -> list[int | None]:
    return parse(pl.Series(list(cells), dtype=pl.String), clock).to_list()


def us(text: str) -> int:
    """µs since 1970 of an ISO time in UTC."""
    moment = datetime.fromisoformat(text).replace(tzinfo=timezone.utc)
    return (moment - datetime(1970, 1, 1, tzinfo=timezone.utc)) // timedelta(microseconds=1)


@pytest.mark.parametrize(
    ("text", "utc"),
    [
        # Friday's port scan began at 13:55 local time, 16:55 UTC.
        ("7/7/2017 1:55", "2017-07-07 16:55"),
        ("7/7/2017 6:59", "2017-07-07 21:59"),
        ("7/7/2017 7:00", "2017-07-07 10:00"),
        ("7/7/2017 11:59", "2017-07-07 14:59"),
        ("7/7/2017 12:30", "2017-07-07 15:30"),
        # Monday has seconds and zeros in front.
        ("03/07/2017 08:55:58", "2017-07-03 11:55:58"),
        ("03/07/2017 03:01:02", "2017-07-03 18:01:02"),
    ],
)
def test_local_times_of_2017(text: str, utc: str) -> None:
    assert times(Clock.LOCAL_2017, text) == [us(utc)]


def test_local_times_of_2018() -> None:
    # The first attack of 14 February began at 10:32 local time, 14:32 UTC.
    assert times(Clock.LOCAL_2018, "14/02/2018 10:32:01") == [us("2018-02-14 14:32:01")]
    assert times(Clock.LOCAL_2018, "14/02/2018 23:00:00") == [us("2018-02-15 03:00:00")]


def test_times_of_the_improved_files() -> None:
    assert times(Clock.ISO_UTC, "2017-07-06 12:39:06.818901", "2017-07-06 12:39:06") == [
        us("2017-07-06 12:39:06.818901"),
        us("2017-07-06 12:39:06"),
    ]


def test_times_of_the_java_tool() -> None:
    cells = "06/07/2017 12:00:01 AM", "06/07/2017 12:00:01 PM", "06/07/2017 03:00:00 PM"
    assert times(Clock.TOOL, *cells) == [
        us("2017-07-06 00:00:01"),
        us("2017-07-06 12:00:01"),
        us("2017-07-06 15:00:00"),
    ]
    assert times(Clock.TOOL, "2024-07-11 07:55:22.5") == [us("2024-07-11 07:55:22.500000")]


@pytest.mark.parametrize("clock", [Clock.LOCAL_2017, Clock.LOCAL_2018, Clock.TOOL])
@pytest.mark.parametrize(
    "text",
    [
        "31/02/2017 08:00",
        "1/13/2017 08:00",
        "7/7/2017",
        "7/7/17 08:00",
        "7/7/2017 25:00",
        "7/7/2017 08:60",
        "7/7/2017 13:00 PM",
        "7/7/2017 0:10 AM",
        "٧/٧/2017 08:00",
        "x",
    ],
)
def test_what_is_no_time(clock: Clock, text: str) -> None:
    assert times(clock, text, "7/7/2017 8:00")[0] is None


def test_an_extract_has_numbers() -> None:
    assert times(Clock.EPOCH_US, "1499342400000001", "x") == [1499342400000001, None]


@given(
    st.datetimes(datetime(2017, 7, 3, 7), datetime(2017, 7, 7, 19)).filter(
        lambda moment: 7 <= moment.hour < 19
    )
)
def test_a_working_day_is_read_back(moment: datetime) -> None:
    """From 7:00 to 18:59, a 12-hour clock without AM and PM says all."""
    moment = moment.replace(second=0, microsecond=0)
    hour = (moment.hour - 1) % 12 + 1
    text = f"{moment.day}/{moment.month}/{moment.year} {hour}:{moment.minute:02}"
    assert times(Clock.LOCAL_2017, text) == [us((moment + timedelta(hours=3)).isoformat())]


def test_a_file_of_2018_that_shows_twelve_hours_only() -> None:
    cells = "14/02/2018 08:30:00", "14/02/2018 12:30:00", "14/02/2018 02:05:00"
    found = np.array(times(Clock.LOCAL_2018, *cells), dtype=np.int64)
    assert settle(found, Clock.LOCAL_2018).tolist() == [
        us("2018-02-14 12:30"),
        us("2018-02-14 16:30"),
        us("2018-02-14 18:05"),
    ]


@pytest.mark.parametrize("telling", ["14/02/2018 13:00:00", "14/02/2018 00:10:00"])
def test_a_file_of_2018_that_shows_all_hours(telling: str) -> None:
    cells = "14/02/2018 08:30:00", "14/02/2018 02:05:00", telling
    found = np.array(times(Clock.LOCAL_2018, *cells), dtype=np.int64)
    assert settle(found, Clock.LOCAL_2018).tolist() == found.tolist()


def test_only_files_of_2018_are_settled() -> None:
    found = np.array([us("2018-02-14 06:05")])
    assert settle(found, Clock.ISO_UTC).tolist() == found.tolist()
    assert not len(settle(found[:0], Clock.LOCAL_2018))
