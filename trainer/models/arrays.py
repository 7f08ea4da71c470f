"""The file form of models that are nothing but arrays: a compressed .npz, read without pickle.

scikit-learn's own files are pickles, which run code when read; skops avoids that, but stores
scikit-learn's objects, which only the version that wrote them may read, and asks its reader to
trust the very node tables of a tree that it does not check. Plain arrays outlive versions, and a
model can check its own before it follows an index.
"""

from __future__ import annotations

import zipfile
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from edge_agent.contract.errors import RunError
from edge_agent.contract.files import atomic_output

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

SUFFIX: Final = ".npz"
REMEDY: Final = "train the run again"


@dataclass(frozen=True, slots=True)
class Layout:
    """What a file of one kind of model holds.

    Attributes:
        name: Written into the file and asked for when read.
        version: To be raised when the arrays change their meaning.
        arrays: Name → dtype and number of dimensions.
    """

    name: str
    version: int
    arrays: Mapping[str, tuple[str, int]]


def save_arrays(stem: Path, layout: Layout, arrays: Mapping[str, NDArray[Any]]) -> Path:
    """Write the arrays beside `stem`, with the suffix `SUFFIX`.

    Raises:
        OutputError: The file cannot be written.
    """
    path = stem.with_name(stem.name + SUFFIX)
    typed = {
        name: np.asarray(arrays[name], dtype=dtype) for name, (dtype, _) in layout.arrays.items()
    }
    with atomic_output(path) as stream:
        np.savez_compressed(stream, format=np.array(_format(layout)), **typed)  # type: ignore[arg-type]
    return path


def load_arrays(path: Path, layout: Layout) -> dict[str, NDArray[Any]]:
    """Read what `save_arrays` wrote.

    Raises:
        RunError: It is missing, damaged, of another kind of model or of another version.
    """
    try:
        # Opened here, because numpy forgets to close what it cannot read.
        with path.open("rb") as stream:
            file = np.load(stream, allow_pickle=False)
            if not isinstance(file, np.lib.npyio.NpzFile):
                raise RunError(path, "is not an archive of arrays", remedy=REMEDY)
            found = str(file["format"])
            if found != _format(layout):
                raise RunError(
                    path, f"holds {found!r} instead of {_format(layout)!r}", remedy=REMEDY
                )
            arrays = {name: file[name] for name in layout.arrays}
    except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        raise RunError(path, f"cannot be read ({error})", remedy=REMEDY) from error
    for name, (dtype, dimensions) in layout.arrays.items():
        array = arrays[name]
        if array.dtype != dtype or array.ndim != dimensions:
            raise RunError(
                path, f"its {name} are {array.dtype}, shape {array.shape}", remedy=REMEDY
            )
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise RunError(path, f"its {name} are not all finite", remedy=REMEDY)
    return arrays


def _format(layout: Layout) -> str:
    return f"edge-ids {layout.name} {layout.version}"
