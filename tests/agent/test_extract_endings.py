"""How `edge-agent extract` ends when something is in its way: in a sentence, without a trace."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.agent.mixed_traffic import FRAMES, rotated_captures, whole_capture
from tests.packets import pcap

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.agent.conftest import Result

    EdgeAgent = Callable[..., Result]

WITHOUT_ARROW = "import sys; sys.modules['pyarrow'] = None; from edge_agent.cli import main; main()"


@pytest.fixture
def capture(tmp_path: Path) -> Path:
    return whole_capture(tmp_path)


@pytest.fixture
def rotated(tmp_path: Path) -> list[Path]:
    return rotated_captures(tmp_path)


@pytest.mark.parametrize("jobs", [1, 2])
def test_what_is_wrong_with_one_file_leaves_nothing_behind(
    edge_agent: EdgeAgent, rotated: list[Path], tmp_path: Path, jobs: int
) -> None:
    rotated[1].write_bytes(rotated[1].read_bytes()[:-5])
    output = tmp_path / "out" / "flows.csv"
    done = edge_agent("extract", *rotated, "--jobs", jobs, "-o", output)
    assert done.returncode == 1
    (said,) = done.stderr.splitlines()
    assert said.startswith(f"edge-agent extract: error: {rotated[1]}, byte ")
    assert not list(output.parent.iterdir())
    # A table that was there stays as it was.
    output.write_text("precious")
    assert edge_agent("extract", *rotated, "--jobs", jobs, "-o", output).returncode == 1
    assert output.read_text() == "precious"
    assert list(output.parent.iterdir()) == [output]
    done = edge_agent("extract", *rotated, "--jobs", jobs, "-o", output, "--allow-cut")
    assert done.returncode == 0


def test_files_that_cannot_be_used_together_are_refused(
    edge_agent: EdgeAgent, rotated: list[Path], tmp_path: Path
) -> None:
    link = tmp_path / "link.pcap"
    link.symlink_to(rotated[0])
    before = rotated[0].read_bytes()
    output = tmp_path / "flows.csv"
    for arguments, words in (
        ([rotated[0], "-o", rotated[0]], "is one of the captures"),
        ([rotated[0], "-o", link], "is one of the captures"),
        ([rotated[0], rotated[1], rotated[0], "-o", output], "is given twice; give every"),
        ([rotated[0], link, "-o", output], f"is given twice, as {rotated[0]};"),
        (["-", rotated[0], "-", "-o", output], "standard input: is given twice"),
        (["-", rotated[0], "--jobs", 2, "-o", output], "leave out --jobs"),
        ([rotated[0], tmp_path / "none.pcap", "-o", output], "none.pcap: cannot be opened"),
    ):
        done = edge_agent("extract", *arguments)
        assert done.returncode == 1
        (said,) = done.stderr.splitlines()
        assert words in said
        assert not output.exists()
    assert rotated[0].read_bytes() == before


def test_parquet_without_pyarrow_is_one_sentence(capture: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", WITHOUT_ARROW, "extract", str(capture)]
    done = subprocess.run(
        [*command, "-o", str(tmp_path / "flows.parquet")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    (said,) = done.stderr.splitlines()
    assert "pip install 'edge-ids[extract]'" in said
    assert list(tmp_path.iterdir()) == [capture]


def test_standard_output_that_is_full_is_one_sentence(capture: Path) -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "edge_agent.cli", "extract", capture, "-o", "-"],
            stdout=full,
            stderr=subprocess.PIPE,
            check=False,
            text=True,
        )
    assert done.returncode == 1
    (said,) = done.stderr.splitlines()
    assert "standard output: cannot be written (No space left" in said


def test_a_full_table_pushes_flows_out(edge_agent: EdgeAgent, capture: Path) -> None:
    done = edge_agent("extract", capture, "--max-flows", 2, "-o", "/dev/null", "--json")
    assert sum(n for name, n in json.loads(done.stdout).items() if "evicted" in name) > 50


def children_of(pid: int) -> set[int]:
    found = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = stat.read_text().rsplit(")", 1)[1].split()
            if int(fields[1]) == pid and fields[0] != "Z":
                found.add(int(stat.parent.name))
    return found


def wait_until(holds: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < deadline_s
        time.sleep(0.01)


def is_gone(pid: int) -> bool:
    """Whether a process has ended; what nobody has waited for yet has."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except OSError:
        return True


@pytest.fixture(params=[1, 2], ids=["one process", "jobs"])
def extracting(
    request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[tuple[subprocess.Popen[str], Path, set[int]]]:
    """An extraction that waits for more packets, its output's folder, and its processes."""
    pipes = [tmp_path / "a.pipe", tmp_path / "b.pipe"]
    for pipe in pipes:
        os.mkfifo(pipe)
    output = tmp_path / "out" / "flows.csv"
    command = [sys.executable, "-m", "edge_agent.cli", "extract", *pipes, "-o", output]
    with contextlib.ExitStack() as stack:
        process = stack.enter_context(
            subprocess.Popen(
                # Under nohup the signal is ignored, and children inherit that.
                [
                    "env",
                    "--default-signal=HUP,INT",
                    *map(str, command),
                    "--jobs",
                    str(request.param),
                ],
                stderr=subprocess.PIPE,
                text=True,
            )
        )
        stack.callback(process.kill)
        for pipe in pipes[: request.param]:
            # Opens when the other side is read.
            stream = stack.enter_context(pipe.open("wb"))
            stream.write(pcap(FRAMES[:100]))
            stream.flush()
        yield process, output.parent, children_of(process.pid)


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_a_signal_leaves_nothing_behind(
    extracting: tuple[subprocess.Popen[str], Path, set[int]], number: signal.Signals, code: int
) -> None:
    process, folder, workers = extracting
    assert len(list(folder.iterdir())) == 1 + bool(workers)
    process.send_signal(number)
    _, said = process.communicate(timeout=20)
    assert process.returncode == code
    assert said == ("edge-agent extract: interrupted.\n" if code == 130 else "")
    assert not list(folder.iterdir())
    assert all(is_gone(pid) for pid in workers)


def test_no_worker_outlives_its_parent(
    extracting: tuple[subprocess.Popen[str], Path, set[int]],
) -> None:
    process, _, workers = extracting
    process.kill()
    process.wait()
    wait_until(lambda: all(is_gone(pid) for pid in workers))


@pytest.mark.parametrize("extracting", [2], indirect=True)
def test_a_worker_that_is_killed_is_told_of(
    extracting: tuple[subprocess.Popen[str], Path, set[int]],
) -> None:
    process, folder, workers = extracting
    os.kill(workers.pop(), signal.SIGKILL)
    _, said = process.communicate(timeout=20)
    assert process.returncode == 1
    assert said.count("\n") == 1
    assert ".pipe: the process that metered it was ended by signal 9" in said
    assert not list(folder.iterdir())
    assert all(is_gone(pid) for pid in workers)
