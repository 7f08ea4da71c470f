"""The configuration: every setting's value, and where it comes from.

Later ones win: defaults, board profile, file, `conf.d` beside it, variables, flags.
"""

from __future__ import annotations

import re
import socket
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from edge_agent.config.boards import AUTO, DEVICE_TREE, find_board
from edge_agent.config.fitting import check_fit
from edge_agent.config.printing import configuration_toml
from edge_agent.config.sections import SECTIONS, SETTINGS
from edge_agent.config.sources import Origin, from_environment, from_file, from_flags, from_folder
from edge_agent.contract.alerts import is_node_name
from edge_agent.contract.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from edge_agent.config.intake import AgentSection, CaptureSection, DetectSection, MeterSection
    from edge_agent.config.outlets import (
        AlertsSection,
        BudgetSection,
        LogSection,
        MetricsSection,
        MqttSection,
        StatsSection,
    )
    from edge_agent.config.sources import Given

DEFAULT_FILE: Final = Path("/etc/edge-ids/agent.toml")
"""Read when no other file is named, where it exists."""

DROP_INS: Final = "conf.d"
"""Folder beside the file whose *.toml files are read after it."""

DEFAULT: Final = Origin("default")
_HOST_NAME: Final = Origin("host name")
_NAMELESS: Final = "gateway"
_MAX_NODE: Final = 64


@dataclass(frozen=True, slots=True)
class Config:
    """All settings. Make it with `load`.

    Attributes:
        agent: And the other sections; `sections` says what each setting is.
        board: Name of the board profile; empty: none.
        origins: Where each setting's value comes from, by `section.key`.
    """

    agent: AgentSection
    capture: CaptureSection
    meter: MeterSection
    detect: DetectSection
    alerts: AlertsSection
    mqtt: MqttSection
    stats: StatsSection
    metrics: MetricsSection
    log: LogSection
    budget: BudgetSection
    board: str
    origins: Mapping[str, Origin] = field(compare=False, repr=False)

    @classmethod
    def load(
        cls,
        config_file: Path | None = None,
        flags: Mapping[str, object] | None = None,
        environ: Mapping[str, str] | None = None,
        board: str | None = AUTO,
        device_tree: Path = DEVICE_TREE,
    ) -> Config:
        """Read the configuration from everywhere.

        Args:
            config_file: The file; None: `DEFAULT_FILE` where it exists.
            flags: What the command line says, by the flag as a user writes it: "--interface",
                "--model", "--broker", and "--set" with all its `section.key=value`. None or ()
                stand for a flag that was not given.
            environ: The environment's variables; those that begin with EDGE_AGENT_ are settings.
            board: Name of a board profile, "auto" for this machine's, None for none.
            device_tree: Where the kernel says what board it runs on.

        Raises:
            ConfigError: A file cannot be read, or something in files, variables or flags is no
                setting, of the wrong type, out of bounds, or does not fit the rest.
        """
        profile = None if board is None else find_board(board, device_tree)
        file = DEFAULT_FILE if config_file is None else config_file
        given: Iterable[Given] = chain(
            profile.given if profile else (),
            () if config_file is None and _is_missing(file) else from_file(file),
            from_folder(file.parent / DROP_INS),
            from_environment(environ or {}),
            from_flags(flags or {}),
        )
        return cls.of(given, profile.name if profile else "")

    @classmethod
    def of(cls, given: Iterable[Given], board: str = "") -> Config:
        """The configuration of values; where one is given twice, the later counts.

        Raises:
            ConfigError: Values do not fit together.
        """
        values = {name: setting.default for name, setting in SETTINGS.items()}
        origins = dict.fromkeys(SETTINGS, DEFAULT)
        # What was given last is last: when two values do not fit, that one is named.
        for one in given:
            values[one.setting.name] = one.value
            origins.pop(one.setting.name)
            origins[one.setting.name] = one.origin
        if not values["agent.node"]:
            values["agent.node"] = node_name(socket.gethostname())
            origins["agent.node"] = _HOST_NAME
        config = cls.from_values(values, board, origins)
        check_fit(config)
        return config

    @classmethod
    def from_values(
        cls, values: Mapping[str, Any], board: str, origins: Mapping[str, Origin]
    ) -> Config:
        """A configuration of checked values by `section.key`."""
        sections: dict[str, dict[str, Any]] = {name: {} for name in SECTIONS}
        for name, value in values.items():
            setting = SETTINGS[name]
            sections[setting.section][setting.key] = value
        made: dict[str, Any] = {name: SECTIONS[name](**keys) for name, keys in sections.items()}
        return cls(**made, board=board, origins=origins)

    def value(self, name: str) -> Any:
        """A setting's value by `section.key`."""
        setting = SETTINGS[name]
        return getattr(getattr(self, setting.section), setting.key)

    def require_interfaces(self) -> None:
        """What the service cannot start without.

        Raises:
            ConfigError: No interface is named.
        """
        if not self.capture.interfaces:
            raise ConfigError(
                "capture.interfaces",
                "no interface is named to listen on",
                remedy="give --interface eth0, or set it in the configuration file",
            )

    def to_toml(self, *, with_origins: bool = True) -> str:
        """The whole configuration as a file that gives it again.

        Args:
            with_origins: Say behind each line where its value comes from.
        """
        return configuration_toml(self, with_origins=with_origins)


def node_name(host_name: str) -> str:
    """A host name made a valid node name: other characters become dashes."""
    fitting = re.sub(r"[^A-Za-z0-9._-]+", "-", host_name).strip("-._")[:_MAX_NODE].rstrip("-._")
    return fitting if is_node_name(fitting) else _NAMELESS


def _is_missing(file: Path) -> bool:
    try:
        file.stat()
    except FileNotFoundError:
        return True
    except OSError:
        # Behind a folder that is closed to us there may be one; reading it says what is wrong.
        return False
    return False
