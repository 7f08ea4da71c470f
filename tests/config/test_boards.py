"""Board profiles, and which machine is which."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from edge_agent.config import Config
from edge_agent.config.boards import boards, find_board, read_board
from edge_agent.contract.errors import ConfigError
from tests.conftest import ROOT

if TYPE_CHECKING:
    from pathlib import Path

FOLDER = ROOT / "firmware_configs" / "boards"
NAMES = (
    "generic-aarch64",
    "raspberry-pi-3b-plus",
    "raspberry-pi-4",
    "raspberry-pi-5",
    "raspberry-pi-zero-2w",
    "x86-gateway",
)


def test_the_agent_has_the_profiles_of_the_repository() -> None:
    assert tuple(boards()) == NAMES
    assert {path.stem for path in FOLDER.iterdir()} == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_profile_makes_a_configuration(name: str) -> None:
    config = Config.load(board=name)
    assert config.board == name
    own = {one.setting.name for one in boards()[name].given}
    assert {n for n, origin in config.origins.items() if str(origin) == f"board {name}"} == own
    # A board says what its hardware carries; who we are and whom we tell is the site's.
    assert {name.split(".")[0] for name in own} <= {
        "capture", "meter", "detect", "alerts", "mqtt", "budget"
    }  # fmt: skip
    assert not {"capture.interfaces", "mqtt.broker"} & own


@pytest.mark.parametrize("name", NAMES)
def test_what_was_not_measured_is_called_so(name: str) -> None:
    comments = " ".join(re.findall(r"(?m)^# (.*)", (FOLDER / f"{name}.toml").read_text()))
    assert re.search("[Nn]ot measured on (this|any) board", comments)


@pytest.mark.parametrize(
    ("model", "machine", "name"),
    [
        (b"Raspberry Pi 3 Model B Plus Rev 1.3\0", "aarch64", "raspberry-pi-3b-plus"),
        (b"Raspberry Pi 3 Model B Rev 1.2\0", "armv7l", "raspberry-pi-3b-plus"),
        (b"Raspberry Pi 4 Model B Rev 1.4\0", "aarch64", "raspberry-pi-4"),
        (b"Raspberry Pi 400 Rev 1.0\0", "aarch64", "raspberry-pi-4"),
        (b"Raspberry Pi Compute Module 4 Rev 1.1\0", "aarch64", "raspberry-pi-4"),
        (b"Raspberry Pi 5 Model B Rev 1.0\0", "aarch64", "raspberry-pi-5"),
        (b"Raspberry Pi Compute Module 5 Rev 1.0\0", "aarch64", "raspberry-pi-5"),
        (b"Raspberry Pi Zero 2 W Rev 1.0\0", "aarch64", "raspberry-pi-zero-2w"),
        (b"Raspberry Pi Zero W Rev 1.1\0", "armv6l", None),
        (b"Radxa ROCK 5B\0", "aarch64", "generic-aarch64"),
        (b"\xff\xfe", "aarch64", "generic-aarch64"),
        (None, "aarch64", "generic-aarch64"),
        (None, "x86_64", "x86-gateway"),
        (None, "riscv64", None),
    ],
)
def test_boards_are_recognised(
    tmp_path: Path, model: bytes | None, machine: str, name: str | None
) -> None:
    tree = tmp_path / "model"
    if model is not None:
        tree.write_bytes(model)
    board = find_board("auto", tree, machine)
    assert (board and board.name) == name


def test_the_device_tree_chooses_the_defaults(tmp_path: Path) -> None:
    tree = tmp_path / "model"
    tree.write_bytes(b"Raspberry Pi Zero 2 W Rev 1.0\0")
    config = Config.load(device_tree=tree)
    assert config.board == "raspberry-pi-zero-2w"
    assert config.capture.promiscuous is False


def test_an_unknown_board_is_refused() -> None:
    with pytest.raises(ConfigError, match="there is no board 'pi'; choose auto or one"):
        Config.load(board="pi")


def test_a_profile_with_an_unknown_key_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "odd.toml"
    about = "[board]\ntitle = 'Odd'\ndevice_tree = []\nmachines = []\n"
    path.write_text(about + "[meter]\nflows = 1\n")
    with pytest.raises(ConfigError, match=r"^board odd: meter\.flows is no setting"):
        read_board(path)
    path.write_text("[meter]\nmax_flows = 2000\n")
    with pytest.raises(ConfigError, match=r"is no board profile; give \[board\] title"):
        read_board(path)
