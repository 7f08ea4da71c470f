"""Scores to verdicts, and verdicts to figures."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from benchmarks.time_dimension.flows import BENIGN

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from benchmarks.time_dimension.flows import Flows

FALSE_ALARM_RATE: Final = 0.001


def threshold(benign: NDArray[np.float32]) -> float:
    """The lowest score at or above which at most `FALSE_ALARM_RATE` of benign flows lie.

    That is the highest recall under this bound, whatever the attacks.

    Args:
        benign: Scores of benign flows that were not learned from.
    """
    ordered = np.sort(benign)[::-1]
    first_below = ordered[int(len(ordered) * FALSE_ALARM_RATE)]
    return float(np.nextafter(first_below, np.float32(2)))


def judge(
    flows: Flows, rows: NDArray[np.int64], scores: NDArray[np.float32], limit: float
) -> dict[str, Any]:
    """Figures of one trial with one seed.

    Args:
        flows: All.
        rows: Those tested.
        scores: Of these.
        limit: Scores at or above it are attacks.
    """
    attack, flagged = flows.attack[rows], scores >= limit
    benign = attack == BENIGN
    campaigns = []
    for number in np.unique(attack[~benign]):
        member = attack == number
        facts = flows.attacks[number]
        count, hits = int(member.sum()), int(flagged[member].sum())
        campaigns.append(
            {
                "id": facts.id,
                "family": facts.family,
                "tool": facts.tool,
                "flows": count,
                "flagged": hits,
                "found": 2 * hits > count,
            }
        )
    return {
        "threshold": limit,
        "false_alarms": int(flagged[benign].sum()),
        "benign": int(benign.sum()),
        "flagged": int(flagged[~benign].sum()),
        "attacks": int((~benign).sum()),
        "campaigns": campaigns,
    }


def summed(results: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Trials of one seed as one: shares over all flows, campaigns over all trials."""
    whole = list(results)
    by_family: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for result in whole:
        for campaign in result["campaigns"]:
            by_family[campaign["family"]][0] += campaign["found"]
            by_family[campaign["family"]][1] += 1
    total = {
        key: sum(result[key] for result in whole)
        for key in ("false_alarms", "benign", "flagged", "attacks")
    }
    return {
        "false_alarm_rate": total["false_alarms"] / max(total["benign"], 1),
        "worst_false_alarm_rate": max(
            result["false_alarms"] / max(result["benign"], 1) for result in whole
        ),
        "recall": total["flagged"] / max(total["attacks"], 1),
        "found": sum(found for found, _ in by_family.values()),
        "campaigns": sum(count for _, count in by_family.values()),
        "families": dict(sorted(by_family.items())),
    }
