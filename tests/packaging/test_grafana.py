"""The dashboard asks for metrics that the agent exports, for all of them, in Grafana's shape."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

_FILE = Path(__file__).resolve().parents[2] / "firmware_configs" / "grafana" / "edge-ids.json"

# Each metric with its labels, as /metrics gives them out.
_METRICS: dict[str, frozenset[str]] = {
    "edge_ids_packets_total": frozenset(),
    "edge_ids_packets_dropped_total": frozenset({"interface"}),
    "edge_ids_frames_skipped_total": frozenset({"reason"}),
    "edge_ids_flows_total": frozenset(),
    "edge_ids_flows_flagged_total": frozenset(),
    "edge_ids_flows_skipped_total": frozenset(),
    "edge_ids_flows_evicted_total": frozenset({"kind"}),
    "edge_ids_incidents_total": frozenset(),
    "edge_ids_alerts_total": frozenset(),
    "edge_ids_alerts_dropped_total": frozenset(),
    "edge_ids_interface_outages_total": frozenset({"interface"}),
    "edge_ids_reloads_total": frozenset({"result"}),
    "process_cpu_seconds_total": frozenset(),
    "edge_ids_flows_open": frozenset(),
    "edge_ids_queue_rows": frozenset(),
    "edge_ids_incidents_open": frozenset(),
    "edge_ids_alerts_pending": frozenset(),
    "edge_ids_mqtt_connected": frozenset(),
    "edge_ids_interface_up": frozenset({"interface"}),
    "edge_ids_detection_enabled": frozenset(),
    "process_resident_memory_bytes": frozenset(),
    "process_start_time_seconds": frozenset(),
    "edge_ids_model_info": frozenset({"model", "fingerprint", "version"}),
    "edge_ids_verdict_delay_seconds_bucket": frozenset({"le"}),
}
# Prometheus adds it to whatever it scrapes.
_TARGET_LABELS = {"instance"}


@pytest.fixture(scope="module")
def dashboard() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(_FILE.read_text(encoding="utf-8"))
    return loaded


def queries(dashboard: dict[str, Any]) -> list[str]:
    found = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    variables = dashboard["templating"]["list"]
    return found + [item["definition"] for item in variables if item["type"] == "query"]


def metrics(query: str) -> set[str]:
    return set(re.findall(r"\b(?:edge_ids|process)_[a-z_]+\b", query))


def test_every_query_asks_for_a_metric_that_there_is(dashboard: dict[str, Any]) -> None:
    for query in queries(dashboard):
        assert metrics(query), query
        assert metrics(query) <= set(_METRICS), query


def test_every_metric_is_shown(dashboard: dict[str, Any]) -> None:
    assert set().union(*map(metrics, queries(dashboard))) == set(_METRICS)


def test_labels_that_are_grouped_by_or_shown_are_those_of_the_metric(
    dashboard: dict[str, Any],
) -> None:
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            query = target["expr"]
            named = set(re.findall(r"{{([a-z_]+)}}", target["legendFormat"]))
            named.update(*(part.split(", ") for part in re.findall(r"\bby \(([^)]+)\)", query)))
            known = set().union(*(_METRICS[name] for name in metrics(query)))
            assert named <= known | _TARGET_LABELS, query


def test_counters_are_shown_as_rates(dashboard: dict[str, Any]) -> None:
    """A counter itself says only how long the agent has been running."""
    for query in queries(dashboard):
        for name in metrics(query):
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
