"""This process before the system: the memory it keeps, and which of its threads come first."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import threading
from typing import Final

# malloc.h of the GNU C library.
_MMAP_THRESHOLD: Final = -3
# Larger than what scoring takes and frees for every batch, smaller than tables and models.
_LARGE_BYTES: Final = 256 * 1024


def map_large_blocks() -> None:
    """Have large blocks of memory mapped one by one, where the C library can.

    They go back to the system when they are freed, and a new one takes memory only as it is written
    to. The library begins so, but stops it for every size that has been freed once.
    """
    choose = getattr(ctypes.CDLL(None), "mallopt", None)
    if choose is not None:
        choose(_MMAP_THRESHOLD, _LARGE_BYTES)


def give_back_memory() -> None:
    """What starting up has used and freed goes back to the system, where the C library can."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def step_back(niceness: int) -> None:
    """Let this thread alone come after the others; those it starts later do as it does."""
    thread = threading.get_native_id()
    # It may have been put back further already.
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, thread, os.getpriority(os.PRIO_PROCESS, thread) + niceness)
