"""What `edge-convert` says to people: tables of plain text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

_FIGURES: Final = (
    ("F1", "f1"),
    ("false-alarm rate", "false_alarm_rate"),
    ("precision", "precision"),
    ("recall", "recall"),
)


_LATENCIES: Final = ("batch 1", "64", "256 µs")
_HEAD: Final = (
    *("model", "format", "F1", "drop", "false alarms", "same verdict", "file bytes", "gzipped"),
    *_LATENCIES,
    "verdict",
)
_SWEEP_HEAD: Final = (
    *("", "share", "F1", "drop", "false alarms", "parameters", "columns", "file bytes", "gzipped"),
    *_LATENCIES,
    "gate",
)


def summary(report: dict[str, Any]) -> str:
    """One conversion: the full model beside the file, then each interpreter."""
    full, converted, gate = report["full"], report["converted"], report["gate"]
    lines = [
        f"{report['output']}: {report['model']}, {_form(report)}",
        "",
        f"{'on the test rows':<26}{'full model':>20}{'this file':>20}",
    ]
    lines += [f"{title:<26}{full[key]:>20.3%}{converted[key]:>20.3%}" for title, key in _FIGURES]
    if report["families"]:
        lines.append(
            f"{'family named right':<26}{full['family_accuracy']:>20.3%}"
            f"{converted['family_accuracy']:>20.3%}"
        )
    lines += _latencies(report["latency_us_per_flow"])
    size, parameters = report["size_bytes"], report["parameters"]
    lines += [
        f"{'parameters':<26}{parameters['full']:>20,}{parameters['converted']:>20,}",
        f"{'bytes':<26}{size['keras']:>20,}{size['file']:>20,}",
        f"{'  flatbuffer, gzipped':<26}{'':>20}{size['flatbuffer_gzip']:>20,}",
        "",
    ]
    lines += [_agreement(place, found) for place, found in gate["interpreters"].items()]
    lines += [f"Not tried: {name} ({why})" for name, why in report["interpreters_left_out"].items()]
    if "c_source" in report:
        source = report["c_source"]
        lines.append(
            f"{', '.join(source['files'])}: {source['flatbuffer_bytes']:,} bytes of model, an arena"
            f" of {source['arena_bytes']:,} bytes"
            f" ({'measured' if source['arena_measured'] else 'estimated'}); the header says how to"
            " use it."
        )
    return "\n".join(lines) + "\n"


def _form(report: dict[str, Any]) -> str:
    lstm = report["lstm"]["form"]
    return f"{report['format']}, LSTM {lstm}" if lstm else str(report["format"])


def _latencies(latency: dict[str, Any]) -> list[str]:
    lines = []
    for batch, timing in latency["converted"].items():
        full = latency["full"].get(batch)
        beside = f"{full['p50']:,.1f} ({full['p99']:,.1f})" if full else ""
        mine = f"{timing['p50']:,.1f} ({timing['p99']:,.1f})"
        lines.append(f"{f'p50 (p99) µs, batch {batch}':<26}{beside:>20}{mine:>20}")
    return lines


def _agreement(place: str, found: dict[str, Any]) -> str:
    low, high = found["f1_drop_interval_points"]
    rise = found["false_alarm_rise_points"]
    text = (
        f"{place}: same verdict in {found['label_agreement']:.3%} of"
        f" {found['metrics']['rows']:,} rows; F1 drops by {found['f1_drop_points']:.3f} points"
        f" (95 %: {low:.3f} to {high:.3f}; {found['max_f1_drop_points']:g} are allowed),"
        f" false alarms rise by {rise:.3f} points."
    )
    if "families" in found:
        text += f" Same family in {found['families']['agreement']:.3%} of the attacks flagged."
    return text


def table(reports: Sequence[dict[str, Any]]) -> str:
    """Several conversions of the same models, a line each."""
    lines = _aligned([_HEAD, *map(_row, reports)])
    refused = [
        f"{report['model']} {report['format']}: {'; '.join(report['gate']['reasons'])}."
        for report in reports
        if not report["gate"]["passed"]
    ]
    return "\n".join([*lines, *([""] if refused else []), *refused]) + "\n"


def sweep_table(points: Sequence[dict[str, Any]]) -> str:
    """Points of a sweep, a line each, as a Markdown table that reads well as it is."""
    rows = [_SWEEP_HEAD, *map(_point, points)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    padded = [[f"{cell:>{width}}" for cell, width in zip(row, widths, strict=True)] for row in rows]
    lines = [f"| {' | '.join(cells)} |" for cells in padded]
    rule = "|" + "|".join("-" * (width + 1) + ":" for width in widths) + "|"
    return "\n".join([lines[0], rule, *lines[1:]]) + "\n"


def _point(point: dict[str, Any]) -> tuple[str, ...]:
    _, _, f1, drop, alarms, _, file, gzipped, *latencies, verdict = _row(point)
    sizes = (f"{point['parameters']['converted']:,}", str(point["columns"]), file, gzipped)
    return (point["kind"], f"{point['share']:g}", f1, drop, alarms, *sizes, *latencies, verdict)


def _aligned(rows: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = [
            f"{cell:<{width}}" if place < 2 else f"{cell:>{width}}"
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return lines


def _row(report: dict[str, Any]) -> tuple[str, ...]:
    gate, name = report["gate"], str(report["model"])
    verdict = "passed" if gate["passed"] else "refused"
    # No figures where no interpreter could run the file, or there is no file.
    if "converted" not in report:
        return (name, str(report["format"]), *[""] * 9, verdict)
    size, form = report["size_bytes"], _form(report)
    timing = report["latency_us_per_flow"]["converted"]
    return (
        name,
        form,
        f"{report['converted']['f1']:.4f}",
        f"{gate['f1_drop_points']:.3f}",
        f"{report['converted']['false_alarm_rate']:.3%}",
        f"{gate['label_agreement']:.3%}",
        f"{size['file']:,}",
        f"{size['flatbuffer_gzip']:,}",
        *(f"{timing[batch]['p50']:.1f}" if batch in timing else "" for batch in ("1", "64", "256")),
        verdict,
    )
