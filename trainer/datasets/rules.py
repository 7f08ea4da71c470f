"""Rules that label the flows of a capture: windows of time, endpoints, and conditions.

The first rule in file order that matches a flow's first packet and numbers decides; a flow that
none matches is BENIGN. A rule has one direction, as its author wrote it. Only for meters that turn
flows round by mistake the other direction counts too, with every number taken from the side that
the rule means.

Limits on packets, bytes and durations are made for the flows of one meter. For others a rule with
such limits is passed over, unless it names the profiles it is for.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from trainer.datasets.conditions import FEATURE_NUMBERS, MIRRORED
from trainer.datasets.endpoints import inside, turned
from trainer.datasets.labels import ATTEMPTED_SUFFIX, BENIGN

if TYPE_CHECKING:
    from datetime import date
    from pathlib import Path

    from numpy.typing import NDArray

    from edge_agent.contract.profiles import Profile
    from trainer.datasets.conditions import Condition
    from trainer.datasets.endpoints import Span

BETWEEN: Final = "between attacker and victim in an attack's window, labelled by no rule"
"""Rule of `FlowTable.dropped`: mostly answers that became flows of their own, turned round."""

# The dataset's own meter cuts a connection at its first FIN; what comes later begins a new flow
# with whoever speaks next.
_TURNING: Final = frozenset({"cic2017"})


@dataclass(frozen=True, slots=True)
class Flows:
    """What rules look at, of many flows.

    Attributes:
        ends: dtype `endpoints.ENDS`, shape (n_flows,).
        numbers: Every key of `FEATURE_NUMBERS`, float64, shape (n_flows,).
    """

    ends: NDArray[Any]
    numbers: dict[str, NDArray[np.float64]]

    def __len__(self) -> int:
        return len(self.ends)

    def at(self, index: NDArray[Any]) -> Flows:
        """Some of them, by index or by mask."""
        return Flows(
            self.ends[index], {name: values[index] for name, values in self.numbers.items()}
        )

    def turned(self) -> Flows:
        """The same flows as seen from the other side."""
        return Flows(turned(self.ends), {name: self.numbers[MIRRORED[name]] for name in MIRRORED})

    def quantities(self) -> dict[str, NDArray[Any]]:
        """Everything a condition may name."""
        # As int64, since numbers in conditions need not fit a port.
        return self.numbers | {
            "src_port": self.ends["source_port"].astype(np.int64),
            "dst_port": self.ends["destination_port"].astype(np.int64),
        }


def number_columns(profile: Profile) -> list[int]:
    """Columns of a profile's rows that hold `Flows.numbers`, in the order of its keys."""
    position = {feature.number: index for index, feature in enumerate(profile.features)}
    return [position[number] for number in FEATURE_NUMBERS.values()]


@dataclass(frozen=True, slots=True)
class Side:
    """One side of the flows that a rule means; None: any.

    Attributes:
        addresses, ports: One of these.
        not_addresses, not_ports: And none of these.
    """

    addresses: tuple[Span, ...] | None = None
    not_addresses: tuple[Span, ...] = ()
    ports: tuple[Span, ...] | None = None
    not_ports: tuple[Span, ...] = ()

    def has_address(self, values: NDArray[Any]) -> NDArray[np.bool_]:
        """Which addresses are meant, shape (n_flows,)."""
        return _chosen(values, self.addresses, self.not_addresses)

    def has_port(self, values: NDArray[Any]) -> NDArray[np.bool_]:
        """Which ports are meant, shape (n_flows,)."""
        return _chosen(values, self.ports, self.not_ports)


def _chosen(
    values: NDArray[Any], wanted: tuple[Span, ...] | None, unwanted: tuple[Span, ...]
) -> NDArray[np.bool_]:
    chosen = np.ones(len(values), dtype=bool) if wanted is None else inside(values, wanted)
    return chosen & ~inside(values, unwanted) if unwanted else chosen


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule.

    Attributes:
        label: Unified, without the mark of attempted attacks.
        start_us, end_us: Window for a flow's first packet, both included.
        source, destination: The two sides.
        protocol: IP protocol number; None: any.
        when: Further condition for the rule to match.
        attempted_if: When the label is marked as attempted; or always, or never.
        category: Why attempted, a key of `Rules.categories`.
        profiles: The profiles it is for; empty: what its conditions allow.
        one_way: Whether it never counts the other way round.
    """

    label: str
    start_us: int
    end_us: int
    source: Side = Side()
    destination: Side = Side()
    protocol: int | None = None
    when: Condition | None = None
    attempted_if: Condition | bool = False
    category: int | None = None
    profiles: frozenset[str] = frozenset()
    one_way: bool = False

    def is_for(self, profile: str, meter: str) -> bool:
        """Whether it can label flows of a profile, its limits being made for those of `meter`."""
        if self.profiles:
            return profile in self.profiles
        conditions = [one for one in (self.when, self.attempted_if) if not isinstance(one, bool)]
        return meter in ("", profile) or all(one is None or one.is_portable for one in conditions)

    def spans(self, start_us: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which times lie in its window, shape (n_flows,)."""
        return (start_us >= self.start_us) & (start_us <= self.end_us)

    def matches(self, flows: Flows) -> NDArray[np.bool_]:
        """Which flows it matches but for the time, shape (n_flows,)."""
        ends = flows.ends
        found = (
            self.source.has_address(ends["source"])
            & self.destination.has_address(ends["destination"])
            & self.source.has_port(ends["source_port"])
            & self.destination.has_port(ends["destination_port"])
        )
        if self.protocol is not None:
            found &= ends["protocol"] == self.protocol
        if self.when is not None:
            found &= self.when.holds(flows.quantities())
        return found

    def attempts(self, flows: Flows) -> NDArray[np.bool_]:
        """Which of the flows it matches were mere attempts, shape (n_flows,)."""
        if isinstance(self.attempted_if, bool):
            return np.full(len(flows), self.attempted_if)
        return self.attempted_if.holds(flows.quantities())

    def is_between(self, flows: Flows) -> NDArray[np.bool_]:
        """Which flows run between its two sides, either way, on any port, shape (n_flows,).

        None, where it does not say who either side is: nearly everybody would be meant.
        """
        if self.source.addresses is None or self.destination.addresses is None:
            return np.zeros(len(flows), dtype=bool)
        here, there = flows.ends["source"], flows.ends["destination"]
        return (self.source.has_address(here) & self.destination.has_address(there)) | (
            self.source.has_address(there) & self.destination.has_address(here)
        )


@dataclass(frozen=True, slots=True)
class Labelled:
    """What rules say of flows.

    Attributes:
        labels: Unified, BENIGN first.
        label: int16, shape (n_flows,), index into `labels`.
        rule: int16, shape (n_flows,), index into `Rules.rules`; -1: none matched.
        left_out: bool, shape (n_flows,): flows nobody should learn from, see `BETWEEN`.
    """

    labels: tuple[str, ...]
    label: NDArray[np.int16]
    rule: NDArray[np.int16]
    left_out: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Rules:
    """A whole rules file.

    Attributes:
        path: Where it was read, for messages.
        rules: In file order.
        families: Family of every label, attempted or not, and of BENIGN.
        days: First and last day (UTC) that it describes, and every day between that it names.
        meter: Profile that the limits in its conditions are made for; empty: any.
        categories: Why attacks are mere attempts: number → words.
        expected: Day → label → flows in the whole capture of that day.
        leaves_out: Whether flows between attacker and victim in an attack's window that no rule
            labels are left out; otherwise they are BENIGN.
    """

    path: Path
    rules: tuple[Rule, ...]
    families: dict[str, str]
    days: tuple[date, ...]
    meter: str = ""
    categories: dict[int, str] = field(default_factory=dict)
    expected: dict[date, dict[str, int]] = field(default_factory=dict)
    leaves_out: bool = False

    def passed_over(self, profile: str) -> list[Rule]:
        """Rules that cannot label flows of a profile."""
        return [rule for rule in self.rules if not rule.is_for(profile, self.meter)]

    def match(self, flows: Flows, profile: str) -> Labelled:
        """Label flows.

        Args:
            flows: Any number, in any order.
            profile: Name of the profile they were metered with.
        """
        number = np.full(len(flows), -1, dtype=np.int16)
        attempted = np.zeros(len(flows), dtype=bool)
        left_out = np.zeros(len(flows), dtype=bool)
        start_us = flows.ends["start_us"]
        for place, rule in enumerate(self.rules):
            if not rule.is_for(profile, self.meter):
                continue
            for other_way in (False, True) if _counts_both_ways(rule, profile) else (False,):
                index = np.flatnonzero((number < 0) & rule.spans(start_us))
                few = flows.at(index).turned() if other_way else flows.at(index)
                found = rule.matches(few)
                number[index[found]] = place
                attempted[index[found]] = rule.attempts(few.at(found))
        if self.leaves_out:
            for rule in self.rules:
                index = np.flatnonzero((number < 0) & rule.spans(start_us))
                left_out[index] |= rule.is_between(flows.at(index))
        labels = tuple(dict.fromkeys((BENIGN, *self.families)))
        plain = np.array([labels.index(rule.label) for rule in self.rules] + [0], dtype=np.int16)
        marked = np.array(
            [labels.index(marked_label(rule)) for rule in self.rules] + [0], dtype=np.int16
        )
        # Rule -1, none, is the last entry: BENIGN.
        label = np.where(attempted, marked[number], plain[number])
        return Labelled(labels, label, number, left_out)


def marked_label(rule: Rule) -> str:
    """Label of the rule's mere attempts; BENIGN knows none."""
    return rule.label if rule.label == BENIGN else rule.label + ATTEMPTED_SUFFIX


def _counts_both_ways(rule: Rule, profile: str) -> bool:
    return profile in _TURNING and not rule.one_way
