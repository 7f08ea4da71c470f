"""The table of settings: the one place that names them.

Each section is a dataclass, each field a setting: annotation, default and `About` are all there is
to say. Defaults, validation, the names of variables, the printed configuration and the commented
example file follow from here.
"""

# No "from __future__ import annotations": the annotations are read when the table is made.
import ipaddress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

from edge_agent.alerting.limits import IncidentLimits
from edge_agent.capture.interfaces import ANY
from edge_agent.capture.packet_socket import CaptureOptions
from edge_agent.config.settings import About, Setting, settings_of
from edge_agent.contract.alerts import is_node_name
from edge_agent.detect.interpreter import RUNTIMES
from edge_agent.flow.limits import Limits

KIB: Final = 1024
MIB: Final = 1024 * KIB

_CAPTURE: Final = CaptureOptions()
_INCIDENTS: Final = IncidentLimits()
_METER: Final = Limits()

# Linux: IFNAMSIZ less the byte that ends the name.
_MAX_INTERFACE_BYTES: Final = 15
# The compiled meter counts its entries with 28 bits.
_MAX_TABLE: Final = 2**28

_OPENED: Final = "sockets and rings are opened before privileges are dropped"
_TABLE: Final = "the meter's tables are laid out at the start"
_QUEUE: Final = "queue and batches are laid out at the start"
_SESSION: Final = "the connection to the broker is set up at the start"
_PORT: Final = "the port is opened at the start"


def _node_problem(node: str) -> str | None:
    if not node or is_node_name(node):
        return None
    return "has other characters than letters, digits, '.', '_' and '-', or more than 64 of them"


def _interfaces_problem(names: tuple[str, ...]) -> str | None:
    for name in names:
        size = len(name.encode())
        odd = any(c.isspace() or c in "/:" for c in name) or name in (".", "..")
        if odd or not 0 < size <= _MAX_INTERFACE_BYTES:
            return f"has {name!r}, which cannot be an interface's name"
    if len(set(names)) != len(names):
        return "names an interface twice"
    if ANY in names and len(names) > 1:
        return '"any" holds every interface already, and stands alone'
    return None


def _block_problem(size: int) -> str | None:
    return None if size & (size - 1) == 0 else "must be a power of two"


def _snap_problem(length: int) -> str | None:
    return None if length == 0 or length >= 128 else "must be 0 or at least 128 (all headers)"


def _address_problem(address: str) -> str | None:
    try:
        ipaddress.ip_address(address)
    except ValueError:
        return "is not an IP address of this machine, such as 127.0.0.1 or ::1"
    return None


@dataclass(frozen=True, slots=True)
class AgentSection:
    """Who this gateway is, and the files it works with."""

    node: Annotated[
        str,
        About(
            "This gateway's name in MQTT topics and alerts: letters, digits, '.', '_' and '-'."
            " Empty: the host name, made to fit.",
            restart="it is part of the topics of the running connection",
            check=_node_problem,
        ),
    ] = ""
    model: Annotated[
        Path,
        About(
            "Model file of edge-convert; it gives profile, features, scaling and threshold.",
            flag="--model",
        ),
    ] = Path("/etc/edge-ids/model.tflite")
    public_key: Annotated[
        Path | None,
        About(
            "Load only model files that are signed with a key of this file (PEM, one or several)."
            " Unset: signatures are not checked."
        ),
    ] = None
    runtime: Annotated[
        str,
        About(
            "TFLite interpreter; auto takes the first that is installed.",
            choices=("auto", *RUNTIMES),
            restart="the interpreter's library is loaded once",
        ),
    ] = "auto"
    state_dir: Annotated[
        Path,
        About(
            "Folder for what must survive a restart.",
            restart="its files are open",
        ),
    ] = Path("/var/lib/edge-ids")
    capture_user: Annotated[
        str | None,
        About(
            "Become this user once the capture sockets are open. Unset: stay who started the agent"
            " (under systemd the unit's user).",
            restart="privileges are dropped at the start, and cannot be had back",
        ),
    ] = None


@dataclass(frozen=True, slots=True)
class CaptureSection:
    """Where packets come from, and the kernel's room for them."""

    interfaces: Annotated[
        tuple[str, ...],
        About(
            'Interfaces to listen on; ["any"] for all. There is no default: it must be given.',
            flag="--interface",
            restart=_OPENED,
            check=_interfaces_problem,
        ),
    ] = ()
    promiscuous: Annotated[
        bool,
        About(
            "Also take frames that are addressed to other machines; a mirror port needs it."
            ' Not with "any".',
            restart=_OPENED,
        ),
    ] = _CAPTURE.promiscuous
    filter: Annotated[
        str,
        About(
            "Kernel filter in pcap's language about IP and above, such as 'not port 5353'; needs"
            " libpcap. Empty: everything. The agent's own MQTT traffic is always left out."
        ),
    ] = _CAPTURE.filter
    ring_bytes: Annotated[
        int,
        About(
            "Ring between kernel and agent, for each interface and thread; memory the kernel keeps"
            " locked. It must hold what arrives while the agent does not run: at 300 Mbit/s 8 MiB"
            " last 0.2 s. A multiple of block_bytes.",
            minimum=128 * KIB,
            maximum=1024 * MIB,
            restart=_OPENED,
        ),
    ] = _CAPTURE.ring_bytes
    block_bytes: Annotated[
        int,
        About(
            "Blocks in which the ring is handed over: larger ones cost fewer wake-ups, smaller"
            " ones split the ring finer. A power of two.",
            minimum=64 * KIB,
            maximum=16 * MIB,
            restart=_OPENED,
            check=_block_problem,
        ),
    ] = _CAPTURE.block_bytes
    block_timeout_ms: Annotated[
        int,
        About(
            "The kernel hands over a block that is not full after this long: part of the delay"
            " from packet to alert, and of what a quiet network costs in wake-ups.",
            minimum=1,
            maximum=1000,
            restart=_OPENED,
        ),
    ] = _CAPTURE.block_timeout_ms
    snap_length_bytes: Annotated[
        int,
        About(
            "Bytes of each frame that are taken, 0 for whole frames. The meter reads headers only;"
            " lengths come from them.",
            minimum=0,
            maximum=65_535,
            restart=_OPENED,
            check=_snap_problem,
        ),
    ] = _CAPTURE.snap_length_bytes
    threads: Annotated[
        int,
        About(
            "Metering threads, each with a ring of its own on each interface; the kernel gives all"
            " packets of a flow to the same. One core should be left for scoring.",
            minimum=1,
            maximum=16,
            restart=_OPENED,
        ),
    ] = 1
    offloads: Annotated[
        str,
        About(
            "Receive offloads (GRO, LRO) merge packets before the agent sees them, which changes"
            ' sizes and counts. "report" says so; "off" turns them off at the start, which needs'
            " CAP_NET_ADMIN.",
            choices=("report", "off"),
            restart="they are set before privileges are dropped",
        ),
    ] = "report"


@dataclass(frozen=True, slots=True)
class MeterSection:
    """Bounds of the flow table."""

    max_flows: Annotated[
        int,
        About(
            "Flows open at once in each thread, about 500 bytes each; one more pushes another out.",
            minimum=1024,
            maximum=_MAX_TABLE,
            restart=_TABLE,
        ),
    ] = _METER.max_flows
    max_context_keys: Annotated[
        int,
        About(
            "Neighbourhoods of each kind (source, destination, pair, service) in each thread, about"
            " 900 bytes for the four.",
            minimum=256,
            maximum=_MAX_TABLE,
            restart=_TABLE,
        ),
    ] = _METER.max_context_keys


@dataclass(frozen=True, slots=True)
class DetectSection:
    """From flows to verdicts."""

    batch_rows: Annotated[
        int,
        About(
            "Flows scored together at most; the interpreter's largest batch is 256.",
            minimum=1,
            maximum=256,
            restart=_QUEUE,
        ),
    ] = 256
    batch_wait_ms: Annotated[
        int,
        About(
            "Flows are scored after this long even when the batch is not full.",
            minimum=1,
            maximum=5000,
            restart=_QUEUE,
        ),
    ] = 250
    queue_rows: Annotated[
        int,
        About(
            "Flows that wait for scoring, about 1 KB each; beyond it the agent samples, and says"
            " so. At least batch_rows.",
            minimum=256,
            maximum=1_048_576,
            restart=_QUEUE,
        ),
    ] = 8192
    threshold: Annotated[
        float | None,
        About(
            "Score from which a flow is an attack. Unset: the model's own.",
            minimum=0.0,
            maximum=1.0,
        ),
    ] = None
    enabled: Annotated[
        bool,
        About("Whether flows are scored; false meters and counts alone."),
    ] = True


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


SECTIONS: Final[dict[str, type]] = {
    "agent": AgentSection,
    "capture": CaptureSection,
    "meter": MeterSection,
    "detect": DetectSection,
    "alerts": AlertsSection,
    "mqtt": MqttSection,
    "stats": StatsSection,
    "metrics": MetricsSection,
    "log": LogSection,
    "budget": BudgetSection,
}
"""Every section, in the order of the example file."""

SETTINGS: Final[dict[str, Setting]] = {
    setting.name: setting
    for section, holder in SECTIONS.items()
    for setting in settings_of(section, holder)
}
"""Every setting by its name, `section.key`."""
