"""The whole way with the gate in it: what passes is written, what is spoiled is not."""

from __future__ import annotations

import dataclasses
import errno
import json
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from converters.conversion import convert
from converters.formats import Format, Recurrence
from converters.request import Request
from converters.results import REPORT_NAME
from converters.source import chosen_model, convertible_models
from converters.telling import summary
from edge_agent import __version__
from edge_agent.contract.bundle import Bundle
from edge_agent.contract.errors import (
    GateRefused,
    OutputError,
    RunError,
)
from edge_agent.contract.runs import Rows, Run, load_rows, save_rows
from edge_agent.detect.detector import Detector
from edge_agent.detect.interpreter import load
from tests.converters.toy_run import NAME
from tests.detect.spoiled import Leaking, Offset, Spoiled, Stuck
from tests.detect.synthetic import FAMILIES

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from converters.child import Network, Order
    from converters.request import Tools
    from tests.converters.conftest import Workshop

FIGURES = {"accuracy", "precision", "recall", "f1", "false_alarm_rate", "confusion", "rows"}


def converted(workshop: Workshop, output: Path, **loader: Any) -> dict[str, Any]:
    """Convert the run without families to int8, with tools that fail where they are told to."""
    request = Request(workshop.run, recurrence=Recurrence.UNROLLED)
    return convert(request, Format.INT8, output, tools=workshop.tools(**loader))


def family_converted(workshop: Workshop, output: Path, **tools: Any) -> dict[str, Any]:
    request = Request(workshop.family_run)
    return convert(request, Format.INT8, output, tools=workshop.tools(families=True, **tools))


def test_a_sound_model_is_written_with_its_verdict(workshop: Workshop, tmp_path: Path) -> None:
    output = tmp_path / "new" / "model.tflite"
    report = converted(workshop, output)
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
        "conversion": {
            "model": NAME,
            "format": "int8",
            "lstm": "unrolled",
            "prune_share": 0.0,
            "shrink_share": 0.0,
            "clusters": 0,
            "columns_dropped": 0,
            "versions": {"edge-ids": __version__, "tensorflow": "0"},
        },
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
    converted(workshop, output)
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
        converted(workshop, output, load=lambda flatbuffer: spoil(load(flatbuffer)))
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
    with pytest.raises(GateRefused, match="instead of int8 at 1/255 and -128"):
        converted(
            workshop,
            tmp_path / "model.tflite",
            load=lambda _: load(workshop.flatbuffer("float32")),
        )
    assert [path.name for path in tmp_path.iterdir()] == [REPORT_NAME]


def test_families_travel_with_the_file(workshop: Workshop, tmp_path: Path) -> None:
    output = tmp_path / "model.tflite"
    report = family_converted(workshop, output)
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
        family_converted(
            workshop,
            tmp_path / "model.tflite",
            load=lambda flatbuffer: Swapped(load(flatbuffer)),
        )
    assert "--max-f1-drop" not in str(caught.value), "which would change nothing"
    report = json.loads((tmp_path / "conversion.json").read_bytes())
    assert report["gate"]["f1_drop_points"] <= 0.1
    assert report["gate"]["families"]["agreement"] < 0.1


def test_a_table_too_wide_for_the_score_is_refused(workshop: Workshop, tmp_path: Path) -> None:
    with pytest.raises(GateRefused, match="instead of 1/256 or 1/255 and -128, so the score"):
        family_converted(
            workshop,
            tmp_path / "model.tflite",
            load=lambda _: load(workshop.flatbuffer("families-wide")),
        )
    assert [path.name for path in tmp_path.iterdir()] == [REPORT_NAME]


def test_a_run_with_families_may_hold_models_without(workshop: Workshop, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(workshop.run, run)
    dataclasses.replace(Run.open(run), families=FAMILIES).save(run)
    output = tmp_path / "model.tflite"
    report = convert(Request(run), Format.INT8, output, tools=workshop.tools())
    assert (Bundle.open(output).families, report["families"]) == ((), [])
    assert "families" not in report["gate"]


def test_the_model_is_chosen_by_name_or_by_size(workshop: Workshop) -> None:
    run = Run.open(workshop.run)
    folder = workshop.run
    assert chosen_model(run, folder, None) == NAME
    paper = dataclasses.replace(run.models[NAME], size="paper")
    two = dataclasses.replace(run, models={"big": paper, **run.models})
    assert chosen_model(two, folder, None) == NAME
    assert chosen_model(two, folder, "big") == "big"
    assert convertible_models(two, folder) == ["big", NAME]
    with pytest.raises(RunError, match="has no model 'small'; choose one of: cnn-lstm, forest"):
        chosen_model(run, folder, "small")
    with pytest.raises(RunError, match="holds forest, which TFLite has no operators for; choose"):
        chosen_model(run, folder, "forest")
    none = dataclasses.replace(run, models={"forest": run.models["forest"]})
    with pytest.raises(RunError, match="edge-train --model cnn-lstm learns from boosted trees"):
        convertible_models(none, folder)


def refused_run(run: Path, tools: Tools, tmp_path: Path) -> str:
    with pytest.raises(RunError) as caught:
        convert(Request(run), Format.INT8, tmp_path / "model.tflite", tools=tools)
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("missing", "said"),
    [
        ("run.json", "is no complete run folder"),
        ("scaler.npy", "is no complete run folder"),
        (f"models/{NAME}.keras", f"lacks models/{NAME}.keras; train the run again"),
        ("rows/calibration.npz", "cannot be read"),
        ("rows/test.npz", "cannot be read"),
    ],
)
def test_an_incomplete_run_is_refused(
    workshop: Workshop, tmp_path: Path, missing: str, said: str
) -> None:
    run = workshop.copied(tmp_path)
    (run / missing).unlink()
    assert said in refused_run(run, workshop.tools(), tmp_path)


def test_a_run_of_a_newer_version_is_refused(workshop: Workshop, tmp_path: Path) -> None:
    run = workshop.copied(tmp_path)
    facts = json.loads((run / "run.json").read_bytes())
    (run / "run.json").write_text(json.dumps(facts | {"format_version": 99}))
    said = refused_run(run, workshop.tools(), tmp_path)
    assert "has format version 99, newer than" in said


@pytest.mark.parametrize(("label", "what"), [(0, "benign flow"), (1, "attack")])
def test_calibration_rows_without_one_class_are_refused(
    workshop: Workshop, tmp_path: Path, label: int, what: str
) -> None:
    run = workshop.copied(tmp_path)
    rows = load_rows(run, "calibration")
    other = rows.label != label
    save_rows(run, "calibration", Rows(rows.raw[other], rows.label[other]))
    said = refused_run(run, workshop.tools(), tmp_path)
    assert f"has no {what} among its {other.sum()} rows" in said


# What is written.


def test_a_full_disk_leaves_nothing(workshop: Workshop, tmp_path: Path) -> None:
    code = (
        "import resource, signal, sys; from pathlib import Path;"
        "from edge_agent.contract.files import write_together;"
        "from edge_agent.contract.errors import OutputError;"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000));"
        "folder = Path(sys.argv[1])\n"
        "try: write_together({folder / 'b.json': b'x' * 9, folder / 'a.tflite': b'y' * 30000})\n"
        "except OutputError as error: print(error)"
    )
    (tmp_path / "b.json").write_bytes(b"as it was")
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.stdout.startswith(f"{tmp_path / 'a.tflite'}: cannot be written (File too large)")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"b.json": b"as it was"}


def test_a_full_disk_for_working_files_is_named(workshop: Workshop, tmp_path: Path) -> None:
    def prepare(_: Order) -> Network:
        raise OSError(errno.ENOSPC, "No space left on device")

    tools = dataclasses.replace(workshop.tools(), prepare=prepare)
    with pytest.raises(OutputError, match=r"No space left on device\); free .* or set TMPDIR"):
        convert(Request(workshop.run), Format.INT8, tmp_path / "model.tflite", tools=tools)
    assert list(tmp_path.iterdir()) == []


def test_the_summary_is_a_table_for_people(workshop: Workshop, tmp_path: Path) -> None:
    text = summary(converted(workshop, tmp_path / "m.tflite"))
    assert "false-alarm rate" in text
    assert "are allowed)" in text
    assert len({line.find("%") for line in text.splitlines()[3:7]}) == 1
