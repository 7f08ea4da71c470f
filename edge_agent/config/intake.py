"""Settings of what goes in: who the agent is, capture, meter, scoring. See `sections`."""

# No "from __future__ import annotations": the annotations are read when the table is made.
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

from edge_agent.capture.interfaces import ANY
from edge_agent.capture.packet_socket import CaptureOptions
from edge_agent.config.settings import KIB, MIB, About
from edge_agent.contract.alerts import is_node_name
from edge_agent.detect.interpreter import RUNTIMES
from edge_agent.flow.limits import Limits

_CAPTURE: Final = CaptureOptions()
_METER: Final = Limits()

# Linux: IFNAMSIZ less the byte that ends the name.
_MAX_INTERFACE_BYTES: Final = 15
# The compiled meter counts its entries with 28 bits.
_MAX_TABLE: Final = 2**28

_OPENED: Final = "sockets and rings are opened before privileges are dropped"
_TABLE: Final = "the meter's tables are laid out at the start"
_QUEUE: Final = "queue and batches are laid out at the start"


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
            flag="--capture-user",
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
