"""The sections of the report that hold the run against other splits, columns, data and settings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trainer.report.markup import Cell, Table, paragraph, section, table
from trainer.report.sections import figured
from trainer.report.wording import NONE, listed, model_title

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

# As many trials as anybody reads; the best come first.
_TRIALS = 30


def splits_section(metrics: Mapping[str, Any]) -> str:
    """The same models, the rows dealt in other ways."""
    others = metrics.get("splits") or {}
    blocks = [(metrics["split"], metrics["models"])]
    blocks += [(split, block["models"]) for split, block in others.items() if split != blocks[0][0]]
    if len(blocks) < 2:
        return ""
    return section(
        "splits",
        "Other splits",
        paragraph(
            "The same models and settings, the rows dealt in other ways. What a model loses from"
            " a random split to a stricter one is what it owed to near-copies."
        ),
        table(
            Table(
                "Test rows of each split",
                ["model", "split", *_COMPARED.values()],
                _by_model(blocks),
                frozenset({1}),
            )
        ),
    )


def ablation_section(metrics: Mapping[str, Any]) -> str:
    """The same models without the columns that give the attacker away."""
    ablation = metrics.get("ablation")
    if not ablation:
        return ""
    blocks = [("all columns", metrics["models"]), ("without", ablation["models"])]
    return section(
        "ablation",
        "Without the leaky columns",
        paragraph(
            f"Trained again without {listed(ablation['left_out'])}. What is left is nearer to what"
            " the models know about attacks rather than about one attacker."
        )
        if ablation["left_out"]
        else "",
        table(
            Table(
                "Test rows, with and without the leaky columns",
                ["model", "columns", *_COMPARED.values()],
                _by_model(blocks),
                frozenset({1}),
            )
        ),
    )


def cross_section(metrics: Mapping[str, Any]) -> str:
    """The models of the run on other data."""
    cross = metrics.get("cross")
    if not cross:
        return ""
    blocks = [("own test rows", metrics["models"]), ("other data", cross["models"])]
    return section(
        "cross",
        "On other data",
        paragraph(
            f"The same trained models and thresholds on {_described(cross['data'])}: nothing of it"
            " was learned from. This is the nearest to another network that a file can come."
        ),
        table(
            Table(
                "Own test rows and other data",
                ["model", "rows", *_COMPARED.values()],
                _by_model(blocks),
                frozenset({1}),
            )
        ),
    )


def search_section(metrics: Mapping[str, Any]) -> str:
    """What the search for settings tried."""
    found: Any = metrics.get("search") or []
    trials = list(found.get("trials", []) if hasattr(found, "get") else found)
    if not trials:
        return ""
    trials = sorted(trials, key=lambda trial: -(trial.get("f1") or 0.0))
    names = list(dict.fromkeys(name for trial in trials for name in trial["parameters"]))
    others = list(dict.fromkeys(name for trial in trials for name in trial if name != "parameters"))
    rows = [
        [str(place), *(_plain(trial["parameters"].get(name)) for name in names)]
        + [_plain(trial.get(name)) for name in others]
        for place, trial in enumerate(trials[:_TRIALS], 1)
    ]
    shown = f"; the best {_TRIALS} are shown" if len(trials) > _TRIALS else ""
    return section(
        "search",
        "Search for settings",
        paragraph(
            f"{len(trials):,} trials, judged on the validation rows{shown}. The best of many trials"
            " looks better there than it is; the test rows took no part in it."
        ),
        table(Table("Trials, best first", ["place", *names, *others], rows)),
    )


_COMPARED = {
    "f1": "F1",
    "recall": "recall",
    "false_alarm_rate": "false-alarm rate",
    "average_precision": "average precision",
}


def _by_model(blocks: Iterable[tuple[str, Mapping[str, Any]]]) -> list[list[Cell]]:
    """A line per model and block, the lines of a model together."""
    blocks = list(blocks)
    names = list(dict.fromkeys(name for _, models in blocks for name in models))
    return [
        [
            model_title(name, models[name]),
            title,
            *(figured(models[name]["test"], figure) for figure in _COMPARED),
        ]
        for name in names
        for title, models in blocks
        # A model of one block only has nothing to be compared with.
        if name in models and sum(name in others for _, others in blocks) > 1
    ]


def _described(data: Any) -> str:
    """`cross["data"]`: a text, paths, or facts about files such as `metrics["data"]` has."""
    if isinstance(data, str):
        return data
    if hasattr(data, "get"):
        data = [file["path"] for file in data.get("files", [])]
    return listed(map(str, data)) if data else "other data"


def _plain(value: Any) -> str:
    if value is None:
        return NONE
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_plain, value))
    return str(value)
