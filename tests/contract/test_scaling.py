"""Scaling: the same numbers in training and on the gateway, whatever rows come in."""

from __future__ import annotations

import hashlib
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy

from edge_agent.contract import scaling
from edge_agent.contract.features import FEATURE_SETS
from edge_agent.contract.scaling import SCALERS, Scaler, recompute_rates

finite = st.floats(width=32, allow_nan=False, allow_infinity=False)
tables = st_numpy.arrays(np.float32, st.tuples(st.integers(1, 60), st.just(3)), elements=finite)
# Few distinct values, zeros of both signs among them: ties are where searches go wrong.
awkward = st.sampled_from([0.0, -0.0, 1.0, -1.0, 2.0**127, -(2.0**127), math.inf, -math.inf])


@given(tables, st.sampled_from(SCALERS))
def test_bytes_round_trip(raw: np.ndarray, kind: str) -> None:
    scaler = Scaler.fit(kind, raw)
    again = Scaler.from_bytes(kind, scaler.to_bytes())
    assert again == scaler
    assert hash(again) == hash(scaler)
    assert again.sha256() == scaler.sha256()


@given(tables, st.sampled_from(SCALERS))
def test_packing_keeps_every_bit(raw: np.ndarray, kind: str) -> None:
    scaler = Scaler.fit(kind, raw)
    again = Scaler.from_packed(kind, scaler.packed(), scaler.n_features)
    assert again.table.tobytes() == scaler.table.tobytes()


@pytest.mark.parametrize("length", [0, 3, 4 * 255, 3 * 4 * 255 + 1, 3 * 4 * 256])
def test_packed_bytes_of_another_table_are_refused(length: int) -> None:
    with pytest.raises(ValueError, match="table"):
        Scaler.from_packed("quantile", bytes(length), 3)


@given(
    st_numpy.arrays(
        np.float32, st.tuples(st.integers(1, 400), st.just(2)), elements=st.one_of(finite, awkward)
    ).filter(lambda raw: bool(np.isfinite(raw).all()))
)
def test_equal_values_share_a_bin_and_larger_ones_never_have_a_smaller(raw: np.ndarray) -> None:
    bins = Scaler.fit("quantile", raw).bins(raw)
    for column, codes in zip(raw.T, bins.T, strict=True):
        order = np.argsort(column, kind="stable")
        assert (np.diff(codes[order].astype(int)) >= 0).all()
        values = len(np.unique(column))
        if values <= scaling.BINS:
            # Room for all: every value has a bin of its own, from the first to the last.
            assert len(np.unique(codes)) == values
            assert codes.min() == 0
            assert codes.max() == (255 if values > 1 else 0)


def test_a_frequent_value_leaves_the_other_bins_to_the_others() -> None:
    rng = np.random.default_rng(0)
    column = np.concatenate([np.zeros(9000), rng.lognormal(size=1000)]).astype(np.float32)
    bins = Scaler.fit("quantile", column[:, None]).bins(column[:, None])[:, 0]
    assert set(bins[:9000].tolist()) == {0}
    counts = np.bincount(bins[9000:], minlength=256)
    assert np.count_nonzero(counts) >= 200
    assert counts.max() <= 10


@given(tables, st.sampled_from(SCALERS), tables)
def test_results_lie_between_0_and_1(raw: np.ndarray, kind: str, other: np.ndarray) -> None:
    scaled = Scaler.fit(kind, raw).transform(other)
    assert scaled.dtype == np.float32
    assert ((scaled >= 0) & (scaled <= 1)).all()


def test_a_range_of_nearly_nothing_does_not_overflow() -> None:
    tiny = np.array([[3.016e-41], [0.0]], np.float32)
    scaled = Scaler.fit("minmax", tiny).transform(np.array([[1.0], [-1.0]], np.float32))
    assert scaled[:, 0].tolist() == [1.0, 0.0]


@given(
    st_numpy.arrays(np.float32, (40, 3), elements=st.one_of(finite, st.sampled_from([0.0, 1.0]))),
    st_numpy.arrays(np.float32, (30, 3), elements=st.one_of(finite, awkward, st.just(math.nan))),
)
def test_one_search_and_a_search_per_column_agree(raw: np.ndarray, rows: np.ndarray) -> None:
    scaler = Scaler.fit("quantile", raw)
    few = scaler.bins(rows)
    many = scaler.bins(np.tile(rows, (5, 1)))
    assert len(rows) <= scaling._ONE_SEARCH_ROWS < 5 * len(rows)
    assert np.array_equal(np.tile(few, (5, 1)), many)


def test_nan_lies_above_every_edge_whatever_its_sign() -> None:
    scaler = Scaler.fit("quantile", np.zeros((3, 1), np.float32))
    rows = np.array([[math.nan], [-math.nan]])
    assert (scaler.bins(rows) == 255).all()
    assert (scaler.bins(np.tile(rows, (99, 1))) == 255).all()


def test_bins_follow_the_definition() -> None:
    rng = np.random.default_rng(0)
    raw = rng.normal(size=(500, 2)).astype(np.float32)
    scaler = Scaler.fit("quantile", raw)
    expected = (scaler.table[None, :, :] <= raw[:, :, None]).sum(axis=2)
    assert np.array_equal(scaler.bins(raw), expected)
    assert np.array_equal(scaler.bins(raw[:7]), expected[:7])


@pytest.mark.parametrize(
    ("kind", "raw", "said"),
    [
        ("rank", np.ones((2, 2)), "unknown scaler 'rank'"),
        ("quantile", np.ones((0, 2)), "at least one row"),
        ("minmax", np.array([[math.inf]]), "finite"),
    ],
)
def test_fit_refuses(kind: str, raw: np.ndarray, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Scaler.fit(kind, raw)


def test_rows_of_another_width_are_refused() -> None:
    scaler = Scaler.fit("minmax", np.ones((2, 3)))
    with pytest.raises(ValueError, match="3 features"):
        scaler.transform(np.ones((2, 4)))
    with pytest.raises(ValueError, match="no bins"):
        scaler.bins(np.ones((2, 3)))


@pytest.mark.parametrize("kind", SCALERS)
def test_unsorted_or_foreign_tables_are_refused(kind: str) -> None:
    good = Scaler.fit(kind, np.arange(12.0).reshape(6, 2))
    backwards = Scaler(kind, np.ascontiguousarray(good.table[:, ::-1]))
    with pytest.raises(ValueError, match="not sorted"):
        Scaler.from_bytes(kind, backwards.to_bytes())
    wrong_type = Scaler(kind, good.table).to_bytes().replace(b"<f4", b"<i4")
    with pytest.raises(ValueError, match="table"):
        Scaler.from_bytes(kind, wrong_type)


def test_equality_sees_kind_and_table() -> None:
    one = Scaler.fit("minmax", np.array([[0.0], [1.0]]))
    assert one == Scaler.fit("minmax", np.array([[0.0], [1.0]]))
    assert one != Scaler.fit("minmax", np.array([[0.0], [2.0]]))
    assert one != Scaler("log1p", one.table)
    assert one != "minmax"


@pytest.mark.parametrize("name", FEATURE_SETS)
def test_instant_flows_get_their_rates_at_one_microsecond(name: str) -> None:
    names = FEATURE_SETS[name][1]
    position = {column: index for index, column in enumerate(names)}
    rows = np.full((3, len(names)), 2.0)
    rows[:, position["Flow Duration"]] = [0, 1, 50]
    for rate in ("Flow Bytes/s", "Flow Packets/s", "Bwd Packets/s"):
        rows[:, position[rate]] = [math.nan, 7, 7]
    fixed = recompute_rates(rows, names)
    assert fixed[0, position["Flow Bytes/s"]] == 4e6  # 2 + 2 bytes
    assert fixed[0, position["Flow Packets/s"]] == 4e6
    assert fixed[0, position["Bwd Packets/s"]] == 2e6
    assert np.array_equal(fixed[1:], rows[1:])
    assert math.isnan(rows[0, position["Flow Bytes/s"]]), "the argument must stay as it was"


def test_a_rate_without_its_counts_is_an_error() -> None:
    with pytest.raises(KeyError, match="Total Fwd Packets"):
        recompute_rates(np.ones((1, 2)), ("Flow Duration", "Flow Packets/s"))


def test_digest_depends_on_the_kind() -> None:
    table = np.array([[0, 1]], np.float32)
    digests = {Scaler(kind, table).sha256() for kind in ("minmax", "log1p")}
    assert len(digests) == 2
    assert all(len(digest) == hashlib.sha256().digest_size * 2 for digest in digests)
