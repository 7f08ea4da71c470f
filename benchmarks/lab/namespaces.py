"""Building and removing the network of a session.

A gateway namespace holds the bridge of the house (`br0`, where the capture runs) and routes to a
second bridge with the hosts of the lab's internet. No interface of the machine is moved in and the
gateway has no route out: what the lab does not know falls into a blackhole.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.lab.errors import RecordingError
from benchmarks.lab.tools.guard import NAMESPACE_PREFIX

if TYPE_CHECKING:
    from collections.abc import Iterable

    from benchmarks.lab.plan import Host, Plan

WIRE = "wire"
BRIDGES = {"lan": "br0", "wan": "br1"}
# Everything that merges, splits or completes packets after the capture point would be recorded as
# frames that no wire ever carries.
OFFLOADS = ("gro", "gso", "tso", "lro", "tx", "rx", "sg", "ufo", "tx-udp-segmentation")
# Two tries end a half-open connection after 7 s instead of a minute, so that a flood's echo stays
# inside the flood's own time window.
SYSCTLS = {
    "net.ipv6.conf.all.disable_ipv6": 1,
    "net.ipv6.conf.default.disable_ipv6": 1,
    "net.ipv4.tcp_synack_retries": 2,
    "net.ipv4.conf.all.rp_filter": 0,
    "net.ipv4.conf.default.rp_filter": 0,
    "net.ipv4.conf.all.send_redirects": 0,
    "net.ipv4.conf.default.send_redirects": 0,
}


def namespace(session: str, name: str) -> str:
    """Name of the namespace of one host of one session."""
    return f"{NAMESPACE_PREFIX}{session}-{name}"


def run(*arguments: str) -> None:
    """Run a set-up command; raises RecordingError with what it said."""
    done = subprocess.run(arguments, check=False, capture_output=True, text=True)
    if done.returncode:
        raise RecordingError(f"{' '.join(arguments)}: {done.stderr.strip()}")


def quiet_offloads(space: str, device: str) -> None:
    """Switch off whatever offload the device has; one it lacks is not an error."""
    for feature in OFFLOADS:
        subprocess.run(
            ("ip", "netns", "exec", space, "ethtool", "-K", device, feature, "off"),
            check=False,
            capture_output=True,
        )


def hardware_address(plan: Plan, name: str) -> str:
    """A stable, locally administered MAC address."""
    digest = hashlib.sha256(f"{plan.seed}/{name}".encode()).hexdigest()
    return "02:" + ":".join(digest[i : i + 2] for i in range(0, 10, 2))


class Network:
    """The namespaces of one session."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.gateway = namespace(plan.session, "gateway")
        self.wire = namespace(plan.session, WIRE)
        self.wire_links: list[str] = []

    def space(self, name: str) -> str:
        """Namespace of a host."""
        return namespace(self.plan.session, name)

    def build(self) -> None:
        """Create namespaces, bridges and links."""
        for name in (WIRE, *(host.name for host in self.plan.hosts)):
            self._create(self.space(name))
        self._bridges()
        for host in self.plan.side("lan") + self.plan.side("wan"):
            self._attach(host)
        for name, address in self.plan.asleep.items():
            self._put_to_sleep(name, str(address))

    def _create(self, space: str) -> None:
        run("ip", "netns", "add", space)
        run("ip", "-n", space, "link", "set", "lo", "up")
        settings = [f"{key}={value}" for key, value in SYSCTLS.items()]
        run("ip", "netns", "exec", space, "sysctl", "-q", "-w", *settings)

    def _bridges(self) -> None:
        plan, space = self.plan, self.gateway
        inner = {"lan": (plan.gateway.address, plan.lan), "wan": (plan.wan_gateway, plan.wan)}
        for side, bridge in BRIDGES.items():
            address, net = inner[side]
            mac = hardware_address(plan, bridge)
            run("ip", "-n", space, "link", "add", bridge, "address", mac, "type", "bridge")
            for option in (("stp_state", "0"), ("forward_delay", "0"), ("mcast_snooping", "0")):
                run("ip", "-n", space, "link", "set", bridge, "type", "bridge", *option)
            run("ip", "-n", space, "address", "add", f"{address}/{net.prefixlen}", "dev", bridge)
            run("ip", "-n", space, "link", "set", bridge, "up")
            quiet_offloads(space, bridge)
        run("ip", "-n", space, "route", "add", "blackhole", "default")
        run("ip", "netns", "exec", space, "sysctl", "-q", "-w", "net.ipv4.ip_forward=1")

    def _attach(self, host: Host) -> None:
        """Join a host to its bridge, through a delay line if its link has a delay."""
        plan, space, bridge = self.plan, self.space(host.name), BRIDGES[host.side]
        port = f"p-{host.name}"
        if host.link.delay_ms > 0:
            near, far = f"n-{host.name}", f"f-{host.name}"
            self._pair(space, "eth0", self.wire, near)
            self._pair(self.wire, far, self.gateway, port)
            link = host.link
            numbers = link.delay_ms, link.jitter_ms, link.loss, link.rate_mbit
            self.wire_links.append(",".join((near, far, *map(str, numbers))))
        else:
            self._pair(space, "eth0", self.gateway, port)
        run("ip", "-n", self.gateway, "link", "set", port, "master", bridge)
        net = plan.lan if host.side == "lan" else plan.wan
        via = plan.gateway.address if host.side == "lan" else plan.wan_gateway
        mac = hardware_address(plan, host.name)
        run("ip", "-n", space, "link", "set", "eth0", "address", mac)
        run("ip", "-n", space, "address", "add", f"{host.address}/{net.prefixlen}", "dev", "eth0")
        run("ip", "-n", space, "route", "add", "default", "via", str(via))

    def _pair(self, space: str, device: str, other_space: str, other_device: str) -> None:
        run("ip", "-n", space, "link", "add", device, "type", "veth",
            "peer", "name", other_device, "netns", other_space)  # fmt: skip
        for where, what in ((space, device), (other_space, other_device)):
            quiet_offloads(where, what)
            run("ip", "-n", where, "link", "set", what, "up")

    def _put_to_sleep(self, name: str, address: str) -> None:
        """Make a switched-off device reachable by ARP only, as a Wi-Fi base answers for it."""
        mac = hardware_address(self.plan, name)
        holders = [(self.gateway, "br0")]
        holders += [(self.space(host.name), "eth0") for host in self.plan.side("lan")]
        for space, device in holders:
            run("ip", "-n", space, "neigh", "add", address, "lladdr", mac, "dev", device,
                "nud", "permanent")  # fmt: skip

    def remove(self) -> None:
        """End every process in the session's namespaces, then delete them."""
        spaces = _existing(f"{NAMESPACE_PREFIX}{self.plan.session}-")
        for attempt in (signal.SIGTERM, signal.SIGKILL):
            found = [pid for space in spaces for pid in _processes(space)]
            if not found:
                break
            _end(found, attempt)
            time.sleep(0.5)
        for space in spaces:
            subprocess.run(("ip", "netns", "delete", space), check=False, capture_output=True)


def _existing(prefix: str) -> list[str]:
    folder = Path("/run/netns")
    return sorted(p.name for p in folder.glob(f"{prefix}*")) if folder.is_dir() else []


def _processes(space: str) -> list[int]:
    done = subprocess.run(
        ("ip", "netns", "pids", space), check=False, capture_output=True, text=True
    )
    return [int(word) for word in done.stdout.split()]


def _end(pids: Iterable[int], how: signal.Signals) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):  # it may have ended by itself
            os.kill(pid, how)
