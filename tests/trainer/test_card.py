"""MODEL_CARD.md."""

from __future__ import annotations

import re
import shlex

import pytest

from tests.trainer.runfigures import run_figures
from trainer.card import command_line, model_card


def test_the_card_has_what_a_card_needs() -> None:
    metrics = run_figures(packages={"numpy": "2.4.0"}, options={"epochs": 15})
    card = model_card(metrics)
    assert re.findall("^## (.*)$", card, re.MULTILINE) == [
        "Intended use",
        "Out of scope",
        "Data",
        "Training",
        "Evaluation",
        "Threshold",
        "Limits",
        "How to make it again",
        "Whose data",
    ]
    assert card.startswith("# Model card: cnn-lstm edge and boosted-trees\n")
    for text in ("ab" * 32, "upper bound", "IPv6", "profile cic2017", "numpy 2.4.0", "epochs: 15"):
        assert text in card
    assert "Sharafaldin" in card
    assert "highest F1 on the validation rows" in card


def test_tables_are_tables() -> None:
    """Every line of a table has as many cells as its header, whatever the labels hold."""
    metrics = run_figures()
    metrics["data"]["labels"]["odd | label\nof two lines"] = 3
    width = 0
    tables = 0
    for line in model_card(metrics).splitlines():
        if not line.startswith("|"):
            width = 0
            continue
        cells = len(re.findall(r"(?<!\\)\|", line))
        tables += not width
        width = width or cells
        assert cells == width, line
    assert tables == 5


def test_few_rows_make_no_percentage() -> None:
    lines = model_card(run_figures()).splitlines()
    rows = [
        line for line in lines if line.startswith(("| Heartbleed", "| exploit", "| web", "| DDoS"))
    ]
    # A line each among the data and the classes; families among the families.
    assert len(rows) == 6
    for line in rows:
        assert ("%" in line) == (line.startswith("| DDoS") and "600" not in line and "(" in line)
    assert any(" of 12 |" in line for line in rows)


def test_text_of_files_is_plain() -> None:
    card = model_card(run_figures())
    assert r"Web Attack - \<b\>XSS\</b\>" in card
    assert r"days/\<monday\>&.csv" in card


@pytest.mark.parametrize(
    ("layout", "cited"),
    [("MachineLearningCVE", (True, False)), ("improved", (True, True)), ("own", (False, False))],
)
def test_whoever_made_the_data_is_cited(layout: str, cited: tuple[bool, bool]) -> None:
    metrics = run_figures()
    metrics["data"]["layout"] = layout
    card = model_card(metrics)
    assert ("Sharafaldin" in card, "Error Prevalence" in card) == cited


def test_the_command_line() -> None:
    metrics = run_figures()
    words = shlex.split(command_line(metrics))
    assert words[0] == "edge-train"
    assert words[words.index("--data") + 1] == "days/<monday>&.csv"
    assert words[words.index("--seed") + 1] == "0"
    given = ["edge-train", "--data", "a b.csv"]
    assert command_line(metrics | {"command": given}) == "edge-train --data 'a b.csv'"
    assert command_line(metrics | {"command": "edge-train --data x"}) == "edge-train --data x"
    assert "    edge-train --data x\n" in model_card(metrics | {"command": "edge-train --data x"})
