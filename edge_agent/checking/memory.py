"""What the configured bounds need, and what there is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from edge_agent.checking.findings import Finding, Verdict
from edge_agent.contract.alerts import MAX_JSON_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge_agent.checking.host import Host
    from edge_agent.config import Config

# Python with numpy, the interpreter's library and a model of the edge size, resident.
_BASE_BYTES: Final = 60_000_000
# As the meter's limits say.
_FLOW_BYTES: Final = 500
_CONTEXT_KEY_BYTES: Final = 900
# 8 bytes for each of the gateway profile's columns, and who the flow is about.
_ROW_BYTES: Final = 1024
# Beyond this share of what can be had there is little left for anything that grows.
_TIGHT_SHARE: Final = 0.8


@dataclass(frozen=True, slots=True)
class MemoryNeed:
    """What the agent takes when every bound is reached, in bytes.

    Attributes:
        base: Interpreter, model, Python.
        flows: Flow tables of all threads.
        context: Context tables of all threads.
        rings: Kernel rings of all threads and interfaces.
        queues: Flows that wait for scoring, alerts that wait for the broker.
    """

    base: int
    flows: int
    context: int
    rings: int
    queues: int

    @property
    def total(self) -> int:
        """All together."""
        return self.base + self.flows + self.context + self.rings + self.queues


def memory_need(config: Config) -> MemoryNeed:
    """Estimate what the bounds of a configuration add up to."""
    capture, meter = config.capture, config.meter
    # "any" is one socket.
    sockets = max(len(capture.interfaces), 1) * capture.threads
    return MemoryNeed(
        base=_BASE_BYTES,
        flows=meter.max_flows * _FLOW_BYTES * capture.threads,
        context=meter.max_context_keys * _CONTEXT_KEY_BYTES * capture.threads,
        rings=capture.ring_bytes * sockets,
        queues=config.detect.queue_rows * _ROW_BYTES + config.mqtt.queue_limit * MAX_JSON_BYTES,
    )


def check_memory(config: Config, host: Host) -> Iterator[Finding]:
    """Whether what the bounds add up to can be had."""
    need = memory_need(config)
    parts = (
        ("capture.ring_bytes", need.rings),
        ("meter.max_flows", need.flows),
        ("meter.max_context_keys", need.context),
        ("detect.queue_rows", need.queues),
    )
    largest = max(parts, key=lambda part: part[1])
    remedy = f"lower {largest[0]}, which takes {_mb(largest[1])}"
    room = (
        ("the budget of budget.memory_bytes", config.budget.memory_bytes, 1.0),
        ("the limit of the control group", host.memory_limit_bytes(), _TIGHT_SHARE),
        ("what this machine has available", host.available_memory_bytes(), _TIGHT_SHARE),
    )
    known = [(name, there, share) for name, there, share in room if there is not None]
    text = f"The bounds add up to {_mb(need.total)}"
    for name, there, _ in known:
        if need.total > there:
            sentence = f"{text}, above {name}, {_mb(there)}."
            yield Finding("memory", Verdict.FAIL, sentence, remedy)
            return
    for name, there, share in known:
        if need.total > there * share:
            sentence = f"{text}, close to {name}, {_mb(there)}."
            yield Finding("memory", Verdict.WARN, sentence, remedy)
            return
    listed = ", ".join(f"{name} {_mb(there)}" for name, there, _ in known)
    yield Finding("memory", Verdict.OK, f"{text}; {listed or 'what there is is not known'}.")


def _mb(size: int) -> str:
    return f"{size / 1e6:,.0f} MB"
