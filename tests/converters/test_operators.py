"""Operators: counted as they stand in the flatbuffer, and the forbidden ones told from the rest."""

from __future__ import annotations

from typing import Any

import pytest

from converters.operators import forbidden, operators
from edge_agent.contract.bundle import Bundle
from edge_agent.contract.errors import ConversionError
from tests.detect.conftest import FAMILIES_MODEL, TINY

flatbuffers = pytest.importorskip("flatbuffers")
schema = pytest.importorskip("ai_edge_litert.schema_py_generated")


def with_code(code: int, custom: str | None = None) -> bytes:
    """The tiny model with its first operator exchanged for another."""
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(Bundle.open(TINY).flatbuffer, 0))
    other = schema.OperatorCodeT()
    other.builtinCode, other.deprecatedBuiltinCode = code, min(code, 127)
    other.customCode, other.version = custom, 1
    model.operatorCodes.append(other)
    model.subgraphs[0].operators[0].opcodeIndex = len(model.operatorCodes) - 1
    builder = flatbuffers.Builder()
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def test_operators_are_counted() -> None:
    counts = operators(TINY.read_bytes())
    assert counts == operators(Bundle.open(TINY).flatbuffer), "a zip behind it changes nothing"
    # The tiny network: one convolution, one pooling, an LSTM of three steps unrolled.
    assert (counts["CONV_2D"], counts["MAX_POOL_2D"], counts["TANH"]) == (1, 1, 6)
    assert sum(counts.values()) == 82
    assert list(counts.values()) == sorted(counts.values(), reverse=True)
    assert forbidden(counts) == []
    assert "SOFTMAX" in operators(FAMILIES_MODEL.read_bytes())


@pytest.mark.parametrize(
    ("code", "custom", "name"),
    [
        ("WHILE", None, "WHILE"),
        ("IF", None, "IF"),
        ("CALL_ONCE", None, "CALL_ONCE"),
        ("CUSTOM", "FlexAsString", "FlexAsString"),
        ("CUSTOM", "ADD", "custom ADD"),
        ("CUSTOM", None, "custom "),
        (999, None, "operator 999"),
    ],
)
def test_what_not_every_interpreter_has_is_forbidden(code: Any, custom: Any, name: str) -> None:
    number = code if isinstance(code, int) else getattr(schema.BuiltinOperator, code)
    counts = operators(with_code(number, custom))
    assert counts[name] == 1
    assert forbidden(counts) == [name]


def test_codes_beyond_127_are_known() -> None:
    counts = operators(with_code(schema.BuiltinOperator.GELU))
    assert counts["GELU"] == 1
    assert forbidden(counts) == []


@pytest.mark.parametrize(
    "data",
    [b"", b"abcdTFL3", b"\xff" * 100, b"\x08\0\0\0TFL3" + b"\xff" * 100, TINY.read_bytes()[:3000]],
    ids=["empty", "short", "ones", "offsets", "cut"],
)
def test_what_is_no_flatbuffer_is_refused(data: bytes) -> None:
    with pytest.raises(ConversionError, match="cannot be read"):
        operators(data)
