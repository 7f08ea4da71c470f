"""What a setting is: its place, its type, its bounds, where else it may be written."""

from __future__ import annotations

import math
import types
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Union, get_args, get_origin, get_type_hints

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

VARIABLE_PREFIX: Final = "EDGE_AGENT_"

KIB: Final = 1024
MIB: Final = 1024 * KIB

_NAMES: Final = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a text",
    Path: "a path",
    tuple: "a list of texts",
}


@dataclass(frozen=True, slots=True)
class About:
    """What the table says of a setting beside its name, type and default.

    Attributes:
        help: What it does, in sentences for the example file.
        minimum: Smallest value of a number.
        maximum: Its largest.
        choices: The only values.
        restart: Why a change needs a restart, as a clause; empty: SIGHUP takes it.
        flag: Its own flag on the command line, beside `--set`.
        check: Says what is wrong with a value of the right type, as a clause after its name; None
            where nothing is.
    """

    help: str
    minimum: float = -math.inf
    maximum: float = math.inf
    choices: tuple[str, ...] = ()
    restart: str = ""
    flag: str = ""
    check: Callable[[Any], str | None] | None = None


@dataclass(frozen=True, slots=True)
class Setting:
    """One line of the table.

    Attributes:
        section: The table of the file it stands in.
        key: Its name there.
        kind: bool, int, float, str, Path, or tuple (of texts).
        optional: Whether it may be unset, which is written as an empty text.
        default: Its value where nobody gives one.
        about: The rest.
    """

    section: str
    key: str
    kind: type
    optional: bool
    default: Any
    about: About

    @property
    def name(self) -> str:
        """As errors, `--set` and dotted keys write it."""
        return f"{self.section}.{self.key}"

    @property
    def variable(self) -> str:
        """The environment variable that sets it."""
        return f"{VARIABLE_PREFIX}{self.section}_{self.key}".upper()

    @property
    def wanted(self) -> str:
        """What a value must be, for errors and the example file."""
        about = self.about
        if about.choices:
            return " or ".join(f'"{choice}"' for choice in about.choices)
        text = _NAMES[self.kind]
        if self.kind in (int, float):
            text += f" from {about.minimum:,} to {about.maximum:,}"
        if self.optional:
            text += ' ("" for none)'
        return text


def settings_of(section: str, holder: type) -> Iterable[Setting]:
    """The settings of a section, from the annotations of the dataclass that holds its values."""
    hints = get_type_hints(holder, include_extras=True)
    for entry in fields(holder):
        hint, about = get_args(hints[entry.name])
        options = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
        kind = next(option for option in options if option is not type(None))
        if entry.default is MISSING:
            raise TypeError(f"{section}.{entry.name} has no default")
        yield Setting(
            section=section,
            key=entry.name,
            kind=get_origin(kind) or kind,
            optional=type(None) in options,
            default=entry.default,
            about=about,
        )
