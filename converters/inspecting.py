"""`edge-convert inspect`: all that a model file says of itself."""

from __future__ import annotations

import textwrap
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from converters.operators import operators
from converters.reading import ModelFile, flat, shown
from edge_agent.contract.errors import ConversionError, InterpreterError
from edge_agent.detect import interpreter
from edge_agent.detect.detector import takes_bins

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from edge_agent.detect.interpreter import Tensor

_WIDTH: Final = 100
# A list of files may be long; --json has all of it.
_MAX_LINE: Final = 200
_INDENT: Final = 16
_FEATURES_SHOWN: Final = 6


def describe(file: ModelFile) -> dict[str, Any]:
    """The facts of a model file, for programs.

    Keys are always the same. What the file does not hold is empty; what cannot be found out here,
    for want of an interpreter or because it refuses the model, is an object whose only key,
    "problem", says why.
    """
    bundle = file.bundle
    return {
        "file": str(file.path),
        "name": bundle.name,
        "format_version": file.format_version,
        "profile": bundle.profile.name,
        "features": [asdict(feature) for feature in bundle.features],
        "scaler": bundle.scaler.kind,
        "fingerprint": bundle.fingerprint,
        "classes": list(bundle.classes),
        "families": list(bundle.families),
        "threshold": bundle.threshold,
        "threshold_rule": bundle.threshold_rule,
        "size_bytes": file.size_bytes,
        **_tensors(bundle.flatbuffer),
        "operators": _operators(bundle.flatbuffer),
        "provenance": bundle.provenance,
        "metrics": bundle.metrics,
        "gate": bundle.gate,
        "signature": file.signature and {"key_id": file.signature.key_id, "checked": file.trusted},
    }


def _tensors(flatbuffer: bytes) -> dict[str, dict[str, Any]]:
    try:
        model = interpreter.load(flatbuffer)
    except InterpreterError as error:
        problem = {"problem": str(error)}
        return {"input": problem, "output": problem}
    taken = {**_tensor(model.input), "bins_are_codes": takes_bins(model.input)}
    return {"input": taken, "output": _tensor(model.output)}


def _tensor(tensor: Tensor) -> dict[str, Any]:
    return {
        "dtype": str(tensor.dtype),
        "columns": tensor.width,
        "scale": tensor.scale,
        "zero_point": tensor.zero_point,
    }


def _operators(flatbuffer: bytes) -> dict[str, Any]:
    try:
        return operators(flatbuffer)
    except ConversionError as error:
        return {"problem": str(error)}


def text(facts: dict[str, Any]) -> str:
    """The facts for people."""
    return "\n".join(_lines(facts)) + "\n"


def _lines(facts: dict[str, Any]) -> Iterator[str]:
    yield f"{facts['file']}: {shown(facts['name'])}"
    yield ""
    signature = facts["signature"]
    yield from _row("format", f"version {facts['format_version']}")
    yield from _row("profile", facts["profile"])
    yield from _row("features", f"{len(facts['features'])}: {_features(facts['features'])}")
    yield from _row("scaler", facts["scaler"])
    yield from _row("fingerprint", facts["fingerprint"])
    yield from _row("classes", shown(facts["classes"]))
    yield from _row("families", shown(facts["families"]))
    yield from _row("threshold", f"{facts['threshold']:.6g} ({shown(facts['threshold_rule'])})")
    yield from _row("input", _tensor_words(facts["input"]))
    yield from _row("output", _tensor_words(facts["output"]))
    yield from _row("operators", _counts(facts["operators"]))
    yield from _row("bytes", _counts(facts["size_bytes"]))
    yield from _row("signature", _signature_words(signature))
    yield from _metrics(facts["metrics"])
    for title in ("gate", "provenance"):
        yield from ("", title)
        leaves = [(shown(name), shown(value)) for name, value in flat(facts[title]) if name]
        yield from (_cut(f"  {name}: {value}") for name, value in leaves or [("nothing", "-")])


def _row(title: str, words: str) -> Iterator[str]:
    yield textwrap.fill(
        words,
        _WIDTH,
        initial_indent=f"{title:<{_INDENT}}",
        subsequent_indent=" " * _INDENT,
        break_on_hyphens=False,
    )


def _cut(line: str) -> str:
    return line if len(line) <= _MAX_LINE else line[: _MAX_LINE - 4] + " ..."


def _features(features: Sequence[dict[str, str]]) -> str:
    words = [f"{feature['name']} [{feature['unit']}]" for feature in features[:_FEATURES_SHOWN]]
    left = len(features) - len(words)
    return ", ".join(words) + (f", and {left} more: see --json" if left else "")


def _counts(counts: dict[str, Any]) -> str:
    return ", ".join(f"{shown(count)} {shown(name)}" for name, count in counts.items())


def _tensor_words(tensor: dict[str, Any]) -> str:
    if "problem" in tensor:
        return str(tensor["problem"])
    words = f"{tensor['columns']} {tensor['dtype']}"
    if tensor["scale"]:
        words += f", scale {tensor['scale']:.6g}, zero point {tensor['zero_point']}"
    if tensor.get("bins_are_codes"):
        words += "; the scaler's bins are its codes"
    return words


def _signature_words(signature: dict[str, Any] | None) -> str:
    if signature is None:
        return "none"
    checked = "checked, and right" if signature["checked"] else "not checked: give --public-key"
    return f"by the key {signature['key_id']} ({checked})"


def _metrics(metrics: dict[str, Any]) -> Iterator[str]:
    """The full model's figures beside the converted one's."""
    yield ""
    yield f"{'metrics':<30}{'full model':>16}{'this file':>16}"
    full, converted = (dict(flat(metrics.get(key) or {})) for key in ("full", "converted"))
    for name in dict.fromkeys([*full, *converted]):
        if name:
            values = (shown(side[name]) if name in side else "-" for side in (full, converted))
            yield f"  {shown(name):<28}" + "".join(f"{value:>16}" for value in values)
