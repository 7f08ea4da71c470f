"""Alert records: their JSON, their bounds, and the schema that says the same."""

from __future__ import annotations

import dataclasses
import json
import zipfile
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.contract.alerts import (
    COUNTS,
    EVENTS,
    FAMILIES,
    MANY_SOURCES,
    MAX_EXPLANATION,
    MAX_JSON_BYTES,
    MAX_MODEL_NAME,
    MAX_PORTS,
    MAX_TARGETS,
    PROTOCOLS,
    SEVERITIES,
    Alert,
    format_time,
    load_schema,
    parse_time,
    printable,
)

if TYPE_CHECKING:
    from pathlib import Path

TIMES = st.integers(0, 253_402_300_799_999_999)
COUNT = st.integers(1, 2**53 - 1)
SCORES = st.floats(0, 1).map(lambda score: round(score, 4))
ADDRESSES = st.one_of(
    st.ip_addresses().map(str),
    st.just("ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255%interface-0.1234"),
    st.text("0123456789abcdef:.", min_size=64, max_size=64),
)


def texts(limit: int) -> st.SearchStrategy[str]:
    """Printable text, with what is long in JSON or UTF-8."""
    anything = st.characters().filter(str.isprintable)
    return st.one_of(
        st.text(anything, min_size=1, max_size=limit),
        st.sampled_from(['"' * limit, "\\" * limit, "\U00020000" * limit, "é" * limit]),
    )


@st.composite
def alerts(draw: st.DrawFn) -> Alert:
    targets = tuple(draw(st.lists(ADDRESSES, min_size=1, max_size=MAX_TARGETS)))
    ports = tuple(draw(st.lists(st.integers(0, 65_535), max_size=MAX_PORTS)))
    return Alert(
        id=draw(st.text("0123456789abcdef", min_size=24, max_size=24)),
        event=draw(st.sampled_from(EVENTS)),
        time_us=draw(TIMES),
        first_seen_us=draw(TIMES),
        last_seen_us=draw(TIMES),
        node=draw(st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", fullmatch=True)),
        source=draw(ADDRESSES | st.just(MANY_SOURCES)),
        source_count=draw(COUNT),
        targets=targets,
        target_count=draw(st.integers(len(targets), 2**53 - 1)),
        target_ports=ports,
        port_count=draw(st.integers(len(ports), 65_536)),
        at_least=tuple(draw(st.lists(st.sampled_from(COUNTS), unique=True))),
        protocol=draw(st.sampled_from(PROTOCOLS)),
        family=draw(st.sampled_from(FAMILIES)),
        severity=draw(st.sampled_from(SEVERITIES)),
        score=draw(SCORES),
        mean_score=draw(SCORES),
        flows=draw(COUNT),
        explanation=draw(texts(MAX_EXPLANATION)),
        model=draw(texts(MAX_MODEL_NAME)),
    )


EXAMPLE = Alert(
    id="0123456789abcdef01234567",
    event="new",
    time_us=1_700_000_000_123_456,
    first_seen_us=1_700_000_000_000_000,
    last_seen_us=1_700_000_000_100_000,
    node="gateway-1",
    source="10.44.0.66",
    source_count=1,
    targets=("10.44.0.2",),
    target_count=1,
    target_ports=(22, 23, 80),
    port_count=198,
    at_least=(),
    protocol="tcp",
    family="unknown",
    severity="high",
    score=0.998,
    mean_score=0.97,
    flows=214,
    explanation="214 flows in 12 s from 10.44.0.66 to 1 host",
    model="cnn-lstm-edge int8",
)


@given(alerts())
def test_json_round_trip_within_the_bound(alert: Alert) -> None:
    text = alert.to_json()
    assert "\n" not in text
    assert len(text.encode()) <= MAX_JSON_BYTES
    assert Alert.from_json(text) == Alert.from_json(text.encode()) == alert


@given(alerts())
def test_schema_accepts_every_alert(alert: Alert) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    jsonschema.Draft202012Validator(load_schema()).validate(json.loads(alert.to_json()))


def test_schema_is_valid_and_names_the_same_vocabulary() -> None:
    schema = load_schema()
    properties = schema["properties"]
    assert properties["event"]["enum"] == list(EVENTS)
    assert properties["family"]["enum"] == list(FAMILIES)
    assert properties["severity"]["enum"] == list(SEVERITIES)
    assert properties["protocol"]["enum"] == list(PROTOCOLS)
    assert properties["at_least"]["items"]["enum"] == list(COUNTS)
    assert properties["targets"]["maxItems"] == MAX_TARGETS
    assert properties["target_ports"]["maxItems"] == MAX_PORTS
    assert properties["explanation"]["maxLength"] == MAX_EXPLANATION
    assert properties["model"]["maxLength"] == MAX_MODEL_NAME
    assert set(schema["required"]) == set(properties) == set(json.loads(EXAMPLE.to_json()))
    pytest.importorskip("jsonschema").Draft202012Validator.check_schema(schema)


SPOILED: list[tuple[str, Any]] = [
    ("schema_version", 2),
    ("schema_version", True),
    ("schema_version", "1"),
    ("id", "0123456789ABCDEF01234567"),
    ("event", "begin"),
    ("time", "2026-01-31 12:00:00"),
    ("time", "2026-01-31T12:00:00Z"),
    ("first_seen", 1_700_000_000),
    ("node", "a/b"),
    ("node", "+"),
    ("node", ""),
    ("source", "10.0.0.1 or 1=1"),
    ("source", "x" * 65),
    ("source_count", 0),
    ("source_count", 2**53),
    ("targets", []),
    ("targets", ["10.0.0.1"] * 17),
    ("targets", [1]),
    ("targets", "10.0.0.1"),
    ("target_count", 0),
    ("target_ports", [-1]),
    ("target_ports", [65_536]),
    ("target_ports", [True]),
    ("target_ports", list(range(33))),
    ("port_count", 65_537),
    ("at_least", ["flows"]),
    ("at_least", ["port_count", "port_count"]),
    ("protocol", "icmp"),
    ("family", "martian"),
    ("severity", "fatal"),
    ("score", 1.01),
    ("score", -0.1),
    ("score", True),
    ("score", "0.9"),
    ("mean_score", None),
    ("flows", 0),
    ("flows", 1.5),
    ("explanation", ""),
    ("explanation", "x" * 401),
    ("model", ""),
    ("extra", 1),
]


@pytest.mark.parametrize(("key", "value"), SPOILED)
def test_spoiled_message_is_refused_by_reader_and_schema(key: str, value: Any) -> None:
    facts = json.loads(EXAMPLE.to_json())
    facts[key] = value
    with pytest.raises(ValueError, match=r"^\S.*") as caught:
        Alert.from_json(json.dumps(facts))
    assert len(str(caught.value)) < 200
    jsonschema = pytest.importorskip("jsonschema")
    assert not jsonschema.Draft202012Validator(load_schema()).is_valid(facts)


@pytest.mark.parametrize("key", sorted(json.loads(EXAMPLE.to_json())))
def test_missing_key_is_refused(key: str) -> None:
    facts = json.loads(EXAMPLE.to_json())
    del facts[key]
    with pytest.raises(ValueError, match=r"not an alert|not a time"):
        Alert.from_json(json.dumps(facts))


@pytest.mark.parametrize("day", ["2026-02-30", "2026-13-01", "0000-01-01"])
def test_no_such_day(day: str) -> None:
    with pytest.raises(ValueError, match=r"day|month|year|match"):
        parse_time(f"{day}T00:00:00.000000Z")


@pytest.mark.parametrize(
    "payload",
    [b"", b"\xff\xfe", b"[" * 4000, b"{}", b"null", b'{"a":' * 600, b"1" * 4000, b"NaN"],
)
def test_rubbish_is_refused(payload: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        Alert.from_json(payload)


def test_too_long_is_not_even_parsed() -> None:
    with pytest.raises(ValueError, match="longer than 4096 bytes"):
        Alert.from_json(b" " * (MAX_JSON_BYTES + 1))


@given(st.binary(max_size=300))
def test_reader_only_raises_value_errors(payload: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        Alert.from_json(payload)


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity"])
def test_numbers_that_json_does_not_have(text: str) -> None:
    message = EXAMPLE.to_json().replace('"score":0.998', f'"score":{text}')
    with pytest.raises(ValueError, match="score is no number"):
        Alert.from_json(message)


@given(TIMES)
def test_time_round_trip(time_us: int) -> None:
    assert parse_time(format_time(time_us)) == time_us


def test_time_is_rfc3339_and_stays_in_the_calendar() -> None:
    assert format_time(1_700_000_000_123_456) == "2023-11-14T22:13:20.123456Z"
    assert format_time(-5) == "1970-01-01T00:00:00.000000Z"
    assert format_time(2**64) == "9999-12-31T23:59:59.999999Z"


@given(st.text(max_size=300))
def test_printable_is_one_bounded_line(text: str) -> None:
    shown = printable(text, 50)
    assert shown.isprintable()
    assert len(shown) <= 51


def test_alert_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        EXAMPLE.flows = 1  # type: ignore[misc]


def test_schema_is_read_from_a_zipped_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import subprocess
    import sys
    from pathlib import Path as RealPath

    import edge_agent

    package = RealPath(edge_agent.__file__).parent
    archive = tmp_path / "edge.zip"
    with zipfile.ZipFile(archive, "w") as bundle:
        for name in (
            "__init__.py",
            "contract/__init__.py",
            "contract/alerts.py",
            "contract/schemas/alert.v1.json",
        ):
            bundle.write(package / name, f"edge_agent/{name}")
    program = (
        "import edge_agent.contract.alerts as a; "
        "assert '.zip' in a.__file__, a.__file__; print(a.load_schema()['$id'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={"PYTHONPATH": str(archive)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "urn:edge-ids:alert:v1"
