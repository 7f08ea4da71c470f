"""The dashboard asks for metrics that the agent exports, for all of them, in Grafana's shape."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from edge_agent.capture.live import InterfaceCounts
from edge_agent.service.status import Delays, Status, metrics

_FILE = Path(__file__).resolve().parents[2] / "firmware_configs" / "grafana" / "edge-ids.json"

# Prometheus adds it to whatever it scrapes.
_TARGET_LABELS = {"instance"}


@pytest.fixture(scope="module")
def exported() -> dict[str, set[str]]:
    """Each name that /metrics gives out, with its labels."""
    status = Status(
        interfaces={"eth0": InterfaceCounts()},
        meter={},
        flows_open=0,
        queue_rows=0,
        flows=0,
        flagged=0,
        skipped=0,
        skipped_alerting=0,
        ignored=0,
        incidents=0,
        incidents_open=0,
        alerts=0,
        alerts_pending=0,
        alerts_dropped=0,
        connected=True,
        detecting=True,
        reloads={"taken": 0},
        model="cnn-lstm",
        fingerprint="0",
    )
    found: dict[str, set[str]] = {}
    for metric in metrics(status, Delays(), 0.0):
        for suffix, labels, _ in metric.samples:
            found.setdefault(metric.name + suffix, set()).update(labels)
    return found


@pytest.fixture(scope="module")
def dashboard() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(_FILE.read_text(encoding="utf-8"))
    return loaded


def queries(dashboard: dict[str, Any]) -> list[str]:
    found = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    variables = dashboard["templating"]["list"]
    return found + [item["definition"] for item in variables if item["type"] == "query"]


def asked_for(query: str) -> set[str]:
    return set(re.findall(r"\b(?:edge_ids|process)_[a-z_]+\b", query))


def test_every_query_asks_for_a_metric_that_there_is(
    dashboard: dict[str, Any], exported: dict[str, set[str]]
) -> None:
    for query in queries(dashboard):
        assert asked_for(query), query
        assert asked_for(query) <= set(exported), query


def test_every_metric_is_shown(dashboard: dict[str, Any], exported: dict[str, set[str]]) -> None:
    # Of a histogram, quantiles are shown; they need the buckets alone.
    wanted = {name for name in exported if not name.endswith(("_sum", "_count"))}
    assert set().union(*map(asked_for, queries(dashboard))) == wanted


def test_labels_that_are_grouped_by_or_shown_are_those_of_the_metric(
    dashboard: dict[str, Any], exported: dict[str, set[str]]
) -> None:
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            query = target["expr"]
            named = set(re.findall(r"{{([a-z_]+)}}", target["legendFormat"]))
            named.update(*(part.split(", ") for part in re.findall(r"\bby \(([^)]+)\)", query)))
            known = set().union(*(exported[name] for name in asked_for(query)))
            assert named <= known | _TARGET_LABELS, query


def test_counters_are_shown_as_rates(dashboard: dict[str, Any]) -> None:
    """A counter itself says only how long the agent has been running."""
    for query in queries(dashboard):
        for name in asked_for(query):
            if name.endswith(("_total", "_bucket")):
                assert re.search(rf"\b(?:rate|increase)\({name}{{", query), query


def test_queries_are_balanced_and_confined_to_the_chosen_gateways(
    dashboard: dict[str, Any],
) -> None:
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            query = target["expr"]
            for left, right in ("()", "{}", "[]"):
                assert query.count(left) == query.count(right), query
            assert query.count('{instance=~"$instance"}') == len(
                re.findall(r"\b(?:edge_ids|process)_[a-z_]+{", query)
            )


def test_panels_have_what_grafana_needs_and_do_not_overlap(dashboard: dict[str, Any]) -> None:
    panels = dashboard["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    cells: set[tuple[int, int]] = set()
    for panel in panels:
        assert panel["type"] in {"stat", "table", "timeseries"}
        assert panel["title"]
        assert panel["description"]
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        own = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & own, panel["title"]
        cells |= own
        references = [target["refId"] for target in panel["targets"]]
        assert len(set(references)) == len(references)
