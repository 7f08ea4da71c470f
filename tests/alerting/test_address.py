"""Addresses of brokers: what is refused, and that no password gets out."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_agent.alerting.address import PASSWORD_VARIABLE, BrokerAddress, read_password
from edge_agent.alerting.topics import Topics, split
from edge_agent.contract.errors import BrokerError


@pytest.mark.parametrize(
    ("url", "host", "port", "tls", "user"),
    [
        ("mqtt://localhost", "localhost", 1883, False, None),
        ("mqtt://127.8.9.1:99/", "127.8.9.1", 99, False, None),
        ("mqtt://[::1]", "::1", 1883, False, None),
        ("mqtts://broker.example", "broker.example", 8883, True, None),
        ("mqtts://us%40er@broker.example:1", "broker.example", 1, True, "us@er"),
    ],
)
def test_good_urls(url: str, host: str, port: int, tls: bool, user: str | None) -> None:
    address = BrokerAddress.parse(url)
    assert (address.host, address.port, address.tls, address.username) == (host, port, tls, user)
    again = BrokerAddress.parse(address.url)
    assert (again.host, again.port, again.tls) == (host, port, tls)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("", "not a broker's URL"),
        ("localhost:1883", "not a broker's URL"),
        ("http://localhost", "not a broker's URL"),
        ("mqtt://", "not a broker's URL"),
        ("mqtt://[::1", "not a broker's URL"),
        ("mqtt://localhost:0", "not a broker's URL"),
        ("mqtt://localhost:65536", "not a broker's URL"),
        ("mqtt://localhost:x", "not a broker's URL"),
        ("mqtt://local\x1bhost", "not a broker's URL"),
        ("mqtts://" + "x" * 64 + ".example", "not a broker's URL"),
        ("mqtts://broker..example", "not a broker's URL"),
        ("mqtt://" + "x" * 300, "not a broker's URL"),
        ("mqtt://localhost/edge-ids", "ends with its port"),
        ("mqtt://localhost?x=1", "ends with its port"),
        ("mqtt://10.0.0.1", "plain text"),
        ("mqtt://user@broker.example", "plain text"),
        ("mqtt://localhost.example", "plain text"),
        ("mqtt://[::ffff:10.0.0.1]", "plain text"),
    ],
)
def test_bad_urls(url: str, words: str) -> None:
    with pytest.raises(BrokerError, match=words) as caught:
        BrokerAddress.parse(url)
    message = str(caught.value)
    assert message.isprintable()
    assert message.endswith(".")
    assert len(message) < 250


@pytest.mark.parametrize("rest", ["localhost", "[::1", "localhost:x", "localhost/x"])
def test_password_in_the_url_is_refused_and_not_repeated(rest: str) -> None:
    with pytest.raises(BrokerError) as caught:
        BrokerAddress.parse(f"mqtt://user:hunter2@{rest}")
    assert "hunter2" not in str(caught.value)


def test_password_stays_out_of_representations() -> None:
    address = BrokerAddress.parse("mqtts://user@broker.example", password="hunter2")
    assert address.password == "hunter2"
    assert "hunter2" not in repr(address) + address.url


def test_what_does_not_fit_together_is_refused() -> None:
    with pytest.raises(BrokerError, match="no user name"):
        BrokerAddress.parse("mqtts://broker.example", password="x")
    with pytest.raises(BrokerError, match="needs TLS"):
        BrokerAddress.parse("mqtt://localhost", ca_file=Path("ca.pem"))


def test_plain_text_when_told() -> None:
    assert not BrokerAddress.parse("mqtt://10.0.0.1", allow_plaintext=True).tls


def test_passwords_from_file_and_environment(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("hunter2\nsecond line\n")
    assert read_password(file, {}) == "hunter2"
    assert read_password(None, {PASSWORD_VARIABLE: "x"}) == "x"
    assert read_password(None, {}) is None


@pytest.mark.parametrize("content", [b"", b"\n", b"\xff\xfe", b"x" * 5000])
def test_file_without_a_password(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "password"
    file.write_bytes(content)
    with pytest.raises(BrokerError, match="holds no password"):
        read_password(file, {})


def test_missing_password_file(tmp_path: Path) -> None:
    with pytest.raises(BrokerError, match="cannot be read"):
        read_password(tmp_path / "none", {})


def test_topics() -> None:
    assert Topics("gw").active == "edge-ids/gw/incident/active"
    assert Topics("+").alert == "edge-ids/+/alert"
    assert split("edge-ids/gw/incident/active") == ("gw", "incident/active")
    for foreign in ("", "edge-ids", "edge-ids/gw", "edge-ids/gw/", "x/gw/alert", "edge-ids/a b/c"):
        assert split(foreign) is None
    with pytest.raises(ValueError, match="not a node name"):
        Topics("#")
