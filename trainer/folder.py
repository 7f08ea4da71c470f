"""A run folder appears whole or not at all, and what a kill left behind is gone on from.

While a run is made, everything stands in `.RUN.partial` beside it: finished models, checkpoints
below `unfinished/`, and the options it was begun with. A run that ends well drops those and takes
its name. One that fails before anything was learned leaves nothing; a later failure, a full disk or
a SIGKILL leave the partial folder, and `--resume` goes on from there.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from edge_agent.contract.errors import OutputError
from edge_agent.contract.files import write_atomically

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

_PLAN: Final = "plan.json"
_LOCK: Final = "lock"
WORK: Final = "unfinished"
"""Folder inside the partial one for what a finished run has no use for."""


@dataclass(frozen=True, slots=True)
class Workplace:
    """Where a run is being made.

    Attributes:
        folder: The run folder to be.
        resumed: Whether it holds what an earlier attempt left.
    """

    folder: Path
    resumed: bool

    @property
    def work(self) -> Path:
        """Checkpoints and scores; vanishes when the run is whole."""
        return self.folder / WORK


def partial_folder(output: Path) -> Path:
    """Where a run is made before it takes its name."""
    return output.parent / f".{output.name}.partial"


def check_free(output: Path, *, force: bool, resume: bool = False) -> None:
    """Refuse a folder that would be overwritten, before any work is done.

    Raises:
        OutputError: It is a file, or holds something and `force` is not set; or an unfinished run
            lies beside it and neither `force` nor `resume` is set.
    """
    if output.exists() and not output.is_dir():
        raise OutputError(f"{output}: is not a folder; choose another name with --output.")
    if not force and output.exists() and any(output.iterdir()):
        raise OutputError(
            f"{output}: already holds files; choose another folder, or replace it with --force."
        )
    partial = partial_folder(output)
    if not (force or resume) and (partial / WORK).exists():
        raise OutputError(
            f"{partial}: holds an unfinished run; go on with --resume, or begin anew with --force."
        )


@contextlib.contextmanager
def whole_folder(
    output: Path,
    *,
    force: bool,
    resume: bool = False,
    plan: Mapping[str, Any] | None = None,
) -> Iterator[Workplace]:
    """A place to make a run in; it becomes `output` only when the block ends well.

    Args:
        output: The run folder.
        force: Replace what is there, finished or not.
        resume: Go on with an unfinished run of the same plan, if there is one.
        plan: What decides the run's result, as JSON.

    Raises:
        OutputError: It cannot be made, written or renamed; another process is writing it; or the
            unfinished run was begun with another plan.
    """
    check_free(output, force=force, resume=resume)
    partial = partial_folder(output)
    whole = False
    with _told(output):
        partial.mkdir(parents=True, exist_ok=True)
        with _locked(partial):
            try:
                resumed = resume and (partial / WORK).exists()
                if resumed:
                    _check_plan(partial, plan or {})
                else:
                    _empty(partial)
                    write_atomically(partial / _PLAN, json.dumps(plan or {}, indent=1).encode())
                yield Workplace(partial, resumed)
                shutil.rmtree(partial / WORK, ignore_errors=True)
                (partial / _PLAN).unlink()
                (partial / _LOCK).unlink()
                if output.exists():
                    shutil.rmtree(output)
                partial.rename(output)
                whole = True
            finally:
                if not whole and not (partial / WORK).exists():
                    shutil.rmtree(partial, ignore_errors=True)


@contextlib.contextmanager
def _told(output: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        kept = (partial_folder(output) / WORK).exists()
        raise OutputError(
            f"{output}: cannot be written ({error.strerror or error}); check the folder, its"
            " permissions and the free space" + (", then go on with --resume." if kept else ".")
        ) from error


@contextlib.contextmanager
def _locked(partial: Path) -> Iterator[None]:
    """Keep a second process out; the lock ends with the process, however it ends."""
    descriptor = os.open(partial / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise OutputError(
                f"{partial}: another edge-train is writing there; wait for it, or choose another"
                " --output."
            ) from error
        yield
    finally:
        os.close(descriptor)


def _check_plan(partial: Path, plan: Mapping[str, Any]) -> None:
    try:
        begun = json.loads((partial / _PLAN).read_bytes())
    except (OSError, ValueError):
        begun = None
    # Through JSON, as the other one went: tuples are lists there.
    wanted = json.loads(json.dumps(plan))
    if begun == wanted:
        return
    if isinstance(begun, dict):
        changed = sorted(key for key in wanted.keys() | begun if wanted.get(key) != begun.get(key))
        what = f"was begun with other settings ({', '.join(changed)})"
    else:
        what = "does not say what it was begun with"
    raise OutputError(
        f"{partial}: {what}; give the same command with --resume, or begin anew with --force."
    )


def _empty(folder: Path) -> None:
    for child in folder.iterdir():
        if child.name == _LOCK:
            continue
        if child.is_dir():
            shutil.rmtree(child)
        else:
            child.unlink()
