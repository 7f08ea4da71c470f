"""What a model's figures mean where it is to work: alarms a day, and how many of them are real.

A share of the test rows says little on a gateway, because hardly any flow there is an attack: with
one attack in ten thousand flows, a false-alarm rate of one in a thousand makes nine of ten alarms
false (S. Axelsson, "The base-rate fallacy and the difficulty of intrusion detection", ACM TISSEC 3
(2000), p. 186-205).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

_HOURS = 24


@dataclass(frozen=True, slots=True)
class Traffic:
    """A network as the report imagines it.

    Attributes:
        flows_per_hour: Benign ones. Ten thousand: fifty devices, each with a flow every 18 s, as
            sensors with MQTT, DNS and NTP have; an office of computers has several times as many.
        attack_share: Share of flows that are attacks: one in ten thousand is an attack of 24 flows
            every day there. Nobody knows it beforehand; the report shows what it does to precision.
    """

    flows_per_hour: float = 10_000.0
    attack_share: float = 1e-4


def expected(test: Mapping[str, Any], traffic: Traffic) -> dict[str, Any]:
    """What a model would do in a network like this, should its rates of the test rows hold there.

    Args:
        test: Figures of `evaluate`.
        traffic: The network.

    Returns:
        "flows_per_hour" and "attack_share" as given; "false_alarms_per_day", flagged benign flows,
        and "precision", the share of flagged flows that are attacks (Bayes' rule), each with an
        interval: [low, high]. That of the precision joins the bad ends of both rates, and the good
        ones: it is wider than 95 %. None where the test rows had none of a class.
    """
    intervals = test["intervals"]
    rate, recall = test["false_alarm_rate"], test["recall"]
    benign = intervals.get("false_alarm_rate")
    attack = intervals.get("recall")
    daily = traffic.flows_per_hour * _HOURS
    both = benign is not None and attack is not None
    return {
        "flows_per_hour": traffic.flows_per_hour,
        "attack_share": traffic.attack_share,
        "false_alarms_per_day": None if benign is None else rate * daily,
        "false_alarms_interval": None if benign is None else [bound * daily for bound in benign],
        "precision": precision(recall, rate, traffic.attack_share) if both else None,
        "precision_interval": [
            precision(attack[0], benign[1], traffic.attack_share),
            precision(attack[1], benign[0], traffic.attack_share),
        ]
        if both
        else None,
    }


def precision(recall: float, false_alarm_rate: float, attack_share: float) -> float:
    """Share of flagged flows that are attacks; 0 where nothing is flagged.

    Bayes' rule: s r / (s r + (1 - s) f).
    """
    true = attack_share * recall
    flagged = true + (1 - attack_share) * false_alarm_rate
    return true / flagged if flagged else 0.0
