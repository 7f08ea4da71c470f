"""One spelling per label, one family per attack.

The published files spell the same class in several ways: `Web Attack – XSS` with an en dash, with
the byte 0x96, with U+FFFD in its place, with a hyphen, or with mojibake of any of these; `Bot` and
`Botnet`; `DoS slowloris` and `DoS Slowloris`.
"""

from __future__ import annotations

import re
from typing import Final

BENIGN: Final = "BENIGN"
ATTEMPTED_SUFFIX: Final = " - Attempted"
OTHER: Final = "other"

# Canonical label → family. The spelling is the improved set's where the two sets differ.
_FAMILIES: Final = {
    "FTP-Patator": "bruteforce",
    "SSH-Patator": "bruteforce",
    "DoS Slowloris": "dos",
    "DoS Slowhttptest": "dos",
    "DoS Hulk": "dos",
    "DoS GoldenEye": "dos",
    # A read of the server's memory: neither a flood nor a web application's fault.
    "Heartbleed": "heartbleed",
    "Web Attack - Brute Force": "web",
    "Web Attack - XSS": "web",
    "Web Attack - SQL Injection": "web",
    "Infiltration": "infiltration",
    "Infiltration - Portscan": "scan",
    "Botnet": "botnet",
    "Portscan": "scan",
    "DDoS": "ddos",
}

_SYNONYMS: Final = {"bot": "Botnet"}


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
    """Family of a unified label; "benign" for BENIGN, "other" for labels not known here."""
    if label == BENIGN:
        return "benign"
    return _FAMILIES.get(label.removesuffix(ATTEMPTED_SUFFIX), OTHER)
