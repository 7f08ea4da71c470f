"""Settings of what comes out: alerts, counters, messages, and what it may cost. See `sections`."""

# No "from __future__ import annotations": the annotations are read when the table is made.
import ipaddress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

from edge_agent.alerting.limits import IncidentLimits
from edge_agent.config.settings import MIB, About

_INCIDENTS: Final = IncidentLimits()

_SESSION: Final = "the connection to the broker is set up at the start"
_PORT: Final = "the port is opened at the start"


def _address_problem(address: str) -> str | None:
    try:
        ipaddress.ip_address(address)
    except ValueError:
        return "is not an IP address of this machine, such as 127.0.0.1 or ::1"
    return None


@dataclass(frozen=True, slots=True)
class AlertsSection:
    """When flagged flows become an incident, and when it is told."""

    min_flows: Annotated[
        int,
        About("Flagged flows of a source that make an incident.", minimum=1, maximum=1_000_000),
    ] = _INCIDENTS.min_flows
    false_alarm_share: Annotated[
        float,
        About(
            "Share of a benign source's flows that the model may flag by mistake.",
            minimum=0.0,
            maximum=0.5,
        ),
    ] = _INCIDENTS.false_alarm_share
    distributed_sources: Annotated[
        int,
        About(
            "Sources flagged against one victim that make one distributed incident.",
            minimum=2,
            maximum=1_000_000,
        ),
    ] = _INCIDENTS.distributed_sources
    quiet_s: Annotated[
        float,
        About(
            "An incident ends when its evidence has been gone this long.",
            minimum=1.0,
            maximum=86_400.0,
        ),
    ] = _INCIDENTS.quiet_s
    update_after_s: Annotated[
        float,
        About(
            "First update of a lasting incident; the next ones follow at three times the distance.",
            minimum=1.0,
            maximum=86_400.0,
        ),
    ] = _INCIDENTS.update_after_s
    max_update_after_s: Annotated[
        float,
        About(
            "Longest distance between updates; at least update_after_s.",
            minimum=1.0,
            maximum=86_400.0,
        ),
    ] = _INCIDENTS.max_update_after_s
    max_open: Annotated[
        int,
        About("Incidents open at once, and thereby their memory.", minimum=2, maximum=10_000),
    ] = _INCIDENTS.max_open
    burst_messages: Annotated[
        int,
        About("Messages at once after a calm time.", minimum=1, maximum=10_000),
    ] = _INCIDENTS.burst_messages
    messages_per_s: Annotated[
        float,
        About(
            "Messages a second that may go on for long; what cannot be told now is told later.",
            minimum=0.01,
            maximum=1000.0,
        ),
    ] = _INCIDENTS.messages_per_s


@dataclass(frozen=True, slots=True)
class MqttSection:
    """Where alerts go."""

    broker: Annotated[
        str | None,
        About(
            "mqtt://[user@]host[:port] or mqtts://...; no password in it. Unset: alerts are"
            " printed, one JSON object a line.",
            flag="--broker",
            restart=_SESSION,
        ),
    ] = None
    password_file: Annotated[
        Path | None,
        About("File whose first line is the broker user's password.", restart=_SESSION),
    ] = None
    ca_file: Annotated[
        Path | None,
        About("Certificates (PEM) to trust instead of the system's.", restart=_SESSION),
    ] = None
    allow_plaintext: Annotated[
        bool,
        About("Permit mqtt:// to a broker that is not this machine.", restart=_SESSION),
    ] = False
    queue_limit: Annotated[
        int,
        About(
            "Alerts held while the broker is away, below 4 KB each.",
            minimum=1,
            maximum=100_000,
            restart=_SESSION,
        ),
    ] = 1000


@dataclass(frozen=True, slots=True)
class StatsSection:
    """Counters over MQTT."""

    interval_s: Annotated[
        float,
        About("Time between two messages of counters.", minimum=1.0, maximum=86_400.0),
    ] = 30.0


@dataclass(frozen=True, slots=True)
class MetricsSection:
    """Counters for Prometheus."""

    enabled: Annotated[
        bool,
        About("Whether they are served over HTTP.", restart=_PORT),
    ] = False
    address: Annotated[
        str,
        About(
            "Address to serve on. Anyone who reaches it can read them, so it stays on loopback"
            " unless you change it.",
            restart=_PORT,
            check=_address_problem,
        ),
    ] = "127.0.0.1"
    port: Annotated[
        int,
        About("TCP port to serve on.", minimum=1, maximum=65_535, restart=_PORT),
    ] = 9464


@dataclass(frozen=True, slots=True)
class LogSection:
    """Messages for people and for log collectors, on standard error."""

    level: Annotated[
        str,
        About("The least that is told.", choices=("debug", "info", "warning", "error")),
    ] = "info"
    format: Annotated[
        str,
        About('"json" writes one object a line.', choices=("text", "json")),
    ] = "text"
    repeats_per_minute: Annotated[
        int,
        About(
            "Messages of one kind told in a minute; the rest are counted and told as a number, so"
            " that an attack cannot fill the log.",
            minimum=1,
            maximum=10_000,
        ),
    ] = 10


@dataclass(frozen=True, slots=True)
class BudgetSection:
    """What the agent may cost."""

    memory_bytes: Annotated[
        int | None,
        About(
            "Memory the bounds above may add up to; edge-agent check refuses what needs more."
            " Unset: what the machine or its control group has.",
            minimum=64 * MIB,
            maximum=2**40,
            restart="tables, rings and queues are laid out at the start",
        ),
    ] = None
