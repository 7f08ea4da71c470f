"""The small language of conditions: as Python means it, and nothing else of Python."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.contract.profiles import PROFILES
from trainer.datasets.conditions import FEATURE_NUMBERS, MIRRORED, QUANTITIES, Condition

numbers = st.integers(-3, 6)
names = st.sampled_from(QUANTITIES[:4])
signs = st.sampled_from(["==", "!=", "<", "<=", ">", ">="])


@st.composite
def comparisons(draw: st.DrawFn) -> str:
    """`a < 3 <= b`, where no two numbers meet."""
    text, last_is_number = "", False
    for index in range(draw(st.integers(2, 4))):
        is_number = draw(st.booleans()) and not last_is_number
        operand = str(draw(numbers)) if is_number else draw(names)
        text += f" {draw(signs)} {operand}" if index else operand
        last_is_number = is_number
    return text


@st.composite
def memberships(draw: st.DrawFn) -> str:
    items = ", ".join(map(str, draw(st.lists(numbers, max_size=4))))
    return f"{draw(names)} {draw(st.sampled_from(['in', 'not in']))} [{items}]"


conditions = st.recursive(
    comparisons() | memberships(),
    lambda inner: st.builds(
        lambda parts, word: f" {word} ".join(parts),
        st.lists(inner | inner.map(lambda text: f"({text})"), min_size=2, max_size=4),
        st.sampled_from(["and", "or"]),
    ),
    max_leaves=8,
)


@given(
    text=conditions,
    rows=st.lists(st.lists(st.integers(-4, 7), min_size=4, max_size=4), min_size=1, max_size=8),
)
def test_a_condition_means_what_python_means_by_it(text: str, rows: list[list[int]]) -> None:
    flows = {name: np.zeros(len(rows)) for name in QUANTITIES}
    flows |= {name: np.array(rows, dtype=float)[:, i] for i, name in enumerate(QUANTITIES[:4])}
    expected = [
        eval(text, {"__builtins__": {}}, dict(zip(QUANTITIES, row, strict=False))) for row in rows
    ]
    found = Condition.parse(text).holds(flows)
    assert found.dtype == bool
    assert found.tolist() == expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is no condition"),
        ("fwd_packets >", "is no condition"),
        ("fwd_packets = 3", "is no condition"),
        ("(" * 300 + "fwd_packets > 1" + ")" * 300, "is no condition"),
        ("fwd_packets > 1\nimport os", "is no condition"),
        ("fwd_packets == 1 or " * 100 + "fwd_packets == 1", "longer than 1,000 characters"),
        ("__import__('os').system('true')", "\"__import__('os').system('true')\" is no comparison"),
        ("fwd_packets > len([1])", "'len([1])' is neither a quantity nor a whole number"),
        ("fwd_packets > 1 + 1", "'1 + 1' is neither"),
        ("fwd_packets.real > 1", "'fwd_packets.real' is neither"),
        ("[src_port for src_port in dst_port] == 1", "is neither"),
        ("fwd_packets > 1.5", "'1.5' is neither"),
        ("fwd_packets > True", "'True' is neither"),
        ("fwd_packets > '1'", "\"'1'\" is neither"),
        ("packets > 1", "'packets' is no quantity of a flow (src_port,"),
        ("fwd_packets", "'fwd_packets' is no comparison"),
        ("not fwd_packets > 1", "'not fwd_packets > 1' is no comparison"),
        ("fwd_packets if 1 < src_port else 3", "is no comparison"),
        ("(n := fwd_packets) > 3", "is neither"),
        ("fwd_packets is 3", "'fwd_packets is 3' uses 'is'"),
        ("0 < 1 < fwd_packets", "'0 < 1' compares no quantity"),
        ("3 in [1, 2, 3]", "'3 in [1, 2, 3]' compares no quantity"),
        ("fwd_packets in src_port", "'src_port' is no list of numbers"),
        ("fwd_packets in [1, [2]]", "'[2]' is neither"),
        ("fwd_packets == [1]", "'[1]' is neither"),
        ("fwd_packets > 9007199254740993", "is beyond 9,007,199,254,740,992"),
        ("fwd_packets > \x00", "n"),
        ("fwd_packets > '\ud800'", "half a character"),
    ],
)
def test_what_is_no_condition(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=re.escape(words)) as caught:
        Condition.parse(text)
    assert len(str(caught.value)) < 250


@given(text=st.text(st.characters(codec="utf-8"), max_size=40) | st.text("()[]<>=! ,0159andorti_"))
def test_any_text_is_a_condition_or_refused(text: str) -> None:
    try:
        condition = Condition.parse(text)
    except ValueError:
        return
    assert condition.holds({name: np.zeros(2) for name in QUANTITIES}).shape == (2,)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("fwd_payload_bytes == 0", True),
        ("0 < bwd_payload_max_bytes", True),
        ("src_port in [80, 443] or src_port > dst_port", True),
        ("fwd_packets == 0", False),
        ("duration_us > 0", False),
        ("fwd_payload_bytes == 1", False),
        ("fwd_payload_bytes > bwd_payload_bytes", False),
        ("fwd_payload_bytes in [0]", False),
        ("src_port == 80 and fwd_packets > 3", False),
        ("0 < fwd_payload_bytes < 282", False),
    ],
)
def test_what_holds_for_every_meter(text: str, expected: bool) -> None:
    assert Condition.parse(text).is_portable is expected


@pytest.mark.parametrize("profile", PROFILES)
def test_quantities_are_columns_of_every_profile(profile: str) -> None:
    units = {feature.number: feature.unit for feature in PROFILES[profile].features}
    for name, number in FEATURE_NUMBERS.items():
        assert name.rsplit("_", 1)[1] == units[number]


def test_the_other_side_has_the_same_quantities() -> None:
    assert set(MIRRORED.values()) == set(MIRRORED)
    assert all(MIRRORED[MIRRORED[name]] == name for name in MIRRORED)
    assert [name for name in MIRRORED if MIRRORED[name] == name] == ["duration_us"]
