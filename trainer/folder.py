"""A run folder appears whole or not at all."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from edge_agent.contract.errors import OutputError

if TYPE_CHECKING:
    from collections.abc import Iterator


def check_free(folder: Path, *, force: bool) -> None:
    """Refuse a folder that would be overwritten, before any work is done.

    Raises:
        OutputError: It is a file, or holds something and `force` is not set.
    """
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder}: is not a folder; choose another name with --output.")
    if force or not folder.exists():
        return
    if any(folder.iterdir()):
        raise OutputError(
            f"{folder}: already holds files; choose another folder, or replace it with --force."
        )


@contextlib.contextmanager
def whole_folder(folder: Path, *, force: bool) -> Iterator[Path]:
    """A folder to write into that takes the name `folder` only when the block ends well.

    Raises:
        OutputError: It cannot be made, written or renamed.
    """
    check_free(folder, force=force)
    temporary = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
        yield temporary
        # mkdtemp makes folders for the owner only; a result has the user's usual permissions.
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o777 & ~umask)
        if folder.exists():
            shutil.rmtree(folder)
        temporary.rename(folder)
        temporary = None
    except OSError as error:
        raise OutputError(
            f"{folder}: cannot be written ({error.strerror or error}); check the folder, its"
            " permissions and the free space."
        ) from error
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)
