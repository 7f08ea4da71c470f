"""Where settings come from: files, environment variables, flags."""

from __future__ import annotations

import difflib
import re
import sys
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from edge_agent.config.sections import SECTIONS, SETTINGS
from edge_agent.config.settings import VARIABLE_PREFIX
from edge_agent.config.toml_lines import key_lines
from edge_agent.config.values import from_text, from_toml
from edge_agent.contract.alerts import printable
from edge_agent.contract.errors import ConfigError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from edge_agent.config.settings import Setting
    from edge_agent.config.toml_lines import Key

# All settings with their help are below 20 KB.
MAX_FILE_BYTES: Final = 1_000_000

_VARIABLES: Final = {setting.variable: setting for setting in SETTINGS.values()}
_FLAGS: Final = {s.about.flag: s for s in SETTINGS.values() if s.about.flag}
SET_FLAG: Final = "--set"

# Kubernetes gives every container such variables for a service that is called edge-agent.
_FOREIGN: Final = re.compile(re.escape(VARIABLE_PREFIX) + "(SERVICE_(HOST|PORT)|PORT(_|$))")

_READER_PLACE: Final = re.compile(r" \(at (line \d+, column \d+|end of document)\)$")


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value comes from.

    Attributes:
        place: A file, a variable, a flag, "board NAME", "host name" or "default".
        line: In a file, from 1.
    """

    place: str
    line: int | None = None

    def __str__(self) -> str:
        return self.place if self.line is None else f"{self.place}, line {self.line}"

    def error(self, problem: str, remedy: str) -> ConfigError:
        """What is wrong there."""
        where = None if self.line is None else f"line {self.line}"
        return ConfigError(printable(self.place), problem, remedy=remedy, where=where)


@dataclass(frozen=True, slots=True)
class Given:
    """A value that somebody gave."""

    setting: Setting
    value: Any
    origin: Origin


def read_text(path: Path) -> str:
    """A configuration file's text.

    Raises:
        ConfigError: It is missing, no file, not readable, too large, or not UTF-8.
    """
    try:
        with path.open("rb") as stream:
            data = stream.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ConfigError(
            printable(str(path)),
            f"cannot be read ({error.strerror or error})",
            remedy="check its path and permissions",
        ) from error
    if len(data) > MAX_FILE_BYTES:
        raise ConfigError(
            printable(str(path)),
            f"is larger than {MAX_FILE_BYTES:,} bytes",
            remedy="check that it is the configuration",
        )
    try:
        # With the mark that some editors put in front.
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise Origin(str(path), line).error("is not UTF-8", "save the file as UTF-8") from error
    return text.replace("\r\n", "\n")


def parse_toml(text: str, path: Path) -> tuple[dict[str, Any], dict[Key, int]]:
    """Read TOML.

    Returns:
        Its tables, and the line of each key.

    Raises:
        ConfigError: It is not TOML; names line and column.
    """
    try:
        return tomllib.loads(text), key_lines(text)
    except RecursionError:
        problem, where = "is nested too deeply", None
    except ValueError as error:
        words = printable(str(error), 200)
        found = _READER_PLACE.search(words)
        where = found[1] if found else None
        words = _READER_PLACE.sub("", words).rstrip(".")
        problem = f"is not TOML: {words[:1].lower()}{words[1:]}"
    raise ConfigError(printable(str(path)), problem, remedy="correct the file", where=where)


def from_file(path: Path) -> list[Given]:
    """All settings of a configuration file.

    Raises:
        ConfigError: It cannot be read, or something in it is no setting or no such value.
    """
    text = read_text(path)
    tables, lines = parse_toml(text, path)
    return from_tables(tables, lines, path, lambda line: Origin(str(path), line))


def from_tables(
    tables: Mapping[str, Any],
    lines: Mapping[Key, int],
    path: Path,
    origin: Callable[[int | None], Origin],
) -> list[Given]:
    """All settings of a file that was read.

    Args:
        tables: The file's tables.
        lines: The line of each key.
        path: The file.
        origin: Says where a line is.

    Raises:
        ConfigError: Something in it is no setting, or no such value.
    """
    given = []
    for section, keys in tables.items():
        place = origin(lines.get((section,)))
        if section not in SECTIONS:
            raise place.error(*_unknown_section(section))
        if not isinstance(keys, dict):
            written = "an array of tables" if _is_tables(keys) else "a value"
            raise place.error(
                f"{section} is {written}, not a section", f"write [{section}] once, keys below it"
            )
        for key, raw in keys.items():
            name = f"{section}.{key}"
            place = origin(lines.get((section, key)))
            given.append(_given(name, place, partial(from_toml, raw=raw, folder=path.parent)))
    return given


def from_folder(folder: Path) -> Iterator[Given]:
    """Settings of a `conf.d`: its *.toml files in the order of their names.

    Raises:
        ConfigError: One of them cannot be used.
    """
    try:
        # Editors' locks and half-written files begin with a dot.
        names = sorted(
            entry
            for entry in folder.iterdir()
            if entry.suffix == ".toml" and not entry.name.startswith((".", "#"))
        )
    except FileNotFoundError:
        return
    except OSError as error:
        raise ConfigError(
            printable(str(folder)),
            f"cannot be listed ({error.strerror or error})",
            remedy="make it a folder that the agent may read, or take it away",
        ) from error
    for path in names:
        yield from from_file(path)


def from_environment(environ: Mapping[str, str]) -> Iterator[Given]:
    """Settings of `EDGE_AGENT_*` variables.

    Raises:
        ConfigError: One is no setting, or holds no such value.
    """
    for variable, text in sorted(environ.items()):
        if not variable.startswith(VARIABLE_PREFIX) or _FOREIGN.match(variable):
            continue
        origin = Origin(variable)
        setting = _VARIABLES.get(variable)
        if setting is None:
            raise origin.error(
                "names no setting", _remedy(variable, _VARIABLES, "see edge-agent's example file")
            )
        yield _given(setting.name, origin, partial(from_text, text=text))


def from_flags(flags: Mapping[str, object]) -> Iterator[Given]:
    """Settings of the command line.

    Args:
        flags: By the flag: "--set" with its `section.key=value` texts, and the flags that settings
            have of their own ("--interface": several texts, "--model": a path, "--broker"). None
            and () are flags that were not given.

    Raises:
        ConfigError: One is no setting, or no such value.
        KeyError: No setting has such a flag.
    """
    for pair in _texts(flags.get(SET_FLAG)):
        name, equals, text = pair.partition("=")
        name = name.strip()
        origin = Origin(f"{SET_FLAG} {printable(name, 80)}")
        if not equals:
            raise origin.error("has no value", "write it as --set section.key=value")
        yield _given(name, origin, partial(from_text, text=text.strip()))
    # Behind --set: a flag of its own is the more deliberate.
    for flag, value in flags.items():
        if flag == SET_FLAG or value is None or value == ():
            continue
        text = ",".join(_texts(value))
        yield _given(_FLAGS[flag].name, Origin(flag), partial(from_text, text=text))


def _texts(value: object) -> list[str]:
    if value is None:
        return []
    return [str(part) for part in value] if isinstance(value, tuple | list) else [str(value)]


def _given(name: str, origin: Origin, read: Callable[[Setting], Any]) -> Given:
    setting = SETTINGS.get(name)
    if setting is None:
        section = name.partition(".")[0]
        if section not in SECTIONS:
            raise origin.error(*_unknown_section(section))
        keys = ", ".join(known.key for known in SETTINGS.values() if known.section == section)
        raise origin.error(
            f"{printable(name, 80)} is no setting",
            _remedy(name, SETTINGS, f"[{section}] has {keys}"),
        )
    try:
        return Given(setting, read(setting), origin)
    except ValueError as error:
        raise origin.error(f"{name} {error}", "correct it, or leave it out") from error


def _unknown_section(section: str) -> tuple[str, str]:
    problem = f"{printable(section, 60) or 'an empty name'} is no section"
    return problem, _remedy(section, SECTIONS, f"sections are {', '.join(SECTIONS)}")


def _remedy(name: str, known: Mapping[str, object], otherwise: str) -> str:
    close = difflib.get_close_matches(name[:100], known, n=1, cutoff=0.75)
    return f"perhaps {close[0]} is meant" if close else otherwise


def _is_tables(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(v, dict) for v in value)
