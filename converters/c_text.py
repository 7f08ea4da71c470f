"""Names, strings and numbers as C text that no compiler, and no hostile name, can misread.

The result is ASCII and means the same in C99 and in C++.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

_INDENT: Final = "    "
_WIDTH: Final = 100

# A header of one of these names would be found where a system header is asked for.
_SYSTEM_HEADERS: Final = """
assert complex ctype errno fenv float inttypes iso646 limits locale math memory new setjmp signal
stdarg stdbool stddef stdint stdio stdlib string strings tgmath threads time uchar wchar wctype
"""


def identifier(name: str) -> str:
    """A prefix for C identifiers, and a file name, from any text: [A-Za-z][A-Za-z0-9_]*.

    Neither leading nor double underscores, which belong to the compiler. What is made of it always
    has a suffix, so that a keyword does no harm.
    """
    plain = re.sub(r"[^A-Za-z0-9]+", "_", name).strip("_")
    if not plain or plain[0].isdigit() or plain.lower() in _SYSTEM_HEADERS.split():
        plain = f"model_{plain}".rstrip("_")
    return plain


def string_literal(text: str) -> str:
    """A string literal of the text's UTF-8 bytes, quotes included."""
    return '"' + "".join(map(_escaped, text.encode("utf-8", "surrogatepass"))) + '"'


def _escaped(byte: int) -> str:
    character = chr(byte)
    # A question mark may begin a trigraph.
    if character in '"\\?':
        return "\\" + character
    # Three octal digits end there; hexadecimal ones would swallow what follows.
    return character if 32 <= byte < 127 else f"\\{byte:03o}"


def comment_text(text: str) -> str:
    """One line for within a block comment, ASCII, that neither ends nor opens one."""
    plain = "".join(
        character if " " <= character <= "~" else character.encode("unicode_escape").decode()
        for character in text
    )
    # One blank between them parts the characters that would mean something together.
    return re.sub(r"(?<=\*)(?=/)|(?<=/)(?=\*)|(?<=\?)(?=\?)", " ", plain)


def float_literal(value: float) -> str:
    """The shortest literal that a compiler reads as this float32, finite."""
    return f"{np.float32(value)!s}f"


def bytes_list(data: bytes) -> str:
    """Bytes as the lines of an initialiser."""
    return _wrapped(f"0x{byte:02x}" for byte in data)


def integers_list(values: Iterable[int]) -> str:
    """Integers as the lines of an initialiser."""
    return _wrapped(map(str, values))


def floats_list(values: NDArray[Any]) -> str:
    """float32 numbers as the lines of an initialiser."""
    return _wrapped(map(float_literal, values))


def strings_list(texts: Iterable[str]) -> str:
    """String literals as the lines of an initialiser, one a line."""
    return ",\n".join(_INDENT + string_literal(text) for text in texts)


def _wrapped(items: Iterable[str]) -> str:
    lines, line = [], _INDENT
    for item in items:
        if len(line) + len(item) + 1 > _WIDTH:
            lines.append(line.rstrip())
            line = _INDENT
        line += f"{item}, "
    lines.append(line.rstrip().rstrip(","))
    return "\n".join(lines)
