"""The gate's part that asks for families: refusals that do come, and none by chance."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from converters.families import FamilyComparison, Named, compare_families
from converters.gate import Comparison, Invariants, Scored, compare

FAMILIES = ("scan", "dos", "web")
# 1,000 attacks: 900 scans, 80 floods, 20 web attacks; the last 10 of them of no known family.
TRUTH = np.repeat(np.array([1, 2, 3, 0], np.uint8), (900, 80, 10, 10))
FULL = np.repeat(np.array([1, 2, 3], np.uint8), (900, 80, 20))
ALL = np.ones(1000, np.bool_)


def shares(family: np.ndarray) -> np.ndarray:
    return np.asarray(np.eye(len(FAMILIES), dtype=np.float32)[family - 1])


def changed(*rows: int | slice) -> np.ndarray:
    """The full model's families, moved to the next one in some rows."""
    family = FULL.copy()
    for row in rows:
        family[row] = family[row] % len(FAMILIES) + 1
    return family


def judged(family: np.ndarray, rows: np.ndarray = ALL) -> FamilyComparison:
    return compare_families(Named(FAMILIES, shares(FULL), shares(family), TRUTH), rows)


def test_equal_families_pass() -> None:
    found = judged(FULL)
    assert (found.rows, found.agreement, found.reasons) == (1000, 1.0, ())
    assert found.by_family == {"scan": 1.0, "dos": 1.0, "web": 1.0}
    assert found.full_accuracy == found.converted_accuracy == 1.0


@pytest.mark.parametrize(("count", "passes"), [(20, True), (21, False)])
def test_two_in_a_hundred_may_change(count: int, passes: bool) -> None:
    found = judged(changed(slice(0, count)))
    assert found.agreement == pytest.approx(1 - count / 1000)
    assert (not found.reasons) is passes
    assert found.converted_accuracy == pytest.approx(1 - count / 990)


def test_a_rare_family_is_not_outvoted_by_the_others() -> None:
    found = judged(changed(slice(980, 1000)))
    assert found.agreement == pytest.approx(0.98)
    assert found.by_family["web"] == 0.0
    assert found.reasons == ("only 0.0% of the 20 web attacks keep their family, 90% are needed",)


def test_one_row_proves_nothing() -> None:
    few = np.zeros(1000, np.bool_)
    few[[0, 1, 900, 980]] = True
    assert not judged(changed(980), few).reasons
    assert judged(changed(900, 980), few).reasons


def test_only_the_rows_asked_for_count() -> None:
    few = np.zeros(1000, np.bool_)
    few[:100] = True
    found = judged(changed(slice(100, 1000)), few)
    assert (found.rows, found.agreement, found.by_family) == (100, 1.0, {"scan": 1.0})


def test_without_flagged_attacks_there_is_nothing_to_refuse() -> None:
    found = judged(FULL, ~ALL)
    assert (found.rows, found.agreement, found.by_family, found.reasons) == (0, 1.0, {}, ())


def compared(family: np.ndarray | None) -> Comparison:
    scores = np.concatenate([np.full(1000, 0.9), np.full(1000, 0.1)]).astype(np.float32)
    labels = (scores > 0.5).astype(np.uint8)
    benign = np.ones(1000, np.uint8)
    named = None
    if family is not None:
        full, converted = (shares(np.concatenate([of, benign])) for of in (FULL, family))
        named = Named(FAMILIES, full, converted, np.concatenate([TRUTH, 0 * benign]))
    return compare(Scored(scores, 0.5, scores, 0.5), labels, Invariants(0.0, 0.0), named=named)


def test_the_gate_refuses_for_the_families_alone() -> None:
    assert compared(None).passed
    assert compared(FULL).passed
    found = compared(changed(slice(0, 500)))
    assert found.f1_drop_points == 0.0
    assert not found.passed
    assert "keep their family" in found.reasons[0]


def test_the_gates_facts_fit_json() -> None:
    gate = json.loads(json.dumps(compared(FULL).to_json()))
    assert gate["families"]["rows"] == 1000
    assert gate["families"]["min_agreement"] == 0.98
    assert "families" not in compared(None).to_json()
    assert "family_accuracy" not in compared(None).metrics()["full"]
    assert compared(FULL).metrics()["converted"]["family_accuracy"] == 1.0
    assert {field.name for field in dataclasses.fields(FamilyComparison)} - {"reasons"} <= set(
        gate["families"]
    )
