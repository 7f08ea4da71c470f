"""In which line a key stands, whatever way TOML allows to write it."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.config.toml_lines import key_lines

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        pytest.param("a = 1\nb = 2\n", {("a",): 1, ("b",): 2}, id="bare"),
        pytest.param("\n# [x]\n[t] # c\na=1", {("t",): 3, ("t", "a"): 4}, id="table"),
        pytest.param(
            "t.a = 1\nt . 'b' = 2",
            {("t",): 1, ("t", "a"): 1, ("t", "b"): 2},
            id="dotted",
        ),
        pytest.param(
            '"a = b" = 1\n\'[c]\' = 2\n"\\u0064#" = 3',
            {("a = b",): 1, ("[c]",): 2, ("d#",): 3},
            id="quoted",
        ),
        pytest.param(
            "[t]\na = { b = 1, c.d = 2 }\ne = 1",
            {
                ("t",): 1,
                ("t", "a"): 2,
                ("t", "a", "b"): 2,
                ("t", "a", "c"): 2,
                ("t", "a", "c", "d"): 2,
                ("t", "e"): 3,
            },
            id="inline table",
        ),
        pytest.param(
            "[t.u]\na = 1\n[ v ]\nb = 2",
            {("t",): 1, ("t", "u"): 1, ("t", "u", "a"): 2, ("v",): 3, ("v", "b"): 4},
            id="tables in tables",
        ),
        pytest.param(
            "[[t]]\na = 1\n[[t]]\na = 2\n[x]",
            {("t",): 1, ("t", "a"): 2, ("x",): 5},
            id="array of tables",
        ),
        pytest.param(
            'a = [ # [\n  "]", \'"\', [1,\n 2], {z = "}", y = [3]},\n]\nb = 1',
            {("a",): 1, ("b",): 5},
            id="arrays over lines",
        ),
        pytest.param(
            'a = """\nb = 1\n\\""" "" """""\nc = 2',
            {("a",): 1, ("c",): 4},
            id="text over lines",
        ),
        pytest.param(
            "a = '''\nb = 1\n\\'' '''''\nc = '#' # d = 1\ne = 1",
            {("a",): 1, ("c",): 4, ("e",): 5},
            id="literal text over lines",
        ),
        pytest.param(
            "a = 1979-05-27 07:32:00\nb = 0x1F # x\nc = -inf",
            {("a",): 1, ("b",): 2, ("c",): 3},
            id="dates and numbers",
        ),
        pytest.param("[a]\n[b]\nü = 1".replace("ü", '"ü"'), {("a",): 1, ("b",): 2, ("b", "ü"): 3}),
    ],
)
def test_lines(text: str, lines: dict[tuple[str, ...], int]) -> None:
    tomllib.loads(text)
    assert key_lines(text) == lines


_NAMES = st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), max_size=4)
_VALUES = st.recursive(
    st.integers(0, 9) | st.booleans() | st.text(st.sampled_from("ab\"'#[]{}=,.\\\n"), max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_NAMES, inner, max_size=3),
    max_leaves=6,
)


def written(value: Any, gap: str) -> str:
    if isinstance(value, bool | int | str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, list):
        return f"[{gap}" + f",{gap}".join(written(item, gap) for item in value) + f"{gap}]"
    pairs = (f"{written(key, gap)} = {written(item, gap)}" for key, item in value.items())
    return "{ " + ", ".join(pairs) + " }"


@given(st.dictionaries(_NAMES, _VALUES, max_size=5), st.sampled_from([" ", "\n", " # ]\n "]))
def test_every_key_of_any_document_is_found_in_its_line(document: dict[str, Any], gap: str) -> None:
    text, line, expected = "", 1, {}
    for key, value in document.items():
        expected[key] = line
        entry = f"{written(key, gap)} = {written(value, gap)}\n"
        text += entry
        line += entry.count("\n")
    assert tomllib.loads(text) == document
    found = {key[0]: number for key, number in key_lines(text).items() if len(key) == 1}
    assert found == expected
