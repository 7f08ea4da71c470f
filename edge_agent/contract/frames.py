"""Captured frames by the block: what capture hands to the meter, without an object per packet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

FRAME: Final = np.dtype(
    [
        ("time_us", "<i8"),
        ("offset", "<u4"),
        ("captured_bytes", "<u4"),
        ("wire_bytes", "<u4"),
        ("link_type", "<u4"),
    ]
)
"""One frame of a block: capture time in µs since 1970, where it begins in the block, how much of it
was captured and how much was on the wire, LINKTYPE_ number. `struct frame` in `native/frame.h`."""


@dataclass(frozen=True, slots=True)
class FrameBlock:
    """A stretch of captured bytes and where the frames are in it.

    Attributes:
        data: The bytes, dtype uint8, contiguous. Valid until the next block is asked for.
        frames: Index of the frames, dtype `FRAME`, in capture order; each lies inside `data`.
    """

    data: NDArray[np.uint8]
    frames: NDArray[Any]
