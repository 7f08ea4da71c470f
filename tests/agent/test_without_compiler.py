"""Where no C compiler was, everything works, slowly, and says so."""

from __future__ import annotations

import csv
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import edge_agent
from tests.packets import Segment, write_capture


def test_the_reference_meter_does_the_same_work_and_says_that_it_is_slow(tmp_path: Path) -> None:
    package = Path(edge_agent.__file__).parent
    bare = tmp_path / "bare"
    shutil.copytree(package, bare / "edge_agent", ignore=shutil.ignore_patterns("*.so"))
    capture = write_capture(
        tmp_path / "a.pcap",
        [Segment(i * 1000, "10.0.0.2", 40000 + i % 7, "10.0.0.1", 22, "PA", i) for i in range(50)],
    )
    tables, told = [], []
    for path in (package.parent, bare):
        output = tmp_path / f"{path.name}.csv"
        done = subprocess.run(
            [sys.executable, "-m", "edge_agent.cli", "extract", capture, "--output", output],
            cwd=path,
            env={**os.environ, "PYTHONPATH": str(path)},
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        )
        tables.append(list(csv.reader(output.read_text().splitlines())))
        told.append(done.stderr)
    (header, *rows), (other_header, *other_rows) = tables
    assert header == other_header
    for row, other in zip(rows, other_rows, strict=True):
        assert row[:6] == other[:6]
        assert [float(x) for x in row[6:]] == pytest.approx([float(x) for x in other[6:]])
    assert "slow reference meter" not in told[0]
    assert "slow reference meter" in told[1]
    assert "apt install gcc" in told[1]
