"""The compiled part: a plain shared library, called through ctypes.

It knows nothing of Python (no Python.h): any C compiler builds it, one file serves every Python
version, and a fuzzer or profiler can run it alone. Where it was not built, `library` is None and
the plain Python of `flow.reference` and `capture.pcap` does the same work, slowly.
"""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Final

# What the structures and functions that Python sees are; `NATIVE_INTERFACE` in frame.h.
_INTERFACE: Final = 2


def _load() -> tuple[ctypes.CDLL | None, str]:
    found = sorted(Path(__file__).parent.glob("_library.*so"))
    if not found:
        return None, "it was not built, because pip found no C compiler"
    try:
        library = ctypes.CDLL(str(found[0]))
        interface = library.edge_native_interface()
    except (OSError, AttributeError) as error:
        return None, str(error)
    if interface != _INTERFACE:
        return None, "it was built from other sources"
    return library, ""


library: ctypes.CDLL | None
_loaded: Final = _load()
library, why_missing = _loaded
"""The library, or None and the reason."""
