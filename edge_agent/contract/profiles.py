"""Flow profiles: how a flow begins and ends, what is counted, and how the columns are called."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final

from edge_agent.contract.features import (
    CATEGORICAL,
    CIC2017,
    FEATURE_SETS,
    GATEWAY,
    IMPROVED,
    Feature,
    integral_names,
)

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True, slots=True)
class LiveTimeouts:
    """When the `gateway` profile gives a flow out. Part of the profile: they change the values.

    Attributes:
        linger_s: After teardown or RST, so that closing ACKs stay in their flow.
        unanswered_timeout_s: Silence after which a flow that got no answer is given out. Longer
            than the first two SYN retransmissions (1 s and 2 s), so those stay in one flow.
        idle_timeout_s: Silence after which any other flow is given out. Longer than the 10 s at
            which slow-request attacks and many keep-alives send.
        active_timeout_s: Age at which a long-lived flow is given out and begun anew.
    """

    linger_s: float = 1.0
    unanswered_timeout_s: float = 3.0
    idle_timeout_s: float = 15.0
    active_timeout_s: float = 60.0


class Padding(Enum):
    """When Ethernet padding behind an IP datagram counts as payload (spec A.3, A.7).

    It never should. The public tools count it behind a VLAN tag; the captures of 2017 were made
    with a build that counted it for TCP always.
    """

    STRIP = "strip"
    BEHIND_TAGS = "behind tags"
    COUNT = "count"


@dataclass(frozen=True, slots=True)
class Profile:
    """Tool semantics, column names and time-outs, fixed together.

    Attributes:
        name: What `--profile` takes.
        summary: One line for help texts.
        features: Every column, in file order.
        flow_timeout_s: Age at which the public tools cut a flow.
        padding: Whether Ethernet padding counts as payload.
        live: Time-outs of live release; None where a flow's row is written once no packet can
            join it any more.
    """

    name: str
    summary: str
    features: tuple[Feature, ...]
    flow_timeout_s: float = 120.0
    padding: Padding = Padding.STRIP
    live: LiveTimeouts | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        """Published names, in file order."""
        return tuple(feature.name for feature in self.features)

    @property
    def integral_columns(self) -> frozenset[str]:
        """Columns whose values are integers, whatever the packets."""
        return integral_names(self.features)

    def select(self, names: Iterable[str]) -> tuple[Feature, ...]:
        """Look up by name what a model of this profile may take: its columns and `CATEGORICAL`.

        Raises:
            KeyError: A name is none of them.
        """
        by_name = {feature.name: feature for feature in (*self.features, *CATEGORICAL)}
        return tuple(by_name[name] for name in names)

    @property
    def feature_sets(self) -> tuple[str, ...]:
        """Names of the feature sets that belong to this profile, the default one first."""
        names = [name for name, (profile, _) in FEATURE_SETS.items() if profile == self.name]
        return tuple(sorted(names, key=lambda name: not name.startswith("edge")))


PROFILES: Final[dict[str, Profile]] = {
    profile.name: profile
    for profile in (
        Profile(
            "cic2017",
            "the dataset's own tool, quirks included",
            CIC2017,
            padding=Padding.BEHIND_TAGS,
        ),
        Profile(
            "improved",
            "the corrected tool of the improved CSVs",
            IMPROVED,
            padding=Padding.BEHIND_TAGS,
        ),
        Profile(
            "gateway",
            "improved counters plus context, given out in seconds",
            GATEWAY,
            live=LiveTimeouts(),
        ),
    )
}
