"""Which operators a flatbuffer uses. Needs neither TensorFlow nor an interpreter."""

from __future__ import annotations

import struct
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from edge_agent.contract.errors import ConversionError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

# Control flow: an LSTM that was left rolled. Slow, and not every interpreter has it.
_CONTROL_FLOW: Final = frozenset({"WHILE", "IF", "CALL", "CALL_ONCE"})


def operators(flatbuffer: bytes) -> dict[str, int]:
    """Count a model's operators, over all its subgraphs.

    Args:
        flatbuffer: The model, with or without a zip behind it.

    Returns:
        How often each is used, the most frequent first. Names are those of `BuiltinOperator`
        ("FULLY_CONNECTED"); a custom operator goes by its own name ("FlexAsString").

    Raises:
        ConversionError: It is no TFLite model, or ai-edge-litert, which knows the format, is
            missing.
    """
    schema = load_schema()
    names = _builtin_names(schema)
    counts: Counter[str] = Counter()
    try:
        model = schema.Model.GetRootAs(flatbuffer, 0)
        codes = [
            _name(model.OperatorCodes(index), names, schema)
            for index in range(model.OperatorCodesLength())
        ]
        for index in _used(model):
            counts[codes[index]] += 1
    # What reading beyond the end or through a wrong offset raises.
    except (struct.error, IndexError, TypeError, ValueError, AttributeError) as error:
        raise ConversionError(
            f"the operators of the model cannot be read ({error}); convert the run again with"
            " edge-convert."
        ) from error
    return dict(counts.most_common())


def forbidden(counts: Mapping[str, int]) -> list[str]:
    """Those of a model's operators that it must not use, in alphabetical order.

    Control flow, and all that are not built in: custom ones, TensorFlow's own (Flex) among them.
    """
    builtin = set(_builtin_names(load_schema()).values())
    return sorted(name for name in counts if name in _CONTROL_FLOW or name not in builtin)


def _used(model: Any) -> Iterator[int]:
    for graph in (model.Subgraphs(index) for index in range(model.SubgraphsLength())):
        for index in range(graph.OperatorsLength()):
            yield graph.Operators(index).OpcodeIndex()


def _name(code: Any, names: Mapping[int, str], schema: Any) -> str:
    # Codes above 127 are in the new field alone, and old files have the old field alone.
    number = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
    if number == schema.BuiltinOperator.CUSTOM:
        custom = (code.CustomCode() or b"").decode("utf-8", "replace")
        # A custom operator must not pass for the built-in one that it calls itself after.
        return f"custom {custom}" if not custom or custom in names.values() else custom
    return names.get(number, f"operator {number}")


def _builtin_names(schema: Any) -> dict[int, str]:
    numbers = vars(schema.BuiltinOperator).items()
    return {
        number: name for name, number in numbers if not name.startswith("_") and name != "CUSTOM"
    }


def load_schema() -> Any:
    """The flatbuffer schema's generated module, without TensorFlow.

    Raises:
        ConversionError: It is not installed.
    """
    try:
        # Half a second; only what looks into a model pays it.
        from ai_edge_litert import schema_py_generated  # noqa: PLC0415
    except ImportError as error:
        raise ConversionError(
            f"reading a model's operators needs ai-edge-litert ({error}); pip install"
            " ai-edge-litert."
        ) from error
    return schema_py_generated
