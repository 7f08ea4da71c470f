"""The run folder: what was saved is what is opened, and folders of version 1 stay readable."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from edge_agent.contract.bundle import ModelFeature
from edge_agent.contract.errors import RunError
from edge_agent.contract.profiles import PROFILES
from edge_agent.contract.runs import (
    FORMAT_VERSION,
    Rows,
    Run,
    TrainedModel,
    load_rows,
    save_rows,
    spread,
)
from edge_agent.contract.scaling import Scaler

if TYPE_CHECKING:
    from pathlib import Path

NAMES = ("Flow Duration", "Total Fwd Packet", "Protocol=6")
RAW = np.arange(30, dtype=np.float32).reshape(10, 3)
LABEL = np.array([0, 1] * 5, dtype=np.uint8)
FAMILY = np.array([0, 1, 0, 2, 0, 0, 0, 1, 0, 2], dtype=np.uint8)


def make(families: tuple[str, ...] = ("scan", "dos")) -> Run:
    profile = PROFILES["improved"]
    return Run(
        profile=profile,
        feature_set="toy",
        features=tuple(ModelFeature(f.name, f.unit) for f in profile.select(NAMES)),
        scaler=Scaler.fit("minmax", RAW),
        models={"net": TrainedModel("models/net.keras", "edge", True, 0.5, "fixed")},
        provenance={"seed": 3},
        families=families,
    )


def rewrite(folder: Path, **changes: Any) -> None:
    """Other facts in run.json; `...` leaves one out."""
    facts = {**json.loads((folder / "run.json").read_bytes()), **changes}
    kept = {key: value for key, value in facts.items() if value is not ...}
    (folder / "run.json").write_text(json.dumps(kept))


@pytest.mark.parametrize("families", [(), ("scan", "dos")])
def test_round_trip(tmp_path: Path, families: tuple[str, ...]) -> None:
    make(families).save(tmp_path)
    assert Run.open(tmp_path) == make(families)


def test_a_folder_of_version_1_has_no_families(tmp_path: Path) -> None:
    make(()).save(tmp_path)
    rewrite(tmp_path, format_version=1, families=...)
    assert Run.open(tmp_path) == make(())
    (tmp_path / "rows").mkdir()
    np.savez(tmp_path / "rows" / "test.npz", raw=RAW, label=LABEL)
    rows = load_rows(tmp_path, "test")
    assert rows.family.dtype == np.uint8
    assert rows.family.tolist() == [0] * 10


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"format_version": FORMAT_VERSION + 1}, "newer than 2; update edge-ids"),
        ({"families": ...}, "lacks or garbles 'families'"),
        ({"families": ["scan", "unknown"]}, "names the attack family 'unknown', which is none of"),
        ({"families": ["scan", "scan"]}, "names an attack family twice"),
        ({"families": "scan"}, "lists no attack families"),
        ({"families": [["scan"]]}, "names the attack family"),
    ],
)
def test_facts_that_do_not_fit_are_refused(
    tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    make().save(tmp_path)
    rewrite(tmp_path, **changes)
    with pytest.raises(RunError, match=said) as caught:
        Run.open(tmp_path)
    assert str(tmp_path / "run.json") in str(caught.value)


def test_rows_round_trip(tmp_path: Path) -> None:
    save_rows(tmp_path, "test", Rows(RAW, LABEL, FAMILY))
    found = load_rows(tmp_path, "test")
    assert np.array_equal(found.raw, RAW)
    assert np.array_equal(found.label, LABEL)
    assert np.array_equal(found.family, FAMILY)


def test_families_left_out_are_not_known() -> None:
    assert Rows(RAW, LABEL).family.tolist() == [0] * 10


def test_spread_rows_keep_label_and_family_together() -> None:
    some = spread(Rows(RAW, LABEL, FAMILY), 4)
    places = [RAW[:, 0].tolist().index(value) for value in some.raw[:, 0]]
    assert len(places) == 4
    assert some.label.tolist() == LABEL[places].tolist()
    assert some.family.tolist() == FAMILY[places].tolist()


def test_rows_of_different_lengths_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="10 rows, 10 labels and 3 families"):
        Rows(RAW, LABEL, FAMILY[:3])
    (tmp_path / "rows").mkdir()
    np.savez(tmp_path / "rows" / "test.npz", raw=RAW, label=LABEL[:4])
    with pytest.raises(RunError, match=r"test\.npz: cannot be read \(10 rows, 4 labels"):
        load_rows(tmp_path, "test")
