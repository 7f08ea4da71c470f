"""The measurement as a table, and as a bar chart."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from benchmarks.tables import NOTHING, table

if TYPE_CHECKING:
    from pathlib import Path

_MB: Final = 1_000_000
# The least that can be told differs a little from run to run.
_FLOOR_SLACK: Final = 1.15
_HEAD: Final = (
    "program",
    "of trace",
    "packets",
    "flows",
    "packets per CPU s",
    "lowest to highest",
    "× tcpdump",
    "by round",
    "beyond start",
    "start ms",
    "wall s",
    "peak MB",
)
_NOTES: Final = """\
Medians of {rounds} rounds, taken in turn{place}. CPU seconds are user and system time of a program
and all it starts. "× tcpdump": its rate by that of `tcpdump -r TRACE -w /dev/null` in the same
round. "beyond start": packets per CPU second without what the program costs on a capture without
packets ("start ms"). "peak MB": of its largest process; less than {floor:.0f} cannot be told."""


def summary(report: dict[str, Any]) -> str:
    """The contenders as a table for people."""
    rows = [_row(name, found, report) for name, found in report["contenders"].items()]
    cpu = report["cpu"]
    notes = _NOTES.format(
        rounds=report["rounds"],
        place="" if cpu is None else f", on CPU {cpu} alone",
        floor=_FLOOR_SLACK * report["floor_bytes"] / _MB,
    )
    left_out = [f"Left out: {name}: {why}." for name, why in report["left_out"].items()]
    return "\n".join([table(_HEAD, rows, text_columns=2), "", notes, *left_out])


def _row(name: str, found: dict[str, Any], report: dict[str, Any]) -> tuple[str, ...]:
    rate, times, net = (
        found[key]
        for key in ("packets_per_cpu_s", "times_baseline", "packets_per_cpu_s_beyond_start")
    )
    floor = _FLOOR_SLACK * report["floor_bytes"]
    return (
        name,
        found["trace"].removesuffix(".pcap"),
        f"{found['packets']:,}",
        NOTHING if found["flows"] is None else f"{found['flows']:,}",
        f"{rate['median']:,.0f}",
        f"{rate['lowest']:,.0f} to {rate['highest']:,.0f}",
        f"{times['median']:.4g}" if times else NOTHING,
        f"{times['lowest']:.3g} to {times['highest']:.3g}" if times else NOTHING,
        f"{net['median']:,.0f}" if net else NOTHING,
        f"{1000 * found['start_cpu_s']:,.0f}",
        f"{found['wall_s']['median']:,.2f}",
        f"under {floor / _MB:.0f}"
        if found["peak_bytes"] <= floor
        else f"{found['peak_bytes'] / _MB:,.1f}",
    )


def imports(found: dict[str, dict[str, float]]) -> str:
    """How long importing takes, in a sentence."""
    own, both = found["beyond_numpy"], found["with_numpy"]
    return (
        f"Importing the meter takes {own['median']:.1f} ms beyond numpy"
        f" ({own['lowest']:.1f} to {own['highest']:.1f}), {both['median']:.1f} ms with numpy"
        f" ({both['lowest']:.1f} to {both['highest']:.1f})."
    )


def plot(report: dict[str, Any], path: Path) -> None:
    """Draw the rates as bars, the fastest on top; lines tell the lowest and highest rounds."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    found = sorted(
        report["contenders"].items(), key=lambda item: item[1]["packets_per_cpu_s"]["median"]
    )
    rates = [values["packets_per_cpu_s"] for _, values in found]
    middle = [rate["median"] for rate in rates]
    around = (
        [rate["median"] - rate["lowest"] for rate in rates],
        [rate["highest"] - rate["median"] for rate in rates],
    )
    figure, axes = plt.subplots(figsize=(9, 1.4 + 0.36 * len(found)), layout="constrained")
    # Ours stand out; what they are compared to is grey.
    colours = ["#c8511b" if values["ours"] else "#8a949e" for _, values in found]
    labels = [name for name, _ in found]
    bars = axes.barh(labels, middle, xerr=around, color=colours, ecolor="#333333", capsize=2)
    texts = [
        f"{rate:,.0f}" + (f"  ({times['median']:.2g} × tcpdump)" if times else "")
        for rate, times in zip(
            middle, (values["times_baseline"] for _, values in found), strict=True
        )
    ]
    # Beside the end of the line that tells the highest round.
    for bar, rate, text in zip(bars, rates, texts, strict=True):
        axes.annotate(
            text,
            (rate["highest"], bar.get_y() + bar.get_height() / 2),
            xytext=(5, 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
        )
    axes.set_xscale("log")
    axes.set_xlim(min(rate["lowest"] for rate in rates) / 3, 15 * max(middle))
    axes.set_xlabel("packets per second of processor time (logarithmic)")
    axes.set_title("Captures read from a file, one CPU", loc="left", fontsize=10)
    axes.grid(axis="x", color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
    plt.close(figure)
