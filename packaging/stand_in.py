#!/opt/edge-ids/bin/python
"""Stands in for `edge-agent run` and `check` under systemd: what the unit demands of a service.

Before it says that it is ready it does, in the unit's confinement, what the agent does: it opens a
packet socket, and lets the installed agent replay a recording through the interpreter.
"""

from __future__ import annotations

import contextlib
import io
import os
import signal
import socket
import sys
import time
import tomllib
from pathlib import Path

from edge_agent.cli import main as edge_agent

_REPLAY = ("replay", "/srv/capture.pcap.gz", "--model", "/etc/edge-ids/model.tflite")


def notify(*lines: str) -> None:
    """Tell systemd."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as to_systemd:
        to_systemd.sendto("\n".join(lines).encode(), os.environ["NOTIFY_SOCKET"])


def reload(*_: object) -> None:
    """SIGHUP: systemd hears when it begins and when it is over."""
    notify("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")
    notify("READY=1", "STATUS=reloaded")


def stop(*_: object) -> None:
    """SIGTERM: a clean end."""
    notify("STOPPING=1")
    sys.exit(0)


def run() -> None:
    """Work as the agent does, then live from one keep-alive to the next."""
    sniffer = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
    sniffer.bind(("lo", 0))
    with contextlib.redirect_stdout(io.StringIO()):
        edge_agent(_REPLAY, standalone_mode=False)
    signal.signal(signal.SIGHUP, reload)
    signal.signal(signal.SIGTERM, stop)
    Path("started").write_text("the state folder is writable\n", encoding="utf-8")
    notify("READY=1", "STATUS=capturing")
    while True:
        notify("WATCHDOG=1")
        time.sleep(int(os.environ["WATCHDOG_USEC"]) / 3e6)


if __name__ == "__main__":
    with Path("/etc/edge-ids/agent.toml").open("rb") as file:
        tomllib.load(file)
    if sys.argv[1] == "run":
        run()
