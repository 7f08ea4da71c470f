"""May we capture, from these interfaces, what is on the wire?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_agent.capture.interfaces import ANY
from edge_agent.checking.findings import Finding, Verdict
from edge_agent.checking.host import CAP_NET_ADMIN, CAP_SETGID, CAP_SETUID
from edge_agent.contract.errors import CaptureError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge_agent.checking.host import Host
    from edge_agent.config import Config

_LOOPBACK = "lo"


def check_privileges(config: Config, host: Host) -> Iterator[Finding]:
    """Whether sockets can be opened, and privileges dropped after."""
    if host.may_capture():
        yield Finding("privileges", Verdict.OK, "Capture sockets can be opened.")
    else:
        yield Finding(
            "privileges",
            Verdict.FAIL,
            "Capture sockets cannot be opened: the capability CAP_NET_RAW is missing.",
            "start the agent by its systemd unit, or as root with agent.capture_user",
        )
    name = config.agent.capture_user
    if name is None:
        if host.user_id() == 0:
            yield Finding(
                "capture user",
                Verdict.WARN,
                "The agent stays root while it reads what others send.",
                "set agent.capture_user to an unprivileged user",
            )
        return
    yield _check_user(name, host)


def _check_user(name: str, host: Host) -> Finding:
    entry = host.user(name)
    if entry is None:
        return Finding(
            "capture user",
            Verdict.FAIL,
            f"There is no user {name}.",
            f"make it (useradd --system {name}), or correct agent.capture_user",
        )
    may_change = host.has_capability(CAP_SETUID) and host.has_capability(CAP_SETGID)
    if entry.pw_uid != host.user_id() and not may_change:
        return Finding(
            "capture user",
            Verdict.FAIL,
            f"The agent cannot become {name}: CAP_SETUID or CAP_SETGID is missing.",
            "start it as root, or leave agent.capture_user out and start it as that user",
        )
    return Finding("capture user", Verdict.OK, f"The agent runs as {name} once sockets are open.")


def check_interfaces(config: Config, host: Host) -> Iterator[Finding]:
    """Whether each interface is there and up."""
    if not config.capture.interfaces:
        yield Finding(
            "interface",
            Verdict.FAIL,
            "No interface is named to listen on.",
            f"set capture.interfaces; there are {', '.join(host.interface_names())}",
        )
    for name in config.capture.interfaces:
        what = f"interface {name}"
        if name == ANY:
            there = ", ".join(host.interface_names())
            yield Finding(what, Verdict.OK, f"All interfaces: now {there}.")
        elif not host.interface_exists(name):
            yield Finding(
                what,
                Verdict.FAIL,
                f"There is no interface {name}.",
                f"correct capture.interfaces; there are {', '.join(host.interface_names())}",
            )
        elif not host.interface_is_up(name):
            # The service waits for it; a cable that is out must not keep it from starting.
            yield Finding(
                what,
                Verdict.WARN,
                f"{name} is down: nothing is captured until it is up.",
                f"ip link set {name} up",
            )
        else:
            yield Finding(what, Verdict.OK, f"{name} is up.")


def check_filter(config: Config, host: Host) -> Iterator[Finding]:
    """Whether the kernel filter can be made."""
    if not config.capture.filter:
        return
    try:
        host.compile_filter(config.capture.filter, config.capture.snap_length_bytes)
    except CaptureError as error:
        yield Finding.of_error("filter", error)
    else:
        yield Finding("filter", Verdict.OK, "libpcap understands capture.filter.")


def check_offloads(config: Config, host: Host) -> Iterator[Finding]:
    """Whether packets reach us as they were on the wire."""
    names = config.capture.interfaces
    if ANY in names:
        names = tuple(name for name in host.interface_names() if name != _LOOPBACK)
    for name in names:
        if host.interface_exists(name):
            yield _check_offloads_of(name, config, host)


def _check_offloads_of(name: str, config: Config, host: Host) -> Finding:
    what = f"offloads {name}"
    try:
        on = [offload for offload, is_on in host.offloads(name).items() if is_on]
    except CaptureError as error:
        return Finding(what, Verdict.WARN, Finding.of_error(what, error).sentence)
    if not on:
        return Finding(what, Verdict.OK, f"{name} merges no packets.")
    listed = ", ".join(on)
    if config.capture.offloads != "off":
        return Finding(
            what,
            Verdict.WARN,
            f"{name} has {listed} on: merged packets change the sizes and counts that the model"
            " judges by.",
            f"ethtool -K {name} {' '.join(f'{one} off' for one in on)}, or set capture.offloads to"
            ' "off"',
        )
    if not host.has_capability(CAP_NET_ADMIN):
        return Finding(
            what,
            Verdict.FAIL,
            f"{name} has {listed} on, and without CAP_NET_ADMIN the agent cannot turn them off.",
            'give the capability, or set capture.offloads to "report"',
        )
    return Finding(what, Verdict.OK, f"The agent turns off {listed} of {name} when it starts.")
