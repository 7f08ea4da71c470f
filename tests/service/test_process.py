"""The process before the system, in processes of their own: what is chosen there stays."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys

import pytest

_BLOCK = 8 * 1024 * 1024

_AFTER_LARGE_BLOCKS = f"""
import ctypes, sys
from edge_agent.service import process
if sys.argv[1] == "mapped":
    process.map_large_blocks()
libc = ctypes.CDLL(None)
libc.malloc.restype = libc.calloc.restype = ctypes.c_void_p
libc.free.argtypes = (ctypes.c_void_p,)
libc.free(libc.malloc({_BLOCK}))
block = libc.malloc({_BLOCK} // 2)
with open("/proc/self/maps") as maps:
    heap = next(line for line in maps if "[heap]" in line)
begin, end = (int(text, 16) for text in heap.split()[0].split("-"))
print(begin <= block < end)
"""

_STEPS_BACK = """
import os, threading
from edge_agent.service import process
other = []
thread = threading.Thread(target=lambda: (ready.wait(), other.append(
    os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))))
ready = threading.Event()
thread.start()
before = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
process.step_back(3)
ready.set()
thread.join()
print(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) - before, other[0] - before)
"""


def said(program: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments], check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


@pytest.mark.skipif(
    not hasattr(ctypes.CDLL(None), "mallopt"), reason="this C library has no mallopt"
)
def test_large_blocks_stay_mapped_after_one_was_freed() -> None:
    assert said(_AFTER_LARGE_BLOCKS, "as the library does") == "True"
    assert said(_AFTER_LARGE_BLOCKS, "mapped") == "False"


@pytest.mark.skipif(
    os.getpriority(os.PRIO_PROCESS, 0) > 10, reason="this process is put back already"
)
def test_one_thread_steps_back_and_the_others_stay() -> None:
    assert said(_STEPS_BACK) == "3 0"
