"""What the workshop made, once per session."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from converters.child import Order, Product
from edge_agent.contract.bundle import Bundle
from edge_agent.contract.runs import Rows, Run, load_rows
from tests.converters.toy_run import NAME

if TYPE_CHECKING:
    from numpy.typing import NDArray


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

    def product(self, order: Order) -> Product:
        """What the child would bring back, without the child."""
        facts: dict[str, Any] = {
            "latency_us": {"1": {"p50": 9.0, "p99": 9.9}},
            "parameters": 7,
            "zero_share": 0.0,
        }
        return Product(
            flatbuffer=self.flatbuffer(order.form.value),
            test=self.scores("test")[:, None],
            train=self.scores("train")[:, None],
            facts=facts,
        )

    def family_product(self, order: Order) -> Product:
        """The same of the run with families."""
        return dataclasses.replace(
            self.product(order),
            flatbuffer=self.flatbuffer(f"families-{order.form.value}"),
            test=self.family_outputs("test"),
            train=self.family_outputs("train"),
        )


@pytest.fixture(scope="session")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    if importlib.util.find_spec("tensorflow") is None:
        pytest.skip("TensorFlow is not installed: needs edge-ids[train]")
    folder = tmp_path_factory.mktemp("workshop")
    done = subprocess.run(
        [sys.executable, "-m", "tests.converters.workshop", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return Workshop(folder)
