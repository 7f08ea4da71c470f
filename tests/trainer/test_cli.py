"""`edge-train` from end to end, on tables made by hand."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from edge_agent.contract.runs import PARTS, Run, load_rows
from tests.trainer.flowfiles import Csv, cve, improved, labels_of
from trainer.cli import main
from trainer.models.base import FitSettings, Part
from trainer.models.registry import MODELS

if TYPE_CHECKING:
    from pathlib import Path

QUICK = ("--epochs", "2", "--batch-size", "32")


def train(*words: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = cve(labels_of(BENIGN=300, DDoS=60, Bot=40))
    made.set(0, "Flow Duration", "-1")
    made.set(1, "Idle Mean", "NaN")
    made.rows.append(made.rows[5])
    return made.write(tmp_path_factory.mktemp("data") / "flows.csv")


@pytest.fixture(scope="module")
def run(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of every model."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    words = ("--model", *MODELS, "--split", "random", "--ablation", *QUICK)
    result = train("--data", data, *words, "--output", folder)
    assert result.exit_code == 0, result.stderr
    lines = result.stdout.splitlines()
    assert lines[0].startswith("model")
    assert len([line for line in lines[1:] if not line.startswith("paper")]) == len(MODELS)
    assert "training on" not in result.stdout
    return folder


def metrics_of(run: Path) -> dict[str, Any]:
    metrics: dict[str, Any] = json.loads((run / "metrics.json").read_text())
    return metrics


def test_the_folder_is_complete(run: Path) -> None:
    files = {str(path.relative_to(run)) for path in run.rglob("*") if path.is_file()}
    plots = {name for name in files if name.startswith("plots/")}
    assert files - plots == {
        "run.json",
        "metrics.json",
        "report.html",
        "MODEL_CARD.md",
        "scaler.npy",
        "models/cnn-lstm.keras",
        "models/mlp.keras",
        "models/autoencoder.keras",
        "models/boosted-trees.txt",
        "models/random-forest.npz",
        "models/svm.npz",
        "rows/train.npz",
        "rows/calibration.npz",
        "rows/test.npz",
    }
    assert {f"plots/{name}.png" for name in ("accuracy", "loss", "roc", "precision-recall")} < plots
    assert {f"plots/confusion-{name}.png" for name in MODELS} < plots
    assert [path.name for path in run.parent.iterdir()] == ["run"]


def test_every_saved_model_scores_as_it_was_judged(run: Path) -> None:
    opened = Run.open(run)
    rows = load_rows(run, "test")
    part = Part(rows.raw, opened.scaler.bins(rows.raw), rows.label, rows.family)
    metrics = metrics_of(run)
    for name, model in opened.models.items():
        settings = FitSettings(model.size, 1, 32, 0, families=opened.families)
        loaded = MODELS[name].load(run / model.file, settings)
        flagged = loaded.scores(part) >= model.threshold
        counts = metrics["models"][name]["test"]["confusion"]
        assert int(flagged[rows.label == 1].sum()) == counts["tp"], name
        assert int(flagged[rows.label == 0].sum()) == counts["fp"], name


def test_the_folder_opens_by_its_contract(run: Path) -> None:
    opened = Run.open(run)
    assert (opened.profile.name, opened.feature_set) == ("cic2017", "paper78")
    assert len(opened.features) == opened.scaler.n_features == 78
    assert opened.models["cnn-lstm"].size == "edge"
    assert opened.models["cnn-lstm"].convertible
    assert not opened.models["boosted-trees"].convertible
    assert opened.provenance["seed"] == 0
    assert opened.provenance["packages"]["tensorflow"]
    assert opened.families == ("ddos", "botnet")
    metrics = metrics_of(run)
    for name, model in opened.models.items():
        assert (run / model.file).is_file()
        assert model.threshold == metrics["models"][name]["threshold"]
    for part in PARTS:
        rows = load_rows(run, part)
        assert rows.raw.dtype == np.float32
        assert rows.label.dtype == np.uint8
        assert rows.raw.shape == (len(rows.label), 78)
        assert np.isfinite(rows.raw).all()
        assert set(rows.family[rows.label == 1].tolist()) == {1, 2}
        assert not rows.family[rows.label == 0].any()
        assert set(rows.label.tolist()) == {0, 1}


def test_metrics(run: Path) -> None:
    metrics = metrics_of(run)
    data = metrics["data"]
    assert data["rows_read"] == 401
    assert +Counter(data["dropped"]) == {
        "negative duration": 1,
        "NaN or Infinity outside the rates of a flow without duration": 1,
    }
    assert data["rows"] == 399
    assert data["duplicates"] == 1
    assert data["labels"] == {"BENIGN": 299, "Botnet": 40, "DDoS": 60}
    assert sum(part["rows"] for part in data["parts"].values()) == 399
    assert len(data["files"][0]["sha256"]) == 64
    assert (metrics["seed"], metrics["split"]) == (0, "random")
    for entry in metrics["models"].values():
        test = entry["test"]
        assert test["rows"] == data["parts"]["test"]["rows"]
        assert sum(test["confusion"].values()) == test["rows"]
        counts = test["confusion"]
        assert test["false_alarm_rate"] == counts["fp"] / (counts["fp"] + counts["tn"])
        assert {name: facts["rows"] for name, facts in test["per_class"].items()} == data["parts"][
            "test"
        ]["labels"]
        assert test["per_class"]["Botnet"]["family"] == "botnet"
        low, high = test["intervals"]["f1"]
        assert low <= test["f1"] <= high
    assert {"naming", "roc_auc"} < metrics["models"]["cnn-lstm"]["test"].keys()
    left_out = metrics["ablation"]["left_out"]
    assert "Destination Port" in left_out
    assert metrics["ablation"]["models"].keys() == metrics["models"].keys()
    assert metrics["interrupted"] is False


def test_the_report_stands_alone(run: Path) -> None:
    page = (run / "report.html").read_text()
    plots = list((run / "plots").iterdir())
    assert page.count("data:image/png;base64,") == len(plots)
    assert not re.search(r"https?:", page)
    assert "cnn-lstm edge" in page
    assert "negative duration" in page


def test_plots_are_images(run: Path) -> None:
    for path in (run / "plots").iterdir():
        assert path.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")


def test_equal_seeds_give_equal_metrics(data: Path, run: Path, tmp_path: Path) -> None:
    words = (*QUICK, "--split", "random", "--json", "--quiet", "--output", tmp_path / "again")
    result = train("--data", data, *words)
    assert result.exit_code == 0, result.stderr
    assert result.stderr == ""
    printed = json.loads(result.stdout)
    assert printed == metrics_of(tmp_path / "again")
    first = metrics_of(run)
    assert printed["data"] == first["data"]
    for key in ("test", "validation", "threshold"):
        assert printed["models"]["cnn-lstm"][key] == first["models"]["cnn-lstm"][key]


def test_several_splits_and_other_data(tmp_path: Path) -> None:
    labels = labels_of(BENIGN=3, DDoS=1) * 50
    path = improved(labels).write(tmp_path / "a.csv")
    other = improved(labels_of(BENIGN=30, Portscan=9), seed=5).write(tmp_path / "b.csv")
    result = train(
        *("--data", path, "--test-data", other, "--model", "boosted-trees", "--one-hot"),
        *("--split", "time", "group", "random", "--max-far", "0.5", "--output", tmp_path / "run"),
    )
    assert result.exit_code == 0, result.stderr
    metrics = metrics_of(tmp_path / "run")
    assert metrics["split"] == "time"
    assert metrics["splits"].keys() == {"group", "random"}
    for block in metrics["splits"].values():
        assert block["models"]["boosted-trees"]["test"]["rows"]
    assert metrics["data"]["feature_set"] == "edge-improved"
    assert metrics["cross"]["models"]["boosted-trees"]["test"]["rows"] == 39
    entry = metrics["models"]["boosted-trees"]
    assert entry["validation"]["false_alarm_rate"] <= 0.5
    assert "50" in entry["threshold_rule"]
    names = [feature.name for feature in Run.open(tmp_path / "run").features]
    assert names[-2:] == ["Protocol=6", "Protocol=17"]
    page = (tmp_path / "run" / "report.html").read_text()
    assert "On other data" in page
    assert "Other splits" in page


def test_a_split_that_cannot_be_dealt_is_told_before_anything_is_fitted(
    data: Path, tmp_path: Path
) -> None:
    words = ("--data", data, "--model", "boosted-trees", "--split", "dedup", "time")
    assert "no time" in refused(tmp_path, *words)


def test_a_search_decides_the_hyper_parameters(data: Path, tmp_path: Path) -> None:
    space = tmp_path / "space.toml"
    space.write_text('method = "grid"\n[space]\nrounds = [1, 40]\n')
    words = ("--data", data, "--model", "boosted-trees", "--search", space)
    result = train(*words, "--output", tmp_path / "run")
    assert result.exit_code == 0, result.stderr
    search = metrics_of(tmp_path / "run")["search"]
    assert [trial["parameters"] for trial in search["trials"]] == [{"rounds": 1}, {"rounds": 40}]
    assert search["best"] in ({"rounds": 1}, {"rounds": 40})
    assert "Search" in (tmp_path / "run" / "report.html").read_text()
    space.write_text('method = "grid"\n[space]\nronds = [1, 40]\n')
    message = refused(tmp_path, *words, "--force")
    assert "ronds" in message
    assert "rounds" in message


def test_a_folder_and_several_files_after_one_flag(data: Path, tmp_path: Path) -> None:
    second = cve(labels_of(BENIGN=40, DDoS=30), seed=9).write(tmp_path / "b.csv")
    common = ("--model", "boosted-trees", "--quiet", "--json")
    one = train("--data", data, second, *common, "--output", tmp_path / "one")
    other = train("--data", data, "--data", tmp_path, *common, "--output", tmp_path / "other")
    assert one.exit_code == other.exit_code == 0
    assert json.loads(one.stdout)["data"] == json.loads(other.stdout)["data"]
    assert json.loads(one.stdout)["data"]["rows_read"] == 471


def refused(folder: Path, *words: object, code: int = 1) -> str:
    """The one sentence of a command that must fail and leave nothing behind."""
    before = sorted(folder.iterdir())
    result = train(*words, "--output", folder / "run")
    assert result.exit_code == code, result.stderr
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    assert sorted(folder.iterdir()) == before
    last: str = result.stderr.splitlines()[-1]
    if code == 1:
        assert last.startswith("edge-train: error: ")
        assert last.endswith(".")
    return last


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (cve(labels_of(BENIGN=30)), "holds only BENIGN rows"),
        (cve(labels_of(DDoS=30)), "holds only attacks"),
        (Csv(["a", "b"], [["1", "2"]]), "no flow table of a known layout"),
        (cve([]), "holds no labelled flow"),
    ],
)
def test_bad_tables(tmp_path: Path, made: Csv, words: str) -> None:
    path = made.write(tmp_path / "bad.csv")
    message = refused(tmp_path, "--data", path)
    assert words in message
    assert str(path) in message


def test_mixed_layouts(tmp_path: Path) -> None:
    one = cve(labels_of(BENIGN=3)).write(tmp_path / "a.csv")
    other = improved(labels_of(BENIGN=3)).write(tmp_path / "b.csv")
    message = refused(tmp_path, "--data", one, other)
    assert str(one) in message
    assert str(other) in message
    assert "one layout at a time" in message


def test_another_profile_than_the_tables(tmp_path: Path) -> None:
    path = cve(labels_of(BENIGN=3)).write(tmp_path / "a.csv")
    assert "--profile cic2017" in refused(tmp_path, "--data", path, "--profile", "improved")


def test_a_missing_file(tmp_path: Path) -> None:
    assert "does not exist" in refused(tmp_path, "--data", tmp_path / "none.csv")


def test_an_empty_folder(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "holds no table" in refused(tmp_path, "--data", tmp_path / "empty")


def test_labels_without_a_capture(data: Path, tmp_path: Path) -> None:
    truth = tmp_path / "truth.json"
    assert "is no file that exists" in refused(tmp_path, "--data", data, "--labels", truth)
    truth.write_text("{}")
    message = refused(tmp_path, "--data", data, "--labels", truth)
    assert "given for 0 captures" in message


def test_usage_errors(data: Path, tmp_path: Path) -> None:
    assert "edge40" in refused(tmp_path, "--data", data, "--features", "edge-improved", code=2)
    refused(tmp_path, "--data", data, "--model", "oracle", code=2)
    refused(tmp_path, "--data", data, "--epochs", "0", code=2)
    refused(tmp_path, code=2)


def test_a_full_output_folder_is_refused_before_reading(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "file").write_text("")
    result = train("--data", tmp_path / "none.csv", "--output", tmp_path / "run")
    assert result.exit_code == 1
    assert "--force" in result.stderr


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    result = train("--data", tmp_path / "none.csv", "--debug", "--output", tmp_path / "run")
    assert result.exception is not None
    assert "does not exist" in str(result.exception)


def test_help_and_version_do_not_wait_for_tensorflow() -> None:
    code = (
        "import sys\n"
        "from click.testing import CliRunner\n"
        "from trainer.cli import main\n"
        "for word in ('--help', '--version'):\n"
        "    result = CliRunner().invoke(main, [word])\n"
        "    assert result.exit_code == 0\n"
        "    print(result.output)\n"
        "assert not {'tensorflow', 'matplotlib', 'polars'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Examples:" in done.stdout
