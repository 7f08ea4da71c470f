"""The child processes: what goes wrong in them is a sentence here."""

from __future__ import annotations

import errno
import importlib.util
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from converters import child, worker
from converters.child import PROGRESS, Order, run_worker
from converters.formats import (
    DISK_FULL,
    FAILURE,
    Changes,
    Conversion,
    Format,
    Preparation,
    Recurrence,
    job_from_bytes,
    job_to_bytes,
)
from edge_agent.contract.errors import ConversionError


def job(folder: Path) -> Conversion:
    form, recurrence = Format.FLOAT16, Recurrence.FUSED
    return Conversion(folder, folder / "n.keras", (0, 3), form, recurrence, False, folder)


def order(folder: Path, **changes: Any) -> Order:
    return Order(folder, "toy", Changes(), folder, **changes)


def run_code(folder: Path, code: str, **changes: Any) -> None:
    command = [sys.executable, "-c", code]
    run_worker(job(folder), order(folder, **changes), "converting 'toy'", command)


def crashed(folder: Path, code: str) -> str:
    with pytest.raises(ConversionError) as caught:
        run_code(folder, code)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_jobs_round_trip(tmp_path: Path) -> None:
    preparation = Preparation(tmp_path, "a model", Changes(0.1, 0.2, 16), tmp_path, 20)
    for done in (preparation, job(tmp_path)):
        assert job_from_bytes(job_to_bytes(done)) == done


def test_a_crash_of_the_child_is_an_error(tmp_path: Path) -> None:
    # An abort stands for the segmentation faults of the converter: a signal, but no core dump.
    code = "import os, signal, sys; print('last words', file=sys.stderr, flush=True);"
    said = crashed(tmp_path, f"{code} os.kill(os.getpid(), signal.SIGKILL)")
    assert "converting 'toy' crashed TensorFlow with SIGKILL" in said
    assert "last words" in said


def test_the_childs_last_words_are_told(tmp_path: Path) -> None:
    said = crashed(tmp_path, "raise RuntimeError('quantizer is unhappy')")
    assert "failed with exit code 1" in said
    assert "quantizer is unhappy" in said
    assert "try --float32" in said


def test_the_childs_own_sentence_is_passed_on(tmp_path: Path) -> None:
    (tmp_path / FAILURE).write_text("models/x.keras: is none; train again.")
    assert crashed(tmp_path, "raise SystemExit(1)") == "models/x.keras: is none; train again."


def test_a_child_without_space_says_so_by_its_exit_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: Conversion) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(worker, "_convert", full)
    (tmp_path / "job.json").write_bytes(job_to_bytes(job(tmp_path)))
    assert worker.main([str(tmp_path / "job.json")]) == DISK_FULL
    with pytest.raises(OSError, match="No space left"):
        run_code(tmp_path, f"raise SystemExit({DISK_FULL})")


def test_progress_is_told_and_chatter_is_not(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    told: list[str] = []
    run_code(tmp_path, f"print('chatter'); print({PROGRESS!r} + 'epoch 2 of 4')", tell=told.append)
    assert told == ["epoch 2 of 4"]
    assert capfd.readouterr() == ("", "")


def test_an_interrupt_takes_the_child_along(tmp_path: Path) -> None:
    (tmp_path / "pid").write_text("")
    code = (
        "import os, pathlib, time;"
        f" pathlib.Path({str(tmp_path / 'pid')!r}).write_text(str(os.getpid())); time.sleep(60)"
    )

    def interrupt() -> None:
        while not (tmp_path / "pid").read_text():
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGINT)

    # Whoever runs the tests in the background lets them ignore interrupts.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    waiting = threading.Thread(target=interrupt)
    waiting.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            run_code(tmp_path, code)
    finally:
        signal.signal(signal.SIGINT, before)
        waiting.join()
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


def test_a_missing_tensorflow_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConversionError, match=r"pip install 'edge-ids\[train\]'"):
        child.prepare(order(tmp_path))


def test_importing_the_command_loads_no_tensorflow() -> None:
    code = "import sys, converters.cli; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
