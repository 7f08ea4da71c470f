"""One spelling per label, one family per attack.

The published files spell the same class in several ways: `Web Attack – XSS` with an en dash, with
the byte 0x96, with U+FFFD in its place, with a hyphen, or with mojibake of any of these; `Bot` and
`Botnet`; `DoS slowloris` and `DoS Slowloris`. CSE-CIC-IDS2018 has names of its own for attacks that
CICIDS2017 has too; they become one class, so that a model of one can be tested on the other.
"""

from __future__ import annotations

import re
from typing import Final

BENIGN: Final = "BENIGN"
ATTEMPTED_SUFFIX: Final = " - Attempted"
UNKNOWN: Final = "unknown"
"""Family of labels that are not of the published sets."""

NONE: Final = frozenset({"no label", "needmanuallabel"})
"""What the Java tool writes, in lower case, where nobody has labelled a flow."""

# Canonical label → family. The spelling is the improved set's where sets differ.
_FAMILIES: Final = {
    "FTP-Patator": "bruteforce",
    "SSH-Patator": "bruteforce",
    "DoS Slowloris": "dos",
    "DoS Slowhttptest": "dos",
    "DoS Hulk": "dos",
    "DoS GoldenEye": "dos",
    # A read of the server's memory: neither a flood nor a web application's fault.
    "Heartbleed": "exploit",
    "Web Attack - Brute Force": "web",
    "Web Attack - XSS": "web",
    "Web Attack - SQL Injection": "web",
    "Infiltration": "infiltration",
    "Infiltration - Portscan": "scan",
    "Botnet": "botnet",
    "Portscan": "scan",
    "DDoS": "ddos",
    # CSE-CIC-IDS2018: other tools than 2017's, so classes of their own.
    "FTP-BruteForce": "bruteforce",
    "SSH-BruteForce": "bruteforce",
    "DDoS-LOIC-HTTP": "ddos",
    "DDoS-LOIC-UDP": "ddos",
    "DDoS-HOIC": "ddos",
    "Infiltration - Dropbox Download": "infiltration",
    "Infiltration - Communication Victim Attacker": "infiltration",
    "Infiltration - NMAP Portscan": "scan",
}

# Further spellings, as `_key` leaves them.
_SYNONYMS: Final = {
    "bot": "Botnet",
    "botnet ares": "Botnet",
    "brute force web": "Web Attack - Brute Force",
    "brute force xss": "Web Attack - XSS",
    "sql injection": "Web Attack - SQL Injection",
    "web attack sql": "Web Attack - SQL Injection",
    "dos attacks goldeneye": "DoS GoldenEye",
    "dos attacks hulk": "DoS Hulk",
    "dos attacks slowhttptest": "DoS Slowhttptest",
    "dos attacks slowloris": "DoS Slowloris",
    "ddos attacks loic http": "DDoS-LOIC-HTTP",
    "ddos attack loic udp": "DDoS-LOIC-UDP",
    "ddos attack hoic": "DDoS-HOIC",
    "infilteration": "Infiltration",
}


def _key(text: str) -> str:
    """What is left of a label when dashes, blanks and case are ignored."""
    # Any run that is not plain ASCII text is a dash in some broken encoding: no label has a letter
    # outside ASCII.
    plain = re.sub(r"[^\x21-\x7e]+", " ", text)
    return re.sub(r"[\s\-_]+", " ", plain).strip().casefold()


_BY_KEY: Final = {_key(label): label for label in _FAMILIES} | _SYNONYMS | {"benign": BENIGN}


def unify(text: str) -> str:
    """Spell a label in the one way used here.

    Labels that are not of the published sets keep their text, with blanks collapsed, so that a
    table of one's own keeps its classes apart.
    """
    attempted = re.fullmatch(r"(.*?)[^A-Za-z0-9)]+attempted\s*", text, re.IGNORECASE | re.DOTALL)
    base = attempted[1] if attempted else text
    label = _BY_KEY.get(_key(base)) or re.sub(r"\s+", " ", base).strip()
    return label + ATTEMPTED_SUFFIX if attempted else label


def is_attempted(label: str) -> bool:
    """Whether a unified label says that the attack could not have an effect."""
    return label.endswith(ATTEMPTED_SUFFIX)


def family_of(label: str) -> str:
    """Family of a unified label: one of `contract.alerts.FAMILIES`, or "benign" for BENIGN."""
    if label == BENIGN:
        return "benign"
    return _FAMILIES.get(label.removesuffix(ATTEMPTED_SUFFIX), UNKNOWN)
