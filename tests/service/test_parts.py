"""Logs, metrics and messages to the service manager, each by itself."""

from __future__ import annotations

import io
import json
import logging
import os
from typing import TYPE_CHECKING

import numpy as np
import pytest

from edge_agent.alerting.incidents import IncidentLimits
from edge_agent.service.logs import JsonFormat, RateLimit, TextFormat, open_log
from edge_agent.service.metrics import Histogram, Metric
from edge_agent.service.notify import Notifier

if TYPE_CHECKING:
    from collections.abc import Iterator


def record(line: int = 1, text: str = "x", level: int = logging.WARNING) -> logging.LogRecord:
    return logging.LogRecord("edge_agent.x", level, "file.py", line, text, (), None)


def test_what_repeats_is_cut_and_counted() -> None:
    now_s = 100.0
    limit = RateLimit(2, lambda: now_s)
    assert [limit.filter(record()) for _ in range(5)] == [True, True, False, False, False]
    # Another place in the code has lines of its own.
    assert limit.filter(record(line=2))
    now_s = 161.0
    after = record()
    assert limit.filter(after)
    assert "(and 3 like it before, not written)" in TextFormat(journal=False).format(after)
    assert json.loads(JsonFormat().format(after))["repeats"] == 3


def test_the_journal_gets_a_priority_before_every_line() -> None:
    text = TextFormat(journal=True).format(record(text="one\ntwo", level=logging.ERROR))
    assert text == "<3>one\n<3>two"


def test_a_line_of_json_is_one_line_whatever_is_in_it() -> None:
    text = JsonFormat().format(record(text='a "quote"\nand µ'))
    assert "\n" not in text
    line = json.loads(text)
    assert (line["level"], line["message"]) == ("warning", 'a "quote"\nand µ')


@pytest.fixture
def closed_log() -> Iterator[None]:
    """Leaves the package's log as it was."""
    log = logging.getLogger("edge_agent")
    former = (list(log.handlers), log.level, log.propagate)
    yield
    log.handlers[:], log.level, log.propagate = former


@pytest.mark.usefixtures("closed_log")
def test_a_log_that_is_opened_again_replaces_itself() -> None:
    first, second = io.StringIO(), io.StringIO()
    open_log("info", "text", 10, journal=False, stream=first)
    open_log("warning", "json", 10, journal=False, stream=second)
    log = logging.getLogger("edge_agent.somewhere")
    log.info("not wanted")
    log.warning("wanted")
    assert first.getvalue() == ""
    assert [json.loads(line)["message"] for line in second.getvalue().splitlines()] == ["wanted"]


def test_a_metric_is_written_as_prometheus_reads_it() -> None:
    metric = Metric.by("a_total", "counter", "Help.", "name", {'say "hi"\\\n': 2.5, "plain": 3})
    assert metric.text() == (
        "# HELP a_total Help.\n# TYPE a_total counter\n"
        'a_total{name="say \\"hi\\"\\\\\\n"} 2.5\na_total{name="plain"} 3\n'
    )


def test_a_histogram_counts_cumulatively_and_knows_its_quantiles() -> None:
    histogram = Histogram([0.1, 1.0])
    assert histogram.quantile_s(0.5) is None
    histogram.add(np.array([0.05, 0.1, 0.5, 7.0]))
    lines = histogram.metric("d_seconds", "Delay.").text().splitlines()[2:]
    assert lines == [
        'd_seconds_bucket{le="0.1"} 2',
        'd_seconds_bucket{le="1"} 3',
        'd_seconds_bucket{le="+Inf"} 4',
        "d_seconds_sum 7.65",
        "d_seconds_count 4",
    ]
    assert histogram.quantile_s(0.5) == 0.1
    assert histogram.quantile_s(0.75) == 1.0
    # Beyond the last bound nothing is known.
    assert histogram.quantile_s(0.99) is None


def test_without_a_service_manager_nothing_is_said() -> None:
    notifier = Notifier({})
    notifier.ready("x")
    notifier.alive()
    assert notifier.watchdog_s == 0


def test_a_watchdog_that_is_meant_for_another_process_is_not_ours() -> None:
    assert (
        Notifier({"WATCHDOG_USEC": "2000000", "WATCHDOG_PID": str(os.getpid() + 1)}).watchdog_s == 0
    )
    assert Notifier({"WATCHDOG_USEC": "2000000"}).watchdog_s == 2


def test_limits_can_be_adjusted_while_incidents_are_open() -> None:
    from edge_agent.alerting.incidents import IncidentTable, Verdict

    def flagged(time_us: int) -> Verdict:
        return Verdict(time_us, time_us, "10.0.0.9", "10.0.0.1", 80, 6, 0.9, "scan", True)

    table = IncidentTable(IncidentLimits(min_flows=3), "node", "old")
    second_us = 1_000_000
    begun = table.add([flagged(second_us)] * 3, second_us)
    assert [alert.event for alert in begun] == ["new"]
    assert table.alerting_sources() == {"10.0.0.9"}
    table.adjust(IncidentLimits(quiet_s=5.0), "new")
    assert table.alerting_sources() == {"10.0.0.9"}
    ended = table.tick(7 * second_us)
    assert [(alert.event, alert.id) for alert in ended] == [("end", begun[0].id)]
    assert table.alerting_sources() == frozenset()
