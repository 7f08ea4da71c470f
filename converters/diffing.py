"""`edge-convert diff`: what differs between two model files, and may one replace the other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from converters.operators import operators
from converters.reading import ModelFile, flat, shown

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from edge_agent.contract.bundle import Bundle

# A column without two values in training has its edges at float32's end. Half of that is more than
# any edge that was moved by data.
_NOWHERE: Final = float(np.finfo(np.float32).max) / 2
_VALUE_WIDTH: Final = 28

Pairs = dict[str, list[Any]]
"""Where two files differ: [the first's value, the second's], None where one has none."""


def compare_files(first: ModelFile, second: ModelFile) -> dict[str, Any]:
    """What differs, for programs.

    Returns:
        "a" and "b", the paths; "replaceable": whether B may take A's place under a running agent;
        "same_model": whether flatbuffer, columns, scaler, threshold and families are equal, so that
        both give the same verdicts; "differs": by subject, with what is equal left out.

    Raises:
        ConversionError: The operators of one cannot be read.
    """
    a, b = first.bundle, second.bundle
    subjects: dict[str, Any] = {
        "name": _unless_equal(a.name, b.name),
        "format_version": _unless_equal(first.format_version, second.format_version),
        "profile": _unless_equal(a.profile.name, b.profile.name),
        "columns": _sequences(a.feature_names, b.feature_names),
        "units": _differing(_units(a), _units(b), shared_only=True),
        "scaler": _scalers(a, b),
        "threshold": _unless_equal(a.threshold, b.threshold),
        "threshold_rule": _unless_equal(a.threshold_rule, b.threshold_rule),
        "classes": _unless_equal(list(a.classes), list(b.classes)),
        "families": _sequences(a.families, b.families),
        "flatbuffer": {} if a.flatbuffer == b.flatbuffer else {"equal": False},
        "operators": _differing(operators(a.flatbuffer), operators(b.flatbuffer)),
        "size_bytes": _differing(first.size_bytes, second.size_bytes),
        "metrics": _documents(a.metrics, b.metrics),
        "gate": _documents(a.gate, b.gate),
        "provenance": _documents(a.provenance, b.provenance),
        "signature": _unless_equal(_key_id(first), _key_id(second)),
    }
    return {
        "a": str(first.path),
        "b": str(second.path),
        "replaceable": a.fingerprint == b.fingerprint,
        "same_model": _deciding(a) == _deciding(b),
        "differs": {name: found for name, found in subjects.items() if found},
    }


def _deciding(bundle: Bundle) -> tuple[object, ...]:
    return bundle.flatbuffer, bundle.fingerprint, bundle.threshold, bundle.families, bundle.classes


def _key_id(file: ModelFile) -> str | None:
    return file.signature.key_id if file.signature else None


def _units(bundle: Bundle) -> dict[str, str]:
    return {feature.name: feature.unit for feature in bundle.features}


def _unless_equal(a: object, b: object) -> list[Any]:
    return [] if a == b else [a, b]


def _differing(a: Mapping[str, Any], b: Mapping[str, Any], *, shared_only: bool = False) -> Pairs:
    names = [name for name in a if name in b] if shared_only else dict.fromkeys([*a, *b])
    return {name: [a.get(name), b.get(name)] for name in names if a.get(name) != b.get(name)}


def _documents(a: dict[str, Any], b: dict[str, Any]) -> Pairs:
    return _differing(dict(flat(a)), dict(flat(b)))


def _sequences(a: Sequence[str], b: Sequence[str]) -> dict[str, Any]:
    """What was added, what was removed, and whether those that stayed changed places."""
    added = [name for name in b if name not in a]
    removed = [name for name in a if name not in b]
    reordered = [name for name in a if name in b] != [name for name in b if name in a]
    if not (added or removed or reordered):
        return {}
    return {"added": added, "removed": removed, "reordered": reordered}


def _scalers(a: Bundle, b: Bundle) -> dict[str, Any]:
    """How far the edges of the columns that both have moved, in each column's unit."""
    if a.scaler.kind != b.scaler.kind:
        return {"kind": [a.scaler.kind, b.scaler.kind]}
    shared = [name for name in a.feature_names if name in b.feature_names]
    tables = [
        bundle.scaler.table[[bundle.feature_names.index(name) for name in shared]].astype(float)
        for bundle in (a, b)
    ]
    moves = np.abs(tables[1] - tables[0])
    if not moves.any():
        return {}
    return {
        "edges": int(moves.size),
        "edges_moved": int(np.count_nonzero(moves)),
        "by_feature": {
            name: {"edges_moved": int(np.count_nonzero(row)), "largest_move": _largest(row)}
            for name, row in zip(shared, moves, strict=True)
            if row.any()
        },
    }


def _largest(moves: NDArray[np.float64]) -> float | None:
    """None where an edge came from, or went to, where no value is: a column that never varied."""
    largest = float(moves.max())
    return largest if largest < _NOWHERE else None


def text(report: dict[str, Any]) -> str:
    """The report for people."""
    return "\n".join(_lines(report)) + "\n"


def _lines(report: dict[str, Any]) -> Iterator[str]:
    yield f"A  {report['a']}"
    yield f"B  {report['b']}"
    differs = report["differs"]
    for subject, found in differs.items():
        yield ""
        if isinstance(found, list):
            yield f"{subject}: {shown(found[0])} → {shown(found[1])}"
        elif subject in {"columns", "families"}:
            yield from _sequence_lines(subject, found)
        elif subject == "flatbuffer":
            yield "flatbuffer: another one"
        elif subject == "scaler":
            yield from _scaler_lines(found)
        else:
            yield f"{subject:<40}{'A':>{_VALUE_WIDTH}}{'B':>{_VALUE_WIDTH}}"
            yield from (_pair_line(shown(name), *map(shown, pair)) for name, pair in found.items())
    yield ""
    if not differs:
        yield "Nothing differs."
    elif report["same_model"]:
        yield "Both give the same verdicts."
    if report["replaceable"]:
        yield "B may replace A under a running agent: both are fed alike (equal fingerprint)."
    else:
        yield (
            "B may not replace A under a running agent: they are fed differently (profile, columns,"
            " units or scaler); start the agent anew with B."
        )


def _pair_line(name: str, a: str, b: str) -> str:
    if max(len(a), len(b)) > _VALUE_WIDTH - 2:
        return f"  {name}: {a} → {b}"
    return f"  {name:<38}{a:>{_VALUE_WIDTH}}{b:>{_VALUE_WIDTH}}"


def _sequence_lines(subject: str, found: dict[str, Any]) -> Iterator[str]:
    yield subject
    yield from (f"  added: {shown(name)}" for name in found["added"])
    yield from (f"  removed: {shown(name)}" for name in found["removed"])
    if found["reordered"]:
        yield "  in another order"


def _scaler_lines(found: dict[str, Any]) -> Iterator[str]:
    if "kind" in found:
        yield f"scaler: {found['kind'][0]} → {found['kind'][1]}"
        return
    yield f"scaler: {found['edges_moved']:,} of {found['edges']:,} edges moved; the largest moves"
    for name, moved in found["by_feature"].items():
        largest = moved["largest_move"]
        far = "never varied in one" if largest is None else f"{largest:.6g}"
        yield f"  {name:<38}{far:>{_VALUE_WIDTH}}{moved['edges_moved']:>{_VALUE_WIDTH}} edges"
