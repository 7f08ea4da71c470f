"""The whole way with the gate in it: what passes is written, what is spoiled is not."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from click.testing import CliRunner

from converters import child, cli
from converters.child import Order, run_worker
from converters.cli import main, summary
from converters.conversion import Request, chosen_model, convert
from converters.formats import Format, Job
from edge_agent.contract.bundle import Bundle
from edge_agent.contract.errors import ConversionError, GateRefused, RunError
from edge_agent.contract.runs import Run, load_rows
from edge_agent.detect.detector import Detector
from edge_agent.detect.interpreter import load
from tests.converters.toy_run import NAME
from tests.detect.spoiled import Leaking, Offset, Spoiled, Stuck
from tests.detect.synthetic import FAMILIES

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from tests.converters.conftest import Workshop

FIGURES = {"accuracy", "precision", "recall", "f1", "false_alarm_rate", "confusion", "rows"}


def request_for(workshop: Workshop, output: Path, **changes: Any) -> Request:
    request = Request(workshop.run, output, Format.INT8, None, max_f1_drop_points=0.1)
    return dataclasses.replace(request, **changes)


def test_a_sound_model_is_written_with_its_verdict(workshop: Workshop, tmp_path: Path) -> None:
    output = tmp_path / "new" / "model.tflite"
    report = convert(request_for(workshop, output), make=workshop.product)
    bundle = Bundle.open(output)
    run = Run.open(workshop.run)
    assert json.loads((tmp_path / "new" / "conversion.json").read_bytes()) == report
    assert sorted(path.name for path in output.parent.iterdir()) == [
        "conversion.json",
        "model.tflite",
    ]
    assert set(report["full"]) == set(report["converted"]) == FIGURES
    assert bundle.metrics == {"full": report["full"], "converted": report["converted"]}
    assert bundle.gate == report["gate"]
    assert bundle.gate["passed"] is True
    assert (bundle.scaler, bundle.features, bundle.profile) == (
        run.scaler,
        run.features,
        run.profile,
    )
    assert bundle.provenance == {
        **run.provenance,
        "conversion": {"format": "int8", "prune_share": 0.0},
    }
    assert bundle.name == f"{NAME} int8"
    rows = workshop.rows()
    scorer = Detector.open(output)
    attacks = scorer.is_attack(scorer.score(rows.raw))
    confusion = report["converted"]["confusion"]
    assert int(attacks.sum()) == confusion["tp"] + confusion["fp"]
    assert report["converted"]["rows"] == len(rows.label)


def test_the_model_card_says_what_the_file_holds(workshop: Workshop, tmp_path: Path) -> None:
    output = tmp_path / "model.tflite"
    convert(request_for(workshop, output), make=workshop.product)
    card = Bundle.open(output).model_card
    for said in (
        "Flow profile: `gateway`",
        "Numbers of a random split say little",
        "tests.detect.synthetic",
        "Conversion gate: passed",
        "Src Unanswered [1]",
        "| f1 | ",
    ):
        assert said in card


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda model: Offset(model, 20), "scores differ by"),
        (lambda model: Offset(model, -40), "scores differ by"),
        (lambda model: Offset(model, 250), "scores differ by"),
        (Leaking, "after other flows"),
        (Stuck, "scored alone"),
    ],
    ids=["offset up", "offset down", "offset to the end", "leaking state", "stuck batch"],
)
def test_a_spoiled_interpreter_is_refused(
    workshop: Workshop, tmp_path: Path, spoil: Callable[[Any], Any], said: str
) -> None:
    output = tmp_path / "model.tflite"
    output.write_bytes(b"an older model")
    with pytest.raises(GateRefused, match=said) as caught:
        convert(
            request_for(workshop, output),
            load=lambda flatbuffer: spoil(load(flatbuffer)),
            make=workshop.product,
        )
    assert caught.value.exit_code == 3
    assert output.read_bytes() == b"an older model"
    report = json.loads((tmp_path / "conversion.json").read_bytes())
    assert report["gate"]["passed"] is False
    assert any(said in reason for reason in report["gate"]["reasons"])
    assert report["output"] is None
    assert set(report["full"]) == set(report["converted"]) == FIGURES


def test_an_int8_file_that_does_not_take_bins_is_refused(
    workshop: Workshop, tmp_path: Path
) -> None:
    with pytest.raises(ConversionError, match="instead of 1/255 and -128"):
        convert(
            request_for(workshop, tmp_path / "model.tflite"),
            load=lambda _: load(workshop.flatbuffer("float32")),
            make=workshop.product,
        )
    assert list(tmp_path.iterdir()) == []


def family_request(workshop: Workshop, output: Path, **changes: Any) -> Request:
    return request_for(workshop, output, run=workshop.family_run, **changes)


def test_families_travel_with_the_file(workshop: Workshop, tmp_path: Path) -> None:
    output = tmp_path / "model.tflite"
    report = convert(family_request(workshop, output), make=workshop.family_product)
    bundle = Bundle.open(output)
    assert bundle.families == FAMILIES
    assert report["families"] == list(FAMILIES)
    assert bundle.metrics == {"full": report["full"], "converted": report["converted"]}
    assert set(report["full"]) == FIGURES | {"family_accuracy"}
    assert report["converted"]["family_accuracy"] > 0.98
    found = bundle.gate["families"]
    assert found["agreement"] > 0.98
    assert found["rows"] == report["full"]["confusion"]["tp"]
    assert set(found["by_family"]) == set(FAMILIES)
    assert "Attack families it names: dos, scan" in bundle.model_card
    assert f"{found['agreement']:.3%}" in bundle.model_card
    report["latency_us_per_flow"]["full"]["64"] = {"p50": 1.0, "p99": 2.0}
    assert "family named right" in summary(report)
    assert f"Same family in {found['agreement']:.3%}" in summary(report)


class Swapped(Spoiled):
    """The score is sound, the families mean each other."""

    def predict(self, rows: NDArray[Any]) -> NDArray[Any]:
        output = super().predict(rows)
        return np.ascontiguousarray(output[:, [0, *range(output.shape[1] - 1, 0, -1)]])


def test_a_file_that_lost_its_families_is_refused(workshop: Workshop, tmp_path: Path) -> None:
    with pytest.raises(GateRefused, match="keep their family, 98% are needed") as caught:
        convert(
            family_request(workshop, tmp_path / "model.tflite"),
            load=lambda flatbuffer: Swapped(load(flatbuffer)),
            make=workshop.family_product,
        )
    assert "--max-f1-drop" not in str(caught.value), "which would change nothing"
    report = json.loads((tmp_path / "conversion.json").read_bytes())
    assert report["gate"]["f1_drop_points"] <= 0.1
    assert report["gate"]["families"]["agreement"] < 0.1


def test_a_table_too_wide_for_the_score_is_refused(workshop: Workshop, tmp_path: Path) -> None:
    with pytest.raises(ConversionError, match="instead of 1/256 or 1/255 and -128; join"):
        convert(
            family_request(workshop, tmp_path / "model.tflite"),
            load=lambda _: load(workshop.flatbuffer("families-wide")),
            make=workshop.family_product,
        )
    assert list(tmp_path.iterdir()) == []


def test_a_run_with_families_may_hold_models_without(workshop: Workshop, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(workshop.run, run)
    dataclasses.replace(Run.open(run), families=FAMILIES).save(run)
    output = tmp_path / "model.tflite"
    report = convert(request_for(workshop, output, run=run), make=workshop.product)
    assert (Bundle.open(output).families, report["families"]) == ((), [])
    assert "families" not in report["gate"]


def test_the_model_is_chosen_by_name_or_by_size(workshop: Workshop, tmp_path: Path) -> None:
    run = Run.open(workshop.run)
    request = request_for(workshop, tmp_path)
    assert chosen_model(run, request) == NAME
    paper = dataclasses.replace(run.models[NAME], size="paper")
    two = dataclasses.replace(run, models={"big": paper, **run.models})
    assert chosen_model(two, request) == NAME
    assert chosen_model(two, dataclasses.replace(request, model="big")) == "big"
    with pytest.raises(RunError, match="no convertible model 'forest'; choose one of: cnn-lstm"):
        chosen_model(run, dataclasses.replace(request, model="forest"))
    none = dataclasses.replace(run, models={"forest": run.models["forest"]})
    with pytest.raises(RunError, match="no convertible model; train one"):
        chosen_model(none, request)


def crashed(tmp_path: Path, code: str) -> str:
    job = Job(tmp_path, "toy", Format.INT8, tmp_path, 1)
    order = Order(tmp_path, "toy", Format.INT8)
    with pytest.raises(ConversionError) as caught:
        run_worker([sys.executable, "-c", code], job, order)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_crash_of_the_child_is_an_error(tmp_path: Path) -> None:
    # An abort stands for the segmentation faults of the converter: a signal, but no core dump.
    code = "import os, signal; print('last words'); os.kill(os.getpid(), signal.SIGKILL)"
    said = crashed(tmp_path, f"import sys; sys.stdout = sys.stderr\n{code}")
    assert "crashed TensorFlow with SIGKILL" in said


def test_the_childs_last_words_are_told(tmp_path: Path) -> None:
    said = crashed(tmp_path, "raise RuntimeError('quantizer is unhappy')")
    assert "failed with exit code 1" in said
    assert "quantizer is unhappy" in said
    assert "try --float32" in said


def test_the_childs_own_sentence_is_passed_on(tmp_path: Path) -> None:
    (tmp_path / Job.FAILURE).write_text("models/x.keras: is none; train again.")
    assert crashed(tmp_path, "raise SystemExit(1)") == "models/x.keras: is none; train again."


def test_a_missing_tensorflow_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConversionError, match=r"pip install 'edge-ids\[train\]'"):
        child.convert_in_child(Order(tmp_path, "toy", Format.INT8))


def test_importing_the_command_loads_no_tensorflow() -> None:
    code = "import sys, converters.cli; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# The command line.


def edge_convert(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "from converters.cli import main; main()", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])},
    )


def test_the_command_converts_families(workshop: Workshop, tmp_path: Path) -> None:
    file = tmp_path / "model.tflite"
    done = edge_convert("--int8", workshop.family_run, "--output", file, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["families"] == list(FAMILIES)
    # The workshop has converted others before, which changes bytes but not numbers.
    raw = load_rows(workshop.family_run, "test").raw
    again = Detector(workshop.bundle("families-int8"), load(workshop.flatbuffer("families-int8")))
    assert np.array_equal(Detector.open(file).outputs(raw), again.outputs(raw))


def test_the_same_run_gives_the_same_bytes(workshop: Workshop, tmp_path: Path) -> None:
    files = [tmp_path / name / "model.tflite" for name in ("first", "second")]
    for file in files:
        done = edge_convert("--int8", workshop.run, "--output", file, "--json")
        assert done.returncode == 0, done.stderr
        report = json.loads(done.stdout)
        assert report["format"] == "int8"
        assert report["latency_us_per_flow"]["full"]["1"]["p50"] > 0
        assert report["latency_us_per_flow"]["converted"]["64"]["p99"] > 0
    assert files[0].read_bytes() == files[1].read_bytes()
    assert Bundle.open(files[0]).flatbuffer == workshop.flatbuffer("int8")


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--help"], 0, "Example:"),
        (["--version"], 0, "edge-convert"),
        ([], 2, "Missing argument"),
        (["RUN"], 2, "--output"),
        (["RUN", "--output", "m", "--max-f1-drop", "-1"], 2, "--max-f1-drop"),
        (["RUN", "--output", "m", "--prune", "1"], 2, "--prune"),
        (["none", "--output", "m.tflite"], 1, "none: is no complete run folder"),
    ],
)
def test_exit_codes(
    arguments: list[str], code: int, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == code
    assert said in result.output
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("flag", "form"),
    [
        ([], Format.INT8),
        (["--int8"], Format.INT8),
        (["--float32"], Format.FLOAT32),
        (["--float16"], Format.FLOAT16),
        (["--dynamic-range"], Format.DYNAMIC_RANGE),
    ],
)
def test_flags_reach_the_request(
    flag: list[str], form: Format, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Request] = []

    def refuse(request: Request) -> dict[str, Any]:
        asked.append(request)
        raise GateRefused("run: refused, because F1 drops.")

    monkeypatch.setattr(cli, "convert", refuse)
    result = CliRunner().invoke(
        main,
        [
            *flag,
            "run",
            "--output",
            "m.tflite",
            "--model",
            "x",
            "--max-f1-drop",
            "0.3",
            "--prune",
            "0.5",
        ],
    )
    assert result.exit_code == 3
    assert "edge-convert: error: run: refused, because F1 drops." in result.output
    assert asked == [Request(Path("run"), Path("m.tflite"), form, "x", 0.3, prune_share=0.5)]


def test_the_summary_is_a_table_for_people(workshop: Workshop, tmp_path: Path) -> None:
    report = convert(request_for(workshop, tmp_path / "m.tflite"), make=workshop.product)
    report["latency_us_per_flow"]["full"]["64"] = {"p50": 1.0, "p99": 2.0}
    text = summary(report)
    assert "false-alarm rate" in text
    assert "are allowed." in text
    assert len({line.find("%") for line in text.splitlines()[3:7]}) == 1
