"""What `metrics.json` and the model file say about data and circumstances."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timezone
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from edge_agent import __version__
from trainer.datasets.splits import PART_NAMES

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from trainer.datasets.flows import FlowTable
    from trainer.datasets.splits import Split
    from trainer.task import Options

_PACKAGES: Final = (
    "edge-ids",
    "tensorflow",
    "tf-keras",
    "scikit-learn",
    "lightgbm",
    "optuna",
    "numpy",
)
# Paths are nobody's business on a gateway; the others say nothing about the result.
_UNTOLD: Final = ("data", "labels", "test_data", "test_labels", "output", "force", "resume")


def table_facts(table: FlowTable) -> dict[str, Any]:
    """Where rows came from, and what became of them."""
    return {
        "layout": table.layout,
        "profile": table.profile,
        "files": [
            # The file travels to gateways inside the model: the digest says which data it was, and
            # two names are enough for people; where a workstation keeps it is nobody's business.
            {"path": "/".join(file.path.parts[-2:]), "sha256": file.sha256, "rows": file.rows}
            for file in table.files
        ],
        "rows_read": sum(file.rows for file in table.files),
        "rows": len(table),
        "dropped": dict(table.dropped),
        "changed": dict(table.changed),
        "labels": _counts(table, table.label),
        "families": _family_counts(table),
        **_attack_sources(table),
    }


def _attack_sources(table: FlowTable) -> dict[str, int]:
    """How many addresses attack: few of them teach who attacks, not what an attack is."""
    hosts = np.unique(table.host[table.label > 0])
    return {} if (hosts < 0).any() else {"attack_sources": len(hosts)}


def data_facts(dealt: Split, features: str) -> dict[str, Any]:
    """The `data` of `metrics.json`."""
    table = dealt.table
    return table_facts(table) | {
        "feature_set": features,
        "duplicates": dealt.duplicates,
        "group_by": dealt.group_by,
        "ambiguous_vectors": dealt.ambiguous,
        "parts": {
            name: {
                "rows": int((dealt.part == number).sum()),
                "labels": _counts(table, table.label[dealt.part == number]),
            }
            for number, name in enumerate(PART_NAMES)
        },
    }


def _counts(table: FlowTable, label: NDArray[np.int16]) -> dict[str, int]:
    counts = np.bincount(label, minlength=len(table.labels)).tolist()
    return {name: rows for name, rows in zip(table.labels, counts, strict=True) if rows}


def _family_counts(table: FlowTable) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for label, rows in _counts(table, table.label).items():
        counts[table.families[label]] += rows
    return dict(counts)


def told_options(options: Options) -> dict[str, Any]:
    """The options as a model file may tell them."""
    return {
        name: str(value.name) if name == "search" and value else value
        for name in options.__slots__
        if name not in _UNTOLD
        for value in [getattr(options, name)]
    }


def provenance(options: Options, facts: dict[str, Any]) -> dict[str, Any]:
    """What `run.json` and the model file say of a run."""
    return {
        "command": "edge-train",
        "version": __version__,
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "options": told_options(options),
        "data": {
            key: facts[key] for key in ("layout", "files", "rows_read", "rows", "dropped", "labels")
        },
        "split": options.splits[0],
        "seed": options.seed,
        "packages": packages(),
    }


def packages() -> dict[str, str]:
    """Versions of what the figures depend on."""
    return {name: version(name) for name in _PACKAGES}
