"""The measurement as a table, and as a chart."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from benchmarks.live.programs import AGENT
from benchmarks.tables import NOTHING, table

if TYPE_CHECKING:
    from pathlib import Path

_MB: Final = 1_000_000
_HEAD: Final = (
    "program",
    "packets per s without drops",
    "lowest to highest",
    "× tcpdump",
    "lost at most rate",
    "CPU s per 100k",
    "at own rate",
    "peak MB",
    "peak MB, any rate",
)
_NOTES: Final = """\
Medians of {rounds} rounds, taken in turn; ratios are formed within a round. The traffic is
{trace}, sent in the order of the trace as fast as the rate says, and again from its beginning.
"packets per s without drops": the highest rate at which the program read every packet that was
sent, with no drop on its own counter; one rung of the ladder is {rung:.0%}. "≥": it bore
{top:,.0f} packets a second, the highest rate tried, {of_sender:.0%} of what the sender can send
here; where the program's limit lies was not seen. A trial lasts 3 to 8 s; one that lost packets is
made once more. Each has a buffer of {buffer:.1f} MB. "CPU s per 100k": seconds of processor time,
user and system, a hundred thousand packets, all processes of the program, at {cost_rate:,.0f}
packets a second; "at own rate": at its highest rate without drops. "peak MB": resident, all its
processes added up, at {cost_rate:,.0f} packets a second; then over all trials.
{processors} The kernel does its part of receiving (the copy into the
buffer) on the processor that sends, so it is in nobody's CPU seconds, and a program has its own
processor to itself: on a gateway, where drivers need it too, rates are lower for all alike."""


def summary(report: dict[str, Any]) -> str:
    """The programs as a table for people, and what is to be known about it."""
    found = report["programs"]
    text = [table(_HEAD, [_row(name, own) for name, own in found.items()], text_columns=1), ""]
    text.append(
        _NOTES.format(
            rounds=report["rounds"],
            trace=report["trace"]["summary"],
            rung=report["rung"] - 1,
            top=report["top_rate"],
            of_sender=report["of_sender"],
            buffer=report["buffer_bytes"] / _MB,
            cost_rate=report["cost_rate"],
            processors=_processors(report["processors"]),
        )
    )
    text.append(delays(report))
    sender = report["sender"]
    told = f"The sender sends {sender['own']:,.0f} packets a second at most while tcpdump captures"
    if sender["tcpreplay"] is not None:
        told += f", tcpreplay --preload-pcap --topspeed {sender['tcpreplay']:,.0f}"
    text.append(f"{told}.")
    text += [f"{name}: {what}." for name, what in report["what"].items()]
    text += [f"Left out: {name}: {why}." for name, why in report["left_out"].items()]
    if report["alone"] is not None:
        text += ["", alone(report["alone"])]
    return "\n".join(text)


def _processors(count: int) -> str:
    if count == 1:
        return "There is one processor, which sender and program share."
    return (
        f"Of {count} processors the sender has one alone, and the program the"
        f" other{'s' if count > 2 else ''}."
    )


def delays(report: dict[str, Any]) -> str:
    """The agent's delays at the common rate, in a sentence."""
    own = report["programs"].get(AGENT)
    if own is None or not own["delays"]:
        return "The agent was not measured."
    parts = []
    for name, title in (
        ("edge_ids_scoring_delay_seconds", "from a flow's end in the meter to its verdict"),
        ("edge_ids_verdict_delay_seconds", "from a flow's last packet to its verdict"),
    ):
        by_round = [turn[name] for turn in own["delays"]]
        half, most = (_middle([pair[i] for pair in by_round]) for i in (0, 1))
        parts.append(f"{title} {half} (p50), {most} (p99)")
    return f"The agent at {report['cost_rate']:,.0f} packets a second: {'; '.join(parts)}."


def _middle(values: list[float | None]) -> str:
    known = sorted(value for value in values if value is not None)
    return f"{known[len(known) // 2]:.3g} s" if known else "more than its histogram tells"


def alone(found: dict[str, Any]) -> str:
    """What the agent alone takes, in a sentence."""
    starts = found["start_s"]
    return (
        f"The agent alone, --board {found['board']}: {found['start_median_s']:.2f} s from its start"
        f" to capturing ({min(starts):.2f} to {max(starts):.2f}, {len(starts)} starts); idle"
        f" {found['idle_bytes'] / _MB:.1f} MB and {found['idle_cpu_share']:.2%} of a processor;"
        f" with {found['full_flows']:,} of {found['max_flows']:,} flows open, peak"
        f" {found['full_bytes'] / _MB:.1f} MB (with metrics served"
        f" {found['full_bytes_with_metrics'] / _MB:.1f} MB)."
    )


def _row(name: str, own: dict[str, Any]) -> tuple[str, ...]:
    rate, times, lost = own["rate"], own["times_tcpdump"], own["lost_at_top"]
    best = own["cpu_s_per_100k_at_best"]
    return (
        name,
        f"{'≥ ' if own['at_top'] else ''}{rate['median']:,.0f}",
        f"{rate['lowest']:,.0f} to {rate['highest']:,.0f}",
        f"{times['median']:.3g}" if times else NOTHING,
        f"{lost['median']:.1%}" if lost else NOTHING,
        f"{own['cpu_s_per_100k']['median']:.3f}",
        f"{best['median']:.3f}" if best else NOTHING,
        f"{own['peak_bytes_at_cost'] / _MB:,.1f}",
        f"{own['peak_bytes'] / _MB:,.1f}",
    )


def plot(report: dict[str, Any], path: Path) -> None:
    """Draw what each program lost over the rate, every trial a dot."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(9, 4.2), layout="constrained")
    colours = ("#c8511b", "#2b6ca3", "#5b8c3a", "#8a949e")
    for colour, (name, own) in zip(colours, report["programs"].items(), strict=False):
        trials = sorted(
            (trial["rate"], max(0.0, 1 - trial["received"] / trial["sent"]))
            for turn in own["trials"]
            for trial in turn
            if trial["sent"]
        )
        axes.plot(
            [rate for rate, _ in trials],
            [100 * lost for _, lost in trials],
            "o",
            color=colour,
            label=name,
            markersize=4,
            alpha=0.8,
        )
        axes.axvline(own["rate"]["median"], color=colour, linewidth=1, linestyle="--")
    axes.set_xscale("log")
    axes.set_xlabel("packets a second sent (logarithmic)")
    axes.set_ylabel("packets lost, %")
    axes.set_title(
        "Live capture: every trial; dashed: highest rate without drops", loc="left", fontsize=10
    )
    axes.grid(color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.legend(frameon=False)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
    plt.close(figure)
