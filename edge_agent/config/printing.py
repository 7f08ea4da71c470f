"""The configuration as a file: `--print-config`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edge_agent.config.sections import SECTIONS, SETTINGS
from edge_agent.config.settings import KIB, MIB
from edge_agent.config.values import to_toml

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge_agent.config.configuration import Config
    from edge_agent.config.settings import Setting

_COMMENT_COLUMN: Final = 44


def configuration_toml(config: Config, *, with_origins: bool) -> str:
    """Every setting's value, as a file that gives the same configuration again."""
    lines = []
    if with_origins:
        lines.append(f"# Board profile: {config.board or 'none'}.")
    for section in SECTIONS:
        lines += [""] if lines else []
        lines.append(f"[{section}]")
        for setting in settings_in(section):
            value = config.value(setting.name)
            line = f"{setting.key} = {to_toml(value)}"
            if with_origins:
                notes = [
                    _one_line(str(config.origins[setting.name])),
                    *size_in_words(setting, value),
                ]
                line = f"{line:<{_COMMENT_COLUMN}}# {'; '.join(notes)}"
            lines.append(line)
    return "\n".join(lines) + "\n"


def size_in_words(setting: Setting, value: object) -> Iterator[str]:
    """A round number of bytes as people write it; nothing for other values."""
    if setting.key.endswith("_bytes") and isinstance(value, int) and value:
        for name, unit in (("MiB", MIB), ("KiB", KIB)):
            if value % unit == 0:
                yield f"{value // unit} {name}"
                return


def settings_in(section: str) -> Iterator[Setting]:
    """The settings of a section, in the order of the table."""
    return (setting for setting in SETTINGS.values() if setting.section == section)


def _one_line(text: str) -> str:
    # A file's name may hold anything.
    return "".join(c if c.isprintable() else "?" for c in text)
