"""One spelling per label."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.contract.alerts import FAMILIES
from trainer.datasets.labels import BENIGN, UNKNOWN, family_of, is_attempted, unify


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
        "Brute Force -XSS",
    ],
)
def test_web_attacks_have_one_spelling(text: str) -> None:
    assert unify(text) == "Web Attack - XSS"


# Every class of CICIDS2017, of CSE-CIC-IDS2018 and of their improved versions.
PUBLISHED = [
    ("BENIGN", "BENIGN", "benign"),
    ("Benign", "BENIGN", "benign"),
    ("Bot", "Botnet", "botnet"),
    ("Botnet", "Botnet", "botnet"),
    ("Botnet Ares", "Botnet", "botnet"),
    ("PortScan", "Portscan", "scan"),
    ("Portscan", "Portscan", "scan"),
    ("DDoS", "DDoS", "ddos"),
    ("DoS Hulk", "DoS Hulk", "dos"),
    ("DoS GoldenEye", "DoS GoldenEye", "dos"),
    ("DoS slowloris", "DoS Slowloris", "dos"),
    ("DoS Slowloris", "DoS Slowloris", "dos"),
    ("DoS Slowhttptest", "DoS Slowhttptest", "dos"),
    ("FTP-Patator", "FTP-Patator", "bruteforce"),
    ("SSH-Patator", "SSH-Patator", "bruteforce"),
    ("Heartbleed", "Heartbleed", "exploit"),
    ("Infiltration", "Infiltration", "infiltration"),
    ("Infiltration - Portscan", "Infiltration - Portscan", "scan"),
    ("Web Attack – Brute Force", "Web Attack - Brute Force", "web"),
    ("Web Attack – Sql Injection", "Web Attack - SQL Injection", "web"),
    ("Web Attack - SQL Injection", "Web Attack - SQL Injection", "web"),
    ("DoS attacks-Hulk", "DoS Hulk", "dos"),
    ("DoS attacks-GoldenEye", "DoS GoldenEye", "dos"),
    ("DoS attacks-Slowloris", "DoS Slowloris", "dos"),
    ("DoS attacks-SlowHTTPTest", "DoS Slowhttptest", "dos"),
    ("DDoS attacks-LOIC-HTTP", "DDoS-LOIC-HTTP", "ddos"),
    ("DDoS-LOIC-HTTP", "DDoS-LOIC-HTTP", "ddos"),
    ("DDOS attack-LOIC-UDP", "DDoS-LOIC-UDP", "ddos"),
    ("DDoS-LOIC-UDP", "DDoS-LOIC-UDP", "ddos"),
    ("DDOS attack-HOIC", "DDoS-HOIC", "ddos"),
    ("DDoS-HOIC", "DDoS-HOIC", "ddos"),
    ("SSH-Bruteforce", "SSH-BruteForce", "bruteforce"),
    ("SSH-BruteForce", "SSH-BruteForce", "bruteforce"),
    ("FTP-BruteForce", "FTP-BruteForce", "bruteforce"),
    ("Brute Force -Web", "Web Attack - Brute Force", "web"),
    ("SQL Injection", "Web Attack - SQL Injection", "web"),
    ("Web Attack - SQL", "Web Attack - SQL Injection", "web"),
    ("Infilteration", "Infiltration", "infiltration"),
    ("Infiltration - Dropbox Download", "Infiltration - Dropbox Download", "infiltration"),
    (
        "Infiltration - Communication Victim Attacker",
        "Infiltration - Communication Victim Attacker",
        "infiltration",
    ),
    ("Infiltration - NMAP Portscan", "Infiltration - NMAP Portscan", "scan"),
    ("nmap-syn-scan", "nmap-syn-scan", "unknown"),
]


@pytest.mark.parametrize(("text", "label", "family"), PUBLISHED)
def test_names_and_families(text: str, label: str, family: str) -> None:
    assert unify(text) == label
    assert family_of(unify(text)) == family
    assert family in ("benign", *FAMILIES)


@pytest.mark.parametrize(("text", "label", "family"), PUBLISHED[2:])
def test_every_class_may_be_attempted(text: str, label: str, family: str) -> None:
    assert unify(f"{text} - Attempted") == f"{label} - Attempted"
    assert family_of(unify(f"{text} - Attempted")) == family


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
    assert family_of("my own-label") == UNKNOWN


@given(st.text(max_size=40))
def test_unify_is_stable(text: str) -> None:
    once = unify(text)
    assert unify(once) == once


@given(st.text(max_size=40))
def test_nothing_becomes_benign_by_accident(text: str) -> None:
    if unify(text) == BENIGN:
        assert "benign" in "".join(c for c in text.casefold() if c.isascii()).replace(" ", "")
