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
    from collections.abc import Callable, Iterator

    from edge_agent.checking.findings import Finding
    from edge_agent.config import Config

_CHECKS: Final[tuple[Callable[[Config, Host], Iterator[Finding]], ...]] = (
    check_privileges,
    check_interfaces,
    check_filter,
    check_offloads,
    check_model,
    check_broker,
    check_clock,
    check_disk,
    check_memory,
)


def run_checks(config: Config, host: Host | None = None) -> list[Finding]:
    """Look at everything the agent needs; a failure of one check does not hide the others.

    Args:
        config: What the agent would run with.
        host: Where facts come from; None: this machine.
    """
    where = host or Host()
    return [finding for check in _CHECKS for finding in check(config, where)]
