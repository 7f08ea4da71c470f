"""Features to scores: rates, scaler, interpreter, threshold; the same wherever a score counts.

A model's output is one table: column 0 the score, the others, where there are any, the share of
each attack family, given that the flow is an attack. Score and threshold alone say whether it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from edge_agent.contract.bundle import Bundle
from edge_agent.contract.errors import InterpreterError
from edge_agent.contract.features import is_categorical, one_hot
from edge_agent.contract.scaling import BINS, recompute_rates
from edge_agent.detect import interpreter
from edge_agent.detect.judgement import Judgement

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from edge_agent.contract.signature import Trust

# A converter computes 1/255 in floats of its own; a wrong scale is off by far more than this.
_SCALE_TOLERANCE: Final = 1e-6


class Detector:
    """A model with the scaler and the threshold it was made with. For one thread.

    Args:
        bundle: The model file's contents.
        model: Runs its flatbuffer.
        threshold: Score from which a flow is an attack; None: the bundle's.

    Raises:
        InterpreterError: The model takes or gives another number of columns than the bundle says.
    """

    def __init__(
        self, bundle: Bundle, model: interpreter.Predictor, threshold: float | None = None
    ) -> None:
        shape = (len(bundle.features), 1 + len(bundle.families))
        if (model.input.width, model.output.width) != shape:
            wanted = f"one score and {shape[1] - 1} families" if bundle.families else "one score"
            raise InterpreterError(
                f"the model maps {model.input.width} numbers to {model.output.width}, not its"
                f" {shape[0]} features to {wanted}; convert the run again with edge-convert."
            )
        self.bundle = bundle
        self.bins_are_codes = bundle.scaler.kind == "quantile" and takes_bins(model.input)
        self.threshold = bundle.threshold if threshold is None else threshold
        self._model = model
        position = {name: index for index, name in enumerate(bundle.profile.columns)}
        # Where a flag will stand, any column holds its place.
        self._columns = np.array(
            [position.get(name, 0) for name in bundle.feature_names], dtype=np.intp
        )
        self._flags = tuple(name for name in bundle.feature_names if is_categorical(name))
        self._flag_places = [bundle.feature_names.index(name) for name in self._flags]

    @classmethod
    def open(cls, path: Path, runtime: str = "auto", trust: Trust | None = None) -> Detector:
        """Open a model file.

        Args:
            path: The file.
            runtime: "auto" or one of `interpreter.RUNTIMES`.
            trust: Who must have signed it; None: nobody need have.

        Raises:
            ModelFileError: The file cannot be used, or is not signed by who is trusted.
            InterpreterError: No interpreter is there, or it refuses the model.
        """
        bundle = Bundle.open(path, trust)
        return cls(bundle, interpreter.load(bundle.flatbuffer, runtime))

    def from_profile_rows(self, values: NDArray[Any], protocol: NDArray[Any]) -> NDArray[Any]:
        """The model's columns, in its order, of rows that hold all columns of its profile.

        Args:
            values: Shape (n_flows, len(profile.features)).
            protocol: IP protocol numbers, shape (n_flows,).

        Returns:
            Shape (n_flows, n_features), as `score` takes it.
        """
        raw = values[:, self._columns]
        if self._flags:
            raw[:, self._flag_places] = one_hot(protocol, self._flags)
        return raw

    def score(self, raw: NDArray[Any]) -> NDArray[np.float32]:
        """Score flows: column 0 of `outputs`, shape (n_flows,)."""
        return self.outputs(raw)[:, 0]

    def judge(self, raw: NDArray[Any]) -> Judgement:
        """Score flows and name families; takes and raises what `outputs` does."""
        return Judgement.of(self.outputs(raw), self.bundle.families)

    def outputs(self, raw: NDArray[Any]) -> NDArray[np.float32]:
        """All that the model says of flows.

        Args:
            raw: Raw features in model order and in the units of `bundle.features`, shape
                (n_flows, n_features). Rates of flows without duration may be anything.

        Returns:
            Shape (n_flows, 1 + n_families): score, from 0 (benign) to 1 (attack), and share of each
            family. NaN where another number of the row is not finite.

        Raises:
            ValueError: The rows have another number of columns.
            InterpreterError: The interpreter fails.
        """
        if raw.ndim != 2 or raw.shape[1] != len(self.bundle.features):
            raise ValueError(
                f"expected rows of {len(self.bundle.features)} features, got {raw.shape}"
            )
        fixed = recompute_rates(raw, self.bundle.feature_names)
        finite = np.isfinite(fixed)
        output = self._model.predict(self._scaled(fixed))
        shares: NDArray[np.float32] = np.clip(self._model.output.dequantize(output), 0.0, 1.0)
        if not finite.all():
            shares[~finite.all(axis=1)] = np.nan
        return shares

    def is_attack(self, scores: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Whether scores reach the threshold; never for NaN."""
        attacks: NDArray[np.bool_] = scores >= np.float32(self.threshold)
        return attacks

    def model_input(self, raw: NDArray[Any]) -> NDArray[Any]:
        """What the model is given for raw features, for whoever times the model alone."""
        return self._scaled(recompute_rates(raw, self.bundle.feature_names))

    def _scaled(self, fixed: NDArray[np.float64]) -> NDArray[Any]:
        scaler = self.bundle.scaler
        if self.bins_are_codes:
            # Flipping the top bit of 0..255 subtracts 128 without leaving the byte.
            return (scaler.bins(fixed) ^ np.uint8(0x80)).view(np.int8)
        return self._model.input.quantize(scaler.transform(fixed))


def takes_bins(tensor: interpreter.Tensor) -> bool:
    """Whether an input is quantised so that the bin numbers less 128 are its codes."""
    return (
        tensor.dtype == np.int8
        and tensor.zero_point == -128
        and abs(tensor.scale * (BINS - 1) - 1.0) < _SCALE_TOLERANCE * (BINS - 1)
    )
