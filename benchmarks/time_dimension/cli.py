"""The command ``python -m benchmarks time-dimension``."""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
import numpy as np

from benchmarks.tables import percent, table
from benchmarks.time_dimension.flows import read
from benchmarks.time_dimension.judging import judge, summed, threshold
from benchmarks.time_dimension.models import CnnLstm, boosted_trees, forest
from benchmarks.time_dimension.plan import Plan, by_recording, by_tool
from benchmarks.time_dimension.variants import Variant, View
from edge_agent.capture.problems import STDIN
from edge_agent.console import end_progress, progress_line, run_command
from edge_agent.contract.files import write_atomically

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.time_dimension.flows import Flows
    from benchmarks.time_dimension.models import Model

_SESSIONS: Final = tuple(Path("benchmarks/lab/sessions") / f"session-{name}" for name in "abc")
_VARIANTS: Final = (
    "own",
    "context",
    *(f"window-{w}{tail}" for w in (4, 8, 16) for tail in ("", "-context")),
)
_MODELS: Final = ("cnn-lstm", "random-forest", "boosted-trees")
_SEEDS: Final = 3
# Below this the benign tail is not learned yet: a false-alarm rate of .1 % is ten flows.
_STEPS: Final = 1000

_FILE: Final = click.Path(path_type=Path, dir_okay=False, allow_dash=True)


@click.command("time-dimension", context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--recording",
    "folders",
    multiple=True,
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="Folder with a capture and its truth.json; again for more. Default: the lab's sessions.",
)
@click.option(
    "--variant",
    "variants",
    multiple=True,
    metavar="NAME",
    help="own, context, window-W or window-W-context; again for more. Default: all, W 4, 8, 16.",
)
@click.option(
    "--model",
    "models",
    multiple=True,
    type=click.Choice(_MODELS),
    help="Again for more. Default: all.",
)
@click.option(
    "--leave-out",
    type=click.Choice(["recordings", "tools", "both"]),
    default="both",
    show_default=True,
    help="What the models have never seen.",
)
@click.option("--seeds", type=click.IntRange(min=1), default=_SEEDS, show_default=True, metavar="N")
@click.option(
    "--steps",
    type=click.IntRange(min=1),
    default=_STEPS,
    show_default=True,
    metavar="N",
    help="Batches that a network learns from.",
)
@click.option("--json", "json_file", type=_FILE, help="Report to write; - prints it alone.")
@click.option("--debug", is_flag=True, help="Show tracebacks.")
def time_dimension(
    folders: tuple[Path, ...],
    variants: tuple[str, ...],
    models: tuple[str, ...],
    leave_out: str,
    seeds: int,
    steps: int,
    json_file: Path | None,
    debug: bool,
) -> None:
    """Whether a flow's context, or the last flows of its source, tell unseen attacks.

    Models learn from some recordings, or from all campaigns but one tool's, and are tested on the
    rest. The threshold is the lowest that .1 % of benign flows reach which were not learned from
    either. All variants with all models and three seeds take hours on two cores.

    \b
    Example:
      python -m benchmarks time-dimension --variant own --variant context --seeds 1
    """
    try:
        views = [Variant.parse(name) for name in variants or _VARIANTS]
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--variant") from error
    if leave_out != "tools" and len(folders or _SESSIONS) == 1:
        raise click.UsageError("One recording cannot be left out: name another with --recording.")
    makers: dict[str, Model] = {
        "cnn-lstm": CnnLstm(steps),
        "random-forest": forest,
        "boosted-trees": boosted_trees,
    }
    chosen = {name: makers[name] for name in models or _MODELS}

    def work() -> None:
        flows = read(folders or _SESSIONS, progress_line)
        results = _measure(flows, views, chosen, range(seeds), leave_out)
        end_progress()
        text = json.dumps({"seeds": seeds, "steps": steps, "results": results}, indent=1) + "\n"
        if json_file == STDIN:
            sys.stdout.write(text)
            return
        if json_file is not None:
            write_atomically(json_file, text.encode())
        print(summary(results))

    run_command("benchmarks time-dimension", debug, work)


def _measure(
    flows: Flows,
    variants: Sequence[Variant],
    models: dict[str, Model],
    seeds: Sequence[int],
    leave_out: str,
) -> list[dict[str, Any]]:
    """One entry for each kind of trial, variant and model."""
    results = []
    for variant in variants:
        view = View(flows, variant)
        for name, model in models.items():
            by_kind: dict[str, list[dict[str, dict[str, Any]]]] = defaultdict(list)
            for seed in seeds:
                plans = [by_recording(flows)] if leave_out != "tools" else []
                plans += [by_tool(flows, seed)] if leave_out != "recordings" else []
                for plan in plans:
                    title = f"{variant.name}, {name}, seed {seed}"
                    for kind, trials in run(plan, view, model, seed, title).items():
                        by_kind[kind].append(trials)
            results += [
                {
                    "kind": kind,
                    "variant": variant.name,
                    "model": name,
                    "seeds": [
                        {"trials": trials, "sum": summed(trials.values())} for trials in runs
                    ],
                }
                for kind, runs in by_kind.items()
            ]
    return results


def run(
    plan: Plan, view: View, model: Model, seed: int, title: str
) -> dict[str, dict[str, dict[str, Any]]]:
    """Train and test; kind → trial → figures."""
    scores = {}
    rows = {}
    for number, fit in enumerate(plan.fits, start=1):
        progress_line(f"{title}: {number} of {len(plan.fits)}, {fit.name} ...")
        score = model(view, fit.train, seed)
        for part, members in fit.parts.items():
            rows[fit.name, part] = members
            scores[fit.name, part] = score(members)
    found: dict[str, dict[str, dict[str, Any]]] = defaultdict(dict)
    benign = view.flows.benign
    for trial in plan.trials:
        held = [scores[key][benign[rows[key]]] for key in trial.calibrated]
        limit = threshold(np.concatenate(held))
        found[trial.kind][trial.name] = judge(
            view.flows, rows[trial.tested], scores[trial.tested], limit
        )
    return found


def summary(results: Sequence[dict[str, Any]]) -> str:
    """A table for each kind of trial."""
    tables = []
    for kind in dict.fromkeys(result["kind"] for result in results):
        of_kind = [result for result in results if result["kind"] == kind]
        families = list(of_kind[0]["seeds"][0]["sum"]["families"])
        head = ("left out: " + kind, "model", "false alarms", "worst", "recall", "found", *families)
        tables.append(table(head, [_row(result, families) for result in of_kind], text_columns=2))
    return "\n\n".join(tables)


def _row(result: dict[str, Any], families: Sequence[str]) -> tuple[str, ...]:
    sums = [seed["sum"] for seed in result["seeds"]]

    def mean(key: str) -> float:
        return float(np.mean([each[key] for each in sums]))

    found = [each["found"] for each in sums]
    spread = f" ({min(found)} to {max(found)})" if min(found) < max(found) else ""
    return (
        result["variant"],
        result["model"],
        percent(mean("false_alarm_rate")),
        percent(max(each["worst_false_alarm_rate"] for each in sums)),
        percent(mean("recall")),
        f"{np.mean(found):.1f} of {sums[0]['campaigns']}{spread}",
        *(
            f"{np.mean([each['families'][name][0] for each in sums]):.1f}"
            f" of {sums[0]['families'][name][1]}"
            for name in families
        ),
    )
