"""A model of a run folder becomes a model file: convert, compare, judge, write.

The comparison goes through the agent's own detector, with the agent's own interpreter: what is
judged is what a gateway will do, scaler, threshold and rate repair included.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from converters.card import model_card
from converters.child import Order, Product, convert_in_child
from converters.families import Named
from converters.formats import Format
from converters.gate import Comparison, Scored, compare, repeats, transferred_threshold
from converters.timing import BATCHES, latency_us
from edge_agent.contract.bundle import Bundle
from edge_agent.contract.errors import ConversionError, GateRefused, RunError
from edge_agent.contract.files import write_atomically
from edge_agent.contract.runs import Rows, Run, load_rows, spread
from edge_agent.detect import interpreter
from edge_agent.detect.detector import Detector, takes_bins

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

REPORT_NAME: Final = "conversion.json"
_ORDER_SEED: Final = 0
# A sigmoid and a softmax have 1/256 each. What joins them takes the range it saw, at most 0 to 1,
# in 255 steps: of 256 scores two neighbours fall together. The tolerance is for the converter's
# floats.
_COARSEST_SHARE: Final = 1 / 255 * (1 + 1e-6)


@dataclass(frozen=True, slots=True)
class Request:
    """What `edge-convert` was asked for.

    Attributes:
        run: The run folder.
        output: Where the model file goes; `conversion.json` goes beside it.
        form: The format.
        model: Name of a model of the run; None for its first convertible one.
        prune_share: Share of each kernel's weights to set to zero first; 0 prunes nothing.
        max_f1_drop_points: Points of F1 (hundredths) that the conversion may cost.
        show_log: Let TensorFlow talk on standard error.
    """

    run: Path
    output: Path
    form: Format
    model: str | None
    max_f1_drop_points: float
    prune_share: float = 0.0
    show_log: bool = False


def convert(
    request: Request,
    load: Callable[[bytes], interpreter.Predictor] = interpreter.load,
    make: Callable[[Order], Product] = convert_in_child,
) -> dict[str, Any]:
    """Convert, judge and write.

    Args:
        request: What to do.
        load: Makes the model that the gate scores with; tests hand in spoiled ones.
        make: Makes the flatbuffer.

    Returns:
        The contents of `conversion.json`.

    Raises:
        RunError: The run folder is incomplete or has no such model.
        ConversionError: TensorFlow could not convert the model.
        GateRefused: The converted model differs too much; only `conversion.json` is written.
        OutputError: A result cannot be written.
    """
    run = Run.open(request.run)
    name = chosen_model(run, request)
    test, train = load_rows(request.run, "test"), load_rows(request.run, "train")
    product = make(Order(request.run, name, request.form, request.prune_share, request.show_log))
    trained = run.models[name]
    # A run knows families; whether this model of it names them, its output's width says.
    families = run.families if product.test.shape[1] > 1 else ()
    bundle = Bundle(
        flatbuffer=product.flatbuffer,
        profile=run.profile,
        features=run.features,
        scaler=run.scaler,
        threshold=trained.threshold,
        threshold_rule=trained.threshold_rule,
        families=families,
        name=f"{name} {request.form.value}",
        provenance={
            **run.provenance,
            "conversion": {"format": request.form.value, "prune_share": request.prune_share},
        },
    )
    model = load(bundle.flatbuffer)
    _check_tensors(bundle, model, request)
    bundle = _with_threshold(bundle, model, product, train)
    detector = Detector(bundle, model)
    outputs = detector.outputs(test.raw)
    comparison = compare(
        Scored(
            full=product.test[:, 0],
            full_threshold=trained.threshold,
            converted=outputs[:, 0],
            converted_threshold=bundle.threshold,
        ),
        test.label,
        repeats(detector.outputs, test.raw, _ORDER_SEED),
        request.max_f1_drop_points,
        Named(families, product.test[:, 1:], outputs[:, 1:], test.family) if families else None,
    )
    bundle = dataclasses.replace(
        bundle,
        metrics=comparison.metrics(),
        gate=comparison.gate(),
        model_card=model_card(bundle, request.form.value, comparison),
    )
    report = {
        "model": name,
        "format": request.form.value,
        "run": str(request.run),
        "output": str(request.output) if comparison.passed else None,
        "families": list(families),
        **bundle.metrics,
        "gate": bundle.gate,
        "threshold": {"full": trained.threshold, "converted": bundle.threshold},
        "size_bytes": {
            "keras": (request.run / trained.file).stat().st_size,
            "flatbuffer": len(bundle.flatbuffer),
            "file": len(bundle.to_bytes()),
        },
        "parameters": product.facts["parameters"],
        "zero_share": product.facts["zero_share"],
        "latency_us_per_flow": {
            "full": product.facts["latency_us"],
            **_latencies(detector, model, test),
        },
    }
    _write(request, bundle, comparison, report)
    return report


def chosen_model(run: Run, request: Request) -> str:
    """The model to convert: the one named, else the run's first convertible edge-sized one.

    Raises:
        RunError: The run has no such model.
    """
    convertible = [name for name, model in run.models.items() if model.convertible]
    if request.model is None and convertible:
        return min(convertible, key=lambda name: run.models[name].size != "edge")
    if request.model in convertible:
        return str(request.model)
    what = f"no convertible model {request.model!r}" if request.model else "no convertible model"
    raise RunError(
        request.run,
        f"has {what}",
        remedy=f"choose one of: {', '.join(convertible)}"
        if convertible
        else "train one with edge-train, e.g. --model cnn-lstm",
    )


def _check_tensors(bundle: Bundle, model: interpreter.Predictor, request: Request) -> None:
    """Refuse an int8 file that loses accuracy at its edges.

    It must take a quantile scaler's bins as they are; and where score and family shares share one
    table, its 256 codes must be for shares alone, or the score became coarser for their sake.
    """
    if request.form is not Format.INT8:
        return
    if bundle.scaler.kind == "quantile" and not takes_bins(model.input):
        raise ConversionError(
            f"{request.run}: the converter quantised the input at scale {model.input.scale:g} and"
            f" zero point {model.input.zero_point} instead of 1/255 and -128; report this with the"
            " TensorFlow version."
        )
    output = model.output
    if bundle.families and (output.scale > _COARSEST_SHARE or output.zero_point != -128):
        raise ConversionError(
            f"{request.run}: the converter quantised the output at scale {output.scale:g} and zero"
            f" point {output.zero_point} instead of 1/256 or 1/255 and -128; join a sigmoid and a"
            " softmax, or report this with the TensorFlow version."
        )


def _with_threshold(
    bundle: Bundle, model: interpreter.Predictor, product: Product, train: Rows
) -> Bundle:
    """The bundle with the full model's threshold carried over to the converted one."""
    scores = Detector(bundle, model).score(spread(train, len(product.train)).raw)
    threshold = transferred_threshold(product.train[:, 0], bundle.threshold, scores)
    if threshold == bundle.threshold:
        return bundle
    rule = (
        f"{bundle.threshold_rule}; {bundle.threshold:.6g} in the full model, moved to where the"
        " converted model repeats most of its verdicts on training rows"
    )
    return dataclasses.replace(bundle, threshold=threshold, threshold_rule=rule)


def _latencies(
    detector: Detector, model: interpreter.Predictor, rows: Rows
) -> dict[str, dict[str, dict[str, float]]]:
    """`converted`: the model alone, as for the full one. `detector`: with rates and scaler."""
    result: dict[str, dict[str, dict[str, float]]] = {"converted": {}, "detector": {}}
    for batch in BATCHES:
        raw = rows.raw[:batch]
        if len(raw) < batch:
            continue
        ready = detector.model_input(raw)
        result["converted"][str(batch)] = latency_us(partial(model.predict, ready), batch)
        result["detector"][str(batch)] = latency_us(partial(detector.score, raw), batch)
    return result


def _write(
    request: Request, bundle: Bundle, comparison: Comparison, report: dict[str, Any]
) -> None:
    document = json.dumps(report, indent=1, ensure_ascii=False, allow_nan=False).encode()
    if comparison.passed:
        bundle.save(request.output)
    write_atomically(request.output.parent / REPORT_NAME, document)
    if not comparison.passed:
        remedy = "prune less" if request.prune_share else "convert with --float32"
        if comparison.f1_drop_points > comparison.max_f1_drop_points:
            remedy += ", or allow more with --max-f1-drop"
        raise GateRefused(
            f"{request.run}: the {request.form.value} file of {report['model']} is refused, because"
            f" {'; '.join(comparison.reasons)}; see {request.output.parent / REPORT_NAME}, and"
            f" {remedy}."
        )
