"""Results appear whole or not at all."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from edge_agent.contract.errors import OutputError

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextlib.contextmanager
def atomic_output(path: Path, mode: str = "wb") -> Iterator[IO[bytes] | IO[str]]:
    """Open a file that takes its name only when the block ends well.

    Args:
        path: Where the result will be; its folder is made if needed.
        mode: "wb" or "w" (UTF-8, line ends as written).

    A device or pipe, such as /dev/null or /dev/stdout, is written straight.

    Raises:
        OutputError: The folder or the file cannot be written.
    """
    temporary = None
    text = {} if "b" in mode else {"encoding": "utf-8", "newline": ""}
    try:
        if path.exists() and not path.is_file():
            # A device or a pipe: there is nothing to keep whole, and a rename would destroy it.
            with path.open(mode, **text) as stream:  # type: ignore[call-overload]
                yield stream
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        temporary = Path(name)
        with os.fdopen(handle, mode, **text) as stream:  # type: ignore[call-overload]
            yield stream
        # mkstemp makes files for the owner only; a result has the user's usual permissions.
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        temporary.replace(path)
        temporary = None
    except OSError as error:
        raise _refused(path, error) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file whole or not at all.

    Raises:
        OutputError: The file cannot be written.
    """
    with atomic_output(path, "wb") as stream:
        stream.write(data)  # type: ignore[arg-type]


def write_together(files: dict[Path, bytes]) -> None:
    """Write all files or none.

    Raises:
        OutputError: One cannot be written.
    """
    with contextlib.ExitStack() as stack:
        # Each takes its name when the stack ends well, and none does otherwise.
        streams = {path: stack.enter_context(atomic_output(path)) for path in files}
        for path, content in files.items():
            _fill(path, streams[path], content)


def _fill(path: Path, stream: IO[Any], content: bytes) -> None:
    try:
        stream.write(content)
        # A full disk must show now: later some of the others have their names.
        stream.flush()
    except OSError as error:
        raise _refused(path, error) from error


def _refused(path: Path, error: OSError) -> OutputError:
    return OutputError(
        f"{path}: cannot be written ({error.strerror or error}); check the folder, its permissions"
        " and the free space."
    )
