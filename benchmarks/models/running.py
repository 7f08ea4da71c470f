"""The commands, as a user starts them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from edge_agent.contract.errors import EdgeIdsError


def call(command: str, *arguments: str) -> None:
    """Run one of the commands of this environment; what it tells goes to standard error.

    Raises:
        EdgeIdsError: It failed. It has said why.
    """
    code = subprocess.run(
        [str(Path(sys.executable).with_name(command)), *arguments],
        check=False,
        stdout=subprocess.DEVNULL,
    ).returncode
    if code:
        raise EdgeIdsError(f"{command} ended with exit code {code}; see its message above.")
