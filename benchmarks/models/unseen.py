"""`python -m benchmarks unseen`: recordings that a model has never seen.

For each recording of the lab `edge-train` learns from the others, chooses its threshold on them,
and is measured on the one left out (`--test-data`). A label of a recording is a campaign, so the
recall by label says which campaigns were found: those with most of their flows flagged.
"""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from benchmarks.models.running import call
from benchmarks.tables import markdown
from edge_agent.console import run_command
from edge_agent.contract.files import write_atomically
from trainer.options import SeveralValues

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_SESSIONS: Final = Path(__file__).resolve().parents[1] / "lab" / "sessions"
_NAMES: Final = ("session-a", "session-b", "session-c")
_MODELS: Final = ("cnn-lstm", "random-forest", "boosted-trees")
_FEATURES: Final = ("own-gateway", "edge-gateway")


@click.command(
    "unseen", cls=SeveralValues, context_settings={"help_option_names": ["-h", "--help"]}
)
@click.option("--model", "models", multiple=True, default=_MODELS, metavar="NAME...")
@click.option("--features", multiple=True, default=_FEATURES, metavar="SET...", show_default=True)
@click.option("--max-far", default=0.001, show_default=True, help="As edge-train takes.")
@click.option("--seed", "seeds", multiple=True, type=int, default=(0,), metavar="SEED...")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="STEM",
    help="Write STEM.md and STEM.json.",
)
@click.option("--debug", is_flag=True, help="Show tracebacks instead of one sentence.")
def unseen(
    models: tuple[str, ...],
    features: tuple[str, ...],
    max_far: float,
    seeds: tuple[int, ...],
    output: Path | None,
    debug: bool,
) -> None:
    """Learn from all recordings of the lab but one, and detect in that one.

    \b
    Example:
      python -m benchmarks unseen --seed 0 1 2 -o benchmarks/results/unseen
    """  # noqa: D301

    def work() -> None:
        rows = []
        for name, seed, left_out in product(features, seeds, _NAMES):
            options = ("--features", name, "--model", *models)
            found = _measure(left_out, (*options, "--max-far", str(max_far)), seed)
            rows.append({"features": name, "seed": seed, "left_out": left_out, "models": found})
        text = report(rows, max_far)
        print(text)
        if output is not None:
            write_atomically(output.with_suffix(".md"), text.encode())
            write_atomically(
                output.with_suffix(".json"), (json.dumps(rows, indent=1) + "\n").encode()
            )

    run_command("benchmarks unseen", debug, work)


def _measure(left_out: str, options: Sequence[str], seed: int) -> dict[str, Any]:
    """Model → false-alarm rate, recall and campaigns on the recording left out."""
    captures = {name: str(_SESSIONS / name / "capture.pcap.gz") for name in _NAMES}
    with tempfile.TemporaryDirectory(prefix="edge-ids-unseen-") as folder:
        run = Path(folder) / "run"
        call(
            "edge-train",
            *("--data", *(path for name, path in captures.items() if name != left_out)),
            *("--test-data", captures[left_out]),
            *options,
            *("--seed", str(seed), "--output", str(run)),
        )
        cross = json.loads((run / "metrics.json").read_bytes())["cross"]["models"]
    return {name: _found(entry["test"]) for name, entry in cross.items()}


def _found(test: Mapping[str, Any]) -> dict[str, Any]:
    campaigns: Counter[str] = Counter()
    found: Counter[str] = Counter()
    for label, facts in test["per_class"].items():
        if label != "BENIGN":
            campaigns[facts["family"]] += 1
            found[facts["family"]] += 2 * facts["detected"] > facts["rows"]
    return {
        "false_alarm_rate": test["false_alarm_rate"],
        "confusion": test["confusion"],
        "recall": test["recall"],
        "campaigns": dict(campaigns),
        "found": dict(found),
    }


def report(rows: Sequence[Mapping[str, Any]], max_far: float) -> str:
    """Markdown: a line for each feature set, model and seed, over the recordings left out."""
    head = ["features", "model", "seed", "false-alarm rate (worst)", "flow recall", "found"]
    families = next(iter(rows[0]["models"].values()))["campaigns"]
    lines = [[*head, *families]]
    keys = dict.fromkeys((row["features"], row["seed"]) for row in rows)
    for name in rows[0]["models"]:
        for features, seed in keys:
            own = [
                row["models"][name]
                for row in rows
                if (row["features"], row["seed"]) == (features, seed)
            ]
            lines.append([features, name, str(seed), *_cells(own, list(families))])
    return "\n".join(
        [
            "# Recordings never seen",
            "",
            (
                "Learned from two recordings of the lab, measured on the third; all three ways"
                f" together. Threshold: at most {max_far:.1%} false alarms on validation rows of"
                " the two. Found: campaigns with most of their flows flagged."
            ),
            "",
            *markdown(lines),
            "",
        ]
    )


def _cells(own: Sequence[Mapping[str, Any]], families: Sequence[str]) -> list[str]:
    counts: Counter[str] = Counter()
    campaigns: Counter[str] = Counter()
    found: Counter[str] = Counter()
    for entry in own:
        counts.update(entry["confusion"])
        campaigns.update(entry["campaigns"])
        found.update(entry["found"])
    worst = max(entry["false_alarm_rate"] for entry in own)
    return [
        f"{counts['fp'] / (counts['fp'] + counts['tn']):.3%} ({worst:.3%})",
        f"{counts['tp'] / (counts['tp'] + counts['fn']):.1%}",
        f"{found.total()} of {campaigns.total()}",
        *(f"{found[family]}/{campaigns[family]}" for family in families),
    ]
