"""Figures, agreement and tables of the accuracy benchmark."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.accuracy import agreement, measure, summary
from benchmarks.recording import Recording
from benchmarks.subjects import FULL, Verdicts, full_name, open_subjects
from converters.gate import figures
from edge_agent.contract.bundle import Bundle
from edge_agent.contract.errors import InterpreterError, ModelFileError, RunError
from edge_agent.contract.runs import Rows
from edge_agent.detect import interpreter
from tests.benchmarks.subjects import (
    NAME,
    RUNTIME,
    family_subjects,
    tiny_run,
    tiny_subjects,
)
from tests.detect.conftest import TINY
from tests.detect.synthetic import FAMILIES, family_problem, problem
from trainer.datasets.truth import Campaign, Truth

ROWS = Rows(*problem(600, seed=5))


def recording(*, learned_from: bool = False) -> Recording:
    """The synthetic rows as flows of one hour: attacks are one campaign, another has no flows."""
    campaigns = [Campaign(name, "scan", "probe", 0, 1, (), (), None, None) for name in ("a", "b")]
    return Recording(
        capture=Path("x.pcap"),
        truth=Truth(Path("truth.json"), 0, 3_600_000_000, tuple(campaigns)),
        raw=ROWS.raw.astype(np.float64),
        campaigns=tuple(campaigns[0] if label else None for label in ROWS.label),
        learned_from=learned_from,
    )


def test_figures_are_those_of_the_verdicts(tmp_path: Path) -> None:
    subjects = tiny_subjects(tmp_path)
    report = measure(subjects, ROWS, None)
    detector = subjects.installed[RUNTIME].detector
    attacks = detector.is_attack(detector.score(ROWS.raw))
    result = report["held_out"]["models"][RUNTIME]
    assert result["f1"] == figures(ROWS.label, attacks).f1 > 0.9
    assert report["held_out"]["rows"] == 600
    assert list(report["held_out"]["models"]) == [FULL, RUNTIME]
    assert "recording" not in report
    full = subjects.full
    assert full is not None
    same = attacks == full.is_attack(full.score(ROWS.raw))
    assert result["label_agreement"] == same.mean() < 1
    assert report["held_out"]["models"][FULL]["label_agreement"] is None


def test_a_recording_is_judged_by_campaign(tmp_path: Path) -> None:
    report = measure(tiny_subjects(tmp_path), ROWS, recording())
    result = report["recording"]["models"][RUNTIME]
    # The same flows as above, so the same figures, whichever way they came.
    assert result["confusion"] == report["held_out"]["models"][RUNTIME]["confusion"]
    assert result["false_alarms_per_hour"] == result["confusion"]["fp"]
    assert [item["flows"] for item in result["campaigns"]] == [int(ROWS.label.sum()), 0]
    assert result["campaigns_found"] == 1
    json.dumps(report, allow_nan=False)


def test_the_tables_show_what_the_report_holds(tmp_path: Path) -> None:
    report = measure(tiny_subjects(tmp_path), ROWS, recording())
    text = summary(report)
    result = report["recording"]["models"][RUNTIME]
    for shown in (
        "600 held-out rows",
        f"{result['f1']:.2%}",
        f"{result['campaigns'][0]['flagged_share']:.2%}",
        "1 of 2",
    ):
        assert shown in text
    campaigns = text.splitlines()[-2:]
    assert campaigns[0].endswith("yes")
    assert campaigns[1].split() == ["b", "probe", "0", *["–"] * 4]
    assert "TRAINED" not in text
    assert "TRAINED" in summary(
        measure(tiny_subjects(tmp_path), ROWS, recording(learned_from=True))
    )


FAMILY_ROWS = Rows(*family_problem(600, seed=5))


def test_families_are_counted_on_the_attacks_found(tmp_path: Path) -> None:
    subjects = family_subjects(tmp_path)
    detector = subjects.installed[RUNTIME].detector
    judged = detector.judge(FAMILY_ROWS.raw)
    found = detector.is_attack(judged.scores) & (FAMILY_ROWS.label == 1)
    report = measure(subjects, FAMILY_ROWS, family_recording())
    flows = report["held_out"]["models"][RUNTIME]["families"]["flows"]
    assert flows["named"] == found.sum() > 100
    assert flows["right"] == (judged.family == FAMILY_ROWS.family)[found].sum()
    assert flows["confusion"]["dos"]["dos"] > 10
    # The other one is a stub that calls every attack a scan.
    full = report["held_out"]["models"][FULL]["families"]["flows"]
    assert {name for calls in full["confusion"].values() for name in calls} == {"scan"}
    told = report["recording"]["models"]
    assert [item["named"] for item in told[RUNTIME]["campaigns"]] == ["dos", "scan"]
    assert [item["named"] for item in told[FULL]["campaigns"]] == ["scan", "scan"]
    assert told[FULL]["families"]["campaigns"]["confusion"] == {
        "dos": {"scan": 1},
        "scan": {"scan": 1},
    }
    json.dumps(report, allow_nan=False)
    text = summary(report)
    for shown in ("families of campaigns", "runtime calls campaigns", "named right"):
        assert shown in text


def family_recording() -> Recording:
    """The rows as flows of two campaigns, a flood and a scan."""
    campaigns = {
        number: Campaign(name, name, f"a-{name}", 0, 1, (), (), None, None)
        for number, name in enumerate(FAMILIES, start=1)
    }
    return Recording(
        capture=Path("x.pcap"),
        truth=Truth(Path("truth.json"), 0, 3_600_000_000, tuple(campaigns.values())),
        raw=FAMILY_ROWS.raw.astype(np.float64),
        campaigns=tuple(campaigns.get(family) for family in FAMILY_ROWS.family.tolist()),
        learned_from=False,
    )


def test_models_without_families_have_no_tables_of_them(tmp_path: Path) -> None:
    report = measure(tiny_subjects(tmp_path), ROWS, recording())
    for models in (report["held_out"]["models"], report["recording"]["models"]):
        assert all("families" not in result for result in models.values())
    assert "famil" not in summary(report)


def test_without_tensorflow_the_file_is_measured_alone(tmp_path: Path) -> None:
    subjects = tiny_subjects(tmp_path, full=False)
    report = measure(subjects, ROWS, recording())
    assert list(report["held_out"]["models"]) == [RUNTIME]
    assert report["held_out"]["models"][RUNTIME]["label_agreement"] is None
    assert report["left_out"] == {"full": "TensorFlow is not installed"}
    assert "not measured: full (TensorFlow is not installed)" in subjects.title()
    assert summary(report)


def test_agreement_counts_equal_verdicts() -> None:
    verdicts = {
        FULL: Verdicts(np.array([True, True, False, False])),
        "x": Verdicts(np.array([True, False] * 2)),
    }
    assert agreement(verdicts, "x") == 0.5
    assert agreement({"x": verdicts["x"]}, "x") is None


def test_a_row_that_is_not_finite_is_no_attack_for_the_full_model_either(tmp_path: Path) -> None:
    raw = ROWS.raw[:4].copy()
    raw[1, 0] = np.nan
    verdicts = tiny_subjects(tmp_path).verdicts(raw)
    assert [bool(said.attacks[1]) for said in verdicts.values()] == [False, False]
    full = tiny_subjects(tmp_path).full
    assert full is not None
    assert np.isnan(full.score(raw)).tolist() == [False, True, False, False]


def test_a_run_without_held_out_rows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no held-out rows"):
        measure(tiny_subjects(tmp_path), Rows(ROWS.raw[:0], ROWS.label[:0]), None)


def test_the_full_model_is_the_one_the_file_was_made_of() -> None:
    assert full_name(tiny_run(), Bundle.open(TINY), Path("run"), TINY) == NAME


@pytest.mark.parametrize(
    "changes",
    [{"provenance": {"seed": "another"}}, {"models": {}}, {"features": tiny_run().features[::-1]}],
    ids=lambda changes: str(next(iter(changes))),
)
def test_a_file_of_another_run_is_refused(changes: dict[str, Any]) -> None:
    # Its held-out rows may be rows that the file learned from.
    with pytest.raises(ModelFileError, match="was not converted from run"):
        full_name(tiny_run(**changes), Bundle.open(TINY), Path("run"), TINY)


def test_an_interpreter_that_refuses_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny_run().save(tmp_path)
    good, bad = interpreter.installed_runtimes()[0], "broken"
    genuine = interpreter.load

    def load(flatbuffer: bytes, runtime: str = "auto") -> interpreter.Model:
        if runtime == bad:
            raise InterpreterError("broken refuses the model; update it.")
        return genuine(flatbuffer, good)

    monkeypatch.setattr(interpreter, "installed_runtimes", lambda: (good, bad))
    monkeypatch.setattr(interpreter, "load", load)
    monkeypatch.setattr("benchmarks.subjects.load_full", lambda *_: None)
    subjects = open_subjects(tmp_path, TINY)
    assert list(subjects.installed) == [good]
    assert subjects.left_out[bad] == "broken refuses the model; update it"
    monkeypatch.setattr(interpreter, "installed_runtimes", lambda: (bad,))
    with pytest.raises(InterpreterError, match="refuses"):
        open_subjects(tmp_path, TINY)
    monkeypatch.setattr(interpreter, "installed_runtimes", tuple)
    monkeypatch.setattr(interpreter, "load", genuine)
    with pytest.raises(InterpreterError, match="no TFLite interpreter is installed"):
        open_subjects(tmp_path, TINY)
