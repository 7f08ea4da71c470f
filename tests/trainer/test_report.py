"""`report.html`: whole, self-contained, and honest about few rows."""

from __future__ import annotations

import copy
import re
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest

from edge_agent.contract.features import FEATURE_SETS
from tests.trainer.runfigures import FAMILIES, LABELS, entry, outputs, run_figures, truth
from trainer.evaluate import Truth, evaluate
from trainer.report import page, results_table
from trainer.report.caveats import chosen_model, meaning, verdict
from trainer.report.document import alt_text
from trainer.report.summary import aligned
from trainer.report.wording import count, decimal, percent, percent_range

PNG = b"\x89PNG\r\n\x1a\n"
VOID = {"meta", "img", "br", "link", "hr", "input"}


class Checker(HTMLParser):
    """Tags that balance, what is loaded, ids and links, and the text of every table row."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.loaded: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.headings: list[int] = []
        self.alts: list[str] = []
        self.rows: list[list[str]] = []
        self.widths: list[list[int]] = []
        self.tags: set[str] = set()
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.tags.add(tag)
        if tag not in VOID:
            self.open.append(tag)
        self.loaded += [str(given[name]) for name in ("src", "srcset", "data") if name in given]
        if "id" in given:
            self.ids.append(str(given["id"]))
        if tag == "a":
            self.links.append(str(given["href"]))
        if tag == "img":
            self.alts.append(str(given["alt"]))
        if re.fullmatch("h[1-6]", tag):
            self.headings.append(int(tag[1]))
        if tag == "table":
            self.widths.append([])
        if tag == "tr":
            self.rows.append([])
            self.widths[-1].append(0)
        if tag in ("td", "th"):
            self.rows[-1].append("")
            self.widths[-1][-1] += 1

    def handle_endtag(self, tag: str) -> None:
        assert self.open
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if {"td", "th"} & set(self.open):
            self.rows[-1][-1] += data


def full_run() -> dict[str, Any]:
    """A run with every block a report may have."""
    other = {"models": {"cnn-lstm": entry(7), "boosted-trees": entry(8)}}
    metrics = run_figures(
        splits={"random": other, "dedup": other},
        ablation={"left_out": ["Destination Port"], **other},
        cross={"data": "<other> days", **other},
        search=[
            {"parameters": {"rate": 0.001}, "f1": 0.91},
            {"parameters": {"rate": 0.003, "filters": [32, 64]}, "f1": 0.95},
        ],
        traffic={"flows_per_hour": 2500, "attack_share": 0.001},
        options={"epochs": 3},
    )
    metrics["models"]["boosted-trees"]["importance"] = [
        {"columns": ["Destination Port"], "drop": 0.2, "spread": 0.01}
    ]
    return metrics


@pytest.fixture(scope="module")
def full() -> dict[str, Any]:
    return full_run()


@pytest.fixture(scope="module")
def shown(full: dict[str, Any]) -> str:
    return page(full, {"loss": PNG, "roc": PNG, "confusion-cnn-lstm": PNG})


def test_the_page_is_whole(shown: str) -> None:
    checked = Checker(shown)
    assert checked.open == []
    assert checked.headings[0] == 1
    assert checked.headings.count(1) == 1
    # No level is skipped on the way down.
    pairs = zip(checked.headings, checked.headings[1:], strict=False)
    assert all(below <= above + 1 for above, below in pairs)
    assert len(checked.ids) == len(set(checked.ids))
    assert {link.removeprefix("#") for link in checked.links} == set(checked.ids)
    # A row has as many cells as the header above it.
    assert len(checked.widths) > 10
    assert all(len(set(widths)) == 1 for widths in checked.widths)


def test_the_page_needs_nothing_else(shown: str) -> None:
    checked = Checker(shown)
    assert len(checked.loaded) == 3
    assert all(item.startswith("data:image/png;base64,") for item in checked.loaded)
    assert not re.search(r"https?:|url\(|@import|<script|<link", shown)
    assert all(alt and alt != "None" for alt in checked.alts)
    assert "cnn-lstm: confusion matrix of the test rows" in checked.alts


def test_what_comes_from_files_is_escaped(shown: str) -> None:
    assert "b" not in Checker(shown).tags
    assert "Web Attack - &lt;b&gt;XSS&lt;/b&gt;" in shown
    assert "days/&lt;monday&gt;&amp;.csv" in shown
    assert "&lt;other&gt; days" in shown


def test_few_rows_make_no_percentage(shown: str, full: dict[str, Any]) -> None:
    few = [
        label
        for label in LABELS
        if full["models"]["cnn-lstm"]["test"]["per_class"][label]["rows"] < 50
    ]
    assert few == ["Web Attack - <b>XSS</b>", "Heartbleed"]
    names = {*few, *(FAMILIES[label] for label in few)}
    flagged = 0
    for row in Checker(shown).rows:
        if row[0] in names and " of " in "".join(row):
            flagged += 1
            assert "%" not in "".join(row)
        elif row[0] in ("DDoS", "ddos") and len(row) > 3:
            assert "%" in "".join(row)
    # By class, by family, and named.
    assert flagged == 6


def test_every_block_is_shown(shown: str, full: dict[str, Any]) -> None:
    rows = Checker(shown).rows
    assert ["model", "split", "F1", "recall", "false-alarm rate", "average precision"] in rows
    assert [row[1] for row in rows if row[0] == "cnn-lstm edge" and row[1:2] == ["random"]]
    assert any(row[:2] == ["boosted-trees", "without"] for row in rows)
    assert any(row[:2] == ["boosted-trees", "other data"] for row in rows)
    # The best trial first.
    trials = rows[rows.index(["place", "rate", "filters", "f1"]) + 1 :]
    assert trials[0] == ["1", "0.003", "32, 64", "0.95"]
    assert trials[1] == ["2", "0.001", "–", "0.91"]
    assert ["negative duration", "7"] in rows
    assert not any(row[0] == "value beyond float32" for row in rows)
    assert ["epochs", "3"] in rows
    assert "2,500 benign flows an hour" in shown
    assert full["data"]["files"][0]["sha256"] in shown


def test_a_plain_run_has_only_its_own_sections() -> None:
    text = page(run_figures(), {})
    ids = Checker(text).ids
    assert "models" in ids
    assert not {"splits", "ablation", "cross", "search", "plots"} & set(ids)


def test_the_page_is_the_same_every_time(full: dict[str, Any], shown: str) -> None:
    assert page(full_run(), {"loss": PNG, "roc": PNG, "confusion-cnn-lstm": PNG}) == shown


def test_the_verdict_in_words() -> None:
    metrics = run_figures()
    test = metrics["models"]["boosted-trees"]["test"]
    counts = test["confusion"]
    first, second, last = verdict(metrics)
    assert first.startswith(
        "Of the 2 models, boosted-trees did best on the validation rows. On the"
    )
    assert f"flags {counts['tp']} of 213 attack flows" in first
    assert f"and {counts['fp']} of 600 benign ones" in first
    assert "10,000 benign flows an hour" in second
    daily = count(240_000 * test["false_alarm_rate"])
    assert f"flag {daily} benign flows a day" in second
    assert "upper bound" in last


def test_the_verdict_tells_what_came_of_harder_tests(full: dict[str, Any]) -> None:
    text = verdict(full)[-1]
    other = full["ablation"]["models"]["boosted-trees"]["test"]
    figures = (
        f"recall {percent(other['recall'])}, false-alarm rate {percent(other['false_alarm_rate'])}."
    )
    assert text == (
        f"boosted-trees elsewhere. On the dedup split: {figures} Trained again without the leaky"
        f" columns: {figures} On other data: {figures}"
    )


def test_test_rows_do_not_choose_the_model() -> None:
    models = {"a": entry(1), "b": entry(2)}
    models["a"]["validation"]["f1"], models["b"]["validation"]["f1"] = 0.9, 0.8
    models["a"]["test"]["f1"], models["b"]["test"]["f1"] = 0.1, 0.99
    assert chosen_model(models) == "a"
    # A threshold that is not what was asked for loses.
    models["a"]["threshold_met"] = False
    assert chosen_model(models) == "b"


def test_an_unmet_threshold_is_said_first() -> None:
    metrics = run_figures(models={"a": entry(1)})
    metrics["models"]["a"] |= {"threshold_met": False, "threshold_rule": "it was NOT MET"}
    assert "it was NOT MET" in verdict(metrics)[1]


@pytest.mark.parametrize(
    ("changes", "wanted", "unwanted"),
    [
        ({}, "one attacker's machine", "one source address"),
        ({"split": "dedup"}, "40 of 1,666 rows", "dealt like the others"),
        ({"layout": "extract of gateway", "attack_sources": 1}, "one source address", "CICIDS2017"),
        ({"layout": "extract of gateway", "attack_sources": 7}, "7 source addresses", "CICIDS2017"),
        ({"layout": "improved", "attempted": "benign"}, "count as benign", "61,000"),
        ({"layout": "improved", "attempted": "drop"}, "were left out", "61,000"),
        ({"feature_set": "edge40"}, "No column is used that is known", "Destination Port"),
        ({}, "Destination Port, Init_Win_bytes_forward", "leans most"),
        ({"duplicates": 0, "ambiguous_vectors": 0}, "IPv6", "every value of an earlier"),
    ],
)
def test_facts_choose_the_words(changes: dict[str, Any], wanted: str, unwanted: str) -> None:
    metrics = run_figures()
    for key, value in changes.items():
        (metrics if key in metrics else metrics["data"])[key] = value
    text = "\n".join(meaning(metrics))
    assert wanted in text
    assert unwanted not in text


def test_a_class_that_was_never_learned_is_named() -> None:
    metrics = copy.deepcopy(run_figures(split="time"))
    metrics["data"]["parts"]["train"]["labels"].pop("DDoS")
    metrics["data"]["parts"]["test"] = {"rows": 5, "labels": {"BENIGN": 1, "DDoS": 4}}
    assert "never learned from: DDoS." in "\n".join(meaning(metrics))
    assert "learned from the past" in verdict(metrics)[-1]


def test_a_model_that_leans_on_a_leak_is_named(full: dict[str, Any]) -> None:
    assert "Destination Port" in FEATURE_SETS["paper78"][1]
    text = "\n".join(meaning(full))
    assert "boosted-trees leans most on Destination Port, one of them." in text
    assert "Without the leaky columns" in text


def test_the_terminal_table() -> None:
    models = run_figures()["models"] | {"random-forest:bagged": entry(3)}
    plain = results_table(models)
    assert [line[0] for line in plain[1:]] == [
        "cnn-lstm edge",
        "boosted-trees",
        "random-forest:bagged",
    ]
    lines = aligned(results_table(models, paper=True))
    assert len({len(line) for line in lines}) == 1
    assert len(lines[0]) <= 100
    assert "\u00a0" not in "".join(lines)
    low, high = models["boosted-trees"]["test"]["intervals"]["f1"]
    assert f"({low:.4f}–{high:.4f})" in lines[2]
    assert [line.split("  ")[0] for line in lines[4:6]] == ["paper's claims", "paper's own matrix"]
    assert "0.9952" in lines[4]
    assert "0.14 %" in lines[4]
    assert "0.9897" in lines[5]
    assert "0.99595" in lines[5]
    assert "0.319 %" in lines[5]
    for line in lines[6:]:
        assert line.startswith("paper's ")
        assert "not at hand" in line
        assert not re.search("[0-9]", line)


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0, "0"),
        (1, "100"),
        (0.5, "50.00"),
        (0.99826, "99.83"),
        (0.99999, "99.999"),
        (0.00139, "0.139"),
        (0.0000123, "0.0012"),
    ],
)
def test_percentages_are_never_rounded_to_an_end(share: float, text: str) -> None:
    assert percent(share) == f"{text}\u00a0%"


def test_figures_are_never_rounded_to_one() -> None:
    assert decimal(0.99997) == "0.99997"
    assert decimal(1.0) == "1.0000"
    assert decimal(0.99634) == "0.9963"
    assert decimal(-0.25) == "-0.2500"
    assert percent_range((0.0, 0.0123)) == "0–1.23\u00a0%"
    assert [count(value) for value in (0, 0.03, 3.14, 12345.6)] == [
        "0",
        "below 0.1",
        "3.1",
        "12,346",
    ]


def test_names_of_plots() -> None:
    assert alt_text("roc").startswith("Recall over")
    assert alt_text("scores-cnn-lstm-paper") == "cnn-lstm-paper: scores of the test rows by family"
    assert alt_text("other") == "other"


def test_a_part_of_few_benign_rows_claims_no_rate() -> None:
    known = truth()
    kept = np.flatnonzero(known.target == 1)
    kept = np.concatenate([np.arange(20), kept])
    few = Truth(known.target[kept], known.label[kept], LABELS, FAMILIES)
    said = outputs(1)
    test = evaluate(type(said)(said.scores[kept]), few, 0.5)
    metrics = run_figures(models={"a": entry(1) | {"test": test}})
    assert "%" not in verdict(metrics)[0]
