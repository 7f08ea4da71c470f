"""The one table of flow features: names, units, formulas and what each is good for.

A feature's *number* is its position in the CSV files of CICIDS2017; by it the published layouts,
which call the same column by different names, are matched. The same number does not mean the same
formula: the corrected tool (`improved`) counts flags, bulks and lengths as they are, the original
tool (`cic2017`) has quirks that are kept here on purpose, because the public CSVs contain them.
`Feature.formula` says which is meant.

Symbols in formulas: F and B are the packets forward and backward, N = F + B; L is a packet's
payload above TCP or UDP in bytes, H its TCP or UDP header in bytes; index 1 is the flow's first
packet; s() is the sample standard deviation, 0 for fewer than two values.

Marks (from the specification of the original tool):
    E  exact from the packets          Q  exact only because a quirk is imitated
    N  not recoverable from packets    C  constant in the original data
    R  redundant, equals another       L  leaky: a shortcut on CICIDS2017 that says who, not what
    P  moves with Ethernet padding     X  context, of the `gateway` profile only
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Feature:
    """One column of a profile.

    Attributes:
        number: Position in the CICIDS2017 CSVs, 1 to 78; None for columns those files lack.
        name: Published header, without the leading blank some files have.
        unit: "us", "bytes", "1", "1/s", "bytes/s", "packets", "port", "flag", ...
        formula: Its meaning, in the symbols of this module's head.
        marks: Letters explained in this module's head.
    """

    number: int | None
    name: str
    unit: str
    formula: str
    marks: str


# One row of text a column reads better than a call: the long lines are the table.
# number | name in MachineLearningCVE | name in the improved CSVs | unit
#   | formula of cic2017 | formula of improved ("=": the same) | marks
_TABLE: Final = """
1 | Destination Port | Dst Port | port | destination port of packet 1 | destination port, SYN-ACK first swaps | EL
2 | Flow Duration | Flow Duration | us | t_N - t_1 | = | E
3 | Total Fwd Packets | Total Fwd Packet | packets | F | = | E
4 | Total Backward Packets | Total Bwd packets | packets | B | = | E
5 | Total Length of Fwd Packets | Total Length of Fwd Packet | bytes | sum of forward L | = | QP
6 | Total Length of Bwd Packets | Total Length of Bwd Packet | bytes | sum of backward L | = | QP
7 | Fwd Packet Length Max | Fwd Packet Length Max | bytes | largest forward L | = | E
8 | Fwd Packet Length Min | Fwd Packet Length Min | bytes | smallest forward L | = | NP
9 | Fwd Packet Length Mean | Fwd Packet Length Mean | bytes | #5 / F | = | QP
10 | Fwd Packet Length Std | Fwd Packet Length Std | bytes | s(forward L) | = | QP
11 | Bwd Packet Length Max | Bwd Packet Length Max | bytes | largest backward L | = | E
12 | Bwd Packet Length Min | Bwd Packet Length Min | bytes | smallest backward L | = | NP
13 | Bwd Packet Length Mean | Bwd Packet Length Mean | bytes | #6 / B | = | QP
14 | Bwd Packet Length Std | Bwd Packet Length Std | bytes | s(backward L) | = | QP
15 | Flow Bytes/s | Flow Bytes/s | bytes/s | (#5 + #6) 1e6 / #2; NaN or Infinity when #2 = 0 | (#5 + #6) 1e6 / #2; -1 when #2 = 0 | QP
16 | Flow Packets/s | Flow Packets/s | 1/s | N 1e6 / #2; Infinity when #2 = 0 | N 1e6 / #2; -1 when #2 = 0 | E
17 | Flow IAT Mean | Flow IAT Mean | us | mean of the gaps, #2 / (N - 1) | = | E
18 | Flow IAT Std | Flow IAT Std | us | s(gaps) | = | E
19 | Flow IAT Max | Flow IAT Max | us | largest gap | = | E
20 | Flow IAT Min | Flow IAT Min | us | smallest gap | = | E
21 | Fwd IAT Total | Fwd IAT Total | us | last forward time - first forward time | = | E
22 | Fwd IAT Mean | Fwd IAT Mean | us | #21 / (F - 1) | = | E
23 | Fwd IAT Std | Fwd IAT Std | us | s(forward gaps) | = | E
24 | Fwd IAT Max | Fwd IAT Max | us | largest forward gap | = | E
25 | Fwd IAT Min | Fwd IAT Min | us | smallest forward gap | = | E
26 | Bwd IAT Total | Bwd IAT Total | us | last backward time - first backward time | = | E
27 | Bwd IAT Mean | Bwd IAT Mean | us | #26 / (B - 1) | = | E
28 | Bwd IAT Std | Bwd IAT Std | us | s(backward gaps) | = | E
29 | Bwd IAT Max | Bwd IAT Max | us | largest backward gap | = | E
30 | Bwd IAT Min | Bwd IAT Min | us | smallest backward gap | = | E
31 | Fwd PSH Flags | Fwd PSH Flags | flag | PSH of packet 1 | forward packets with PSH | QR
32 | Bwd PSH Flags | Bwd PSH Flags | flag | 0 | backward packets with PSH | C
33 | Fwd URG Flags | Fwd URG Flags | flag | URG of packet 1 | forward packets with URG | QR
34 | Bwd URG Flags | Bwd URG Flags | flag | 0 | backward packets with URG | C
- | - | Fwd RST Flags | flag | - | forward packets with RST | E
- | - | Bwd RST Flags | flag | - | backward packets with RST | E
35 | Fwd Header Length | Fwd Header Length | bytes | sum of forward H; UDP 8 each | = | N
36 | Bwd Header Length | Bwd Header Length | bytes | sum of backward H; UDP 8 each | = | N
37 | Fwd Packets/s | Fwd Packets/s | 1/s | F 1e6 / #2; 0 when #2 = 0 | = | E
38 | Bwd Packets/s | Bwd Packets/s | 1/s | B 1e6 / #2; 0 when #2 = 0 | = | E
39 | Min Packet Length | Packet Length Min | bytes | smallest L | = | NPR
40 | Max Packet Length | Packet Length Max | bytes | largest L | = | ER
41 | Packet Length Mean | Packet Length Mean | bytes | (sum L + L_1) / (N + 1) | sum L / N | QP
42 | Packet Length Std | Packet Length Std | bytes | s(L_1, then every L) | s(L) | QP
43 | Packet Length Variance | Packet Length Variance | bytes^2 | #42 squared | = | QPR
44 | FIN Flag Count | FIN Flag Count | flag | RST of packet 1 | packets with FIN | Q
45 | SYN Flag Count | SYN Flag Count | flag | PSH of packet 1 | packets with SYN | QR
46 | RST Flag Count | RST Flag Count | flag | ECE of packet 1 | packets with RST | Q
47 | PSH Flag Count | PSH Flag Count | flag | SYN of packet 1 | packets with PSH | Q
48 | ACK Flag Count | ACK Flag Count | flag | ACK of packet 1 | packets with ACK | Q
49 | URG Flag Count | URG Flag Count | flag | FIN of packet 1 | packets with URG | Q
50 | CWE Flag Count | CWR Flag Count | flag | URG of packet 1 | packets with CWR | QR
51 | ECE Flag Count | ECE Flag Count | flag | CWR of packet 1 | packets with ECE | Q
52 | Down/Up Ratio | Down/Up Ratio | 1 | floor(B / F) | B / F | ER
53 | Average Packet Size | Average Packet Size | bytes | (sum L + L_1) / N | sum L / N | QPR
54 | Avg Fwd Segment Size | Fwd Segment Size Avg | bytes | #9 | = | R
55 | Avg Bwd Segment Size | Bwd Segment Size Avg | bytes | #13 | = | R
56 | Fwd Header Length.1 | - | bytes | #35 | - | NR
57 | Fwd Avg Bytes/Bulk | Fwd Bytes/Bulk Avg | bytes | 0 | forward bulk bytes / bulks | C
58 | Fwd Avg Packets/Bulk | Fwd Packet/Bulk Avg | packets | 0 | forward bulk packets / bulks | C
59 | Fwd Avg Bulk Rate | Fwd Bulk Rate Avg | bytes/s | 0 | forward bulk bytes / time in bulks | C
60 | Bwd Avg Bytes/Bulk | Bwd Bytes/Bulk Avg | bytes | 0 | backward bulk bytes / bulks | C
61 | Bwd Avg Packets/Bulk | Bwd Packet/Bulk Avg | packets | 0 | backward bulk packets / bulks | C
62 | Bwd Avg Bulk Rate | Bwd Bulk Rate Avg | bytes/s | 0 | backward bulk bytes / time in bulks | C
63 | Subflow Fwd Packets | Subflow Fwd Packets | packets | F | F / gaps over 1 s, 0 without one | R
64 | Subflow Fwd Bytes | Subflow Fwd Bytes | bytes | #5 | #5 / gaps over 1 s, 0 without one | R
65 | Subflow Bwd Packets | Subflow Bwd Packets | packets | B | B / gaps over 1 s, 0 without one | R
66 | Subflow Bwd Bytes | Subflow Bwd Bytes | bytes | #6 | #6 / gaps over 1 s, 0 without one | R
67 | Init_Win_bytes_forward | FWD Init Win Bytes | bytes | TCP window of packet 1, else -1 | TCP window of packet 1 if forward, else 0 | EL
68 | Init_Win_bytes_backward | Bwd Init Win Bytes | bytes | TCP window of the last backward packet, else -1 | first non-zero backward TCP window, else 0 | QL
69 | act_data_pkt_fwd | Fwd Act Data Pkts | packets | forward packets after packet 1 with L >= 1 | forward packets with L >= 1 | QP
- | - | Bwd Act Data Pkts | packets | - | backward packets with L >= 1 | E
70 | min_seg_size_forward | Fwd Seg Size Min | bytes | smallest forward H; UDP 8 | the same if packet 1 is forward, else 0 | EL
- | - | Bwd Seg Size Min | bytes | - | smallest backward H if packet 1 is backward, else 0 | EL
71 | Active Mean | Active Mean | us | mean of active periods that an idle gap followed | = | E
72 | Active Std | Active Std | us | s(those periods) | = | E
73 | Active Max | Active Max | us | longest such period | = | E
74 | Active Min | Active Min | us | shortest such period | = | E
75 | Idle Mean | Idle Mean | us | mean of gaps over 5 s | = | E
76 | Idle Std | Idle Std | us | s(gaps over 5 s) | = | E
77 | Idle Max | Idle Max | us | longest gap over 5 s | = | E
78 | Idle Min | Idle Min | us | shortest gap over 5 s | = | E
"""


def _cells() -> list[list[str]]:
    return [[cell.strip() for cell in line.split("|")] for line in _TABLE.strip().splitlines()]


def _number(cell: str) -> int | None:
    return None if cell == "-" else int(cell)


CIC2017: Final[tuple[Feature, ...]] = tuple(
    Feature(_number(number), name, unit, formula, marks)
    for number, name, _, unit, formula, _, marks in _cells()
    if name != "-"
)

# Quirk marks do not carry over: the corrected tool counts what its headers say.
IMPROVED: Final[tuple[Feature, ...]] = tuple(
    Feature(
        _number(number),
        name,
        unit,
        cic2017 if improved == "=" else improved,
        "".join(mark for mark in marks if mark in "ERL") or "E",
    )
    for number, _, name, unit, cic2017, improved, marks in _cells()
    if name != "-"
)


def _context() -> tuple[Feature, ...]:
    """The neighbourhood of a flow at the moment it is given out.

    Four neighbourhoods: the flows of the same source, to the same destination, of the same source
    to the same destination port of the same host (pair), and to that service from anyone. Counts
    decay exponentially, so "in 10 s" means a steady rate times 10 s.
    """
    features = []
    for scope in ("Src", "Dst", "Pair", "Service"):
        features += [
            Feature(None, f"{scope} Flows 10s", "flows", "flows begun, decaying over 10 s", "X"),
            Feature(None, f"{scope} Flows 60s", "flows", "flows begun, decaying over 60 s", "X"),
        ]
        if scope != "Pair":
            features.append(
                Feature(None, f"{scope} Peers", "hosts", "distinct peers, 60 to 120 s", "X")
            )
        if scope in ("Src", "Dst"):
            features.append(
                Feature(None, f"{scope} Ports", "ports", "distinct service ports, 60 to 120 s", "X")
            )
        features += [
            Feature(
                None, f"{scope} Unanswered", "1", "share of flows without an answer, 60 s", "X"
            ),
            Feature(None, f"{scope} Eighth Ago", "us", "since the eighth-last flow began", "X"),
        ]
    return tuple(features)


CONTEXT: Final[tuple[Feature, ...]] = _context()
GATEWAY: Final[tuple[Feature, ...]] = (*IMPROVED, *CONTEXT)


PROTOCOL: Final = "Protocol"
"""Column of every extracted table and of most published ones: the IP protocol number."""

_PROTOCOLS: Final = {f"{PROTOCOL}={number}": number for number in (6, 17)}

CATEGORICAL: Final[tuple[Feature, ...]] = tuple(
    Feature(None, name, "flag", f"1 where the IP protocol is {number}, else 0", "E")
    for name, number in _PROTOCOLS.items()
)
"""What a model of any profile may take besides the profile's columns: a category's values, one
flag each. No profile measures them and no table has them; `one_hot` makes them of `PROTOCOL`."""


def is_categorical(name: str) -> bool:
    """Whether a feature is one of `CATEGORICAL`."""
    return name in _PROTOCOLS


def one_hot(protocol: NDArray[Any], names: Sequence[str]) -> NDArray[np.float64]:
    """Columns of `CATEGORICAL`.

    Args:
        protocol: IP protocol numbers, shape (n_flows,).
        names: Those wanted.

    Returns:
        0 or 1, shape (n_flows, len(names)); NaN where the protocol is.

    Raises:
        KeyError: A name is none of `CATEGORICAL`.
    """
    numbers = np.array([_PROTOCOLS[name] for name in names], dtype=np.float64)
    given = np.asarray(protocol, dtype=np.float64)[:, None]
    return np.where(np.isnan(given), given, given == numbers)


# Numbers of features that are a mean, a deviation, a rate or a ratio.
_FRACTIONAL: Final = frozenset(
    {9, 10, 13, 14, 15, 16, 17, 18, 22, 23, 27, 28, 37, 38, 41, 42, 43, 53, 54, 55, 71, 72, 75, 76}
)
# Of the original tool the ratio, the bulks and the subflows are integers; of the corrected one not.
_FRACTIONAL_CORRECTED: Final = _FRACTIONAL | {52, *range(57, 67)}


def integral_names(features: tuple[Feature, ...]) -> frozenset[str]:
    """Those of a profile's columns whose values are integers, whatever the packets."""
    fractional = _FRACTIONAL if features is CIC2017 else _FRACTIONAL_CORRECTED
    # Of the context, numbers of flows decay, and shares are shares.
    decaying = {feature.name for feature in CONTEXT if feature.unit in {"flows", "1"}}
    return frozenset(
        feature.name
        for feature in features
        if feature.number not in fractional and feature.name not in decaying
    )


def _named(features: tuple[Feature, ...], numbers: str) -> tuple[str, ...]:
    by_number = {feature.number: feature.name for feature in features}
    return tuple(by_number[int(number)] for number in numbers.split())


# Left out of edge40: leaky (1 67 68 70); padding noise (8 12 39 69); UDP header bytes that the
# original files have wrong (35 36 56); copies (31 33 40 43 50 51 53-55 63-66); constant (32 34
# 57-62); rare (46); derived (37 52); nearly always 0 or equal to another (72 76 78).
_EDGE40 = (
    "2 3 4 5 6 7 9 10 11 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 38 41 42 44 45 47"
    " 48 49 71 73 74 75 77"
)

# The corrected tool makes flags, minima, bulks and the ratio honest, so they are in. Out: leaky
# (1 67 68 70); header lengths (35 36: overflowed in the published CSVs); subflows (63-66: cut to
# integers there); copies (43 53-55); URG by direction (33 34: never set).
_EDGE_IMPROVED = (
    "2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32 37 38 39"
    " 40 41 42 44 45 46 47 48 49 50 51 52 57 58 59 60 61 62 69 71 72 73 74 75 76 77 78"
)

# The published improved files predate these two columns of the tool.
IMPROVED_LATER: Final = ("Bwd Act Data Pkts", "Bwd Seg Size Min")

_EDGE_IMPROVED_NAMES = (*_named(IMPROVED, _EDGE_IMPROVED), "Fwd RST Flags", "Bwd RST Flags")

FEATURE_SETS: Final[dict[str, tuple[str, tuple[str, ...]]]] = {
    "paper78": ("cic2017", tuple(feature.name for feature in CIC2017)),
    "edge40": ("cic2017", _named(CIC2017, _EDGE40)),
    "edge-improved": ("improved", _EDGE_IMPROVED_NAMES),
    "improved79": (
        "improved",
        tuple(feature.name for feature in IMPROVED if feature.name not in IMPROVED_LATER),
    ),
    # Of `edge-gateway` what one flow says of itself: for showing what context is worth.
    "own-gateway": ("gateway", _EDGE_IMPROVED_NAMES),
    "edge-gateway": (
        "gateway",
        (*_EDGE_IMPROVED_NAMES, *(feature.name for feature in CONTEXT)),
    ),
}
"""Feature set → (profile it belongs to, its columns in model order)."""
