"""The command ``python -m benchmarks latency``.

Machines change their speed while they are measured. So the models take turns: a round times each of
them once, a short burst of calls that begins with warm-up calls, and every second round goes the
other way. A ratio is formed within a round, between bursts a second apart; the figures are medians
over rounds, and the rounds' lowest and highest ratios tell how far to trust them. Bursts rather
than single calls in turn, because TensorFlow's call would leave cold caches to a model that is
fifty times smaller.

Everything has one thread, TensorFlow included. What is timed is the model alone: scaled rows in,
scores out.
"""

from __future__ import annotations

import json
import sys
from functools import partial
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, Final

import click
import numpy as np

from benchmarks.subjects import FULL, Subjects, open_subjects
from benchmarks.tables import NOTHING, table
from edge_agent.console import end_progress, progress_line, run_command
from edge_agent.contract.errors import RunError
from edge_agent.contract.runs import Rows, load_rows, spread
from edge_agent.detect.timing import latency_us

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

BATCHES: Final = (1, 16, 64, 256)

# A round takes 2 to 4 s for all batches; a median of five forgets two disturbed ones.
_DEFAULT_ROUNDS: Final = 5

Burst = dict[str, float]
"""What `latency_us` gives: "p50" and "p99", µs per flow."""


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("model", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--repeats",
    type=click.IntRange(min=1),
    default=_DEFAULT_ROUNDS,
    show_default=True,
    metavar="N",
    help="Rounds; each times every model once per batch size, up to 400 calls or half a second.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
@click.option("--debug", is_flag=True, help="Show tracebacks.")
def latency(run: Path, model: Path, repeats: int, as_json: bool, debug: bool) -> None:
    """How long a model file takes per flow, beside its full model.

    The file MODEL in every interpreter that is installed, and the Keras model of RUN that it was
    made of, take turns on one thread.

    \b
    Example:
      python -m benchmarks latency runs/first model.tflite --repeats 9
    """  # noqa: D301

    def work() -> None:
        progress_line("loading the models ...")
        subjects = open_subjects(run, model, threads=1)
        report = measure(subjects, load_rows(run, "test"), repeats)
        end_progress()
        text = json.dumps(report, indent=1, ensure_ascii=False, allow_nan=False)
        sys.stdout.write(text + "\n" if as_json else f"{subjects.title()}\n\n{summary(report)}\n")

    run_command("benchmarks latency", debug, work)


def measure(subjects: Subjects, rows: Rows, rounds: int) -> dict[str, Any]:
    """Time every model at every batch size.

    Raises:
        RunError: The run has no held-out rows to feed the models with.
    """
    if not len(rows.raw):
        raise RunError(subjects.folder, "has no held-out rows", remedy="train on more flows")
    batches = {}
    for batch in BATCHES:
        progress_line(f"batch {batch} ...")
        calls = prepared_calls(subjects, filled(rows, batch))
        batches[str(batch)] = aggregate(interleaved(calls, batch, rounds))
    return {**subjects.facts(), "threads": 1, "rounds": rounds, "latency_us_per_flow": batches}


def filled(rows: Rows, batch: int) -> NDArray[np.float32]:
    """Exactly `batch` rows of raw features, spread over all; repeated where there are fewer."""
    raw = spread(rows, batch).raw
    return raw[np.arange(batch) % len(raw)]


def prepared_calls(subjects: Subjects, raw: NDArray[np.float32]) -> dict[str, Callable[[], object]]:
    """One call per model on the same flows, with nothing left to do but to run the model."""
    calls: dict[str, Callable[[], object]] = {}
    if subjects.full is not None:
        full = subjects.full
        tensor = full.to_tensor(full.model_input(raw))
        # The scores must be there, as the agent needs them: TensorFlow may answer before they are.
        calls[FULL] = lambda: np.asarray(full.forward(tensor))
    for name, installed in subjects.installed.items():
        calls[name] = partial(installed.model.predict, installed.model_input(raw))
    return calls


def interleaved(
    calls: dict[str, Callable[[], object]],
    rows: int,
    rounds: int,
    stopwatch: Callable[[Callable[[], object], int], Burst] = latency_us,
) -> list[dict[str, Burst]]:
    """Time the calls in turn.

    Args:
        calls: Name → call on `rows` rows.
        rows: How many rows each call takes.
        rounds: How often each gets its turn.
        stopwatch: Times one burst of one call.

    Returns:
        Per round: name → what the stopwatch said.
    """
    result = []
    for number in range(rounds):
        # The other way round every second time: nobody always follows the heavy one.
        names = list(calls) if number % 2 == 0 else list(reversed(calls))
        timed = {name: stopwatch(calls[name], rows) for name in names}
        result.append({name: timed[name] for name in calls})
    return result


def aggregate(rounds: list[dict[str, Burst]]) -> dict[str, dict[str, Any]]:
    """Medians over rounds, and how many times faster than the full model.

    Returns:
        Name → "p50", "p99", and "times_faster" with "p50", "p99" (medians of the rounds' ratios),
        "lowest_p50" and "highest_p50"; None for the full model and where it was not timed.
    """
    return {
        name: {
            "p50": median(burst[name]["p50"] for burst in rounds),
            "p99": median(burst[name]["p99"] for burst in rounds),
            "times_faster": _times_faster(rounds, name),
        }
        for name in rounds[0]
    }


def _times_faster(rounds: list[dict[str, Burst]], name: str) -> dict[str, float] | None:
    if name == FULL or FULL not in rounds[0]:
        return None
    p50 = [burst[FULL]["p50"] / burst[name]["p50"] for burst in rounds]
    p99 = [burst[FULL]["p99"] / burst[name]["p99"] for burst in rounds]
    return {
        "p50": median(p50),
        "p99": median(p99),
        "lowest_p50": min(p50),
        "highest_p50": max(p50),
    }


def summary(report: dict[str, Any]) -> str:
    """The report as a table for people."""
    rows = []
    for batch, models in report["latency_us_per_flow"].items():
        for name, timing in models.items():
            faster = timing["times_faster"]
            rows.append(
                (
                    name,
                    batch,
                    f"{timing['p50']:,.2f}",
                    f"{timing['p99']:,.2f}",
                    f"{faster['p50']:,.1f}" if faster else NOTHING,
                    f"{faster['lowest_p50']:,.1f} to {faster['highest_p50']:,.1f}"
                    if faster
                    else NOTHING,
                )
            )
    head = ("µs per flow, one thread", "batch", "p50", "p99", "times faster", "by round")
    return table(head, rows) + f"\n\nMedians of {report['rounds']} rounds, taken in turn."
