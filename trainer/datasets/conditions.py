"""Conditions on a flow, as label rules spell them: `fwd_packets > 20 or src_port == 44464`.

The language is a small part of Python's, with its precedence and meaning: quantities of a flow and
whole numbers compared by `== != < <= > >=`, also in chains; `in` and `not in` lists of numbers;
`and`, `or` and parentheses. Nothing is ever evaluated as Python: the text becomes a tree of the
classes below or is refused, so that a rules file from anywhere is data and not a program.
"""

from __future__ import annotations

import ast
import operator
import warnings
from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

FEATURE_NUMBERS: Final = {
    "duration_us": 2,
    "fwd_packets": 3,
    "bwd_packets": 4,
    "fwd_payload_bytes": 5,
    "bwd_payload_bytes": 6,
    "fwd_payload_max_bytes": 7,
    "bwd_payload_max_bytes": 11,
}
"""Quantity → number of the column that holds it, in every profile (`contract/features.py`)."""

PORTS: Final = ("src_port", "dst_port")
QUANTITIES: Final = (*PORTS, *FEATURE_NUMBERS)

MIRRORED: Final = {
    name: name.replace("fwd_", "bwd_") if name.startswith("fwd_") else name.replace("bwd_", "fwd_")
    for name in FEATURE_NUMBERS
}
"""Quantity → what it is of the flow as seen from the other side; ports turn with the endpoints."""

# Beyond what anybody writes; it keeps the parser's memory and depth small.
_MAX_LENGTH: Final = 1000
# Where float64, which holds the quantities, ceases to tell whole numbers apart.
_MAX_NUMBER: Final = 2**53
_MAX_SHOWN: Final = 60

_COMPARISONS: Final[dict[type[ast.cmpop], Callable[[Any, Any], Any]]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}

_Operand = str | int
"""A quantity's name, or a number."""


@dataclass(frozen=True, slots=True)
class _Comparison:
    """Two operands and how they are compared; at least one is a quantity."""

    left: _Operand
    compare: Callable[[Any, Any], Any]
    right: _Operand

    def holds(self, flows: Mapping[str, NDArray[Any]]) -> NDArray[np.bool_]:
        left, right = (
            flows[side] if isinstance(side, str) else side for side in (self.left, self.right)
        )
        result: NDArray[np.bool_] = self.compare(left, right)
        return result

    @property
    def is_portable(self) -> bool:
        names = [side for side in (self.left, self.right) if isinstance(side, str)]
        if all(name in PORTS for name in names):
            return True
        return 0 in (self.left, self.right) and all("payload" in name for name in names)


@dataclass(frozen=True, slots=True)
class _Membership:
    """A quantity that is, or is not, one of some numbers."""

    name: str
    numbers: tuple[int, ...]
    wanted: bool

    def holds(self, flows: Mapping[str, NDArray[Any]]) -> NDArray[np.bool_]:
        found: NDArray[np.bool_] = np.isin(flows[self.name], self.numbers)
        return found if self.wanted else ~found

    @property
    def is_portable(self) -> bool:
        return self.name in PORTS


@dataclass(frozen=True, slots=True)
class _Junction:
    """Several conditions joined by `and` or by `or`."""

    parts: tuple[_Node, ...]
    join: Callable[[Any, Any], Any]

    def holds(self, flows: Mapping[str, NDArray[Any]]) -> NDArray[np.bool_]:
        return reduce(self.join, (part.holds(flows) for part in self.parts))

    @property
    def is_portable(self) -> bool:
        return all(part.is_portable for part in self.parts)


_Node = _Comparison | _Membership | _Junction


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition, understood.

    Attributes:
        text: As it was written.
    """

    text: str
    _root: _Node

    @classmethod
    def parse(cls, text: str) -> Condition:
        """Understand a condition.

        Raises:
            ValueError: It is not of the language; the message names the part that is not.
        """
        if len(text) > _MAX_LENGTH:
            raise ValueError(f"{_shown(text)} is longer than {_MAX_LENGTH:,} characters")
        try:
            with warnings.catch_warnings():
                # "1or" and the like: Python's advice to programmers is none to our users.
                warnings.simplefilter("ignore")
                tree = ast.parse(text.strip(), mode="eval")
            return cls(text, _node(tree.body))
        except (SyntaxError, MemoryError, RecursionError) as error:
            raise ValueError(f"{_shown(text)} is no condition") from error
        except UnicodeEncodeError as error:
            raise ValueError(f"{_shown(text)} holds half a character") from error

    def holds(self, flows: Mapping[str, NDArray[Any]]) -> NDArray[np.bool_]:
        """Which flows it holds for, shape (n_flows,).

        Args:
            flows: Every one of `QUANTITIES`, shape (n_flows,), of types that hold 2**53.
        """
        return self._root.holds(flows)

    @property
    def is_portable(self) -> bool:
        """Whether it means the same whatever the meter: ports, and whether there is payload.

        Numbers of packets, bytes and microseconds are those of one meter, which cuts flows in one
        way.
        """
        return self._root.is_portable


def _node(part: ast.expr) -> _Node:
    if isinstance(part, ast.BoolOp):
        join = operator.and_ if isinstance(part.op, ast.And) else operator.or_
        return _Junction(tuple(_node(value) for value in part.values), join)
    if not isinstance(part, ast.Compare):
        raise _refusal(part, "is no comparison")
    operands = [part.left, *part.comparators]
    pairs = tuple(
        _pair(left, compare, right)
        for left, compare, right in zip(operands, part.ops, operands[1:], strict=False)
    )
    # A chain a < b < c means a < b and b < c.
    return pairs[0] if len(pairs) == 1 else _Junction(pairs, operator.and_)


def _pair(left: ast.expr, compare: ast.cmpop, right: ast.expr) -> _Node:
    name = _operand(left)
    if isinstance(compare, (ast.In, ast.NotIn)):
        if not isinstance(right, (ast.List, ast.Tuple)):
            raise _refusal(right, "is no list of numbers")
        numbers = tuple(_number(item) for item in right.elts)
        if isinstance(name, str):
            return _Membership(name, numbers, isinstance(compare, ast.In))
    elif type(compare) in _COMPARISONS:
        other = _operand(right)
        if isinstance(name, str) or isinstance(other, str):
            return _Comparison(name, _COMPARISONS[type(compare)], other)
    whole = ast.Compare(left, [compare], [right])
    if isinstance(compare, (ast.Is, ast.IsNot)):
        raise _refusal(whole, "uses 'is', where == or != is meant")
    raise _refusal(whole, "compares no quantity of a flow")


def _operand(part: ast.expr) -> _Operand:
    if not isinstance(part, ast.Name):
        return _number(part)
    if part.id not in QUANTITIES:
        raise ValueError(f"{part.id!r} is no quantity of a flow ({', '.join(QUANTITIES)})")
    return part.id


def _number(part: ast.expr) -> int:
    minus = isinstance(part, ast.UnaryOp) and isinstance(part.op, ast.USub)
    bare = part.operand if isinstance(part, ast.UnaryOp) and minus else part
    # By type, since True is an int.
    if not isinstance(bare, ast.Constant) or type(bare.value) is not int:
        raise _refusal(part, "is neither a quantity nor a whole number")
    if bare.value > _MAX_NUMBER:
        raise _refusal(part, f"is beyond {_MAX_NUMBER:,}")
    return -bare.value if minus else bare.value


def _refusal(part: ast.expr, why: str) -> ValueError:
    return ValueError(f"{_shown(ast.unparse(part))} {why}")


def _shown(text: str) -> str:
    return repr(text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]} ...")
