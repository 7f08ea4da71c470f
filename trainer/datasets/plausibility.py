"""Whether rules belong to a capture, and whether what they found in it can be right."""

from __future__ import annotations

from collections import Counter
from datetime import date
from typing import TYPE_CHECKING, Final

import numpy as np

from edge_agent.contract.errors import TableError
from trainer.datasets.endpoints import clock
from trainer.datasets.labels import BENIGN, is_attempted

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from trainer.datasets.rules import Labelled, Rules

DAY_US: Final = 86_400_000_000

# Other builds of the same meter, and repaired captures, give a few per cent more or less; other
# meters cut the same connections into up to three times as many rows.
_FAR_OFF: Final = 2.0
_FAR_OFF_ELSEWHERE: Final = 4.0
# Small counts differ by more than that, and a handful of flows proves nothing.
_FAR_OFF_FLOWS: Final = 20
# A capture of a day without attacks counts as whole when it is this long.
_WHOLE_DAY_US: Final = 6 * 3_600_000_000
_LABELS_SHOWN: Final = 3


def check_days(rules: Rules, first_us: int, last_us: int, capture: Path) -> None:
    """Make sure that rules describe a day of a capture.

    Raises:
        TableError: They do not.
    """
    first, last = first_us // DAY_US, last_us // DAY_US
    if not any(first <= _number(day) <= last for day in rules.days):
        listed = rules.days[0].isoformat()
        if len(rules.days) > 1:
            listed += f" to {rules.days[-1].isoformat()}"
        raise TableError(
            rules.path,
            f"has rules for {listed} (UTC), but {capture} holds {clock(first_us)} to"
            f" {clock(last_us)}",
            remedy="take the rules of that capture",
        )


def doubts(
    rules: Rules, found: Labelled, start_us: NDArray[np.int64], profile: str, capture: Path
) -> list[str]:
    """What a user should know before trusting the labels, a sentence each.

    Args:
        rules: The rules.
        found: What they say of all flows of the capture.
        start_us: When each flow begins, shape (n_flows,), at least one.
        profile: Name of the profile it was metered with.
        capture: For messages.
    """
    first_us, last_us = int(start_us.min()), int(start_us.max())
    within = [rule for rule in rules.rules if rule.start_us <= last_us and first_us <= rule.end_us]
    sentences = []
    passed_over = [rule for rule in within if not rule.is_for(profile, rules.meter)]
    if passed_over:
        labels = ", ".join(dict.fromkeys(rule.label for rule in passed_over))
        sentences.append(
            f"{capture}: {len(passed_over)} of {len(within)} rules are passed over, because their"
            f" limits are made for the profile {rules.meter} and not for {profile} ({labels})."
        )
    if within and not (found.rule >= 0).any():
        sentences.append(
            f"{capture}: no rule of {rules.path} matches any flow, though the capture was taken"
            " during attacks; check that its addresses are the ones of the rules and its clock"
            " is right."
        )
        return sentences
    for day in rules.expected:
        sentences += _far_off(rules, found, start_us, profile, day, capture)
    return sentences


def attempts(rules: Rules, found: Labelled) -> str:
    """How many flows were mere attempts and why, as a clause; empty where none were."""
    is_attempt = np.array([is_attempted(label) for label in found.labels])[found.label]
    counts: Counter[str] = Counter()
    for number, flows in zip(*np.unique(found.rule[is_attempt], return_counts=True), strict=True):
        category = rules.rules[number].category
        words = "" if category is None else rules.categories[category]
        counts[words or "no reason given"] += int(flows)
    return "; ".join(f"{words}: {flows:,}" for words, flows in counts.most_common())


def _far_off(
    rules: Rules,
    found: Labelled,
    start_us: NDArray[np.int64],
    profile: str,
    day: date,
    capture: Path,
) -> list[str]:
    begin_us = _number(day) * DAY_US
    of_day = (start_us >= begin_us) & (start_us < begin_us + DAY_US)
    if not of_day.any() or not _seems_whole(rules, start_us[of_day], begin_us):
        return []
    counts = np.bincount(found.label[of_day], minlength=len(found.labels))
    at_home = rules.meter in ("", profile)
    # What was an attempt is mostly said by limits, which other meters' flows are not held against.
    possible = {BENIGN} | {rule.label for rule in rules.rules if rule.is_for(profile, rules.meter)}
    off: dict[str, float] = {}
    for label, flows in rules.expected[day].items():
        plain = label if not is_attempted(label) else ""
        if not at_home and plain not in possible:
            continue
        here = int(counts[found.labels.index(label)])
        low, high = sorted((here, flows))
        factor = high / max(low, 1)
        if factor > (_FAR_OFF if at_home else _FAR_OFF_ELSEWHERE) and high - low > _FAR_OFF_FLOWS:
            off[label] = factor
    if not off:
        return []
    worst = sorted(off, key=lambda label: -off[label])
    listed = ", ".join(
        f"{label} {counts[found.labels.index(label)]:,} instead of {rules.expected[day][label]:,}"
        for label in worst[:_LABELS_SHOWN]
    )
    more = f" and {len(worst) - _LABELS_SHOWN} more labels" if len(worst) > _LABELS_SHOWN else ""
    sentence = (
        f"{capture}: the flows of {day} are far from what {rules.path.name} expects ({listed}"
        f"{more}); check that it is the whole capture of that day and its clock is right."
    )
    return [sentence]


def _seems_whole(rules: Rules, start_us: NDArray[np.int64], begin_us: int) -> bool:
    """Whether flows of a day span all its windows, or are many hours of a day without any."""
    first_us, last_us = int(start_us.min()), int(start_us.max())
    of_day = [rule for rule in rules.rules if begin_us <= rule.start_us < begin_us + DAY_US]
    if not of_day:
        return last_us - first_us >= _WHOLE_DAY_US
    return first_us <= min(rule.start_us for rule in of_day) and last_us >= max(
        rule.end_us for rule in of_day
    )


def _number(day: date) -> int:
    """Days since 1970."""
    return day.toordinal() - date(1970, 1, 1).toordinal()
