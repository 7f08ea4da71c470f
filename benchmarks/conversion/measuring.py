"""Converts a run as a user would, and gathers what the files cost and gain."""

from __future__ import annotations

import json
import platform
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from benchmarks.emulation.labels import agreement
from benchmarks.models.running import call
from benchmarks.subjects import FULL
from edge_agent.contract.errors import EdgeIdsError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_CHECKOUT: Final = Path(__file__).resolve().parents[2]
_FIGURES: Final = ("f1", "false_alarm_rate", "rows", "family_accuracy")
_DIFFERENCES: Final = (
    "f1_drop_points",
    "f1_drop_interval_points",
    "false_alarm_rise_points",
    "false_alarm_rise_interval_points",
    "label_agreement",
)


@dataclass(frozen=True, slots=True)
class Order:
    """What to measure of each run.

    Attributes:
        model: Name of a model of the runs; None for edge-convert's choice.
        shares: Also shrink by these.
        interpreters: Commands of further Pythons.
        rounds: How often the models take turns when they are timed.
        tell: Called with a few words whenever a step begins.
    """

    model: str | None
    shares: tuple[float, ...]
    interpreters: tuple[str, ...]
    rounds: int
    tell: Callable[[str], None]


def measure(run: Path, order: Order) -> dict[str, Any]:
    """Full model, int8 file and shrunk int8 files of a run.

    Raises:
        EdgeIdsError: A command failed; it has said why.
    """
    files = {}
    for share in (0.0, *order.shares):
        with tempfile.TemporaryDirectory(prefix="edge-ids-conversion-") as name:
            file = Path(name) / "model.tflite"
            label = f"int8, shrunk {share:g}" if share else "int8"
            order.tell(f"{run}: {label}: converting ...")
            # Whatever it costs is to be told here, not to be refused.
            arguments = ["--int8", str(run), "--output", str(file), "--max-f1-drop", "100"]
            arguments += ["--model", order.model] if order.model else []
            arguments += ["--shrink", str(share)] if share else []
            for python in order.interpreters:
                arguments += ["--interpreter", python]
            call("edge-convert", *arguments)
            conversion = json.loads((Path(name) / "conversion.json").read_bytes())
            order.tell(f"{run}: {label}: timing ...")
            timed = _timed(run, file, order.rounds)
            order.tell(f"{run}: {label}: comparing labels ...")
            same = [agreement(run, file, python) for python in order.interpreters]
            files[label] = entry(
                conversion, timed, {found.there: found.same_label for found in same}
            )
            facts = {"model": conversion["model"], "full": _kept(conversion["full"], _FIGURES)}
    return {**facts, "files": files}


def entry(
    conversion: Mapping[str, Any], timed: Mapping[str, Any], same: Mapping[str, float]
) -> dict[str, Any]:
    """What the table needs of one file.

    Args:
        conversion: Its `conversion.json`.
        timed: Batch size → model → timing, as `benchmarks latency` gives.
        same: Interpreter → share of test rows with the label that the first interpreter gives.
    """
    places = conversion["gate"]["interpreters"]
    separate = {
        place: timing
        for number, (place, timing) in enumerate(
            conversion["latency_us_per_flow"]["interpreters"].items()
        )
        # The first one is timed beside the full model; an emulator's time means nothing.
        if number and not emulated(place)
    }
    return {
        **_kept(conversion["converted"], _FIGURES),
        **_kept(conversion["gate"], _DIFFERENCES),
        "columns": conversion["columns"],
        "lstm": conversion["lstm"]["form"],
        "size_bytes": conversion["size_bytes"],
        "interpreters": {
            place: {
                **_kept(found, _DIFFERENCES),
                **_kept(found["metrics"], _FIGURES),
                "same_label_as_first": same.get(place),
            }
            for place, found in places.items()
        },
        "latency_us_per_flow": timed,
        "separate_latency_us_per_flow": separate,
    }


def emulated(place: str) -> bool:
    """Whether a place ("ai-edge-litert 2.3.0, aarch64") is of another architecture than this."""
    found = re.search(r", (\w+)(?: \(\d+\))?$", place)
    return found is not None and found[1] != platform.machine()


def _kept(facts: Mapping[str, Any], wanted: Sequence[str]) -> dict[str, Any]:
    return {key: facts[key] for key in wanted if key in facts}


def _timed(run: Path, file: Path, rounds: int) -> dict[str, Any]:
    """Batch size → "full" and each interpreter → timing; in a process that has one thread."""
    command = [sys.executable, "-m", "benchmarks", "latency", "--json", "--repeats", str(rounds)]
    done = subprocess.run(
        [*command, str(run.resolve()), str(file)],
        cwd=_CHECKOUT,
        stdout=subprocess.PIPE,
        check=False,
    )
    if done.returncode:
        raise EdgeIdsError(
            f"benchmarks latency ended with exit code {done.returncode}; see its message above."
        )
    found = json.loads(done.stdout)
    if FULL in found["left_out"]:
        raise EdgeIdsError(f"The full model cannot be timed: {found['left_out'][FULL]}.")
    timed: dict[str, Any] = found["latency_us_per_flow"]
    return timed
