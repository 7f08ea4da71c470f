"""Where reports go."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, Final

import click

from edge_agent.capture.problems import STDIN
from edge_agent.contract.files import write_atomically

FILE: Final = click.Path(path_type=Path, dir_okay=False, allow_dash=True)
"""A report's file, or - for standard output."""


def write_json(result: dict[str, Any], json_file: Path | None) -> None:
    """Write a report; nowhere if no file is named."""
    text = json.dumps(result, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    if json_file == STDIN:
        sys.stdout.write(text)
    elif json_file is not None:
        write_atomically(json_file, text.encode())
