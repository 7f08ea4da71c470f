"""In which line of a TOML file each key stands; the standard library's reader does not say.

The text has been read by that reader before, so it is valid TOML, and nothing is checked here: a
cursor goes through it once, reads keys and skips values.
"""

from __future__ import annotations

import re
import sys
from typing import Final

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

Key = tuple[str, ...]

_BLANK: Final = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_SPACE: Final = re.compile(r"[ \t]*")
_BARE: Final = re.compile(r"[A-Za-z0-9_-]+")
# Multi-line forms first: both begin with the mark of the short one. A closing mark may be followed
# by two more quotes that belong to the text.
_STRING: Final = re.compile(
    r'"""(?:\\.|[^\\])*?"""(?:"{0,2})'
    r"|'''.*?'''(?:'{0,2})"
    r'|"(?:\\.|[^"\\\n])*"'
    r"|'[^'\n]*'",
    re.DOTALL,
)
_SCALAR: Final = re.compile(r"[^,\]}#\n]*")


def key_lines(text: str) -> dict[Key, int]:
    """The line, from 1, in which each key or table first stands.

    Args:
        text: Valid TOML.

    Returns:
        By the key's whole path. Tables inside arrays are left out, but not the arrays' own keys.

    Raises:
        RecursionError: It is nested too deeply.
    """
    return _Cursor(text).document()


class _Cursor:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._lines: dict[Key, int] = {}
        self._line = 1
        self._counted = 0

    def document(self) -> dict[Key, int]:
        table: Key = ()
        self._skip(_BLANK)
        while self._at < len(self._text):
            if self._peek("["):
                brackets = 2 if self._text.startswith("[[", self._at) else 1
                self._at += brackets
                self._skip(_SPACE)
                table = self._key(())
                self._at += brackets
            else:
                self._pair(table)
            self._skip(_BLANK)
        return self._lines

    def _pair(self, table: Key) -> None:
        key = self._key(table)
        self._at += 1  # the equals sign
        self._skip(_SPACE)
        self._value(key)

    def _key(self, table: Key) -> Key:
        """Read a key, note its line and those of the tables it opens; ends at `=` or `]`."""
        key = table
        while True:
            key = (*key, self._part())
            self._lines.setdefault(key, self._line_here())
            self._skip(_SPACE)
            if not self._peek("."):
                return key
            self._at += 1
            self._skip(_SPACE)

    def _part(self) -> str:
        bare = _BARE.match(self._text, self._at)
        if bare:
            self._at = bare.end()
            return bare[0]
        start = self._at
        self._skip(_STRING)
        # Escapes are for the reader to resolve.
        name: str = tomllib.loads(f"name = {self._text[start : self._at]}")["name"]
        return name

    def _value(self, key: Key | None) -> None:
        """Skip a value; note the keys of an inline table, unless `key` is None."""
        if self._peek("{"):
            self._items("}", key)
        elif self._peek("["):
            self._items("]", None)
        elif self._peek('"') or self._peek("'"):
            self._skip(_STRING)
        else:
            self._skip(_SCALAR)

    def _items(self, end: str, key: Key | None) -> None:
        self._at += 1
        self._skip(_BLANK)
        while not self._peek(end):
            if end == "]":
                self._value(None)
            elif key is None:
                # A table in an array: its keys have no path of their own.
                lines, self._lines = self._lines, {}
                self._pair(())
                self._lines = lines
            else:
                self._pair(key)
            self._skip(_BLANK)
            if self._peek(","):
                self._at += 1
                self._skip(_BLANK)
        self._at += 1

    def _peek(self, mark: str) -> bool:
        return self._text.startswith(mark, self._at)

    def _skip(self, pattern: re.Pattern[str]) -> None:
        found = pattern.match(self._text, self._at)
        if found:
            self._at = found.end()

    def _line_here(self) -> int:
        self._line += self._text.count("\n", self._counted, self._at)
        self._counted = self._at
        return self._line
