"""`truth.json`: what happened when in a recording, in the form that labels flows.

A flow belongs to a campaign if it begins between its start and its end, one endpoint is one of its
attackers and the other one of its victims, and protocol and victim-side port match (None: any).
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from ipaddress import IPv4Network
from typing import TYPE_CHECKING, Any

from benchmarks.lab.errors import CaptureError

if TYPE_CHECKING:
    from pathlib import Path

# Raise it when a reader of the older form would label wrongly.
SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True)
class Wave:
    """One campaign as it ran. `launched_from` differs from `attackers` if sources were forged."""

    id: str
    tool: str
    family: str
    label: str
    command: str
    start_us: int
    end_us: int
    attackers: tuple[str, ...]
    victims: tuple[str, ...]
    protocol: int | None
    ports: tuple[int | tuple[int, int], ...] | None
    launched_from: tuple[str, ...]

    def matcher(self) -> Matcher:
        """The labelling rule in a form that is quick to apply."""
        ports = self.ports
        ranges = None if ports is None else tuple(_range(port) for port in ports)
        return Matcher(_spans(self.attackers), _spans(self.victims), self.protocol, ranges)


@dataclass(frozen=True, slots=True)
class Matcher:
    """Who, whom and which service a campaign concerned; time is asked separately."""

    attackers: tuple[tuple[int, int], ...]
    victims: tuple[tuple[int, int], ...]
    protocol: int | None
    ports: tuple[tuple[int, int], ...] | None

    def matches(self, ends: tuple[tuple[int, int], tuple[int, int]], protocol: int) -> bool:
        """Whether a conversation between two (address, port) ends is the campaign's."""
        if self.protocol not in (None, protocol):
            return False
        return self._aims(ends[0], ends[1]) or self._aims(ends[1], ends[0])

    def _aims(self, attacker: tuple[int, int], victim: tuple[int, int]) -> bool:
        if not _inside(attacker[0], self.attackers) or not _inside(victim[0], self.victims):
            return False
        return self.ports is None or _inside(victim[1], self.ports)


@dataclass(frozen=True, slots=True)
class Truth:
    """The whole file."""

    session: str
    capture: str
    start_us: int
    end_us: int
    packets: int
    dropped_by_kernel: int
    lan: str
    hosts: dict[str, str]
    infected: tuple[str, ...]
    tools: dict[str, str]
    campaigns: tuple[Wave, ...]
    schema_version: int = SCHEMA_VERSION

    def save(self, path: Path) -> None:
        """Write the file."""
        first = {"schema_version": self.schema_version}
        path.write_text(json.dumps(first | dataclasses.asdict(self), indent=1) + "\n")


def load(path: Path) -> Truth:
    """Read the file; raises CaptureError if it is not one."""
    try:
        table: dict[str, Any] = json.loads(path.read_text())
        if table["schema_version"] != SCHEMA_VERSION:
            raise CaptureError(f"{path}: schema version {table['schema_version']} is unknown")
        return Truth(**table | {"campaigns": tuple(Wave(**wave) for wave in table["campaigns"])})
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CaptureError(f"cannot read {path}: {error!r}") from error


def _range(port: int | tuple[int, int]) -> tuple[int, int]:
    return (port, port) if isinstance(port, int) else (port[0], port[1])


def _spans(networks: tuple[str, ...]) -> tuple[tuple[int, int], ...]:
    nets = [IPv4Network(text) for text in networks]
    return tuple((int(net[0]), int(net[-1])) for net in nets)


def _inside(value: int, spans: tuple[tuple[int, int], ...]) -> bool:
    return any(low <= value <= high for low, high in spans)
