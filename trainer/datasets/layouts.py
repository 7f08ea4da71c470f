"""The layouts in which flow tables are published, and which one a header is.

Columns are matched by name, in any order, case-insensitively, after stripping and collapsing
blanks. A layout is recognised by what it shares with the header, so that a file that lacks a
column is told which one instead of being called unknown.

A name says which column is meant, not how it was computed: whether the numbers are those of the
layout's profile is `fingerprint`'s question. That decides two layouts whose tool was never
published with its version:

- CSE-CIC-IDS2018 has the short names of the public tool of 2018, whose formulas are those of the
  `cic2017` profile. It lacks the second copy of `Fwd Header Length`, which is read from the first.
- What the public Java tool writes today has the names of the improved files, but for columns that
  only the corrected tool counts. It is read as `improved`, if the numbers agree.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from edge_agent.contract.features import IMPROVED_LATER
from edge_agent.contract.profiles import PROFILES
from edge_agent.flow.rows import IP_VERSION, ROW_COLUMNS

if TYPE_CHECKING:
    from collections.abc import Mapping

LABEL: Final = "Label"


class Clock(enum.Enum):
    """How a layout writes the time of a flow's first packet; `clocks` reads it."""

    NONE = "no time"
    EPOCH_US = "µs since 1970"
    ISO_UTC = "YYYY-MM-DD HH:MM:SS.ffffff in UTC"
    LOCAL_2017 = "day/month/year, 12-hour clock without AM and PM, UTC-3"
    LOCAL_2018 = "day/month/year, UTC-4"
    TOOL = "whatever the Java tool writes, in an unknown time zone"


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Names of the columns that say between whom a flow was, as in the file."""

    source: str
    source_port: str
    destination: str
    destination_port: str
    protocol: str

    @property
    def names(self) -> tuple[str, ...]:
        """All five."""
        return (
            self.source,
            self.source_port,
            self.destination,
            self.destination_port,
            self.protocol,
        )


@dataclass(frozen=True, slots=True)
class Layout:
    """A way in which flow tables are published.

    Attributes:
        name: For messages and `metrics.json`.
        profile: Name of the flow profile whose columns it holds.
        required: Columns that must be there, as this project calls them.
        optional: Feature columns of the profile that may be absent.
        ignored: Columns that are known and are no features.
        spelled: Column as this project calls it → as the file does, where they differ.
        copies: Feature column the files lack → the column it always equals.
        endpoints: Columns with addresses, ports and protocol; None where there are none.
        start: Column with the time of the first packet; empty where there is none.
        clock: How that time is written.
    """

    name: str
    profile: str
    required: tuple[str, ...]
    optional: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()
    spelled: Mapping[str, str] = field(default_factory=dict)
    copies: Mapping[str, str] = field(default_factory=dict)
    endpoints: Endpoints | None = None
    start: str = ""
    clock: Clock = Clock.NONE

    @property
    def known(self) -> tuple[str, ...]:
        """Every column that may occur, as this project calls it."""
        endpoints = self.endpoints.names if self.endpoints else ()
        extra = (*self.optional, *self.ignored, *endpoints, self.start, LABEL)
        return tuple(dict.fromkeys((*self.required, *(name for name in extra if name))))

    def in_file(self, name: str) -> str:
        """A column's name as the files of this layout spell it."""
        return self.spelled.get(name, name)


_JAVA_ENDPOINTS: Final = Endpoints("Src IP", "Src Port", "Dst IP", "Dst Port", "Protocol")


# What the corrected tool alone counts.
_IMPROVED_OWN: Final = (*IMPROVED_LATER, "Fwd RST Flags", "Bwd RST Flags")

_SECOND_COPY: Final = "Fwd Header Length.1"

# Our names of the features of `cic2017` in file order, without the second copy, and what the public
# tool of 2018 calls them (D.3 of the specification).
_SHORT_NAMES: Final = """
Dst Port|Flow Duration|Tot Fwd Pkts|Tot Bwd Pkts|TotLen Fwd Pkts|TotLen Bwd Pkts
Fwd Pkt Len Max|Fwd Pkt Len Min|Fwd Pkt Len Mean|Fwd Pkt Len Std
Bwd Pkt Len Max|Bwd Pkt Len Min|Bwd Pkt Len Mean|Bwd Pkt Len Std|Flow Byts/s|Flow Pkts/s
Flow IAT Mean|Flow IAT Std|Flow IAT Max|Flow IAT Min
Fwd IAT Tot|Fwd IAT Mean|Fwd IAT Std|Fwd IAT Max|Fwd IAT Min
Bwd IAT Tot|Bwd IAT Mean|Bwd IAT Std|Bwd IAT Max|Bwd IAT Min
Fwd PSH Flags|Bwd PSH Flags|Fwd URG Flags|Bwd URG Flags|Fwd Header Len|Bwd Header Len
Fwd Pkts/s|Bwd Pkts/s|Pkt Len Min|Pkt Len Max|Pkt Len Mean|Pkt Len Std|Pkt Len Var
FIN Flag Cnt|SYN Flag Cnt|RST Flag Cnt|PSH Flag Cnt|ACK Flag Cnt|URG Flag Cnt
CWE Flag Count|ECE Flag Cnt|Down/Up Ratio|Pkt Size Avg|Fwd Seg Size Avg|Bwd Seg Size Avg
Fwd Byts/b Avg|Fwd Pkts/b Avg|Fwd Blk Rate Avg|Bwd Byts/b Avg|Bwd Pkts/b Avg|Bwd Blk Rate Avg
Subflow Fwd Pkts|Subflow Fwd Byts|Subflow Bwd Pkts|Subflow Bwd Byts
Init Fwd Win Byts|Init Bwd Win Byts|Fwd Act Data Pkts|Fwd Seg Size Min
Active Mean|Active Std|Active Max|Active Min|Idle Mean|Idle Std|Idle Max|Idle Min
"""

_WITHOUT_COPY: Final = tuple(name for name in PROFILES["cic2017"].columns if name != _SECOND_COPY)


def _short_names() -> dict[str, str]:
    short = _SHORT_NAMES.strip().replace("\n", "|").split("|")
    return dict(zip(_WITHOUT_COPY, short, strict=True))


def _extract_layout(profile: str) -> Layout:
    """What `edge-agent extract` writes, with a Label column added."""
    *endpoints, start = ROW_COLUMNS
    return Layout(
        name=f"extract of {profile}",
        profile=profile,
        required=PROFILES[profile].columns,
        ignored=(IP_VERSION, "score", "verdict"),
        endpoints=Endpoints(*endpoints),
        start=start,
        clock=Clock.EPOCH_US,
    )


LAYOUTS: Final[tuple[Layout, ...]] = (
    Layout(
        name="MachineLearningCVE",
        profile="cic2017",
        required=_WITHOUT_COPY,
        optional=(_SECOND_COPY,),
        ignored=("source",),
        copies={_SECOND_COPY: "Fwd Header Length"},
    ),
    Layout(
        name="TrafficLabelling",
        profile="cic2017",
        # The addresses are what sets it apart from MachineLearningCVE.
        required=(
            "Source IP",
            "Source Port",
            "Destination IP",
            "Protocol",
            "Timestamp",
            *_WITHOUT_COPY,
        ),
        optional=(_SECOND_COPY,),
        ignored=("Flow ID",),
        copies={_SECOND_COPY: "Fwd Header Length"},
        endpoints=Endpoints(
            "Source IP", "Source Port", "Destination IP", "Destination Port", "Protocol"
        ),
        start="Timestamp",
        clock=Clock.LOCAL_2017,
    ),
    Layout(
        name="CSE-CIC-IDS2018",
        profile="cic2017",
        required=_WITHOUT_COPY,
        ignored=("Flow ID",),
        spelled=_short_names(),
        copies={_SECOND_COPY: "Fwd Header Length"},
        # One of the ten files has all five; the others have port and protocol alone.
        endpoints=Endpoints("Src IP", "Src Port", "Dst IP", "Destination Port", "Protocol"),
        start="Timestamp",
        clock=Clock.LOCAL_2018,
    ),
    Layout(
        name="improved",
        profile="improved",
        required=tuple(name for name in PROFILES["improved"].columns if name not in IMPROVED_LATER),
        optional=IMPROVED_LATER,
        ignored=(
            "id",
            "Flow ID",
            "ICMP Code",
            "ICMP Type",
            "Total TCP Flow Time",
            # Of the tool as it is since 2023.
            "Total Connection Flow Time",
            "Fwd TCP Retrans. Count",
            "Bwd TCP Retrans. Count",
            "Total TCP Retrans. Count",
            "Attempted Category",
        ),
        endpoints=_JAVA_ENDPOINTS,
        start="Timestamp",
        clock=Clock.ISO_UTC,
    ),
    Layout(
        name="CICFlowMeter",
        profile="improved",
        required=tuple(name for name in PROFILES["improved"].columns if name not in _IMPROVED_OWN),
        ignored=("Flow ID",),
        endpoints=_JAVA_ENDPOINTS,
        start="Timestamp",
        clock=Clock.TOOL,
    ),
    *(_extract_layout(profile) for profile in PROFILES),
)


@dataclass(frozen=True, slots=True)
class Foreign:
    """A tool whose tables look like flows but mean other numbers.

    Attributes:
        name: The tool.
        columns: Some of its column names, in lower case.
        why: What its numbers mean instead, as a clause.
    """

    name: str
    columns: frozenset[str]
    why: str


FOREIGN: Final[tuple[Foreign, ...]] = (
    Foreign(
        "the Python package cicflowmeter",
        frozenset(
            {
                "flow_duration", "flow_byts_s", "flow_pkts_s", "tot_fwd_pkts", "tot_bwd_pkts",
                "totlen_fwd_pkts", "pkt_len_mean", "pkt_size_avg",
            }
        ),
        "counts whole frames and seconds where the Java tool counts payload and microseconds",
    ),
    Foreign(
        "nfstream",
        frozenset(
            {
                "bidirectional_packets", "bidirectional_bytes", "bidirectional_duration_ms",
                "src2dst_packets", "src2dst_bytes", "dst2src_packets", "dst2src_bytes",
                "bidirectional_first_seen_ms", "expiration_id",
            }
        ),
        "counts IP bytes and milliseconds, and ends flows by other rules",
    ),
)  # fmt: skip


def capture_layout(profile: str) -> Layout:
    """The layout of rows metered here: the same as an extract's, so that both may be mixed."""
    return next(layout for layout in LAYOUTS if layout.name == f"extract of {profile}")
