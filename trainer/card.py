"""MODEL_CARD.md of a run: what the models are for, what they were measured to do, and their limits.

The headings follow M. Mitchell et al., "Model cards for model reporting" (FAT* 2019).
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any, Final

from trainer.paper import LAYOUTS
from trainer.report.caveats import chosen_model, f1_text, meaning, verdict
from trainer.report.wording import (
    NONE,
    listed,
    model_title,
    percent,
    percent_range,
    share_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

_SHARAFALDIN: Final = (
    'I. Sharafaldin, A. H. Lashkari, A. A. Ghorbani, "Toward Generating a New Intrusion Detection'
    ' Dataset and Intrusion Traffic Characterization", ICISSP 2018'
)
_LIU: Final = (
    'L. Liu, G. Engelen, T. Lynar, D. Essam, W. Joosen, "Error Prevalence in NIDS datasets: A Case'
    ' Study on CIC-IDS-2017 and CSE-CIC-IDS-2018", IEEE CNS 2022'
)

_USE: Final = (
    "To score the flows of a network's gateway, metered by edge-agent with the profile {profile},"
    " and to raise incidents for people to look into. A score says how much a flow resembles the"
    " attacks it learned from; it is no proof."
)
_OUT_OF_SCOPE: Final = (
    "Blocking traffic without a person or another source of evidence.",
    "Flows metered by another tool or profile, however alike the columns are called.",
    "Attacks of other kinds than the classes below: nothing is known about them.",
    "Judging people: a flagged address is a machine, and machines are borrowed.",
    "Flows over IPv6, unless measured first.",
)
# Markdown and HTML both give these a meaning of their own.
_SPECIAL: Final = str.maketrans({char: f"\\{char}" for char in "\\`*_[]<>|#"})


def model_card(metrics: Mapping[str, Any]) -> str:
    """The card as Markdown.

    Args:
        metrics: What `metrics.json` holds.
    """
    models = metrics["models"]
    data = metrics["data"]
    best = chosen_model(models)
    titles = [model_title(name, facts) for name, facts in models.items()]
    blocks = [
        f"# Model card: {_plain(listed(titles))}",
        *map(_plain, verdict(metrics)),
        "## Intended use",
        _USE.format(profile=data["profile"]),
        "## Out of scope",
        _list(_OUT_OF_SCOPE),
        "## Data",
        *_data(data),
        "## Training",
        _training(metrics),
        "## Evaluation",
        f"Test rows, 95 % intervals. {_plain(model_title(best, models[best]))} did best on the"
        " validation rows."
        if len(models) > 1
        else "Test rows, 95 % intervals.",
        _evaluation(models),
        "Flagged, by family (for benign rows that is the false-alarm rate):",
        _shares(models, "per_family", "family"),
        "Flagged, by class:",
        _shares(models, "per_class", "class"),
        "## Threshold",
        _list(
            f"{_plain(model_title(name, facts))}: {facts['threshold']:.4f};"
            f" {facts['threshold_rule']}."
            for name, facts in models.items()
        ),
        "## Limits",
        _list(map(_plain, meaning(metrics))),
        "## How to make it again",
        _again(metrics),
        *_citations(data),
    ]
    return "\n\n".join(blocks) + "\n"


def command_line(metrics: Mapping[str, Any]) -> str:
    """The command of the run: `metrics["command"]`, or one put together from its settings."""
    given = metrics.get("command")
    if given:
        return given if isinstance(given, str) else shlex.join(map(str, given))
    words = ["edge-train", "--data", *(file["path"] for file in metrics["data"]["files"])]
    words += ["--features", metrics["data"]["feature_set"], "--model", *metrics["models"]]
    for name in ("split", "scaler", "attempted", "seed"):
        if metrics.get(name) is not None:
            words += [f"--{name}", str(metrics[name])]
    return shlex.join([*words, "--output", "RUN"])


def _data(data: Mapping[str, Any]) -> list[str]:
    parts = data["parts"]
    return [
        (
            f"{data['rows']:,} of {data['rows_read']:,} rows were used; layout"
            f" {_plain(data['layout'])}, profile {data['profile']}, feature set"
            f" {data['feature_set']}."
        ),
        _table(
            ["file", "rows", "SHA-256"],
            [[file["path"], f"{file['rows']:,}", file["sha256"]] for file in data["files"]],
        ),
        _table(
            ["class", "rows", *parts],
            [
                [
                    label,
                    f"{rows:,}",
                    *(f"{part['labels'].get(label, 0):,}" for part in parts.values()),
                ]
                for label, rows in data["labels"].items()
                if rows
            ],
        ),
        "Rows dropped: "
        + (
            "; ".join(f"{_plain(rule)}: {rows:,}" for rule, rows in data["dropped"].items() if rows)
            or "none"
        )
        + ".",
    ]


def _training(metrics: Mapping[str, Any]) -> str:
    facts = {name: metrics[name] for name in ("split", "seed", "scaler", "loss") if name in metrics}
    facts |= metrics.get("options", {})
    return _list(
        [f"{_plain(name)}: {_plain(str(value))}" for name, value in facts.items()]
        + [
            f"{_plain(model_title(name, entry))}: {entry['parameters']:,} trained numbers"
            for name, entry in metrics["models"].items()
            if "parameters" in entry
        ]
    )


def _evaluation(models: Mapping[str, Any]) -> str:
    rows = []
    for name, facts in models.items():
        test = facts["test"]
        bounds = test.get("intervals", {})
        rows.append(
            [model_title(name, facts), f1_text(test)]
            + [
                percent(test[figure])
                + (f" ({percent_range(bounds[figure])})" if figure in bounds else "")
                for figure in ("recall", "false_alarm_rate", "precision")
            ]
        )
    return _table(["model", "F1", "recall", "false-alarm rate", "precision"], rows)


def _shares(models: Mapping[str, Any], key: str, what: str) -> str:
    known = [facts["test"].get(key, {}) for facts in models.values()]
    titles = [model_title(name, facts) for name, facts in models.items()]
    rows = [
        [item, f"{facts['rows']:,}"]
        + [share_of(entries[item]) if item in entries else NONE for entries in known]
        for item, facts in known[0].items()
    ]
    return _table([what, "test rows", *titles], rows)


def _again(metrics: Mapping[str, Any]) -> str:
    packages = metrics.get("packages", {})
    versions = ", ".join(f"{name} {version}" for name, version in packages.items())
    text = (
        f"    {command_line(metrics)}\n\nThe files above, by their digests, and the same seed give"
    )
    text += " the same rows and the same split."
    return text + (f" Versions: {_plain(versions)}." if versions else "")


def _citations(data: Mapping[str, Any]) -> list[str]:
    if data["layout"] not in LAYOUTS:
        return []
    cited = [_SHARAFALDIN, *([_LIU] if data["layout"] == "improved" else [])]
    return [
        "## Whose data",
        (
            "The rows are those of others, published for research. Whoever publishes results of"
            " these models cites:"
        ),
        _list(map(_plain, cited)),
    ]


def _plain(text: str) -> str:
    """Text that Markdown shows as it is: labels and paths come from files."""
    return " ".join(text.split()).translate(_SPECIAL)


def _list(items: Iterable[str]) -> str:
    return "\n".join(f"- {item}" for item in items)


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---", *["---:"] * (len(header) - 1)]]
    lines[0] = [_plain(cell) for cell in header]
    lines += [[_plain(cell) for cell in row] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
