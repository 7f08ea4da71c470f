"""The commented example file.

    python -m edge_agent.config.example > firmware_configs/edge-agent.toml

writes it anew after a change of the table.
"""

from __future__ import annotations

import sys
import textwrap
from typing import TYPE_CHECKING, Final

from edge_agent.config.printing import settings_in, size_in_words
from edge_agent.config.sections import SECTIONS
from edge_agent.config.values import to_toml

if TYPE_CHECKING:
    from edge_agent.config.settings import Setting

_WIDTH: Final = 98

_EXAMPLE_HEAD: Final = """\
# edge-agent's settings, each with its default. To change one, take its # away.
#
# Copy to /etc/edge-ids/agent.toml. Files in conf.d beside it (*.toml, in the order of their names)
# override it; variables override both, flags override all. A board profile (--board, by itself
# found from the device tree) changes some defaults. Relative paths begin at this file's folder.
#
#   edge-agent run --print-config    what counts in the end, and where it comes from
#   edge-agent check                 whether it will work
"""


def example_toml() -> str:
    """All settings with their help, commented out."""
    lines = [_EXAMPLE_HEAD]
    for section, holder in SECTIONS.items():
        lines += [f"# {holder.__doc__}", f"[{section}]", ""]
        for setting in settings_in(section):
            lines += _wrapped(setting.about.help)
            lines += _wrapped(_facts(setting))
            lines += [f"#{setting.key} = {to_toml(setting.default)}", ""]
    return "\n".join(lines).rstrip("\n") + "\n"


def _facts(setting: Setting) -> str:
    size = "".join(f" ({text})" for text in size_in_words(setting, setting.default))
    wanted = setting.wanted[0].upper() + setting.wanted[1:]
    facts = [f"{wanted}; default {to_toml(setting.default)}{size}."]
    other = [setting.variable, *([setting.about.flag] if setting.about.flag else [])]
    facts.append(f"Also {', '.join(other)}.")
    if setting.about.restart:
        facts.append(f"A change needs a restart: {setting.about.restart}.")
    return " ".join(facts)


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(
        text,
        _WIDTH,
        initial_indent="# ",
        subsequent_indent="# ",
        break_long_words=False,
        break_on_hyphens=False,
    )


if __name__ == "__main__":
    sys.stdout.write(example_toml())
