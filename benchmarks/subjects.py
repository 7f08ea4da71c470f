"""What accuracy and latency are measured of: a run's full model, and the file made of it.

The file runs in every interpreter that is installed, through the agent's own detector. Interpreters
are loaded before TensorFlow, because tflite-runtime fails in a process that has TensorFlow already.
Where TensorFlow is missing, as on a gateway, the file is measured alone and the result says so.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from edge_agent.contract.bundle import Bundle, fingerprint
from edge_agent.contract.errors import InterpreterError, ModelFileError
from edge_agent.contract.runs import Run
from edge_agent.contract.scaling import Scaler, recompute_rates
from edge_agent.detect import interpreter
from edge_agent.detect.detector import Detector
from edge_agent.detect.judgement import Judgement

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

FULL: Final = "full"
"""What results call the full Keras model; the file goes by its interpreter's name."""

# Bounds the memory of one call; a quarter of the rows would do as well.
_SCORED_AT_ONCE: Final = 1024
_NO_TENSORFLOW: Final = (
    "TensorFlow is not installed; on the workstation: pip install 'edge-ids[train]'"
)
_PACKAGES: Final = ("numpy", *interpreter.RUNTIMES, "tensorflow", "tf-keras")


@dataclass(frozen=True, slots=True)
class FullModel:
    """The Keras model as it was trained, fed through the same scaler as the file.

    Attributes:
        run: Where it comes from.
        threshold: Scores at or above it are attacks.
        forward: Scaled rows, shape (n_flows, n_features), to outputs, shape (n_flows, 1) or
            (n_flows, 1 + n_families).
        to_tensor: Puts scaled rows where `forward` takes them from without a copy.
        families: What the outputs' columns behind the score are called.
    """

    run: Run
    threshold: float
    forward: Callable[[Any], Any]
    to_tensor: Callable[[NDArray[np.float32]], Any]
    families: tuple[str, ...] = ()

    def model_input(self, raw: NDArray[Any]) -> NDArray[np.float32]:
        """What the model is given for raw features."""
        return self.run.scaler.transform(self._with_rates(raw))

    def score(self, raw: NDArray[Any]) -> NDArray[np.float32]:
        """Score flows as `Detector.score` does; NaN where a row is not finite."""
        return self.judge(raw).scores

    def judge(self, raw: NDArray[Any]) -> Judgement:
        """Score flows and name families as `Detector.judge` does."""
        scaled = self.model_input(raw)
        parts = [
            np.asarray(self.forward(self.to_tensor(scaled[start : start + _SCORED_AT_ONCE])))
            for start in range(0, len(scaled), _SCORED_AT_ONCE)
        ]
        nothing = np.empty((0, 1 + len(self.families)), dtype=np.float32)
        outputs = np.concatenate([nothing, *parts])
        outputs[~np.isfinite(self._with_rates(raw)).all(axis=1)] = np.nan
        return Judgement.of(outputs, self.families)

    def is_attack(self, scores: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Whether scores reach the threshold; never for NaN."""
        attacks: NDArray[np.bool_] = scores >= np.float32(self.threshold)
        return attacks

    def _with_rates(self, raw: NDArray[Any]) -> NDArray[np.float64]:
        return recompute_rates(raw, [feature.name for feature in self.run.features])


@dataclass(frozen=True, slots=True)
class Installed:
    """The model file in one interpreter.

    Attributes:
        detector: With scaler and threshold.
        model: The model alone.
        columns: Places, among the run's columns, of those that it takes.
    """

    detector: Detector
    model: interpreter.Predictor
    columns: tuple[int, ...]

    def model_input(self, raw: NDArray[Any]) -> NDArray[Any]:
        """What the model is given for raw features of all columns of the run."""
        return self.detector.model_input(raw[:, self.columns])

    def judge(self, raw: NDArray[Any]) -> Judgement:
        """Score flows of all columns of the run, and name families."""
        return self.detector.judge(raw[:, self.columns])

    def is_attack(self, scores: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Whether scores reach the file's threshold; never for NaN."""
        return self.detector.is_attack(scores)


@dataclass(frozen=True, slots=True)
class Verdicts:
    """What one model says of flows.

    Attributes:
        attacks: Shape (n_flows,).
        families: The family of each, should it be an attack; None where the model names none.
    """

    attacks: NDArray[np.bool_]
    families: list[str] | None = None


@dataclass(frozen=True, slots=True)
class Subjects:
    """What is compared.

    Attributes:
        folder: The run folder.
        run: Its contents.
        file: The model file.
        bundle: Its contents.
        model: The full model's name in the run.
        installed: The file in each interpreter, by the interpreter's name.
        full: The full model; None where TensorFlow is missing.
        left_out: What could not be measured here → why.
    """

    folder: Path
    run: Run
    file: Path
    bundle: Bundle
    model: str
    installed: dict[str, Installed]
    full: FullModel | None
    left_out: dict[str, str]

    def verdicts(self, raw: NDArray[Any]) -> dict[str, Verdicts]:
        """Whether flows are attacks, and of which family, by every model there is, `FULL` first.

        Args:
            raw: Raw features of all columns of the run, in order, shape (n_flows, n_features).
        """
        judges: dict[str, FullModel | Installed] = {FULL: self.full} if self.full else {}
        judges |= self.installed
        verdicts = {}
        for name, judge in judges.items():
            judged = judge.judge(raw)
            families = judged.names() if judged.families else None
            verdicts[name] = Verdicts(judge.is_attack(judged.scores), families)
        return verdicts

    def facts(self) -> dict[str, Any]:
        """What was measured and on what, for the JSON."""
        return {
            "run": str(self.folder),
            "file": str(self.file),
            "model": self.model,
            "name": self.bundle.name,
            "machine": machine(),
            "left_out": self.left_out,
        }

    def title(self) -> str:
        """The same for people, with what is left out."""
        lines = [f"{self.file}: {self.bundle.name}, beside {self.model} of {self.folder}"]
        lines += [f"not measured: {name} ({why})" for name, why in self.left_out.items()]
        return "\n".join(lines)


def open_subjects(folder: Path, file: Path, *, threads: int | None = None) -> Subjects:
    """Open a run and a file that was made of it.

    Args:
        folder: The run folder.
        file: The model file.
        threads: Threads for TensorFlow; None leaves it to TensorFlow. Interpreters have one.

    Raises:
        RunError: The run folder is incomplete.
        ModelFileError: The file cannot be used, or was made of another run.
        InterpreterError: No interpreter that is installed can run the file.
    """
    run, bundle = Run.open(folder), Bundle.open(file)
    name = full_name(run, bundle, folder, file)
    installed, left_out = _load(bundle, columns(run, bundle))
    full = None
    if importlib.util.find_spec("tensorflow") is None:
        left_out[FULL] = _NO_TENSORFLOW
    else:
        full = load_full(run, folder, name, threads)
    return Subjects(folder, run, file, bundle, name, installed, full, left_out)


def full_name(run: Run, bundle: Bundle, folder: Path, file: Path) -> str:
    """The model of the run that a file was made of.

    Raises:
        ModelFileError: It was made of none of them: to such a file, this run's held-out rows may be
            rows that it learned from.
    """
    name = bundle.provenance.get("conversion", {}).get("model")
    # Files of before edge-convert noted the model are named after it and their format.
    name = name or bundle.name.rpartition(" ")[0]
    same = all(bundle.provenance.get(key) == value for key, value in run.provenance.items())
    if not same or name not in run.models or not _same_inputs(run, bundle):
        raise ModelFileError(
            file,
            f"was not converted from {folder}, so it may have learned from its held-out rows",
            remedy="give the run it was made of, or convert this one with edge-convert",
        )
    return str(name)


def _same_inputs(run: Run, bundle: Bundle) -> bool:
    """Whether a file takes columns of the run, scaled as the run scales them."""
    if not set(bundle.features) <= set(run.features):
        return False
    taken = list(columns(run, bundle))
    scaler = Scaler(run.scaler.kind, run.scaler.table[taken])
    return fingerprint(run.profile, bundle.features, scaler) == bundle.fingerprint


def columns(run: Run, bundle: Bundle) -> tuple[int, ...]:
    """Which of the run's columns a file takes, in its order; a shrunk one may take fewer."""
    places = {feature.name: place for place, feature in enumerate(run.features)}
    return tuple(places[feature.name] for feature in bundle.features)


def load_full(run: Run, folder: Path, name: str, threads: int | None) -> FullModel:
    """Load a run's Keras model; imports TensorFlow.

    Raises:
        RunError: Its file cannot be loaded.
    """
    from converters.worker import load_model

    # Before load_model imports TensorFlow: trainer's way holds back its chatter about GPUs.
    from trainer._tensorflow import tf

    if threads is not None:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(threads)
    trained = run.models[name]
    model = load_model(folder / trained.file)
    forward = tf.function(lambda rows: model(rows, training=False))
    families = run.families if model.output_shape[-1] > 1 else ()
    return FullModel(run, trained.threshold, forward, tf.constant, families)


def machine() -> dict[str, Any]:
    """What the figures depend on besides the models."""
    return {
        "architecture": platform.machine(),
        "cpus": os.cpu_count(),
        "python": platform.python_version(),
        "packages": {
            package: importlib.metadata.version(package)
            for package in _PACKAGES
            if importlib.util.find_spec(package.replace("-", "_"))
        },
    }


def _load(bundle: Bundle, taken: tuple[int, ...]) -> tuple[dict[str, Installed], dict[str, str]]:
    """The file in each interpreter that takes it, and why the others do not."""
    installed, left_out = {}, {}
    # Where there is none, "auto" says so in its own words.
    for runtime in interpreter.installed_runtimes() or ("auto",):
        try:
            model = interpreter.load(bundle.flatbuffer, runtime)
            installed[runtime] = Installed(Detector(bundle, model), model, taken)
        except InterpreterError as error:  # noqa: PERF203 - at most two turns
            left_out[runtime] = str(error).rstrip(".")
    if not installed:
        raise InterpreterError("; ".join(left_out.values()) + ".")
    return installed, left_out
