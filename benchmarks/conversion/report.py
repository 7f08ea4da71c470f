"""The table of conversions for people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks.conversion.targets import outcomes
from benchmarks.subjects import FULL
from benchmarks.tables import NOTHING, markdown

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def report(facts: Mapping[str, Any]) -> str:
    """Markdown: for each run its accuracy, sizes, latencies, and the targets."""
    lines = [
        "# Conversions",
        "",
        (
            f"Measured on {facts['date']}, {facts['processor']}. Differences to the full model on"
            " the run's test rows, in points (hundredths), 95 % intervals of a paired bootstrap in"
            " brackets."
        ),
    ]
    for name, run in facts["runs"].items():
        lines += ["", f"## {name}: {run['model']}", "", *markdown(_accuracy(run))]
        lines += ["", *markdown(_sizes(run["files"])), ""]
        lines += [
            (
                "µs per flow (p50) on one thread; full model and file took turns,"
                f" {facts['rounds']} rounds:"
            ),
            "",
            *markdown(_latencies(run["files"])),
        ]
        separate = _separate(run["files"])
        if len(separate) > 1:
            lines += [
                "",
                (
                    "Other environments, µs per flow as edge-convert timed them, and how many times"
                    " faster than the full model above; not interleaved, so the ratio is rough:"
                ),
                "",
                *markdown(separate),
            ]
        lines += ["", "Targets:", "", *(f"- {outcome}" for outcome in outcomes(run))]
    return "\n".join(lines) + "\n"


def _accuracy(run: Mapping[str, Any]) -> list[list[str]]:
    head = ["", "interpreter", "F1", "F1 drop", "false-alarm rate", "rise"]
    head += ["same label as full", "same as first"]
    full = run["full"]
    lines = [head, ["full", "tf.function", f"{full['f1']:.4f}", NOTHING]]
    lines[1] += [f"{full['false_alarm_rate']:.3%}", *[NOTHING] * 3]
    for name, file in run["files"].items():
        for place, found in file["interpreters"].items():
            same = found["same_label_as_first"]
            lines.append(
                [
                    name,
                    place,
                    f"{found['f1']:.4f}",
                    _points(found["f1_drop_points"], found["f1_drop_interval_points"]),
                    f"{found['false_alarm_rate']:.3%}",
                    _points(
                        found["false_alarm_rise_points"],
                        found["false_alarm_rise_interval_points"],
                    ),
                    f"{found['label_agreement']:.3%}",
                    NOTHING if same is None else f"{same:.3%}",
                ]
            )
    return lines


def _points(value: float, interval: Sequence[float]) -> str:
    low, high = interval
    return f"{value:.3f} [{low:.3f}, {high:.3f}]"


def _sizes(files: Mapping[str, Any]) -> list[list[str]]:
    head = ["", "columns", "LSTM", "file bytes", "flatbuffer", "flatbuffer, gzip"]
    lines = [head]
    for name, file in files.items():
        size = file["size_bytes"]
        sizes = (size[key] for key in ("file", "flatbuffer", "flatbuffer_gzip"))
        cells = [name, str(file["columns"]), file["lstm"] or NOTHING]
        lines.append([*cells, *(f"{bytes_:,}" for bytes_ in sizes)])
    return lines


def _latencies(files: Mapping[str, Any]) -> list[list[str]]:
    lines = [["", "batch", "full", "interpreter", "file", "times faster", "by round"]]
    for name, file in files.items():
        for batch, timed in file["latency_us_per_flow"].items():
            full = f"{timed[FULL]['p50']:,.2f}"
            for runtime, timing in timed.items():
                if runtime == FULL:
                    continue
                faster = timing["times_faster"]
                by_round = f"{faster['lowest_p50']:.1f} to {faster['highest_p50']:.1f}"
                cells = [name, batch, full, runtime, f"{timing['p50']:,.2f}"]
                lines.append([*cells, f"{faster['p50']:.1f}", by_round])
    return lines


def _separate(files: Mapping[str, Any]) -> list[list[str]]:
    batches = list(next(iter(files.values()))["latency_us_per_flow"])
    lines = [["", "interpreter", *(f"batch {batch}" for batch in batches)]]
    for name, file in files.items():
        for place, timing in file["separate_latency_us_per_flow"].items():
            cells = []
            for batch in batches:
                full = file["latency_us_per_flow"][batch][FULL]["p50"]
                own = timing[batch]["p50"] if batch in timing else None
                cells.append(f"{own:,.2f} ({full / own:.1f})" if own else NOTHING)
            lines.append([name, place, *cells])
    return lines
