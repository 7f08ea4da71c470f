"""The plan of a recording session: who lives in the house, what they do, who attacks when.

A plan is data (TOML). Reading it is strict: an unknown key is an error, because a misspelt one
would silently record something else than was meant. Whether a plan is safe and labels exactly is
checked in `bounds.py`.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network
from typing import TYPE_CHECKING, Any, TypeVar

import tomllib

from benchmarks.lab.errors import PlanError

if TYPE_CHECKING:
    from pathlib import Path

FAMILIES = frozenset({"scan", "dos", "ddos", "bruteforce", "botnet"})
Ports = tuple[tuple[int, int], ...]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Link:
    """One host's cable or radio link; the delay counts once in each direction."""

    delay_ms: float = 0.0
    jitter_ms: float = 0.0
    loss: float = 0.0
    rate_mbit: float = 100.0


@dataclass(frozen=True, slots=True)
class Activity:
    """Something benign that a host does again and again; `activities.py` knows the kinds."""

    kind: str
    every_s: float
    to: tuple[str, ...] = ()
    port: int = 0
    burst: tuple[int, int] = (1, 1)
    steady: bool = False
    amount: float = 0.0


@dataclass(frozen=True, slots=True)
class Host:
    """One network namespace. `services` are names of `services.py`, with `:port` if not usual."""

    name: str
    address: IPv4Address
    side: str
    infected: bool = False
    link: Link = field(default_factory=Link)
    services: tuple[str, ...] = ()
    activities: tuple[Activity, ...] = ()


@dataclass(frozen=True, slots=True)
class Campaign:
    """One run of one attack tool.

    `sources` is set when the tool forges its source addresses. `ports` are those of the victim.
    """

    id: str
    label: str
    family: str
    program: str
    arguments: str
    launched_from: tuple[str, ...]
    victims: tuple[str, ...]
    protocol: int | None = None
    ports: Ports | None = None
    sources: IPv4Network | None = None
    limit_s: float = 45.0
    settle_s: float = 2.0


@dataclass(frozen=True, slots=True)
class Timing:
    """The rhythm of a session. The gap is between campaigns of the same attacker."""

    duration_s: float
    opening_s: float
    closing_s: float
    pause_s: tuple[float, float]
    attacker_gap_s: float


@dataclass(frozen=True, slots=True)
class Accounts:
    """Who may log in where in this lab; worthless anywhere else."""

    user: str
    password: str
    mqtt_user: str
    mqtt_password: str
    telnet_user: str
    telnet_password: str


@dataclass(frozen=True, slots=True)
class Guesses:
    """The word lists handed to the guessing tools."""

    users: tuple[str, ...]
    passwords: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """A whole session. Addresses of `dark` never answer: unused internet, and forged sources."""

    session: str
    seed: int
    lan: IPv4Network
    wan: IPv4Network
    dark: IPv4Network
    timing: Timing
    accounts: Accounts
    guesses: Guesses
    asleep: dict[str, IPv4Address]
    hosts: tuple[Host, ...]
    campaigns: tuple[Campaign, ...]

    def host(self, name: str) -> Host:
        """Find a host by name."""
        for host in self.hosts:
            if host.name == name:
                return host
        raise PlanError(f"the plan of {self.session} has no host named {name!r}")

    @property
    def gateway(self) -> Host:
        """The host which holds the bridge."""
        return self.host("gateway")

    @property
    def addresses(self) -> dict[str, IPv4Address]:
        """Addresses of all hosts by name, those asleep included."""
        return {host.name: host.address for host in self.hosts} | self.asleep

    def side(self, side: str) -> tuple[Host, ...]:
        """The hosts of one side (`lan` or `wan`) besides the gateway."""
        return tuple(h for h in self.hosts if h.side == side and h.name != "gateway")

    def network(self, name: str) -> IPv4Network:
        """The network that a name of a campaign stands for: a whole side or one host."""
        match name:
            case "lan":
                return self.lan
            case "dark":
                return self.dark
            case _:
                return IPv4Network(self.addresses[name])

    @property
    def wan_gateway(self) -> IPv4Address:
        """The gateway's address towards the internet of the lab."""
        return next(iter(self.wan.hosts()))


def load(path: Path) -> Plan:
    """Read a plan; raises PlanError with the place and the reason."""
    try:
        with path.open("rb") as stream:
            table = tomllib.load(stream)
        return _plan(table)
    except (OSError, tomllib.TOMLDecodeError, KeyError, TypeError, ValueError) as error:
        raise PlanError(f"cannot read the plan {path}: {error!r}") from error


def _plan(table: dict[str, Any]) -> Plan:
    network = table.pop("network")
    hosts = tuple(_host(entry) for entry in table.pop("hosts"))
    campaigns = tuple(_campaign(entry) for entry in table.pop("campaigns"))
    timing, guesses = table.pop("timing"), table.pop("guesses")
    return _make(
        Plan,
        table
        | {name: IPv4Network(network.pop(name)) for name in ("lan", "wan", "dark")}
        | network
        | {
            "timing": _make(Timing, timing | {"pause_s": tuple(timing["pause_s"])}),
            "accounts": _make(Accounts, table["accounts"]),
            "guesses": _make(Guesses, {key: tuple(words) for key, words in guesses.items()}),
            "asleep": {n: IPv4Address(a) for n, a in table.get("asleep", {}).items()},
            "hosts": hosts,
            "campaigns": campaigns,
        },
    )


def _host(entry: dict[str, Any]) -> Host:
    return _make(
        Host,
        entry
        | {
            "address": IPv4Address(entry["address"]),
            "link": _make(Link, entry.get("link", {})),
            "services": tuple(entry.get("services", ())),
            "activities": tuple(_activity(item) for item in entry.get("activities", ())),
        },
    )


def _activity(entry: dict[str, Any]) -> Activity:
    to = entry.get("to", ())
    return _make(
        Activity,
        entry
        | {
            "to": (to,) if isinstance(to, str) else tuple(to),
            "burst": tuple(entry.get("burst", (1, 1))),
        },
    )


def _campaign(entry: dict[str, Any]) -> Campaign:
    ports = entry.get("ports")
    if ports is not None:
        ports = tuple((p, p) if isinstance(p, int) else (int(p[0]), int(p[1])) for p in ports)
    sources = entry.get("sources")
    return _make(
        Campaign,
        entry
        | {
            "launched_from": tuple(entry["launched_from"]),
            "victims": tuple(entry["victims"]),
            "ports": ports,
            "sources": None if sources is None else IPv4Network(sources),
        },
    )


def _make(kind: type[T], table: dict[str, Any]) -> T:
    known = {item.name for item in dataclasses.fields(kind)}  # type: ignore[arg-type]
    unknown = sorted(set(table) - known)
    if unknown:
        raise PlanError(f"{kind.__name__.lower()}: unknown keys {', '.join(unknown)}")
    return kind(**table)
