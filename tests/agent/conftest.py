"""The three commands as processes, as a user starts them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.alerting.conftest import mosquitto_at

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["mosquitto_at"]  # a fixture, for the tests of this folder too

LAB_MODEL = Path(__file__).with_name("data") / "lab-a.tflite"

Result = subprocess.CompletedProcess[str]


@pytest.fixture
def edge_agent() -> Callable[..., Result]:
    """Runs `edge-agent` with arguments; `stdin` is bytes of a capture."""

    def run(*arguments: object, stdin: bytes | None = None) -> Result:
        command = [sys.executable, "-m", "edge_agent.cli", *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, check=False, input=stdin, timeout=120)
        return Result(
            command,
            done.returncode,
            done.stdout.decode("utf-8", "replace"),
            done.stderr.decode("utf-8", "replace"),
        )

    return run
