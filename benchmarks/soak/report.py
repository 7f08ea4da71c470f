"""A soak as a table, and memory over time as a chart."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING, Any, Final

from benchmarks.live.agent_process import added
from benchmarks.soak.judging import growth, slope
from benchmarks.tables import NOTHING, table

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.soak.judging import Heard
    from benchmarks.soak.running import Load, Record

_MB: Final = 1_000_000


def figures(record: Record, found: list[Heard], load: Load, linger_s: float) -> dict[str, Any]:
    """All that was seen, for JSON and for the table."""
    line, grown = slope(record.times_s, record.resident), growth(record.resident)
    last = record.metrics
    late = {
        name: sorted(
            one.late_s - linger_s
            for one in found
            if one.in_flood is flood and one.late_s is not None
        )
        for name, flood in (("calm", False), ("flood", True))
    }
    floods = [told for told in record.told if "flood_over" in told]
    seconds = [told for told in record.told if "second" in told]
    lasted_s = record.times_s[-1] if record.times_s else 0.0
    return {
        "minutes": load.minutes,
        "flows_per_s": load.flows_per_s,
        "flood_wanted_per_s": load.flood_per_s,
        "flood_sent_per_s": [told["sent"] / told["seconds"] for told in floods],
        "sender_behind_s": max((told["behind_s"] for told in seconds), default=None),
        "sent": record.told[-1].get("sent") if record.told else None,
        "lasted_s": lasted_s,
        "alive": record.alive,
        "linger_s": linger_s,
        "attacks": len(found),
        "attacks_told": sum(one.late_s is not None for one in found),
        "late_s": late,
        "heard": [
            {"source": one.source, "in_flood": one.in_flood, "late_s": one.late_s} for one in found
        ],
        "messages": len(record.messages),
        "resident_bytes": record.resident,
        "times_s": record.times_s,
        "dropped": record.dropped,
        "skipped": record.skipped,
        "growth_bytes": grown,
        "slope_bytes_per_s": None if line is None else [line.low, line.per_s, line.high],
        "peak_bytes": max(record.resident, default=0),
        "cpu_share": (record.cpu_s[-1] - record.cpu_s[0]) / lasted_s if lasted_s else None,
        "metrics": {name: value for name, value in last.items() if "_bucket" not in name},
        "packets": added(last, "edge_ids_packets_total"),
        "flows": added(last, "edge_ids_flows_total"),
    }


def summary(report: dict[str, Any]) -> str:
    """The soak for people."""
    floods = report["flood_sent_per_s"]
    rows = [
        ("minutes", f"{report['lasted_s'] / 60:.1f}"),
        ("packets sent", _count(report["sent"])),
        ("packets metered", _count(report["packets"])),
        ("packets dropped", _count(report["dropped"][-1] if report["dropped"] else None)),
        ("new flows a second, everyday", _count(report["flows_per_s"])),
        (
            f"flood, packets a second ({report['flood_wanted_per_s']:,.0f} wanted), median",
            _count(median(floods) if floods else None),
        ),
        ("flows scored", _count(report["flows"])),
        (
            "flows left out by sampling",
            _count(report["skipped"][-1] if report["skipped"] else None),
        ),
        ("processor, share of one", f"{report['cpu_share'] or 0:.0%}"),
        ("memory, MB, median", f"{median(report['resident_bytes'] or [0]) / _MB:.1f}"),
        ("memory, MB, highest", f"{report['peak_bytes'] / _MB:.1f}"),
        ("memory, MB an hour (95 % confidence)", _slope(report["slope_bytes_per_s"])),
        ("alert messages", _count(report["messages"])),
        ("attacks, and told", f"{report['attacks']} and {report['attacks_told']}"),
        ("alert late in calm, s, median and most", _late(report["late_s"]["calm"])),
        ("alert late in a flood, s, median and most", _late(report["late_s"]["flood"])),
    ]
    notes = (
        f'"Late": from an attack\'s first packet to its message at the subscriber, less the'
        f" {report['linger_s']:g} s that the meter waits behind a flow's end. The sender has one"
        " processor alone; it came up to"
        f" {report['sender_behind_s'] or 0:.2f} s behind its times."
    )
    return "\n".join([table(("what", "seen"), rows), "", notes])


def _count(value: float | None) -> str:
    return NOTHING if value is None else f"{value:,.0f}"


def _slope(found: list[float] | None) -> str:
    if found is None:
        return NOTHING
    low, middle, high = (value * 3600 / _MB for value in found)
    return f"{middle:+.2f} ({low:+.2f} to {high:+.2f})"


def _late(found: list[float]) -> str:
    return f"{median(found):.2f} and {found[-1]:.2f}" if found else NOTHING


def plot(report: dict[str, Any], path: Path) -> None:
    """Draw memory over time, and what was lost."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    minutes = [second / 60 for second in report["times_s"]]
    figure, (above, below) = plt.subplots(
        2, 1, figsize=(9, 5), layout="constrained", sharex=True, height_ratios=(2, 1)
    )
    above.plot(minutes, [value / _MB for value in report["resident_bytes"]], color="#c8511b")
    above.set_ylim(bottom=0)
    above.set_ylabel("resident memory, MB")
    above.set_title("The agent under load; a flood in every minute", loc="left", fontsize=10)
    below.plot(minutes, report["dropped"], color="#2b6ca3", label="packets dropped")
    below.plot(minutes, report["skipped"], color="#8a949e", label="flows left out")
    below.set_xlabel("minutes")
    below.set_ylabel("since the start")
    below.legend(frameon=False)
    for axes in (above, below):
        axes.grid(color="#dddddd", linewidth=0.6)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
    plt.close(figure)
