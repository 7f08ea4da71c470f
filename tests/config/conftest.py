"""Keeps the configuration of this machine out of the tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from edge_agent.config import configuration

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def no_configuration_of_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(configuration, "DEFAULT_FILE", tmp_path / "etc" / "agent.toml")
