"""What a running agent can take of a new configuration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edge_agent.config.configuration import Config
from edge_agent.config.sections import SETTINGS

if TYPE_CHECKING:
    from edge_agent.config.sources import Origin


@dataclass(frozen=True, slots=True)
class Change:
    """A setting whose value is another one now.

    Attributes:
        name: As `section.key`.
        old: Its value in the running agent.
        new: Its value in the new configuration.
        origin: Where the new value comes from.
        why_not: Why it needs a restart, as a clause; empty: it can be taken.
    """

    name: str
    old: Any
    new: Any
    origin: Origin
    why_not: str = ""


@dataclass(frozen=True, slots=True)
class Reload:
    """What became of a new configuration.

    Attributes:
        config: The running one with the changes that can be taken.
        taken: Those.
        refused: The others.
    """

    config: Config
    taken: tuple[Change, ...]
    refused: tuple[Change, ...]


def reloadable(old: Config, new: Config) -> Reload:
    """Tell the changes that a running agent can take from those that need a restart."""
    changes = [
        Change(
            name=name,
            old=old.value(name),
            new=new.value(name),
            origin=new.origins[name],
            why_not=setting.about.restart,
        )
        for name, setting in SETTINGS.items()
        if old.value(name) != new.value(name)
    ]
    taken = tuple(change for change in changes if not change.why_not)
    values = {name: old.value(name) for name in SETTINGS}
    origins = dict(old.origins)
    for change in taken:
        values[change.name] = change.new
        origins[change.name] = change.origin
    return Reload(
        config=Config.from_values(values, old.board, origins),
        taken=taken,
        refused=tuple(change for change in changes if change.why_not),
    )
