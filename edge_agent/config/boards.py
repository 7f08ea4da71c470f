"""Board profiles: defaults for a machine, shipped as data beside this file.

A profile is a configuration file with one more section, `[board]`: its title, and by what a machine
is known to be one. The number that stands for a board's memory or network has its reason beside it.
"""

from __future__ import annotations

import platform
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from edge_agent.config.sources import Origin, from_tables, parse_toml, read_text
from edge_agent.contract.alerts import printable
from edge_agent.contract.errors import ConfigError

if TYPE_CHECKING:
    from edge_agent.config.sources import Given

DEVICE_TREE: Final = Path("/proc/device-tree/model")
"""Where the kernel says what board it runs on, on machines with a device tree."""

AUTO: Final = "auto"

_FOLDER: Final = Path(__file__).with_name("board_profiles")
_KEYS: Final = ("title", "device_tree", "machines")
# The kernel's text is some thirty bytes and a NUL.
_MAX_MODEL_BYTES: Final = 256


@dataclass(frozen=True, slots=True)
class Board:
    """A board's profile.

    Attributes:
        name: As `--board` takes it.
        title: For people.
        device_tree: What the device tree's model begins with on such boards.
        machines: Machine types, as `uname -m` says them, that are taken for one where the device
            tree knows no better.
        given: Its settings.
    """

    name: str
    title: str
    device_tree: tuple[str, ...]
    machines: tuple[str, ...]
    given: tuple[Given, ...]


@cache
def boards() -> dict[str, Board]:
    """All profiles by name."""
    return {path.stem: read_board(path) for path in sorted(_FOLDER.glob("*.toml"))}


def read_board(path: Path) -> Board:
    """Read a profile.

    Raises:
        ConfigError: It cannot be used.
    """
    text = read_text(path)
    tables, lines = parse_toml(text, path)
    about: dict[str, Any] = tables.pop("board", {})
    if tuple(about) != _KEYS:
        raise ConfigError(path, "is no board profile", remedy=f"give [board] {', '.join(_KEYS)}")
    origin = Origin(f"board {path.stem}")
    return Board(
        name=path.stem,
        title=about["title"],
        device_tree=tuple(about["device_tree"]),
        machines=tuple(about["machines"]),
        given=tuple(from_tables(tables, lines, path, partial(_same, origin))),
    )


def find_board(name: str, device_tree: Path = DEVICE_TREE, machine: str = "") -> Board | None:
    """The board of a name; for "auto" the one this machine is, None where none fits.

    Args:
        name: A profile's name, or "auto".
        device_tree: Where the kernel says what board it is.
        machine: Machine type; empty: this one's.

    Raises:
        ConfigError: There is no such profile.
    """
    known = boards()
    if name == AUTO:
        return _detected(_model(device_tree), machine or platform.machine())
    if name not in known:
        raise ConfigError(
            "--board",
            f"there is no board {printable(name, 60)!r}",
            remedy=f"choose auto or one of {', '.join(known)}",
        )
    return known[name]


def _detected(model: str, machine: str) -> Board | None:
    for board in boards().values():
        if model.startswith(board.device_tree):
            return board
    return next((board for board in boards().values() if machine in board.machines), None)


def _model(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            data = stream.read(_MAX_MODEL_BYTES)
    except OSError:
        # Most machines that are no boards have no device tree.
        return ""
    return data.split(b"\0")[0].decode("utf-8", "replace").strip()


def _same(origin: Origin, _line: int | None) -> Origin:
    return origin
