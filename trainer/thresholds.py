"""The score from which a flow is called an attack, chosen on the validation rows alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

# An int8 sigmoid gives out k/256. Thresholds lie halfway between two such codes, so that a score's
# last rounding never decides.
_CANDIDATES: Final = (np.arange(255) + 0.5) / 256

# Validation F1s closer than this are equal: on 5,000 rows it is one or two verdicts. Without it a
# single lucky row pulls the threshold to the edge, where rows of another day fall on both sides.
_F1_TOLERANCE: Final = 0.0005

THRESHOLD_RULE: Final = (
    f"highest F1 on the validation rows, within {_F1_TOLERANCE}, among the midpoints between int8"
    " output codes; of these the middle of the longest run"
)


@dataclass(frozen=True, slots=True)
class Threshold:
    """Scores at or above `value` are attacks.

    Attributes:
        value: Between 0 and 1, halfway between two int8 codes.
        f1, recall, false_alarm_rate: What it gives on the rows it was chosen on.
        rule: How it was chosen, in words.
        met: Whether the rule could be kept; the words say so too.
    """

    value: float
    f1: float
    recall: float
    false_alarm_rate: float
    rule: str
    met: bool = True


@dataclass(frozen=True, slots=True)
class _Sweep:
    """What each candidate gives, shape (n_candidates,); lowest threshold first."""

    f1: NDArray[np.float64]
    recall: NDArray[np.float64]
    false_alarm_rate: NDArray[np.float64]

    def at(self, index: int, rule: str, *, met: bool = True) -> Threshold:
        return Threshold(
            value=float(_CANDIDATES[index]),
            f1=float(self.f1[index]),
            recall=float(self.recall[index]),
            false_alarm_rate=float(self.false_alarm_rate[index]),
            rule=rule,
            met=met,
        )


def choose_threshold(
    scores: NDArray[np.float32], target: NDArray[np.uint8], max_far: float | None = None
) -> Threshold:
    """Choose by `best_threshold`, or, given a false-alarm rate, by `bounded_threshold`."""
    if max_far is None:
        return best_threshold(scores, target)
    return bounded_threshold(scores, target, max_far)


def best_threshold(scores: NDArray[np.float32], target: NDArray[np.uint8]) -> Threshold:
    """Choose a threshold by `THRESHOLD_RULE`.

    Args:
        scores: Shape (n_flows,), in [0, 1].
        target: Shape (n_flows,), 1 for attacks.
    """
    sweep = _sweep(scores, target)
    return sweep.at(_middle(sweep.f1 >= sweep.f1.max() - _F1_TOLERANCE), THRESHOLD_RULE)


def bounded_threshold(
    scores: NDArray[np.float32], target: NDArray[np.uint8], max_far: float
) -> Threshold:
    """Choose the highest recall whose false-alarm rate is at most `max_far`.

    The rate holds on these rows. On others it moves with chance, and with the network: the report
    gives both rates.

    Args:
        scores: Shape (n_flows,), in [0, 1].
        target: Shape (n_flows,), 1 for attacks.
        max_far: Share of the benign rows, from 0 to 1.
    """
    sweep = _sweep(scores, target)
    limit = f"a false-alarm rate of at most {_percent(max_far)} on the validation rows"
    allowed = sweep.false_alarm_rate <= max_far
    if not allowed.any():
        last = len(_CANDIDATES) - 1
        rate = _percent(float(sweep.false_alarm_rate[last]))
        rule = (
            f"highest midpoint between int8 output codes; {limit} was asked for and NOT MET:"
            f" even this one gives {rate}"
        )
        return sweep.at(last, rule, met=False)
    recall = float(sweep.recall[allowed].max())
    rule = (
        f"highest recall with {limit}, among the midpoints between int8 output codes; of equals"
        " the middle of the longest run"
    )
    return sweep.at(_middle(allowed & (sweep.recall == recall)), rule)


def _sweep(scores: NDArray[np.float32], target: NDArray[np.uint8]) -> _Sweep:
    attack = np.sort(scores[target == 1])
    benign = np.sort(scores[target == 0])
    true = len(attack) - np.searchsorted(attack, _CANDIDATES, side="left")
    false = len(benign) - np.searchsorted(benign, _CANDIDATES, side="left")
    return _Sweep(
        f1=2 * true / np.maximum(true + false + len(attack), 1),
        recall=true / max(len(attack), 1),
        false_alarm_rate=false / max(len(benign), 1),
    )


def _middle(best: NDArray[np.bool_]) -> int:
    """Middle of the longest run of equals: there a change of scores matters least."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], best.astype(np.int8), [0]])))
    begin, end = edges[::2], edges[1::2]
    longest = int(np.argmax(end - begin))
    return int(begin[longest] + end[longest] - 1) // 2


def _percent(share: float) -> str:
    return f"{100 * share:.4g} %"
