"""What a run's figures mean, in words that its facts choose. Plain text, for report and model card.

The sizes of the faults of CICIDS2017 are those that its critics counted: G. Engelen, V. Rimmer,
W. Joosen, "Troubleshooting an intrusion detection dataset: the CICIDS2017 case study" (2021), and
L. Liu et al., "Error prevalence in NIDS datasets" (CNS 2022).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from edge_agent.contract.features import FEATURE_SETS
from trainer.leaks import leaky
from trainer.paper import LAYOUTS
from trainer.report.wording import (
    MIN_ROWS,
    count,
    decimal,
    decimal_range,
    listed,
    model_title,
    one_in,
    percent,
    percent_range,
)
from trainer.traffic import Traffic, expected

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


_SPLITS: Final = {
    "random": "The rows were dealt at random. Near-copies of one scan or flood stand among the"
    " training rows and among the test rows, so these figures are an upper bound: expect less"
    " from attacks and networks that were not in the data.",
    "dedup": "Exact copies of a row were left out, then the rows were dealt at random. Near-copies"
    " of one scan or flood still stand on both sides, so these figures remain an upper bound.",
    "group": "The rows of a connection (or of a file, where there are no addresses) were kept"
    " together. An attack tool opens many connections that resemble each other; they still stand"
    " on both sides, so these figures remain an upper bound.",
    "time": "The model learned from the past and was tested on what came later. That is the"
    " honest order, and harder: an attack that begins late was never learned.",
}
_OTHER_SPLIT: Final = "The rows were dealt by the split {split}."

_INTERVALS: Final = (
    "Intervals are 95 % intervals of chance in the drawing of rows alone. They take rows for"
    " independent, which near-copies are not, and say nothing of another network: read them as the"
    " least doubt there is. Do not rank models whose intervals overlap."
)

_ONE_ATTACKER: Final = (
    "All attacks of CICIDS2017 come from one attacker's machine and a few infected hosts, with one"
    " set of tools, in one week of 2017. A model can learn who attacks instead of what an attack"
    " looks like; nothing measured on these files alone can tell the two apart."
)

_LABELS: Final = {
    "MachineLearningCVE": "The published labels have known errors: a port scan from inside the"
    " network (some 61,000 flows, Thursday afternoon) is labelled BENIGN in the full files, and"
    " many flows labelled as brute force, web attack or botnet carry no attack. Recall of these"
    " classes, and some false alarms, are label noise in part.",
    "improved": "Answers of an attacked server that became a flow of their own are BENIGN even in"
    " the corrected labels; a few false alarms may be such flows.",
}

_ATTEMPTED: Final = {
    "drop": 'Flows labelled "Attempted" (the attack could not have an effect) were left out.',
    "benign": 'Flows labelled "Attempted" (the attack could not have an effect) count as benign.',
    "attack": 'Flows labelled "Attempted" (the attack could not have an effect) count as attacks.',
}

_IPV6_PUBLIC: Final = "No row is of IPv6: what the model does there nobody has measured."
_IPV6_OWN: Final = (
    "The version of IP is no feature. Unless the captures held attacks over IPv6, what the model"
    " does there nobody has measured."
)


def chosen_model(models: Mapping[str, Any]) -> str:
    """Name of the model that did best on the validation rows; test rows choose nothing."""
    return max(
        models,
        key=lambda name: (
            models[name].get("threshold_met", True),
            models[name].get("validation", models[name]["test"])["f1"],
        ),
    )


def traffic_of(metrics: Mapping[str, Any]) -> Traffic:
    """The network that the report imagines: `metrics["traffic"]`, or the usual one."""
    return Traffic(**metrics.get("traffic", {}))


def leaky_columns(metrics: Mapping[str, Any]) -> list[str]:
    """Columns of the run that are known to say who attacks, not what an attack is."""
    data = metrics["data"]
    return list(leaky(data["profile"], FEATURE_SETS[data["feature_set"]][1]))


def verdict(metrics: Mapping[str, Any]) -> list[str]:
    """The run in a few sentences: what the best model does, and what that would mean at work."""
    models = metrics["models"]
    name = chosen_model(models)
    facts = models[name]
    title = model_title(name, facts)
    first = f"Of the {len(models)} models, {title} did best on the validation rows. On"
    return [
        (first if len(models) > 1 else "On") + f" the test rows {_rates(title, facts['test'])}",
        *([_unmet(facts)] if not facts.get("threshold_met", True) else []),
        *_at_work(facts["test"], traffic_of(metrics)),
        _bound(metrics),
        *_elsewhere(metrics, name),
    ]


def _rates(title: str, test: Mapping[str, Any]) -> str:
    counts, intervals = test["confusion"], test.get("intervals", {})
    attacks, benign = counts["tp"] + counts["fn"], counts["tn"] + counts["fp"]
    parts = []
    for figure, verb, rows, of in (
        ("recall", f"{title} flags", counts["tp"], f"{attacks:,} attack flows"),
        ("false_alarm_rate", "and", counts["fp"], f"{benign:,} benign ones"),
    ):
        share = f"{percent(test[figure])}, " if min(attacks, benign) >= MIN_ROWS else ""
        bounds = intervals.get(figure)
        between = f"; 95 % interval {percent_range(bounds)}" if bounds and share else ""
        parts.append(f"{verb} {rows:,} of {of}" + (f" ({share[:-2]}{between})" if share else ""))
    return " ".join(parts) + "."


def _unmet(facts: Mapping[str, Any]) -> str:
    return f"The threshold is not what was asked for: {facts['threshold_rule']}."


def _at_work(test: Mapping[str, Any], traffic: Traffic) -> list[str]:
    if "intervals" not in test:
        return []
    there = expected(test, traffic)
    if there["precision"] is None:
        return []
    daily, daily_bounds = there["false_alarms_per_day"], there["false_alarms_interval"]
    real = there["precision"]
    if real < 0.1:
        words = "More than nine in ten alarms would be false"
    elif real < 0.5:
        words = "More than half of the alarms would be false"
    elif real < 0.9:
        words = "Most alarms would be real, but not nearly all"
    else:
        words = "Nine in ten alarms or more would be real"
    low, high = map(count, daily_bounds)
    return [
        (
            f"Should these rates hold in a network with {traffic.flows_per_hour:,.0f} benign flows"
            f" an hour, it would flag {count(daily)} benign flows a day ({low} to {high}). With"
            f" {one_in(traffic.attack_share)} flows an attack, {percent(real)} of the flagged flows"
            f" would be attacks ({percent_range(there['precision_interval'])}). {words}."
        )
    ]


def _bound(metrics: Mapping[str, Any]) -> str:
    split = metrics["split"]
    return _SPLITS.get(split, _OTHER_SPLIT.format(split=split))


def _elsewhere(metrics: Mapping[str, Any], name: str) -> list[str]:
    """What became of the best model where things were made harder for it."""
    blocks = [
        (f"On the {split} split", block)
        for split, block in (metrics.get("splits") or {}).items()
        if split != metrics["split"]
    ]
    if metrics.get("ablation"):
        blocks.append(("Trained again without the leaky columns", metrics["ablation"]))
    if metrics.get("cross"):
        blocks.append(("On other data", metrics["cross"]))
    found = [
        f"{where}: recall {percent(test['recall'])}, false-alarm rate"
        f" {percent(test['false_alarm_rate'])}."
        for where, block in blocks
        if name in block["models"]
        for test in [block["models"][name]["test"]]
    ]
    return [f"{name} elsewhere. {' '.join(found)}"] if found else []


def meaning(metrics: Mapping[str, Any]) -> list[str]:
    """What to keep in mind when reading the figures, as far as this run's facts call for it."""
    data = metrics["data"]
    layout = data["layout"]
    public = layout in LAYOUTS
    return [
        _INTERVALS,
        *_copies(data, metrics["split"]),
        *_unseen(data),
        *_leaks(metrics),
        *([_ONE_ATTACKER] if public else []),
        *_own_attackers(data),
        *([_LABELS[layout]] if layout in _LABELS else []),
        *_attempted(metrics),
        *_mix(metrics),
        *_few(metrics),
        (
            f"The model is bound to the profile {data['profile']}: flows metered in another way are"
            " other numbers under the same names."
        ),
        _IPV6_PUBLIC if public else _IPV6_OWN,
    ]


def _copies(data: Mapping[str, Any], split: str) -> list[str]:
    texts = []
    if data["duplicates"]:
        # In `dedup` the copies are gone from the rows that are counted.
        among = data["rows"] + (data["duplicates"] if split == "dedup" else 0)
        fate = "they were left out" if split == "dedup" else "they were dealt like the others"
        texts.append(
            f"{data['duplicates']:,} of {among:,} rows ({percent(data['duplicates'] / among)})"
            f" have every value of an earlier row; {fate}."
        )
    if data["ambiguous_vectors"]:
        texts.append(
            "Combinations of values that occur both as BENIGN and as an attack, so that no model"
            f" can be right about all of their rows: {data['ambiguous_vectors']:,}."
        )
    return texts


def _unseen(data: Mapping[str, Any]) -> list[str]:
    parts = data["parts"]
    unseen = [label for label in parts["test"]["labels"] if label not in parts["train"]["labels"]]
    if not unseen:
        return []
    return [f"Tested, but never learned from: {listed(unseen)}."]


def _leaks(metrics: Mapping[str, Any]) -> list[str]:
    leaky = leaky_columns(metrics)
    if not leaky:
        return ["No column is used that is known to give an attacker away on public data."]
    several = len(leaky) > 1
    texts = [
        f"The column{'s' if several else ''} {listed(leaky)} say{'' if several else 's'} who"
        " attacks rather than what an attack looks like: ports, windows and header sizes of one"
        " attacker's tools and operating system. On another network"
        f" {'they mislead' if several else 'it misleads'}."
        + (
            ' What the models do without them stands in the report under "Without the leaky'
            ' columns".'
            if "ablation" in metrics
            else ""
        )
    ]
    for name, facts in metrics["models"].items():
        found = facts.get("importance")
        if found and set(found[0]["columns"]) & set(leaky) and found[0]["drop"] > 0:
            texts.append(
                f"{model_title(name, facts)} leans most on {found[0]['columns'][0]}, one of them."
            )
    return texts


def _own_attackers(data: Mapping[str, Any]) -> list[str]:
    sources = data.get("attack_sources")
    if sources is None:
        return []
    if sources == 1:
        return ["All attack rows come from one source address: the model may have learned it."]
    return [f"The attack rows come from {sources:,} source addresses."]


def _attempted(metrics: Mapping[str, Any]) -> list[str]:
    # The original labels know no such thing: nothing was settled there.
    if metrics["data"]["layout"] == "MachineLearningCVE":
        return []
    text = _ATTEMPTED.get(metrics.get("attempted", ""))
    return [text] if text else []


def _mix(metrics: Mapping[str, Any]) -> list[str]:
    test = next(iter(metrics["models"].values()))["test"]
    attacks = test["confusion"]["tp"] + test["confusion"]["fn"]
    return [
        (
            f"{percent(attacks / test['rows'])} of the test rows are attacks; in a network hardly"
            " any flow is. Accuracy, precision and F1 depend on that mix and do not carry over;"
            " recall and false-alarm rate do not depend on it."
        )
    ]


def _few(metrics: Mapping[str, Any]) -> list[str]:
    test = next(iter(metrics["models"].values()))["test"]
    few = [label for label, facts in test["per_class"].items() if facts["rows"] < MIN_ROWS]
    if not few:
        return []
    return [
        (
            f"Too few test rows for a percentage (under {MIN_ROWS}): {listed(few)}. Their counts"
            " are given, and nothing is claimed."
        )
    ]


def f1_text(test: Mapping[str, Any]) -> str:
    """F1 with its interval: "0.9963 (0.9944–0.9977)"."""
    bounds: Sequence[float] | None = test.get("intervals", {}).get("f1")
    return decimal(test["f1"]) + (f" ({decimal_range(bounds)})" if bounds else "")
