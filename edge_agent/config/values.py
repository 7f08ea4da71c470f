"""Values as files, variables and flags write them, to values of the setting's type.

What is wrong with one is a `ValueError` with a clause that the setting's name may stand before.
"""

from __future__ import annotations

import json
import math
import re
import unicodedata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from edge_agent.contract.alerts import printable

if TYPE_CHECKING:
    from edge_agent.config.settings import Setting

# As TOML writes decimal numbers; Python would take other alphabets' digits too.
_INTEGER: Final = re.compile(r"[+-]?[0-9]+(_[0-9]+)*")
_FLOAT: Final = re.compile(r"[+-]?[0-9]+(_[0-9]+)*(\.[0-9]+(_[0-9]+)*)?([eE][+-]?[0-9]+)?")
# No setting needs more digits, and Python refuses to read thousands of them.
_MAX_DIGITS: Final = 40
_MAX_SHOWN: Final = 60
_MAX_LIST: Final = 64
_MAX_TEXT: Final = 4096


def from_toml(setting: Setting, raw: object, folder: Path) -> Any:
    """A value from a parsed file.

    Args:
        setting: What it is for.
        raw: What the TOML reader made of it.
        folder: Where the file is: relative paths in it start there.

    Raises:
        ValueError: It is of the wrong type or out of bounds.
    """
    if raw == "" and setting.optional:
        return None
    kind = setting.kind
    if kind is tuple:
        if not isinstance(raw, list) or not all(isinstance(item, str) for item in raw):
            raise ValueError(_not_wanted(setting, raw))
        return _checked(setting, tuple(raw))
    if kind is float and isinstance(raw, int) and not isinstance(raw, bool):
        # Before float(), which cannot take integers of hundreds of digits.
        raw = float(raw) if abs(raw) < 10**_MAX_DIGITS else math.inf
    if kind is Path and isinstance(raw, str):
        return _path(setting, raw, folder)
    # bool is an int to isinstance.
    if type(raw) is not kind:
        raise ValueError(_not_wanted(setting, raw))
    return _checked(setting, raw)


def from_text(setting: Setting, text: str) -> Any:
    """A value from a variable or a flag; lists are separated by commas.

    Raises:
        ValueError: It cannot be read as the setting's type, or is out of bounds.
    """
    kind = setting.kind
    raw: object = text
    if kind is tuple:
        raw = [part.strip() for part in text.split(",") if part.strip()]
    elif kind is bool:
        raw = {"true": True, "false": False}.get(text, text)
    elif kind is int and _INTEGER.fullmatch(text) and len(text) <= _MAX_DIGITS:
        raw = int(text)
    elif kind is float and _FLOAT.fullmatch(text):
        raw = float(text)
    return from_toml(setting, raw, Path())


def to_toml(value: object) -> str:
    """A value as TOML writes it; None as an empty text, which stands for "none"."""
    if value is None:
        return '""'
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return "[" + ", ".join(to_toml(item) for item in value) + "]"
    if isinstance(value, int | float):
        return repr(value)
    # JSON's escapes are TOML's; control characters other than these two are never let in.
    return json.dumps(str(value), ensure_ascii=False)


def _path(setting: Setting, text: str, folder: Path) -> Path:
    if not text:
        raise ValueError(_not_wanted(setting, text))
    path = folder / text
    _check_text(str(path))
    return path


def _checked(setting: Setting, value: Any) -> Any:
    about = setting.about
    for text in value if setting.kind is tuple else (value,):
        if isinstance(text, str):
            _check_text(text)
    if setting.kind is tuple and len(value) > _MAX_LIST:
        raise ValueError(f"has {len(value)} entries, and {_MAX_LIST} are the most")
    if about.choices and value not in about.choices:
        raise ValueError(_not_wanted(setting, value))
    # What is no number at all lies nowhere.
    if setting.kind in (int, float) and not about.minimum <= value <= about.maximum:
        raise ValueError(_not_wanted(setting, value))
    problem = about.check(value) if about.check else None
    if problem is not None:
        raise ValueError(problem)
    return value


def _check_text(text: str) -> None:
    if len(text) > _MAX_TEXT:
        raise ValueError(f"has {len(text):,} characters, and {_MAX_TEXT:,} are the most")
    # Surrogates stand for bytes of a variable that are not UTF-8.
    if any(unicodedata.category(c) in ("Cc", "Cs") and c not in "\n\t" for c in text):
        raise ValueError("holds a control character, or bytes that are not UTF-8")


def _not_wanted(setting: Setting, raw: object) -> str:
    return f"is {_shown(raw)}, not {setting.wanted}"


def _shown(raw: object) -> str:
    if isinstance(raw, dict):
        return "a table"
    if isinstance(raw, list):
        return "a list"
    if isinstance(raw, bool | str):
        return printable(to_toml(raw), _MAX_SHOWN)
    if isinstance(raw, int) and abs(raw) >= 10**_MAX_DIGITS:
        return "a huge number"
    return printable(str(raw), _MAX_SHOWN)
