"""Alert records: what subscribers get, its JSON and its JSON schema.

One message is one JSON object below `MAX_JSON_BYTES`, so that it fits any broker's limit and a
microcontroller's buffer. Lists are cut to the first few entries; the `*_count` fields hold the
totals, and `at_least` names those totals that are lower bounds because counting was capped.

`SCHEMA_VERSION` is one integer: raise it when a reader of the present version would misread the
new message, or refuse it: readers check the vocabularies below, so a name that joins one of them
needs a new number. (`exploit` joined before the first release.) `schemas/alert.v1.json` says the
same in JSON Schema; a test holds the two together.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from importlib import resources
from typing import Any, Final

SCHEMA_VERSION: Final = 1

EVENTS: Final = ("new", "update", "end")
FAMILIES: Final = (
    "scan",
    "dos",
    "ddos",
    "bruteforce",
    "web",
    "botnet",
    "infiltration",
    "exploit",
    "unknown",
)
UNKNOWN_FAMILY: Final = "unknown"
"""`family` of an incident whose model names no family, or was not sure."""
SEVERITIES: Final = ("low", "medium", "high", "critical")
PROTOCOLS: Final = ("tcp", "udp", "other", "mixed")
COUNTS: Final = ("source_count", "target_count", "port_count")

MANY_SOURCES: Final = "many"
"""`source` of a distributed incident: no single address is responsible."""

MAX_TARGETS: Final = 16
MAX_PORTS: Final = 32
MAX_EXPLANATION: Final = 400
MAX_MODEL_NAME: Final = 96
MAX_JSON_BYTES: Final = 4096

# Every JSON reader keeps integers exact up to here; it also bounds the length of a message.
_MAX_COUNT: Final = 2**53 - 1

# A node's name is a level of an MQTT topic: no separator, no wildcard, nothing to escape.
_NODE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_ID: Final = re.compile(r"[0-9a-f]{24}")
# An IPv6 address with an embedded IPv4 one has 45 characters; a scope's name may follow.
_ADDRESS: Final = re.compile(r"[0-9A-Za-z:.%_-]{1,64}")
_TIME: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z")

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=timezone.utc)
_MICROSECOND: Final = timedelta(microseconds=1)
# The last moment RFC 3339 can write.
_MAX_TIME_US: Final = 253_402_300_799_999_999


def format_time(time_us: int) -> str:
    """RFC 3339 in UTC with microseconds, from µs since 1970.

    Times come from packets, and a damaged capture may hold any number; what no calendar can
    write becomes the nearest moment that one can.
    """
    moment = _EPOCH + timedelta(microseconds=min(max(time_us, 0), _MAX_TIME_US))
    # strftime would write the year 300 as "300".
    return f"{moment:%Y-%m-%dT%H:%M:%S.%f}Z"


def parse_time(text: str) -> int:
    """µs since 1970 of what `format_time` wrote.

    Raises:
        ValueError: It is another notation, or no such day.
    """
    if not _TIME.fullmatch(text):
        raise ValueError(f"not a time like 2026-01-31T12:00:00.000000Z: {printable(text, 40)!r}")
    moment = datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=timezone.utc)
    return (moment - _EPOCH) // _MICROSECOND


def printable(text: str, limit: int = 200) -> str:
    """Make a peer's text fit for logs and messages: one line, no control or bidi characters."""
    kept = "".join(character if character.isprintable() else "?" for character in text[:limit])
    return kept + "…" if len(text) > limit else kept


def checked_families(names: object) -> tuple[str, ...]:
    """Attack families that a model may name, in the order of its output's columns.

    Args:
        names: As read from a file: anything.

    Raises:
        ValueError: They are not distinct names of `FAMILIES` without "unknown". The message is a
            clause that a file's name may stand before.
    """
    if not isinstance(names, list | tuple):
        raise ValueError("lists no attack families where it should")  # noqa: TRY004
    known = tuple(name for name in FAMILIES if name != UNKNOWN_FAMILY)
    for name in names:
        if name not in known:
            raise ValueError(
                f"names the attack family {printable(repr(name), 40)}, which is none of"
                f" {', '.join(known)}"
            )
    if len(set(names)) != len(names):
        raise ValueError("names an attack family twice")
    return tuple(names)


def is_node_name(text: str) -> bool:
    """Whether it may name this gateway in topics and alerts."""
    return _NODE.fullmatch(text) is not None


def protocol_name(number: int) -> str:
    """One of `PROTOCOLS` for an IP protocol number."""
    return {6: "tcp", 17: "udp"}.get(number, "other")


def load_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of the present version, from the installed package."""
    name = f"schemas/alert.v{SCHEMA_VERSION}.json"
    source = resources.files("edge_agent.contract").joinpath(name)
    schema: dict[str, Any] = json.loads(source.read_text(encoding="utf-8"))
    return schema


@dataclass(frozen=True, slots=True)
class Alert:
    """One event in the life of an incident.

    Counts, scores and lists are totals since the incident began, not since its last message.

    Attributes:
        id: 24 hexadecimal digits, the same in every message of an incident.
        event: One of `EVENTS`.
        time_us: When the message was made, µs since 1970; the capture's clock in a replay.
        first_seen_us: Start of the first flagged flow.
        last_seen_us: When the last flagged flow was given out.
        node: The gateway that speaks.
        source: The address held responsible, or `MANY_SOURCES`.
        source_count: Addresses that flagged flows came from.
        targets: The first `MAX_TARGETS` addresses attacked.
        target_count: All of them.
        target_ports: The lowest `MAX_PORTS` ports attacked.
        port_count: All of them.
        at_least: Those of `COUNTS` that are lower bounds.
        protocol: One of `PROTOCOLS`.
        family: One of `FAMILIES`: what most of its flows so far look like, so a later message may
            name another one.
        severity: One of `SEVERITIES`; never falls during an incident.
        score: Highest score, 0 to 1; higher is worse.
        mean_score: Mean score of the flagged flows.
        flows: Flagged flows.
        explanation: One sentence for people.
        model: The model that judged.

    Raises:
        ValueError: A field is out of its bounds.
    """

    id: str
    event: str
    time_us: int
    first_seen_us: int
    last_seen_us: int
    node: str
    source: str
    source_count: int
    targets: tuple[str, ...]
    target_count: int
    target_ports: tuple[int, ...]
    port_count: int
    at_least: tuple[str, ...]
    protocol: str
    family: str
    severity: str
    score: float
    mean_score: float
    flows: int
    explanation: str
    model: str

    def __post_init__(self) -> None:
        checks = (
            ("id", _ID.fullmatch(self.id)),
            ("event", self.event in EVENTS),
            ("node", is_node_name(self.node)),
            ("source", _ADDRESS.fullmatch(self.source)),
            ("source_count", 1 <= self.source_count <= _MAX_COUNT),
            ("targets", 1 <= len(self.targets) <= MAX_TARGETS),
            ("targets", all(_ADDRESS.fullmatch(target) for target in self.targets)),
            ("target_count", len(self.targets) <= self.target_count <= _MAX_COUNT),
            ("target_ports", len(self.target_ports) <= MAX_PORTS),
            ("target_ports", all(0 <= port <= 65_535 for port in self.target_ports)),
            ("port_count", len(self.target_ports) <= self.port_count <= 65_536),
            ("at_least", set(self.at_least) <= set(COUNTS)),
            ("at_least", len(set(self.at_least)) == len(self.at_least)),
            ("protocol", self.protocol in PROTOCOLS),
            ("family", self.family in FAMILIES),
            ("severity", self.severity in SEVERITIES),
            ("score", 0.0 <= self.score <= 1.0),
            ("mean_score", 0.0 <= self.mean_score <= 1.0),
            ("flows", 1 <= self.flows <= _MAX_COUNT),
            ("explanation", 1 <= len(self.explanation) <= MAX_EXPLANATION),
            ("explanation", self.explanation.isprintable()),
            ("model", 1 <= len(self.model) <= MAX_MODEL_NAME and self.model.isprintable()),
        )
        for name, fine in checks:
            if not fine:
                value = printable(repr(getattr(self, name)), 80)
                raise ValueError(f"an alert cannot have {name} = {value}")

    def to_json(self) -> str:
        """One line of JSON, keys as in the schema."""
        return json.dumps(
            {
                "schema_version": SCHEMA_VERSION,
                "id": self.id,
                "event": self.event,
                "time": format_time(self.time_us),
                "first_seen": format_time(self.first_seen_us),
                "last_seen": format_time(self.last_seen_us),
                "node": self.node,
                "source": self.source,
                "source_count": self.source_count,
                "targets": self.targets,
                "target_count": self.target_count,
                "target_ports": self.target_ports,
                "port_count": self.port_count,
                "at_least": self.at_least,
                "protocol": self.protocol,
                "family": self.family,
                "severity": self.severity,
                # More digits than the int8 output can tell apart would only look exact.
                "score": round(self.score, 4),
                "mean_score": round(self.mean_score, 4),
                "flows": self.flows,
                "explanation": self.explanation,
                "model": self.model,
            },
            ensure_ascii=False,
            separators=(",", ":"),
        )

    @classmethod
    def from_json(cls, text: str | bytes) -> Alert:
        """Read a message of this schema version.

        Raises:
            ValueError: It is too long, not such JSON, of another version, or out of bounds.
        """
        facts = _parse(text)
        return cls(
            id=_take(facts, "id", str),
            event=_take(facts, "event", str),
            time_us=parse_time(_take(facts, "time", str)),
            first_seen_us=parse_time(_take(facts, "first_seen", str)),
            last_seen_us=parse_time(_take(facts, "last_seen", str)),
            node=_take(facts, "node", str),
            source=_take(facts, "source", str),
            source_count=_take(facts, "source_count", int),
            targets=_take_all(facts, "targets", str),
            target_count=_take(facts, "target_count", int),
            target_ports=_take_all(facts, "target_ports", int),
            port_count=_take(facts, "port_count", int),
            at_least=_take_all(facts, "at_least", str),
            protocol=_take(facts, "protocol", str),
            family=_take(facts, "family", str),
            severity=_take(facts, "severity", str),
            score=_take_number(facts, "score"),
            mean_score=_take_number(facts, "mean_score"),
            flows=_take(facts, "flows", int),
            explanation=_take(facts, "explanation", str),
            model=_take(facts, "model", str),
        )


_KEYS: Final = frozenset(
    {field for field in Alert.__slots__ if not field.endswith("_us")}
    | {"schema_version", "time", "first_seen", "last_seen"}
)


def _not_an_alert(problem: str) -> ValueError:
    return ValueError(f"not an alert: {problem}")


def _parse(text: str | bytes) -> dict[str, Any]:
    if len(text) > MAX_JSON_BYTES:
        raise _not_an_alert(f"longer than {MAX_JSON_BYTES} bytes")
    try:
        facts = json.loads(text)
    # A few thousand nested brackets exhaust the parser's stack.
    except RecursionError:
        raise _not_an_alert("nested too deeply") from None
    if not isinstance(facts, dict):
        raise _not_an_alert("no JSON object")
    version = facts.get("schema_version")
    if version != SCHEMA_VERSION or isinstance(version, bool):
        found = printable(repr(version), 20)
        raise _not_an_alert(f"schema_version {SCHEMA_VERSION} is needed, this has {found}")
    if extra := facts.keys() - _KEYS:
        raise _not_an_alert(f"unknown key {printable(repr(min(extra)), 40)}")
    return facts


def _take(facts: dict[str, Any], key: str, kind: type[Any]) -> Any:
    if key not in facts:
        raise _not_an_alert(f"{key} is missing")
    value = facts[key]
    # bool is an int to Python, not to JSON.
    if not isinstance(value, kind) or isinstance(value, bool):
        raise _not_an_alert(f"{key} is no {kind.__name__}: {printable(repr(value), 40)}")
    return value


def _take_all(facts: dict[str, Any], key: str, kind: type[Any]) -> tuple[Any, ...]:
    values = _take(facts, key, list)
    for value in values:
        if not isinstance(value, kind) or isinstance(value, bool):
            raise _not_an_alert(f"{key} holds no {kind.__name__}: {printable(repr(value), 40)}")
    return tuple(values)


def _take_number(facts: dict[str, Any], key: str) -> float:
    value = facts.get(key)
    # json.loads reads NaN and Infinity, which JSON does not have.
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise _not_an_alert(f"{key} is no number: {printable(repr(value), 40)}")
    return float(value)
