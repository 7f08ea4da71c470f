"""`edge-convert verify`: everything that can be checked of a model file without its data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from converters.operators import forbidden, operators
from converters.reading import shown
from edge_agent.contract.archive import MAKE_AGAIN, read_model_file
from edge_agent.contract.bundle import CHECKS, Bundle
from edge_agent.contract.errors import (
    ConversionError,
    EdgeIdsError,
    GateRefused,
    InterpreterError,
    ModelFileError,
    SignatureError,
)
from edge_agent.contract.scaling import BINS, Scaler
from edge_agent.contract.signature import split
from edge_agent.detect import interpreter
from edge_agent.detect.detector import Detector

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from edge_agent.contract.signature import Trust


@dataclass(frozen=True, slots=True)
class Check:
    """One check and how it went.

    Attributes:
        name: What was checked.
        error: Why it failed; None where it did not.
        note: What is to be said of it otherwise.
        done: Whether it was made at all.
    """

    name: str
    error: EdgeIdsError | None = None
    note: str = ""
    done: bool = True

    @property
    def outcome(self) -> str:
        """In a word or two."""
        if not self.done:
            return "not checked"
        return "failed" if self.error else "ok"

    def to_json(self) -> dict[str, Any]:
        """For programs."""
        return {"check": self.name, "outcome": self.outcome, "why": str(self.error or self.note)}

    def __str__(self) -> str:
        why = shown(str(self.error or self.note))
        return f"{self.name:<40}{self.outcome}" + (f": {why}" if why else "")


def checks(
    path: Path,
    trust: Trust | None = None,
    load: Callable[[bytes, str], interpreter.Predictor] = interpreter.load,
) -> Iterator[Check]:
    """Check a file, one thing after the other.

    Nothing follows a signature that is not trusted, or a part of the file that does not fit: what
    comes after would read what is refused.

    Args:
        path: The file.
        trust: Who must have signed it; None: the signature is not checked.
        load: Loads a flatbuffer in a runtime; tests hand in broken ones.

    Raises:
        ModelFileError: The file cannot be read.
    """
    data = read_model_file(path)
    try:
        unsigned = trust.verified(data, path) if trust else data
        yield _signature(data, path, trusted=trust is not None)
    except SignatureError as error:
        yield Check("signature", error)
        return
    reached: list[str] = []
    try:
        bundle = Bundle.from_bytes(unsigned, path, reached.append)
    except ModelFileError as error:
        yield from map(Check, reached)
        yield Check(CHECKS[len(reached)], error)
        return
    yield from map(Check, reached)
    installed = interpreter.installed_runtimes()
    if not installed:
        yield Check("interpreter", InterpreterError("no TFLite interpreter is installed."))
    for runtime in interpreter.RUNTIMES:
        if runtime in installed:
            yield from _in_runtime(bundle, runtime, path, load)
        else:
            yield Check(runtime, note="is not installed here", done=False)
    yield _operators(bundle, path)
    yield _gate(bundle, path)


def conclude(path: Path, made: list[Check]) -> None:
    """End well, or say what failed.

    Raises:
        ModelFileError: A check failed.
        GateRefused: All that failed is the conversion's gate.
    """
    failed = [check for check in made if check.error]
    refusals = [check.error for check in failed if isinstance(check.error, GateRefused)]
    if len(refusals) < len(failed):
        names = ", ".join(check.name for check in failed)
        raise ModelFileError(path, f"fails: {names}", remedy="do not use this file")
    for refusal in refusals:
        raise refusal


def _signature(data: bytes, path: Path, *, trusted: bool) -> Check:
    signature = split(data, path)[1]
    if signature is None:
        return Check("signature", note="there is none", done=False)
    note = f"by the key {signature.key_id}"
    return Check("signature", note=note if trusted else f"{note}; give --public-key", done=trusted)


def _in_runtime(
    bundle: Bundle,
    runtime: str,
    path: Path,
    load: Callable[[bytes, str], interpreter.Predictor],
) -> Iterator[Check]:
    name = f"{runtime}: loads"
    try:
        model = load(bundle.flatbuffer, runtime)
        yield Check(name)
        name = f"{runtime}: shapes fit"
        detector = Detector(bundle, model)
        yield Check(name)
        name = f"{runtime}: bins are codes"
        yield _bins(detector, model, name, path)
        name = f"{runtime}: gives scores"
        yield _scores(detector, name, path)
    except InterpreterError as error:
        yield Check(name, error)


def _bins(detector: Detector, model: interpreter.Predictor, name: str, path: Path) -> Check:
    """An int8 model behind a quantile scaler must take bin numbers as they are."""
    kind = detector.bundle.scaler.kind
    if model.input.dtype != np.int8 or kind != "quantile":
        note = f"a {kind} scaler, and an input of {model.input.dtype}"
        return Check(name, note=note, done=False)
    if detector.bins_are_codes:
        return Check(name)
    problem = (
        f"takes int8 at scale {model.input.scale:g} and zero point {model.input.zero_point}, not"
        " 1/255 and -128"
    )
    return Check(name, ModelFileError(path, problem, remedy=MAKE_AGAIN))


def _scores(detector: Detector, name: str, path: Path) -> Check:
    """Rows from end to end of the scaler's range get the same finite outputs, alone or together."""
    rows = probe_rows(detector.bundle.scaler)
    together = detector.outputs(rows)
    alone = np.concatenate([detector.outputs(row[None]) for row in rows])
    if not np.isfinite(together).all():
        return Check(
            name, ModelFileError(path, "gives scores that are no numbers", remedy=MAKE_AGAIN)
        )
    difference = float(np.abs(together - alone).max())
    # Float kernels add in another order for other batch sizes, which moves the seventh digit.
    if difference > 1e-4:
        problem = f"scores a flow differently alone, by {difference:.3g}"
        return Check(name, ModelFileError(path, problem, remedy=MAKE_AGAIN))
    return Check(name)


def probe_rows(scaler: Scaler) -> NDArray[np.float64]:
    """Rows along the scaler's range, shape (n_rows, n_features), all columns rising together."""
    if scaler.kind == "quantile":
        return scaler.table[:, :: BINS // 16].T.astype(np.float64)
    low, high = scaler.table.T.astype(np.float64)
    rows: NDArray[np.float64] = np.linspace(low, high, 16)
    if scaler.kind == "log1p":
        # No float32 has a larger logarithm, whatever a table says.
        rows = np.sign(rows) * np.expm1(np.minimum(np.abs(rows), 88.0))
    return rows


def _operators(bundle: Bundle, path: Path) -> Check:
    try:
        banned = forbidden(operators(bundle.flatbuffer))
    except ConversionError as error:
        return Check("operators", error)
    if banned:
        problem = f"uses {', '.join(banned)}, which not every interpreter has"
        return Check("operators", ModelFileError(path, problem, remedy=MAKE_AGAIN))
    return Check("operators")


def _gate(bundle: Bundle, path: Path) -> Check:
    passed = bundle.gate.get("passed")
    if passed is True:
        return Check("gate")
    if passed is None:
        problem = "holds no verdict of the conversion's gate"
        return Check("gate", ModelFileError(path, problem, remedy=MAKE_AGAIN))
    reasons = bundle.gate.get("reasons") or ["no reason is given"]
    return Check(
        "gate",
        GateRefused(
            f"{path}: the conversion's gate refused it, because {'; '.join(map(shown, reasons))};"
            f" {MAKE_AGAIN} as another format."
        ),
    )
