"""The table of conversions from a small report made by hand, and models that take fewer columns."""

from __future__ import annotations

import dataclasses
import platform
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from click.testing import CliRunner

from benchmarks.__main__ import main
from benchmarks.conversion import cli, measuring
from benchmarks.conversion.measuring import Order, emulated, entry
from benchmarks.conversion.report import report
from benchmarks.conversion.targets import outcomes
from benchmarks.subjects import FULL, columns, full_name
from edge_agent.contract.bundle import Bundle
from edge_agent.contract.errors import EdgeIdsError, ModelFileError
from edge_agent.contract.scaling import Scaler
from tests.benchmarks.subjects import NAME, RUNTIME, tiny_run, tiny_subjects
from tests.detect.conftest import TINY
from tests.detect.synthetic import problem

if TYPE_CHECKING:
    from pathlib import Path

HERE = f"ai-edge-litert 2.3.0, {platform.machine()}"
OTHER = f"tflite-runtime 2.14.0, {platform.machine()}"
ARM = "ai-edge-litert 2.3.0, aarch64"
FIGURES = {"f1": 0.99, "false_alarm_rate": 0.002, "rows": 1000}


def differences(drop: float, rise: float = 0.0) -> dict[str, Any]:
    return {
        "f1_drop_points": drop,
        "f1_drop_interval_points": [drop - 0.1, drop + 0.1],
        "false_alarm_rise_points": rise,
        "false_alarm_rise_interval_points": [rise, rise],
        "label_agreement": 0.9995,
    }


def conversion(*drops: float, size: int = 98_000, rise: float = 0.0) -> dict[str, Any]:
    """As `conversion.json` has it, for the drops in as many interpreters."""
    places = (HERE, OTHER, ARM)[: len(drops)]
    clock = {batch: {"p50": 20.0, "p99": 30.0} for batch in ("1", "256")}
    return {
        "model": "cnn-lstm-edge",
        "columns": 78,
        "lstm": {"form": "unrolled"},
        "full": FIGURES,
        "converted": FIGURES | {"f1": 0.99 - drops[0] / 100},
        "gate": differences(drops[0], rise)
        | {
            "interpreters": {
                place: differences(drop, rise) | {"metrics": FIGURES}
                for place, drop in zip(places, drops, strict=True)
            }
        },
        "size_bytes": {"file": size, "flatbuffer": 77_000, "flatbuffer_gzip": 35_000},
        "latency_us_per_flow": {"interpreters": dict.fromkeys(places, clock)},
    }


def timed(first: float = 40.0, last: float = 4.0) -> dict[str, Any]:
    """As `benchmarks latency` gives it: times faster at batch 1 and 256."""
    return {
        batch: {
            FULL: {"p50": 700.0, "p99": 900.0, "times_faster": None},
            "ai-edge-litert": {
                "p50": 700 / times,
                "p99": 900 / times,
                "times_faster": {
                    "p50": times,
                    "p99": times,
                    "lowest_p50": times - 1,
                    "highest_p50": times + 1,
                },
            },
        }
        for batch, times in (("1", first), ("256", last))
    }


def run(**files: dict[str, Any]) -> dict[str, Any]:
    return {"model": "cnn-lstm-edge", "full": FIGURES, "files": files}


def met(plain: dict[str, Any], **others: dict[str, Any]) -> list[bool | None]:
    return [outcome.met for outcome in outcomes(run(int8=plain, **others))]


def test_all_targets_can_be_met() -> None:
    plain = entry(conversion(0.1, 0.0, 0.05, rise=0.02), timed(30, 3), {ARM: 0.998})
    small = entry(conversion(0.2, size=50_000), timed(), {})
    assert met(plain, shrunk=small) == [True] * 7


@pytest.mark.parametrize(
    ("place", "plain", "small"),
    [
        (0, entry(conversion(0.0, 0.11), timed(), {ARM: 1}), None),
        (1, entry(conversion(0.0, rise=0.021), timed(), {}), None),
        (2, entry(conversion(0.0, size=110_001), timed(), {}), None),
        (3, entry(conversion(0.0), timed(), {}), entry(conversion(0.21, size=9), timed(), {})),
        (3, entry(conversion(0.0), timed(), {}), entry(conversion(0, size=50_001), timed(), {})),
        (4, entry(conversion(0.0), timed(29.9, 4), {}), None),
        (5, entry(conversion(0.0), timed(40, 2.9), {}), None),
        (6, entry(conversion(0.0, 0.0, 0.0), timed(), {ARM: 0.9979}), None),
    ],
)
def test_each_target_can_be_missed(
    place: int, plain: dict[str, Any], small: dict[str, Any] | None
) -> None:
    found = met(plain, **({"shrunk": small} if small else {}))
    assert [number for number, value in enumerate(found) if value is False] == [place]


def test_what_was_not_measured_is_not_met() -> None:
    plain = entry(conversion(0.0), timed(), {})
    told = [str(outcome) for outcome in outcomes(run(int8=plain))]
    assert told[3].startswith("not measured: shrunk")
    assert told[6].startswith("not measured: arm64")
    assert told[4] == "met: int8 at least 30 times faster than tf.function at batch 1: 40.00"


def test_the_report_has_every_interpreter_but_no_emulated_time() -> None:
    file = entry(conversion(0.05, 0.0, 0.0), timed(), {OTHER: 1.0, ARM: 0.999})
    facts = {
        "date": "2026-01-01",
        "processor": "x",
        "rounds": 5,
        "runs": {"first": run(int8=file)},
    }
    lines = report(facts).splitlines()
    assert "## first: cnn-lstm-edge" in lines
    assert any(
        line.startswith(f"| int8 | {HERE} | 0.9900 | 0.050 [-0.050, 0.150] | 0.200% |")
        for line in lines
    )
    assert [line.rsplit("|", 2)[1].strip() for line in lines if f"| {ARM} |" in line] == ["99.900%"]
    assert "| int8 | 1 | 700.00 | ai-edge-litert | 17.50 | 40.0 | 39.0 to 41.0 |" in lines
    assert f"| int8 | {OTHER} | 20.00 (35.0) | 20.00 (35.0) |" in lines
    assert "| int8 | 78 | unrolled | 98,000 | 77,000 | 35,000 |" in lines
    assert sum(line.startswith("- ") for line in lines) == 7


@pytest.mark.skipif(platform.machine() == "aarch64", reason="arm64 is not emulated here")
def test_another_architecture_is_emulated() -> None:
    assert [emulated(place) for place in (HERE, f"{HERE} (2)", ARM, f"{ARM} (3)")] == [
        False,
        False,
        True,
        True,
    ]


def test_edge_convert_is_asked_as_a_user_would(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, ...]] = []

    def refused(*command: str) -> None:
        asked.append(command)
        raise EdgeIdsError("edge-convert ended with exit code 3; see its message above.")

    monkeypatch.setattr(measuring, "call", refused)
    result = CliRunner().invoke(
        main, ["conversion", str(tmp_path), "--model", "mlp", "--interpreter", "env python"]
    )
    assert result.exit_code == 1
    assert "edge-convert ended with exit code 3" in result.stderr
    command, kind, folder, *options = asked[0]
    assert (command, kind, folder) == ("edge-convert", "--int8", str(tmp_path))
    assert options[2:] == [
        *("--max-f1-drop", "100", "--model", "mlp", "--interpreter", "env python")
    ]


def test_both_files_are_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def measured(folder: Path, order: Order) -> dict[str, Any]:
        assert order.shares == (0.5,)
        return run(int8=entry(conversion(0.0), timed(), {}))

    monkeypatch.setattr(cli, "measure", measured)
    stem = tmp_path / "table"
    result = CliRunner().invoke(
        main, ["conversion", str(tmp_path / "first"), "--shrink", "0.5", "-o", str(stem)]
    )
    assert result.exit_code == 0, result.output
    assert stem.with_suffix(".md").read_text(encoding="utf-8") == result.stdout[:-1]
    assert str(tmp_path) not in stem.with_suffix(".json").read_text(encoding="utf-8")


# --- models that take some of the run's columns


def of_fewer_columns(taken: list[int]) -> Bundle:
    """The tiny file as a shrunk one would be: it says which model it was, and takes less."""
    tiny = Bundle.open(TINY)
    return dataclasses.replace(
        tiny,
        features=tuple(tiny.features[place] for place in taken),
        scaler=Scaler(tiny.scaler.kind, tiny.scaler.table[taken]),
        name=f"{NAME} shrunk 0.5 int8",
        provenance=tiny.provenance | {"conversion": {"model": NAME}},
    )


def test_a_shrunk_file_is_known_by_the_model_it_names(tmp_path: Path) -> None:
    small = of_fewer_columns([0, 2, 3])
    assert full_name(tiny_run(), small, tmp_path, TINY) == NAME
    assert columns(tiny_run(), small) == (0, 2, 3)


def test_a_shrunk_file_of_another_scaler_is_refused(tmp_path: Path) -> None:
    small = of_fewer_columns([0, 2])
    table = small.scaler.table[::-1].copy()
    other = dataclasses.replace(small, scaler=Scaler(small.scaler.kind, table))
    with pytest.raises(ModelFileError, match="was not converted from"):
        full_name(tiny_run(), other, tmp_path, TINY)


def test_a_file_is_fed_with_its_own_columns(tmp_path: Path) -> None:
    installed = tiny_subjects(tmp_path).installed[RUNTIME]
    raw = problem(20, seed=1)[0]
    # The same rows with a strange column in front, which this file does not take.
    wide = np.concatenate([np.full((20, 1), 7, np.float32), raw], axis=1)
    shifted = dataclasses.replace(installed, columns=tuple(range(1, wide.shape[1])))
    np.testing.assert_array_equal(shifted.judge(wide).scores, installed.judge(raw).scores)
    np.testing.assert_array_equal(shifted.model_input(wide), installed.model_input(raw))
