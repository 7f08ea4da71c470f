"""Scores through the model file, with known verdicts. Two runtimes never need give equal codes."""

from __future__ import annotations

import dataclasses
import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edge_agent.contract.bundle import Bundle
from edge_agent.contract.errors import InterpreterError, ModelFileError
from edge_agent.contract.scaling import Scaler
from edge_agent.detect import interpreter
from edge_agent.detect.detector import Detector, takes_bins
from edge_agent.detect.interpreter import Tensor, load
from edge_agent.detect.judgement import Judgement
from tests.detect.spoiled import Offset, Spoiled
from tests.detect.synthetic import (
    ATTACK_ROW,
    BENIGN_ROW,
    COLUMNS,
    FAMILIES,
    family_problem,
    problem,
)

# Runtimes round differently in the last code of some layers; one score step is 1/256.
_RUNTIME_TOLERANCE = 6 / 256


def test_known_rows_get_their_verdicts(detector: Detector) -> None:
    scores = detector.score(np.array([BENIGN_ROW, ATTACK_ROW]))
    assert scores.dtype == np.float32
    assert scores.shape == (2,)
    assert scores[0] < 0.1
    assert scores[1] > 0.9
    assert detector.is_attack(scores).tolist() == [False, True]


def test_fresh_rows_are_told_apart(detector: Detector) -> None:
    raw, label = problem(2000, seed=77)
    attacks = detector.is_attack(detector.score(raw))
    # The classes lie far apart; the float model finds all of them.
    assert (attacks == (label == 1)).mean() > 0.995


def test_metrics_in_the_file_are_those_of_the_file(detector: Detector) -> None:
    raw, label = problem(1000, seed=2)
    attacks = detector.is_attack(detector.score(raw))
    confusion = detector.bundle.metrics["converted"]["confusion"]
    # Another runtime may turn a row in a thousand.
    assert abs(int(attacks.sum()) - confusion["tp"] - confusion["fp"]) <= 1
    assert detector.bundle.gate["passed"] is True
    assert detector.bundle.metrics["converted"]["rows"] == len(label)


def test_bins_go_straight_to_codes(detector: Detector) -> None:
    assert detector.bins_are_codes
    raw, _ = problem(50, seed=8)
    generic = load(detector.bundle.flatbuffer).input.quantize(detector.bundle.scaler.transform(raw))
    straight = detector.model_input(raw)
    assert straight.dtype == np.int8
    assert np.array_equal(straight, generic)


def test_other_scalers_take_the_general_way(tiny: Bundle) -> None:
    raw, _ = problem(300, seed=9)
    for kind in ("minmax", "log1p"):
        bundle = dataclasses.replace(tiny, scaler=Scaler.fit(kind, raw))
        scorer = Detector(bundle, load(tiny.flatbuffer))
        assert not scorer.bins_are_codes
        # Half a code of rounding at most.
        values = scorer.model_input(raw).astype(float) + 128
        assert np.abs(values / 255 - bundle.scaler.transform(raw)).max() <= 0.5 / 255 + 1e-6


@pytest.mark.parametrize(
    ("tensor", "fits"),
    [
        (Tensor(np.dtype(np.int8), 1, 0.003921568859368563, -128), True),
        (Tensor(np.dtype(np.int8), 1, 0.0039, -128), False),
        (Tensor(np.dtype(np.int8), 1, 1 / 255, -127), False),
        (Tensor(np.dtype(np.uint8), 1, 1 / 255, 0), False),
        (Tensor(np.dtype(np.float32), 1, 0.0, 0), False),
    ],
)
def test_only_the_exact_quantisation_takes_bins(tensor: Tensor, fits: bool) -> None:
    assert takes_bins(tensor) is fits


def test_a_score_depends_on_its_row_alone(detector: Detector) -> None:
    raw, _ = problem(400, seed=10)
    scores = detector.score(raw)
    order = np.random.default_rng(0).permutation(len(raw))
    assert np.array_equal(detector.score(raw[order]), scores[order])
    assert np.array_equal([detector.score(row[None])[0] for row in raw[:50]], scores[:50])


def test_no_rows_no_scores(detector: Detector) -> None:
    assert detector.score(np.empty((0, len(COLUMNS)))).shape == (0,)


def test_broken_rates_of_instant_flows_are_repaired(detector: Detector) -> None:
    raw = np.array([ATTACK_ROW] * 4)
    raw[:, COLUMNS.index("Flow Duration")] = 0
    for row, value in enumerate((math.nan, math.inf, -1.0, 0.0)):
        raw[row, [COLUMNS.index("Flow Bytes/s"), COLUMNS.index("Flow Packets/s")]] = value
    scores = detector.score(raw)
    assert np.isfinite(scores).all()
    assert len(set(scores.tolist())) == 1


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_other_numbers_that_are_not_finite_give_no_score(detector: Detector, value: float) -> None:
    raw = np.array([BENIGN_ROW, ATTACK_ROW, ATTACK_ROW])
    raw[1, COLUMNS.index("Src Flows 10s")] = value
    raw[2, COLUMNS.index("Flow Bytes/s")] = value  # the duration is 40 µs: nothing to repair from
    scores = detector.score(raw)
    assert np.isnan(scores).tolist() == [False, True, True]
    assert detector.is_attack(scores).tolist() == [False, False, False]


def test_columns_are_picked_from_whole_profile_rows(detector: Detector) -> None:
    names = detector.bundle.profile.columns
    values = np.arange(2.0 * len(names)).reshape(2, -1)
    picked = detector.from_profile_rows(values, np.array([6, 17]))
    assert picked.shape == (2, len(COLUMNS))
    assert picked[0].tolist() == [names.index(name) for name in COLUMNS]


def test_protocol_flags_are_made_of_the_rows_protocol(family_detector: Detector) -> None:
    names = family_detector.bundle.profile.columns
    values = np.arange(3.0 * len(names)).reshape(3, -1)
    before = values.copy()
    picked = family_detector.from_profile_rows(values, np.array([6, 17, 1], dtype=np.uint8))
    assert picked[:, -2:].tolist() == [[1, 0], [0, 1], [0, 0]]
    assert picked[0, :-2].tolist() == [names.index(name) for name in COLUMNS]
    assert np.array_equal(values, before), "the meter's rows are not the detector's to change"


def test_a_version_1_model_names_no_family(detector: Detector) -> None:
    judged = detector.judge(np.array([BENIGN_ROW, ATTACK_ROW]))
    assert judged.names() == ["unknown", "unknown"]
    assert np.array_equal(judged.scores, detector.score(np.array([BENIGN_ROW, ATTACK_ROW])))


def test_families_are_named(family_detector: Detector) -> None:
    raw, label, family = family_problem(2000, seed=78)
    judged = family_detector.judge(raw)
    attacks = label == 1
    assert (family_detector.is_attack(judged.scores) == attacks).mean() > 0.98
    assert np.array_equal(judged.scores, family_detector.score(raw))
    # The file's own figure is from other rows of the same problem.
    right = (judged.family == family)[attacks].mean()
    assert right > family_detector.bundle.metrics["converted"]["family_accuracy"] - 0.02 > 0.95
    names = judged.names(attacks & (judged.family == 2))
    assert set(names) == {FAMILIES[1]}
    assert family_detector.outputs(raw).shape == (2000, 1 + len(FAMILIES))


def test_a_family_that_does_not_convince_is_unknown() -> None:
    outputs = np.array(
        [[0.9, 0.5, 0.3, 0.2], [0.9, 0.2, 0.3, 0.5], [0.9, 0.4, 0.4, 0.2], [np.nan] * 4],
        dtype=np.float32,
    )
    judged = Judgement.of(outputs, ("scan", "dos", "web"))
    assert judged.names() == ["scan", "web", "unknown", "unknown"]
    assert judged.family.tolist() == [1, 3, 0, 0]
    assert judged.names(np.array([False, True, False, True])) == ["web", "unknown"]
    assert Judgement.of(outputs[:0], ("scan", "dos", "web")).names() == []


def test_rows_that_are_not_finite_have_no_family(family_detector: Detector) -> None:
    raw, _, _ = family_problem(5, seed=79)
    raw[2, 0] = np.nan
    judged = family_detector.judge(raw)
    assert np.isnan(judged.scores).tolist() == [False, False, True, False, False]
    assert judged.names()[2] == "unknown"


def test_rows_of_another_width_are_refused(detector: Detector) -> None:
    with pytest.raises(ValueError, match="expected rows of 12 features"):
        detector.score(np.zeros((1, 5)))
    with pytest.raises(ValueError, match="expected rows of 12 features"):
        detector.score(np.zeros(12))


def test_a_model_of_another_width_is_refused(tiny: Bundle) -> None:
    narrow = dataclasses.replace(
        tiny, features=tiny.features[:5], scaler=Scaler("quantile", tiny.scaler.table[:5])
    )
    with pytest.raises(InterpreterError, match="12 numbers to 1, not its 5 features"):
        Detector(narrow, load(tiny.flatbuffer))


def test_families_that_the_model_has_no_columns_for_are_refused(
    tiny: Bundle, family_detector: Detector
) -> None:
    named = dataclasses.replace(tiny, families=("scan", "dos"))
    with pytest.raises(InterpreterError, match="to 1, not its 12 features to one score and 2 fam"):
        Detector(named, load(tiny.flatbuffer))
    bundle = dataclasses.replace(family_detector.bundle, families=())
    with pytest.raises(InterpreterError, match="to 3, not its 14 features to one score;"):
        Detector(bundle, load(bundle.flatbuffer))


def test_an_altered_file_is_refused_before_the_interpreter_sees_it(
    tiny_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = bytearray(tiny_path.read_bytes())
    data[100] ^= 1
    path = tmp_path / "model.tflite"
    path.write_bytes(data)
    monkeypatch.setattr(interpreter, "load", lambda *_: pytest.fail("loaded"))
    with pytest.raises(ModelFileError, match=r"model\.tflite: is altered: the TFLite model"):
        Detector.open(path)


def test_scores_are_near_those_of_the_runtime_that_made_the_file(
    detector: Detector, tiny_path: Path
) -> None:
    expected = json.loads(tiny_path.with_name("tiny_scores.json").read_text())
    raw, _ = problem(len(expected), seed=2)
    assert np.abs(detector.score(raw) - expected).max() <= _RUNTIME_TOLERANCE


def test_a_spoiled_interpreter_shows_in_the_scores(tiny: Bundle) -> None:
    raw, _ = problem(200, seed=12)
    sound = Detector(tiny, Spoiled(load(tiny.flatbuffer))).score(raw)
    spoiled = Detector(tiny, Offset(load(tiny.flatbuffer), 200)).score(raw)
    assert np.abs(sound - spoiled).max() > 0.5


def test_importing_the_detector_loads_no_tensorflow_and_no_interpreter() -> None:
    code = (
        "import sys, edge_agent.detect.detector, edge_agent.detect.table\n"
        "bad = {'tensorflow', 'tf_keras', 'ai_edge_litert', 'tflite_runtime'} & set(sys.modules)\n"
        "sys.exit(' '.join(bad) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
