"""The fuzzers' corpus runs clean: built with the machine's own compiler, and its sanitizers."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING, Final

import pytest

from tests.conftest import ROOT

if TYPE_CHECKING:
    from pathlib import Path

HERE: Final = ROOT / "tests" / "fuzz"
NATIVE: Final = ROOT / "edge_agent" / "native"
HARNESSES: Final = ("packets", "captures", "rings")
SANITIZERS: Final = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all")
WARNINGS: Final = ("-Wall", "-Wextra", "-Werror")
# Bounds of what is kept in the repository.
MAX_CORPUS_BYTES: Final = 300_000
MAX_INPUTS: Final = 550

# What a slip of the pen might do to the code under test, and which harness is to see it.
SPOILED: Final = {
    "a read beyond the frame": ("packet.c", "captured < 16", "captured < 13", "packets"),
    "a read beyond the file": (
        "capture.c",
        "left < head_bytes",
        "left + 8 < head_bytes",
        "captures",
    ),
    "a read beyond the block": (
        "ring.c",
        "captured <= record_bytes - link_at &&",
        "captured <= record_bytes &&",
        "rings",
    ),
    "a tag put where another frame may be": (
        "ring.c",
        "link_at < FRAME_HEAD_BYTES + TAG_BYTES",
        "link_at < TAG_BYTES",
        "rings",
    ),
    "a packet taken twice": (
        "meter.c",
        "if (take(meter, packet, rows)) return true;\n",
        "if (take(meter, packet, rows) || take(meter, packet, rows)) return true;\n",
        "packets",
    ),
    "a row of which nobody knows": ("flows.c", "rows->count++", "rows->count", "packets"),
    "rows that depend on secret seeds": (
        "flows.c",
        "victim = meter->silence[state].first;",
        "victim = meter->options.hash_seeds[0] & 4 ? meter->order.first : meter->order.last;",
        "packets",
    ),
}


@pytest.fixture(scope="module")
def compiler(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A C compiler whose sanitizers work."""
    found = shutil.which("cc")
    if found is None:
        pytest.skip("no C compiler: there is no cc")
    program = tmp_path_factory.mktemp("sanitizers") / "program"
    source = program.with_suffix(".c")
    source.write_text("int main(void) { return 0; }\n")
    command = [found, *SANITIZERS, str(source), "-o", str(program)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("the C compiler has no runtime of address and undefined-behaviour sanitizers")
    if subprocess.run([program], capture_output=True, check=False).returncode:
        pytest.skip("the sanitizers' runtime does not work on this machine")
    return found


class Workshop:
    """Compiles each file once.

    Args:
        compiler: As `compiler` gives it.
        folder: Where the objects go.
    """

    def __init__(self, compiler: str, folder: Path) -> None:
        self._compiler = compiler
        self._folder = folder
        self._native = {path.name: self.compiled(path) for path in sorted(NATIVE.glob("*.c"))}
        shared = ("checking.c", "replay.c")
        self._shared = [self.compiled(HERE / name) for name in shared]
        self._harnesses = {name: self.compiled(HERE / f"{name}.c") for name in HARNESSES}

    def compiled(self, source: Path) -> Path:
        target = self._folder / f"{source.parent.name}-{source.stem}.o"
        self._run("-std=c11", "-O1", *WARNINGS, f"-I{NATIVE}", "-c", source, "-o", target)
        return target

    def linked(self, harness: str, program: Path, other: Path | None = None) -> Path:
        """Make the program that replays, `other` taking the place of a file of its name."""
        native = dict(self._native)
        if other is not None:
            native[other.name] = self.compiled(other)
        objects = (self._harnesses[harness], *self._shared, *native.values())
        self._run(*objects, "-lm", "-o", program)
        return program

    def _run(self, *arguments: str | Path) -> None:
        command = [self._compiler, *SANITIZERS, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def workshop(compiler: str, tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    return Workshop(compiler, tmp_path_factory.mktemp("objects"))


def replay(program: Path, harness: str) -> tuple[int, str]:
    """Run a harness over its corpus; gives its status and what it said, the input's name first."""
    inputs = sorted((HERE / "corpus" / harness).iterdir())
    assert inputs
    # Leaks are looked for with the fuzzer: it needs ptrace, which containers may forbid.
    environment = {**os.environ, "ASAN_OPTIONS": "detect_leaks=0"}
    done = subprocess.run(
        [program, *inputs],
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        env=environment,
    )
    return done.returncode, done.stderr[-4000:]


@pytest.mark.parametrize("harness", HARNESSES)
def test_the_corpus_runs_clean(workshop: Workshop, harness: str, tmp_path: Path) -> None:
    status, said = replay(workshop.linked(harness, tmp_path / harness), harness)
    assert status == 0, said


@pytest.mark.parametrize("slip", SPOILED)
def test_a_slip_would_be_seen(workshop: Workshop, slip: str, tmp_path: Path) -> None:
    name, good, bad, harness = SPOILED[slip]
    code = (NATIVE / name).read_text(encoding="utf-8")
    assert code.count(good) == 1, "the code has changed: spoil it anew"
    spoiled = tmp_path / name
    spoiled.write_text(code.replace(good, bad), encoding="utf-8")
    status, said = replay(workshop.linked(harness, tmp_path / harness, spoiled), harness)
    assert status != 0, said


def test_the_corpus_stays_small() -> None:
    sizes = [path.stat().st_size for path in (HERE / "corpus").rglob("*") if path.is_file()]
    assert sum(sizes) < MAX_CORPUS_BYTES
    assert len(sizes) < MAX_INPUTS
