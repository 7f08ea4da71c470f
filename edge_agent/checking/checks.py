"""All checks, in the order in which the agent would meet what they look at."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edge_agent.checking.broker import check_broker
from edge_agent.checking.capture import (
    check_filter,
    check_interfaces,
    check_offloads,
    check_privileges,
)
from edge_agent.checking.host import Host
from edge_agent.checking.machine import check_clock, check_disk
from edge_agent.checking.memory import check_memory
from edge_agent.checking.model import check_model

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from edge_agent.checking.findings import Finding
    from edge_agent.config import Config

CHECKS: Final[dict[str, Callable[[Config, Host], Iterator[Finding]]]] = {
    "privileges": check_privileges,
    "interfaces": check_interfaces,
    "filter": check_filter,
    "offloads": check_offloads,
    "model": check_model,
    "broker": check_broker,
    "clock": check_clock,
    "disk": check_disk,
    "memory": check_memory,
}
"""Every check by its name."""


def run_checks(
    config: Config, host: Host | None = None, *, without: Collection[str] = ()
) -> list[Finding]:
    """Look at everything the agent needs; a failure of one check does not hide the others.

    Args:
        config: What the agent would run with.
        host: Where facts come from; None: this machine.
        without: Names of checks to leave out. Before the service starts, that is the broker: it
            may be away, and the agent starts nevertheless.
    """
    where = host or Host()
    return [
        finding
        for name, check in CHECKS.items()
        if name not in without
        for finding in check(config, where)
    ]
