"""What a running agent says of itself: once as a table, which MQTT, Prometheus and systemd take."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from edge_agent import __version__
from edge_agent.flow.meter import EVICTED, EVICTED_CONTEXT
from edge_agent.flow.packets import PACKETS, Skip
from edge_agent.service.metrics import Histogram, Metric

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge_agent.capture.live import InterfaceCounts

_STATM: Final = Path("/proc/self/statm")
# From the batch's wait to the longest life of a flow that is given out.
_DELAYS_S: Final = (0.1, 0.25, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 5.0, 10.0, 20.0, 60.0)
_WAITS_S: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.3, 0.5, 1.0, 2.5, 5.0, 10.0)


@dataclass(frozen=True, slots=True)
class Status:
    """The agent at one moment; counts are since its start.

    Attributes:
        interfaces: What capture counted, by interface.
        meter: What the meters counted, by the names in `edge_agent.flow.meter.COUNTS`.
        flows_open: Flows in their tables.
        queue_rows: Flows that wait for the model.
        flows: Flows scored.
        flagged: Those the model calls attacks.
        skipped: Flows left out because they came faster than the model scores.
        skipped_alerting: Those of them whose source was part of an open incident.
        ignored: Flows that nobody scored, because detection was off.
        incidents: Incidents begun.
        incidents_open: Incidents that last.
        alerts: Alerts made.
        alerts_pending: Alerts not acknowledged yet.
        alerts_dropped: Alerts lost: no room, or they could not be written.
        connected: Whether there is a broker; None: none is configured.
        detecting: Whether flows are scored.
        reloads: Reloads by their result.
        model: Name of the model.
        fingerprint: Of its features.
    """

    interfaces: Mapping[str, InterfaceCounts]
    meter: Mapping[str, int]
    flows_open: int
    queue_rows: int
    flows: int
    flagged: int
    skipped: int
    skipped_alerting: int
    ignored: int
    incidents: int
    incidents_open: int
    alerts: int
    alerts_pending: int
    alerts_dropped: int
    connected: bool | None
    detecting: bool
    reloads: Mapping[str, int]
    model: str
    fingerprint: str

    @property
    def packets(self) -> int:
        """Packets metered."""
        return self.meter.get(PACKETS, 0)

    @property
    def dropped(self) -> int:
        """Packets that the kernel dropped, because we were too slow."""
        return sum(counts.dropped for counts in self.interfaces.values())

    def line(self) -> str:
        """One line for people."""
        down = [name for name, counts in self.interfaces.items() if not counts.up]
        parts = [
            f"{self.packets:,} packets ({self.dropped:,} dropped)",
            f"{self.flows:,} flows ({self.skipped:,} skipped)",
            f"{self.incidents_open:,} incidents open",
        ]
        if down:
            parts.append("down: " + ", ".join(down))
        if self.connected is False:
            parts.append(f"no broker, {self.alerts_pending:,} alerts wait")
        if not self.detecting:
            parts.append("detection is off")
        return ", ".join(parts)


class Delays:
    """How long verdicts take. For one thread that adds; any may read."""

    def __init__(self) -> None:
        self.verdict = Histogram(_DELAYS_S)
        self.scoring = Histogram(_WAITS_S)


def resident_bytes() -> int:
    """Memory of this process that is in RAM."""
    # In bytes: once privileges are dropped, the files of a codec may be out of reach.
    return int(_STATM.read_bytes().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def stats(status: Status, delays: Delays, started_s: float) -> dict[str, object]:
    """The `stats` message: what people watch who have no Prometheus."""
    interfaces = {
        name: {"up": counts.up, "frames": counts.frames, "dropped": counts.dropped}
        for name, counts in status.interfaces.items()
    }
    return {
        "uptime_s": round(time.monotonic() - started_s),
        "packets": status.packets,
        "packets_dropped": status.dropped,
        "frames_skipped": sum(status.meter.get(reason.value, 0) for reason in Skip),
        "flows": status.flows,
        "flows_open": status.flows_open,
        "flows_flagged": status.flagged,
        "flows_skipped": status.skipped,
        "queue_rows": status.queue_rows,
        "incidents": status.incidents,
        "incidents_open": status.incidents_open,
        "alerts": status.alerts,
        "alerts_pending": status.alerts_pending,
        "alerts_dropped": status.alerts_dropped,
        "scoring_delay_p99_s": delays.scoring.quantile_s(0.99),
        "detecting": status.detecting,
        "memory_bytes": resident_bytes(),
        "cpu_s": round(time.process_time(), 2),
        "interfaces": interfaces,
    }


def metrics(status: Status, delays: Delays, started_at_s: float) -> list[Metric]:
    """The metrics of the moment; the Grafana dashboard asks for these names."""
    counts, gauge = "counter", "gauge"
    up = {name: float(one.up) for name, one in status.interfaces.items()}
    dropped = {name: float(one.dropped) for name, one in status.interfaces.items()}
    outages = {name: float(one.outages) for name, one in status.interfaces.items()}
    skipped = {reason.value: float(status.meter.get(reason.value, 0)) for reason in Skip}
    evicted = {kind: float(status.meter.get(name, 0)) for kind, name in EVICTED.items()}
    evicted["context"] = float(status.meter.get(EVICTED_CONTEXT, 0))
    model = {"model": status.model, "fingerprint": status.fingerprint, "version": __version__}
    return [
        Metric.of("edge_ids_packets_total", counts, "Packets metered.", status.packets),
        Metric.by(
            "edge_ids_packets_dropped_total",
            counts,
            "Packets the kernel dropped because the ring was full.",
            "interface",
            dropped,
        ),
        Metric.by(
            "edge_ids_frames_skipped_total",
            counts,
            "Frames that are no flow's: malformed, cut, or of other protocols.",
            "reason",
            skipped,
        ),
        Metric.of("edge_ids_flows_total", counts, "Flows scored.", status.flows),
        Metric.of("edge_ids_flows_flagged_total", counts, "Flows called attacks.", status.flagged),
        Metric.of(
            "edge_ids_flows_skipped_total",
            counts,
            "Flows left out: they came faster than the model scores.",
            status.skipped,
        ),
        Metric.by(
            "edge_ids_flows_evicted_total",
            counts,
            "Flows and neighbourhoods pushed out of full tables.",
            "kind",
            evicted,
        ),
        Metric.of("edge_ids_flows_open", gauge, "Flows in the tables.", status.flows_open),
        Metric.of("edge_ids_queue_rows", gauge, "Flows that wait.", status.queue_rows),
        Metric.of("edge_ids_incidents_total", counts, "Incidents begun.", status.incidents),
        Metric.of("edge_ids_incidents_open", gauge, "Incidents now.", status.incidents_open),
        Metric.of("edge_ids_alerts_total", counts, "Alerts made.", status.alerts),
        Metric.of(
            "edge_ids_alerts_pending", gauge, "Alerts unacknowledged.", status.alerts_pending
        ),
        Metric.of("edge_ids_alerts_dropped_total", counts, "Alerts lost.", status.alerts_dropped),
        Metric.of(
            "edge_ids_mqtt_connected", gauge, "Whether there is a broker.", bool(status.connected)
        ),
        Metric.by("edge_ids_interface_up", gauge, "Whether it is up.", "interface", up),
        Metric.by(
            "edge_ids_interface_outages_total",
            counts,
            "Times it went down or away.",
            "interface",
            outages,
        ),
        Metric.of(
            "edge_ids_detection_enabled", gauge, "Whether flows are scored.", status.detecting
        ),
        Metric.by("edge_ids_reloads_total", counts, "Reloads.", "result", dict(status.reloads)),
        Metric("edge_ids_model_info", gauge, "The model that judges.", (("", model, 1.0),)),
        delays.verdict.metric(
            "edge_ids_verdict_delay_seconds", "From a flow's last packet to its verdict."
        ),
        delays.scoring.metric(
            "edge_ids_scoring_delay_seconds", "From a flow's end in the meter to its verdict."
        ),
        Metric.of(
            "process_resident_memory_bytes", gauge, "Memory in RAM.", float(resident_bytes())
        ),
        Metric.of("process_cpu_seconds_total", counts, "Processor time.", time.process_time()),
        Metric.of("process_start_time_seconds", gauge, "Start, Unix time.", started_at_s),
    ]
