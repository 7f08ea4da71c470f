"""A model of a run folder becomes a model file: prepare, convert, try out, judge, write.

What is judged is what a gateway will do: the file goes through the agent's own detector in each
interpreter there is, scaler, threshold and rate repair included.
"""

from __future__ import annotations

import contextlib
import dataclasses
import gzip
import tempfile
from dataclasses import dataclass
from math import log
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from converters import arena, micro, trials
from converters.c_source import c_files
from converters.card import model_card
from converters.child import Network, Order
from converters.families import Named
from converters.formats import Format, Recurrence
from converters.gate import (
    Comparison,
    Invariants,
    Scored,
    compare,
    transferred_threshold,
)
from converters.micro import MicroModel
from converters.operators import operators
from converters.request import Request, Tools
from converters.results import Result, write
from converters.source import check_calibration, chosen_model
from converters.verdict import Verdict, int8_faults
from edge_agent import __version__
from edge_agent.contract.bundle import Bundle
from edge_agent.contract.errors import (
    ConversionError,
    GateRefused,
    InterpreterError,
    OutputError,
    RunError,
)
from edge_agent.contract.runs import Run, load_rows, spread
from edge_agent.contract.scaling import Scaler
from edge_agent.detect.trial import try_out

if TYPE_CHECKING:
    from collections.abc import Iterator

    from converters.arena import Arena
    from converters.trials import Place
    from edge_agent.contract.runs import TrainedModel
    from edge_agent.detect.trial import Trial

# So much faster must a fused LSTM be to be taken: a choice within the clock's noise would give
# other bytes from run to run, and the unrolled form takes batches of any size.
_FUSED_ADVANTAGE: Final = 1.25


@dataclass(frozen=True, slots=True)
class _Made:
    """A flatbuffer in one form, tried out in the first interpreter."""

    recurrence: Recurrence
    bundle: Bundle
    trial: Trial | InterpreterError

    @property
    def log_us(self) -> float:
        """Mean logarithm of the median latencies: no batch size counts more than another."""
        if isinstance(self.trial, InterpreterError) or not self.trial.model_us:
            return float("inf")
        medians = [timing["p50"] for timing in self.trial.model_us.values()]
        return sum(map(log, medians)) / len(medians)


class Converter:
    """A prepared network of a run, to be converted to any number of formats; see `opened`."""

    def __init__(
        self,
        request: Request,
        network: Network,
        tools: Tools,
        places: tuple[list[Place], dict[str, str]],
    ) -> None:
        self.request = request
        self.run = Run.open(request.run)
        self.name = network.order.model
        self.network = network
        self._tools = tools
        self._test = load_rows(request.run, "test")
        train = spread(load_rows(request.run, "train"), len(network.train))
        columns = list(network.columns)
        self._rows = trials.Rows(self._test.raw[:, columns], train.raw[:, columns])
        self._places, self.left_out = places

    @property
    def trained(self) -> TrainedModel:
        """The full model."""
        return self.run.models[self.name]

    def convert(self, form: Format) -> Result:
        """Convert, try out in every interpreter, and judge.

        Raises:
            ConversionError: TensorFlow could not convert the network.
        """
        made, others = self._fastest(form)
        bundle = self._with_threshold(made.bundle, made.trial)
        done: dict[str, Trial] = {}
        failures: dict[str, str] = {}
        for number, place in enumerate(self._places):
            outcome = self._try(place, bundle) if number else made.trial
            if isinstance(outcome, InterpreterError):
                failures[str(place)] = str(outcome)
            else:
                # Two environments may hold the same version.
                again = f" ({number + 1})" if outcome.place in done else ""
                done[outcome.place + again] = outcome
        verdict = Verdict(
            comparisons={label: self._compare(bundle, trial) for label, trial in done.items()},
            operators=operators(bundle.flatbuffer),
            size_bytes={
                "flatbuffer": len(bundle.flatbuffer),
                "flatbuffer_gzip": len(gzip.compress(bundle.flatbuffer, mtime=0)),
            },
            failures=failures,
            faults=int8_faults(bundle, next(iter(done.values())))
            if form is Format.INT8 and done
            else (),
        )
        bundle = self._with_verdict(bundle, form, verdict)
        lstm = {"form": made.recurrence.value if self.network.facts["recurrent"] else None}
        return Result(bundle, verdict, self._report(bundle, form, done) | {"lstm": lstm | others})

    def fixed(self) -> tuple[Bundle, Arena]:
        """The int8 model once more, every shape fixed for one row at a time.

        For microcontrollers, so it is judged in TensorFlow Lite Micro where that is installed, with
        a threshold of its own. Fused where that is good enough and nothing else was told: it takes
        a fraction of the memory there.

        Raises:
            ConversionError: TensorFlow could not convert it.
            GateRefused: It does not score as the full model does.
        """
        if self.request.recurrence or not self.network.facts["recurrent"]:
            return self._fixed(self.request.recurrence or Recurrence.UNROLLED)
        try:
            return self._fixed(Recurrence.FUSED)
        except (ConversionError, GateRefused):
            return self._fixed(Recurrence.UNROLLED)

    def _fixed(self, recurrence: Recurrence) -> tuple[Bundle, Arena]:
        made = self._tools.flatbuffer(self.network, Format.INT8, recurrence, static=True)
        self.request.tell("measuring the memory that TensorFlow Lite Micro needs")
        needed = arena.needed(made)
        bundle = self._bundle(made, Format.INT8, recurrence)
        trial = (
            try_out(bundle, MicroModel(made, needed), self._rows.test, self._rows.train, "TFLM")
            if micro.installed()
            else self._tools.try_in(self._places[0], bundle, self._rows)
        )
        bundle = self._with_threshold(bundle, trial)
        comparison = self._compare(bundle, trial)
        if not comparison.passed:
            raise GateRefused(
                f"{self.request.run}: for a microcontroller {self.name} is not the same model,"
                f" because {'; '.join(comparison.reasons)}; convert it without --c-array, or allow"
                " more with --max-f1-drop."
            )
        return bundle, needed

    def _fastest(self, form: Format) -> tuple[_Made, dict[str, Any]]:
        """The form of LSTM that was asked for, or is faster; and how it was chosen."""
        if self.request.recurrence or not self.network.facts["recurrent"]:
            return self._make(form, self.request.recurrence or Recurrence.UNROLLED), {}
        unrolled = self._make(form, Recurrence.UNROLLED)
        try:
            fused = self._make(form, Recurrence.FUSED)
        except ConversionError as error:
            return unrolled, {"left_out": {Recurrence.FUSED.value: str(error)}}
        faster = fused.log_us + log(_FUSED_ADVANTAGE) < unrolled.log_us
        chosen = fused if faster and self._is_sound(fused) else unrolled
        measured = {
            made.recurrence.value: made.trial.model_us
            for made in (unrolled, fused)
            if not isinstance(made.trial, InterpreterError)
        }
        return chosen, {"latency_us_per_flow": measured}

    def _is_sound(self, made: _Made) -> bool:
        if isinstance(made.trial, InterpreterError):
            return False
        bundle = self._with_threshold(made.bundle, made.trial)
        return self._compare(bundle, made.trial).passed

    def _make(self, form: Format, recurrence: Recurrence) -> _Made:
        made = self._tools.flatbuffer(self.network, form, recurrence)
        bundle = self._bundle(made, form, recurrence)
        return _Made(recurrence, bundle, self._try(self._places[0], bundle))

    def _try(self, place: Place, bundle: Bundle) -> Trial | InterpreterError:
        self.request.tell(f"trying it out in {place}")
        try:
            return self._tools.try_in(place, bundle, self._rows)
        except InterpreterError as error:
            return error

    def _bundle(self, flatbuffer: bytes, form: Format, recurrence: Recurrence) -> Bundle:
        run, columns, changes = self.run, list(self.network.columns), self.request.changes
        conversion = {
            "model": self.name,
            "format": form.value,
            **dataclasses.asdict(changes),
            "versions": {"edge-ids": __version__, **self.network.facts["versions"]},
            "columns_dropped": len(run.features) - len(columns),
        }
        if self.network.facts["recurrent"]:
            conversion["lstm"] = recurrence.value
        return Bundle(
            flatbuffer=flatbuffer,
            profile=run.profile,
            features=tuple(run.features[column] for column in columns),
            scaler=Scaler(run.scaler.kind, run.scaler.table[columns]),
            threshold=self.trained.threshold,
            threshold_rule=self.trained.threshold_rule,
            families=self._families,
            name=" ".join(filter(None, (self.name, changes.words(), form.value))),
            provenance={**run.provenance, "conversion": conversion},
        )

    @property
    def _families(self) -> tuple[str, ...]:
        # A run knows families; whether this model of it names them, its output's width says.
        return self.run.families if self.network.test.shape[1] > 1 else ()

    def _with_threshold(self, bundle: Bundle, trial: Trial | InterpreterError) -> Bundle:
        """The bundle with the full model's threshold carried over to the converted one."""
        if isinstance(trial, InterpreterError):
            return bundle
        full = self.network.train[:, 0]
        threshold = transferred_threshold(full, bundle.threshold, trial.train[:, 0])
        if threshold == bundle.threshold:
            return bundle
        rule = (
            f"{bundle.threshold_rule}; {bundle.threshold:.6g} in the full model, moved to where the"
            " converted model repeats most of its verdicts on training rows"
        )
        return dataclasses.replace(bundle, threshold=threshold, threshold_rule=rule)

    def _compare(self, bundle: Bundle, trial: Trial) -> Comparison:
        families = self._families
        # Codes are meant to be bins where there are bins and codes.
        exact = bundle.scaler.kind == "quantile" and trial.input.quantized
        return compare(
            Scored(
                full=self.network.test[:, 0],
                full_threshold=self.trained.threshold,
                converted=trial.test[:, 0],
                converted_threshold=bundle.threshold,
            ),
            self._test.label,
            Invariants(
                trial.batch_difference,
                trial.order_difference,
                trial.input_error if exact else None,
            ),
            self.request.max_f1_drop_points,
            Named(families, self.network.test[:, 1:], trial.test[:, 1:], self._test.family)
            if families
            else None,
        )

    def _with_verdict(self, bundle: Bundle, form: Format, verdict: Verdict) -> Bundle:
        first = verdict.first
        bundle = dataclasses.replace(
            bundle, metrics=first.metrics() if first else {}, gate=verdict.to_json()
        )
        card = model_card(bundle, form.value, verdict)
        return dataclasses.replace(bundle, model_card=card)

    def _report(self, bundle: Bundle, form: Format, done: dict[str, Trial]) -> dict[str, Any]:
        facts = self.network.facts
        latency: dict[str, Any] = {"full": facts["latency_us"]}
        if done:
            first = next(iter(done.values()))
            latency |= {"converted": first.model_us, "detector": first.detector_us}
        latency["interpreters"] = {label: trial.model_us for label, trial in done.items()}
        return {
            "model": self.name,
            "format": form.value,
            "changes": dataclasses.asdict(self.request.changes),
            "columns": len(bundle.features),
            "run": str(self.request.run),
            "families": list(bundle.families),
            **bundle.metrics,
            "gate": bundle.gate,
            "interpreters_left_out": self.left_out,
            "threshold": {"full": self.trained.threshold, "converted": bundle.threshold},
            "size_bytes": {
                "keras": (self.request.run / self.trained.file).stat().st_size,
                **bundle.gate["size_bytes"],
                "file": len(bundle.to_bytes()),
            },
            "parameters": facts["parameters"],
            "zero_share": facts["zero_share"],
            "latency_us_per_flow": latency,
        }


@contextlib.contextmanager
def opened(request: Request, tools: Tools | None = None) -> Iterator[Converter]:
    """Prepare a network; what the children leave is gone when the block ends.

    Raises:
        RunError: The run folder is incomplete, has no such model, or no rows to calibrate with.
        ConversionError: TensorFlow is missing, or could not prepare the network.
        InterpreterError: There is no interpreter.
    """
    tools = tools or Tools()
    run = Run.open(request.run)
    name = chosen_model(run, request.run, request.model)
    if not (request.run / run.models[name].file).is_file():
        raise RunError(request.run, f"lacks {run.models[name].file}", remedy="train the run again")
    check_calibration(request.run)
    # Before the minutes that a fine-tuning takes: a mistyped command must not cost them.
    places = tools.places(request.interpreters)
    with _working_folder() as folder:
        order = Order(
            run=request.run,
            model=name,
            changes=request.changes,
            folder=folder,
            show_log=request.show_log,
            tell=request.tell,
        )
        yield Converter(request, tools.prepare(order), tools, places)


@contextlib.contextmanager
def _working_folder() -> Iterator[Path]:
    """A folder that is gone when the block ends.

    Raises:
        OutputError: It cannot be made or written.
    """
    try:
        with tempfile.TemporaryDirectory(prefix="edge-convert-") as name:
            yield Path(name)
    except OSError as error:
        raise OutputError(
            f"{tempfile.gettempdir()}: a working file cannot be written"
            f" ({error.strerror or error}); free some space there, or set TMPDIR to a folder that"
            " has some."
        ) from error


def convert(
    request: Request,
    form: Format,
    output: Path,
    *,
    c_array: bool = False,
    tools: Tools | None = None,
) -> dict[str, Any]:
    """Convert to one format and write the model file with `conversion.json` beside it.

    Args:
        request: What to convert.
        form: The format.
        output: The model file.
        c_array: Write C source beside it, too; int8 only.
        tools: For tests.

    Returns:
        The contents of `conversion.json`.

    Raises:
        GateRefused: The converted model is not good enough; only `conversion.json` is written.
        OutputError: A result cannot be written; then nothing is.
        EdgeIdsError: As `opened` and `Converter.convert`.
    """
    with opened(request, tools) as converter:
        result = converter.convert(form)
        beside: dict[str, bytes] = {}
        if c_array and result.verdict.passed:
            fixed, needed = converter.fixed()
            beside = c_files(output.stem, fixed, fixed.flatbuffer, needed)
            result.report["c_source"] = {
                "files": sorted(beside),
                "flatbuffer_bytes": len(fixed.flatbuffer),
                "arena_bytes": needed.bytes,
                "arena_measured": needed.measured,
            }
    return write(result, output, beside)
