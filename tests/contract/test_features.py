"""Categories as flags: the one place that says which there are and what they mean."""

from __future__ import annotations

import math

import numpy as np
import pytest

from edge_agent.contract.features import CATEGORICAL, is_categorical, one_hot
from edge_agent.contract.profiles import PROFILES

NAMES = [feature.name for feature in CATEGORICAL]


def test_a_flag_is_1_where_the_protocol_is_its_own() -> None:
    flags = one_hot(np.array([6, 17, 1, 6], dtype=np.uint8), ("Protocol=17", "Protocol=6"))
    assert flags.tolist() == [[0, 1], [1, 0], [0, 0], [0, 1]]


def test_what_is_no_number_gives_no_flag() -> None:
    assert np.isnan(one_hot(np.array([math.nan, 6.0]), NAMES)).tolist() == [[True] * 2, [False] * 2]


def test_no_rows_and_no_names() -> None:
    assert one_hot(np.array([], dtype=np.uint8), NAMES).shape == (0, 2)
    assert one_hot(np.array([6, 17]), ()).shape == (2, 0)


def test_other_names_are_refused() -> None:
    with pytest.raises(KeyError):
        one_hot(np.array([6]), ("Protocol=1",))


def test_every_profile_offers_them_and_measures_none() -> None:
    for profile in PROFILES.values():
        assert profile.select(NAMES) == CATEGORICAL
        assert not set(NAMES) & set(profile.columns)
        assert not any(map(is_categorical, profile.columns))
    assert all(map(is_categorical, NAMES))
