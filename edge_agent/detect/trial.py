"""A model file tried out in an interpreter, in a process of its own.

    python -m edge_agent.detect.trial --runtimes
    python -m edge_agent.detect.trial FOLDER RUNTIME

`edge-convert` judges what a gateway will compute, so it asks the gateway's own code, in each
environment it is told of: another Python, another interpreter, another architecture under
emulation. All that such an environment needs is the base install. What happened is left as arrays;
whether it is good enough is for the gate to say. An interpreter that crashes takes only this
process down.

FOLDER holds the model file `MODEL` and the rows to try it with, `ROWS`; the outcome goes to
`OUTCOME` beside them, or a sentence to `FAILURE`.
"""

from __future__ import annotations

import json
import platform
import sys
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from edge_agent.contract.bundle import Bundle
from edge_agent.contract.errors import EdgeIdsError, InterpreterError
from edge_agent.contract.scaling import recompute_rates
from edge_agent.detect import interpreter
from edge_agent.detect.detector import Detector
from edge_agent.detect.timing import BATCHES, latency_us

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from edge_agent.detect.interpreter import Predictor

MODEL: Final = "model.tflite"
ROWS: Final = "rows.npz"
OUTCOME: Final = "outcome.npz"
FAILURE: Final = "failure.txt"

# How many rows are scored one by one: enough to meet every kernel's odd cases, and quick.
_SINGLE_ROWS: Final = 256
_ORDER_SEED: Final = 0


@dataclass(frozen=True, slots=True)
class Trial:
    """What a model file did.

    Attributes:
        place: Interpreter with its version, and architecture.
        test: Outputs for the test rows, float32, shape (n_rows, 1 + n_families).
        train: The same for training rows.
        batch_difference: Largest difference between outputs of rows one by one and together.
        order_difference: Largest difference between outputs in order and in another order, each
            row then having other rows before it.
        input_error: Largest distance, over all numbers of the test rows, between a scaled number
            and the one its input code stands for; 0 for float inputs.
        input, output: Type, scale and zero point of the tensors.
        model_us: p50 and p99 of the model alone by batch size, µs per flow.
        detector_us: The same with rates and scaler.
    """

    place: str
    test: NDArray[np.float32]
    train: NDArray[np.float32]
    batch_difference: float
    order_difference: float
    input_error: float
    input: interpreter.Tensor
    output: interpreter.Tensor
    model_us: dict[str, dict[str, float]]
    detector_us: dict[str, dict[str, float]]

    def save(self, path: Path) -> None:
        """Write arrays and facts."""
        facts = {
            "place": self.place,
            "batch_difference": self.batch_difference,
            "order_difference": self.order_difference,
            "input_error": self.input_error,
            "input": self.input.to_json(),
            "output": self.output.to_json(),
            "model_us": self.model_us,
            "detector_us": self.detector_us,
        }
        np.savez(path, test=self.test, train=self.train, facts=np.array(json.dumps(facts)))

    @classmethod
    def load(cls, path: Path) -> Trial:
        """Read what `save` wrote."""
        with np.load(path, allow_pickle=False) as arrays:
            facts = json.loads(str(arrays["facts"]))
            for name in ("input", "output"):
                facts[name] = interpreter.Tensor.from_json(facts[name])
            return cls(test=arrays["test"], train=arrays["train"], **facts)


def try_out(
    bundle: Bundle,
    model: Predictor,
    test: NDArray[np.float32],
    train: NDArray[np.float32],
    place: str = "",
) -> Trial:
    """Run a model over rows in every way that must make no difference, and time it.

    Args:
        bundle: The model file's contents.
        model: Runs its flatbuffer.
        test: Raw features in model order, shape (n_rows, n_features).
        train: The same, of training rows.
        place: See `Trial`.

    Raises:
        InterpreterError: The interpreter fails, or model and bundle do not fit.
    """
    detector = Detector(bundle, model)
    together = detector.outputs(test)
    order = np.random.default_rng(_ORDER_SEED).permutation(len(test))
    singles = order[:_SINGLE_ROWS]
    # At least one call: where there are no rows, it tells the width.
    alone = [detector.outputs(test[row : row + 1]) for row in singles] or [together]
    model_us, detector_us = _latencies(detector, model, test)
    return Trial(
        place=place,
        test=together,
        train=detector.outputs(train),
        batch_difference=_largest(np.concatenate(alone), together[singles]),
        order_difference=_largest(detector.outputs(test[order]), together[order]),
        input_error=_input_error(detector, model, test),
        input=model.input,
        output=model.output,
        model_us=model_us,
        detector_us=detector_us,
    )


def _largest(first: NDArray[np.float32], second: NDArray[np.float32]) -> float:
    """Largest absolute difference; the largest possible where one is not a number."""
    difference = np.nan_to_num(np.abs(first - second), nan=1.0)
    return float(difference.max(initial=0.0))


def _input_error(detector: Detector, model: Predictor, raw: NDArray[np.float32]) -> float:
    if not model.input.quantized:
        return 0.0
    bundle = detector.bundle
    wanted = bundle.scaler.transform(recompute_rates(raw, bundle.feature_names))
    return _largest(model.input.dequantize(detector.model_input(raw)), wanted)


def _latencies(
    detector: Detector, model: Predictor, rows: NDArray[np.float32]
) -> tuple[dict[str, dict[str, float]], dict[str, dict[str, float]]]:
    alone, whole = {}, {}
    for batch in BATCHES:
        raw = rows[:batch]
        if len(raw) < batch:
            continue
        ready = detector.model_input(raw)
        alone[str(batch)] = latency_us(partial(model.predict, ready), batch)
        whole[str(batch)] = latency_us(partial(detector.score, raw), batch)
    return alone, whole


def runtimes() -> dict[str, str | None]:
    """The interpreters installed here, each with what is wrong with it; None: it works."""
    return {name: _problem(name) for name in interpreter.installed_runtimes()}


def _problem(runtime: str) -> str | None:
    try:
        interpreter.check(runtime)
    except InterpreterError as error:
        return str(error)
    return None


def place_of(runtime: str) -> str:
    """Interpreter, version and architecture, as `Trial.place` has them."""
    return f"{runtime} {version(runtime)}, {platform.machine()}"


def main(arguments: list[str], load: Callable[..., Predictor] = interpreter.load) -> int:
    """Do what the module says; a known failure is told in a file."""
    if arguments == ["--runtimes"]:
        print(json.dumps(runtimes()))
        return 0
    folder, runtime = Path(arguments[0]), arguments[1]
    try:
        bundle = Bundle.open(folder / MODEL)
        with np.load(folder / ROWS, allow_pickle=False) as rows:
            test, train = rows["test"], rows["train"]
        model = load(bundle.flatbuffer, runtime)
        try_out(bundle, model, test, train, place_of(runtime)).save(folder / OUTCOME)
    except EdgeIdsError as error:
        (folder / FAILURE).write_text(str(error), encoding="utf-8")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
