"""One spelling per label."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.datasets.labels import BENIGN, family_of, is_attempted, unify


@pytest.mark.parametrize(
    "text",
    [
        "Web Attack – XSS",
        "Web Attack \x96 XSS",
        "Web Attack \ufffd XSS",
        "Web Attack - XSS",
        "Web Attack â€“ XSS",
        "Web Attack ï¿½ XSS",
        " web attack  xss ",
    ],
)
def test_web_attacks_have_one_spelling(text: str) -> None:
    assert unify(text) == "Web Attack - XSS"


@pytest.mark.parametrize(
    ("text", "label", "family"),
    [
        ("BENIGN", "BENIGN", "benign"),
        ("Benign", "BENIGN", "benign"),
        ("Bot", "Botnet", "botnet"),
        ("PortScan", "Portscan", "scan"),
        ("Infiltration - Portscan", "Infiltration - Portscan", "scan"),
        ("Infiltration", "Infiltration", "infiltration"),
        ("DoS slowloris", "DoS Slowloris", "dos"),
        ("DDoS", "DDoS", "ddos"),
        ("FTP-Patator", "FTP-Patator", "bruteforce"),
        ("Web Attack – Sql Injection", "Web Attack - SQL Injection", "web"),
        ("Heartbleed", "Heartbleed", "heartbleed"),
        ("nmap-syn-scan", "nmap-syn-scan", "other"),
    ],
)
def test_names_and_families(text: str, label: str, family: str) -> None:
    assert unify(text) == label
    assert family_of(unify(text)) == family


@pytest.mark.parametrize(
    "text", ["DoS Hulk - Attempted", "DoS Hulk – Attempted", "DoS Hulk \ufffd attempted "]
)
def test_attempted_is_kept_apart(text: str) -> None:
    label = unify(text)
    assert label == "DoS Hulk - Attempted"
    assert is_attempted(label)
    assert family_of(label) == "dos"


def test_labels_of_ones_own_stay() -> None:
    assert unify("my  own-label") == "my own-label"
    assert not is_attempted("my own-label")


@given(st.text(max_size=40))
def test_unify_is_stable(text: str) -> None:
    once = unify(text)
    assert unify(once) == once


@given(st.text(max_size=40))
def test_nothing_becomes_benign_by_accident(text: str) -> None:
    if unify(text) == BENIGN:
        assert "benign" in "".join(c for c in text.casefold() if c.isascii()).replace(" ", "")
