"""The compiled meter (`native/meter.h`), called through ctypes."""

from __future__ import annotations

import ctypes
import os
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from edge_agent.contract.profiles import Padding
from edge_agent.flow.rows import ROW, FlowRows
from edge_agent.native import library, why_missing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from edge_agent.contract.frames import FrameBlock
    from edge_agent.contract.profiles import Profile

# Large enough that a call costs nothing beside its rows, small enough for a core's cache.
_ROWS: Final = 1024
_HASH_SEEDS: Final = 12
_PROFILES: Final = ("cic2017", "improved", "gateway")
_PADDINGS: Final = (Padding.STRIP, Padding.BEHIND_TAGS, Padding.COUNT)


class _Options(ctypes.Structure):
    _fields_ = [
        ("profile", ctypes.c_uint32),
        ("padding", ctypes.c_uint32),
        ("max_flows", ctypes.c_uint32),
        ("max_context_keys", ctypes.c_uint32),
        ("flow_timeout_us", ctypes.c_int64),
        ("linger_us", ctypes.c_int64),
        ("unanswered_us", ctypes.c_int64),
        ("idle_us", ctypes.c_int64),
        ("active_us", ctypes.c_int64),
        ("context_seed", ctypes.c_uint64),
        ("hash_seeds", ctypes.c_uint64 * _HASH_SEEDS),
    ]


class _Rows(ctypes.Structure):
    _fields_ = [
        ("rows", ctypes.c_void_p),
        ("values", ctypes.c_void_p),
        ("capacity", ctypes.c_size_t),
        ("count", ctypes.c_size_t),
    ]


def _declare(library: ctypes.CDLL) -> None:
    pointer, size, rows = ctypes.c_void_p, ctypes.c_size_t, ctypes.POINTER(_Rows)
    for name, result, arguments in (
        ("open", pointer, [ctypes.POINTER(_Options)]),
        ("close", None, [pointer]),
        ("columns", size, [pointer]),
        ("add", ctypes.c_bool, [pointer, pointer, pointer, size, ctypes.POINTER(size), rows]),
        ("advance", ctypes.c_bool, [pointer, ctypes.c_int64, rows]),
        ("flush", ctypes.c_bool, [pointer, rows]),
        ("counts", ctypes.POINTER(ctypes.c_uint64), [pointer]),
        ("now_us", ctypes.c_int64, [pointer]),
        ("flows", ctypes.c_uint32, [pointer]),
    ):
        function = getattr(library, f"edge_meter_{name}")
        function.restype = result
        function.argtypes = arguments


if library is not None:
    _declare(library)


class CompiledMeter:
    """See `meter.Meter`; not for use from two threads at once.

    Args:
        profile: What a flow is and what is counted of it.
        max_flows: Bound of the flow table.
        max_context_keys: Bound of each of the four context tables.
        padding: Whether Ethernet padding counts as payload.
        context_seed: See `meter.open_meter`.
        count_names: Names of what the meter counts, in its order.

    Raises:
        LookupError: It was not built.
        MemoryError: The bounds are more than this machine has.
    """

    def __init__(
        self,
        profile: Profile,
        max_flows: int,
        max_context_keys: int,
        padding: Padding,
        context_seed: int,
        count_names: Sequence[str],
    ) -> None:
        self._handle: int | None = None
        if library is None:
            raise LookupError(f"The compiled meter cannot be used: {why_missing}.")
        self._library = library
        live = profile.live
        timeouts_s = (
            (live.linger_s, live.unanswered_timeout_s, live.idle_timeout_s, live.active_timeout_s)
            if live is not None
            else (0.0, 0.0, 0.0, 0.0)
        )
        self._handle = library.edge_meter_open(
            _Options(
                _PROFILES.index(profile.name),
                _PADDINGS.index(padding),
                max_flows,
                max_context_keys,
                *(round(timeout_s * 1e6) for timeout_s in (profile.flow_timeout_s, *timeouts_s)),
                context_seed,
                (ctypes.c_uint64 * _HASH_SEEDS).from_buffer_copy(os.urandom(8 * _HASH_SEEDS)),
            )
        )
        if self._handle is None:
            raise MemoryError(
                f"no room for a flow table of {max_flows:,} flows and {max_context_keys:,} keys"
            )
        self._count_names = count_names
        self._about = np.empty(_ROWS, dtype=ROW)
        columns = library.edge_meter_columns(self._handle)
        if columns != len(profile.features):
            raise AssertionError(f"the library has {columns} columns: build it anew")
        self._values = np.empty((_ROWS, columns))
        self._rows = _Rows(self._about.ctypes.data, self._values.ctypes.data, _ROWS, 0)

    def __del__(self) -> None:
        if self._handle is not None:
            self._library.edge_meter_close(self._handle)

    @property
    def now_us(self) -> int:
        """See `meter.Meter`."""
        return int(self._library.edge_meter_now_us(self._handle))

    @property
    def flows(self) -> int:
        """See `meter.Meter`."""
        return int(self._library.edge_meter_flows(self._handle))

    def add(self, block: FrameBlock) -> Iterator[FlowRows]:
        """See `meter.Meter`."""
        data = np.ascontiguousarray(block.data)
        frames = np.ascontiguousarray(block.frames)
        yield from self._gathered(
            self._library.edge_meter_add,
            data.ctypes.data,
            frames.ctypes.data,
            len(frames),
            ctypes.byref(ctypes.c_size_t(0)),
        )

    def advance(self, now_us: int) -> Iterator[FlowRows]:
        """See `meter.Meter`."""
        yield from self._gathered(self._library.edge_meter_advance, now_us)

    def flush(self) -> Iterator[FlowRows]:
        """See `meter.Meter`."""
        yield from self._gathered(self._library.edge_meter_flush)

    def counts(self) -> dict[str, int]:
        """See `meter.Meter`."""
        numbers = self._library.edge_meter_counts(self._handle)[: len(self._count_names)]
        return dict(zip(self._count_names, numbers, strict=True))

    def _gathered(self, function: Callable[..., bool], *arguments: Any) -> Iterator[FlowRows]:
        full = True
        while full:
            full = function(self._handle, *arguments, ctypes.byref(self._rows))
            count = self._rows.count
            self._rows.count = 0
            if count:
                yield FlowRows(self._about[:count], self._values[:count])
