"""What the agent alone takes: at its start, idle, and with as many flows open as it holds."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from benchmarks.live import readings
from benchmarks.live.agent_process import AgentProcess, added
from benchmarks.live.frames import UDP, Ends, capture, frames
from benchmarks.live.sender import Traffic
from edge_agent.config import Config

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.live.network import Space

BOARD: Final = "raspberry-pi-3b-plus"
"""The smallest board with targets; its bounds are what memory is measured under."""

STARTS: Final = 5
IDLE_S: Final = 20.0
# What starting has woken has gone back to sleep.
_SETTLE_S: Final = 3.0
# A flow of one packet is given out after two seconds at most: so many a second fill the table well
# before that, and then push flows out of it. Each is from another source, which fills the context
# too.
_FILL_RATE: Final = 20_000.0
_FILL_S: Final = 4.0


def of_agent(space: Space, model: Path, say: Callable[[str], None]) -> dict[str, Any]:
    """Measure all of it.

    Args:
        space: Where.
        model: What judges.
        say: Told what is done.

    Returns:
        "start_s" of each start, "idle_bytes", "idle_cpu_share" of one processor, "full_bytes" (the
        peak), "full_bytes_with_metrics", "full_flows" (open at the end), "max_flows".
    """
    board = ("--board", BOARD)
    starts = []
    for number in range(STARTS):
        say(f"start {number + 1} of {STARTS} ...")
        with AgentProcess(space, model, board, metrics=False) as agent:
            starts.append(agent.start_s)
    say(f"idle for {IDLE_S:.0f} s ...")
    with AgentProcess(space, model, board, metrics=False) as agent:
        time.sleep(_SETTLE_S)
        used_s = readings.running_s(agent.process)
        begun_s = time.monotonic()
        time.sleep(IDLE_S)
        used_s = readings.running_s(agent.process) - used_s
        share = used_s / (time.monotonic() - begun_s)
        idle_bytes = readings.resident_bytes([agent.process])
    max_flows = _max_flows()
    say(f"filling a table of {max_flows:,} flows ...")
    # Once more with metrics, which tell how full it is and take memory themselves.
    full_bytes, _ = _filled(space, model, metrics=False)
    with_metrics_bytes, full_flows = _filled(space, model, metrics=True)
    return {
        "board": BOARD,
        "start_s": starts,
        "start_median_s": median(starts),
        "idle_bytes": idle_bytes,
        "idle_cpu_share": share,
        "full_bytes": full_bytes,
        "full_bytes_with_metrics": with_metrics_bytes,
        "full_flows": full_flows,
        "max_flows": max_flows,
    }


def _filled(space: Space, model: Path, *, metrics: bool) -> tuple[int, int]:
    """The peak of memory while the table is filled, and the flows that are open at its end."""
    with (
        tempfile.TemporaryDirectory(prefix="edge-ids-live-") as folder,
        AgentProcess(space, model, ("--board", BOARD), metrics=metrics) as agent,
    ):
        path = Path(folder, "flows.pcap")
        path.write_bytes(capture(many_flows(round(_FILL_RATE * _FILL_S))))
        with Traffic(space, path) as traffic:
            traffic.send(_FILL_RATE, _FILL_S)
        flows = added(agent.metrics(), "edge_ids_flows_open") if metrics else 0
        return readings.peak_bytes([agent.process]), flows


def many_flows(count: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Datagrams, each of another flow: other sources, other victims, other ports."""
    number = np.arange(count)
    ends = Ends(
        (0x0A000000 + number).astype(np.uint32),
        (0x0B000000 + number % 50_021).astype(np.uint32),
        1024 + number % 64_007,
        1 + number % 65_521,
    )
    return frames(ends, UDP, payload=18)


def _max_flows() -> int:
    # An empty file: the machine's own configuration is none of the measurement's.
    return Config.load(Path(os.devnull), environ={}, board=BOARD).meter.max_flows
