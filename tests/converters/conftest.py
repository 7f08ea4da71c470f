"""What the workshop made, once per session."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from converters import trials
from converters.child import Network, Order
from converters.formats import Format, Recurrence
from converters.request import Tools
from converters.trials import Place
from edge_agent.contract.bundle import Bundle
from edge_agent.contract.runs import Rows, Run, load_rows
from edge_agent.detect import timing
from edge_agent.detect.interpreter import load
from edge_agent.detect.trial import Trial, try_out
from tests.converters.toy_run import NAME

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from edge_agent.detect.interpreter import Predictor

PLACE = Place((), "ai-edge-litert")


@dataclass(frozen=True, slots=True)
class Workshop:
    """The folder that `workshop.py` filled."""

    folder: Path

    @property
    def run(self) -> Path:
        return self.folder / "run"

    @property
    def sentences(self) -> dict[str, str]:
        sentences: dict[str, str] = json.loads((self.folder / "sentences.json").read_bytes())
        return sentences

    @property
    def family_run(self) -> Path:
        return self.folder / "family-run"

    def flatbuffer(self, name: str) -> bytes:
        return (self.folder / f"{name}.tflite").read_bytes()

    def scores(self, name: str) -> NDArray[np.float32]:
        with np.load(self.folder / "scores.npz") as scores:
            return np.asarray(scores[name])

    def rows(self, part: str = "test") -> Rows:
        return load_rows(self.run, part)

    def family_outputs(self, part: str = "test") -> NDArray[np.float32]:
        with np.load(self.folder / "family-outputs.npz") as outputs:
            return np.asarray(outputs[part])

    def copied(self, tmp_path: Path) -> Path:
        """A copy of the run without families, to be broken."""
        return shutil.copytree(self.run, tmp_path / "run")

    def bundle(self, name: str) -> Bundle:
        run = Run.open(self.family_run if name.startswith("families") else self.run)
        return Bundle(
            flatbuffer=self.flatbuffer(name),
            profile=run.profile,
            features=run.features,
            scaler=run.scaler,
            threshold=run.models[NAME].threshold,
            threshold_rule=run.models[NAME].threshold_rule,
            families=run.families,
            name=name,
        )

    def tools(
        self,
        *,
        families: bool = False,
        load: Callable[[bytes], Predictor] = load,
        made: dict[Recurrence, str] | None = None,
    ) -> Tools:
        """Tools that make at once what the children would, and try it out in this process.

        Args:
            families: Whether they are for the run with families.
            load: Makes the interpreter of the trial.
            made: Name of the flatbuffer to give for a form of LSTM; else the format's own.
        """
        prefix = "families-" if families else ""

        def prepare(order: Order) -> Network:
            (order.folder / "network.keras").write_bytes(b"for the children only")
            both = {"full": 7, "converted": 7}
            facts: dict[str, Any] = {
                "latency_us": {"1": {"p50": 9.0, "p99": 9.9}},
                "parameters": both,
                "zero_share": 0.0,
                "recurrent": True,
                "versions": {"tensorflow": "0"},
            }
            test, train = self.scores("test")[:, None], self.scores("train")[:, None]
            if families:
                test, train = self.family_outputs("test"), self.family_outputs("train")
            width = self.rows().raw.shape[1]
            if families:
                width = load_rows(self.family_run, "test").raw.shape[1]
            return Network(order, tuple(range(width)), test, train, facts)

        def flatbuffer(
            network: Network, form: Format, recurrence: Recurrence, *, static: bool = False
        ) -> bytes:
            return self.flatbuffer((made or {}).get(recurrence, f"{prefix}{form.value}"))

        def try_in(place: Place, bundle: Bundle, rows: trials.Rows) -> Trial:
            return try_out(bundle, load(bundle.flatbuffer), rows.test, rows.train, str(place))

        return Tools(prepare, flatbuffer, lambda _: ([PLACE], {}), try_in)


@pytest.fixture(autouse=True)
def _short_timing(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test looks at how long something took: a few calls are enough."""
    monkeypatch.setattr(timing, "_BUDGET_S", 0.005)


@pytest.fixture(scope="session")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    return Workshop(_made("workshop", tmp_path_factory))


@pytest.fixture(scope="session")
def shrinking(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that `shrinking.py` filled."""
    return _made("shrinking", tmp_path_factory)


def _made(by: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    if importlib.util.find_spec("tensorflow") is None:
        pytest.skip("TensorFlow is not installed: needs edge-ids[train]")
    folder = tmp_path_factory.mktemp(by)
    done = subprocess.run(
        [sys.executable, "-m", f"tests.converters.{by}", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return folder
