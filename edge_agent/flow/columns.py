"""Counters → a profile's columns: the formulas, in file order, nothing else.

`cic2017` prints what the original tool printed, its quirks included: flags of the first packet
under permuted names, the first payload counted twice, bulks never found. `improved` prints what
the names say. `features.py` has the same formulas in words, the specification their evidence.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from edge_agent.flow.counters import sample_variance
from edge_agent.flow.packets import ACK, CWR, ECE, FIN, PSH, RST, SYN, TCP, URG

if TYPE_CHECKING:
    from edge_agent.flow.counters import Counters, Direction


def cic2017_columns(port: int, c: Counters) -> tuple[float, ...]:
    """The 78 columns of the original CSVs.

    Args:
        port: Destination port of the row.
        c: Its counters.
    """
    f, b = c.forward, c.backward
    total, n = c.lengths.total, c.packets
    duration_us, first = c.duration_us, c.first

    def flag(bit: int) -> int:
        return int(bool(first.flags & bit))

    mean, variance = _first_counted_twice(c)
    window = first.window if first.protocol == TCP else -1
    return (
        port,
        duration_us,
        f.packets,
        b.packets,
        f.lengths.total,
        b.lengths.total,
        *_lengths(f),
        *_lengths(b),
        _rate(total, duration_us, math.inf if total else math.nan),
        _rate(n, duration_us, math.inf),
        *c.gaps.summary(),
        *_gaps(f),
        *_gaps(b),
        flag(PSH),
        0,
        flag(URG),
        0,
        f.header_bytes,
        b.header_bytes,
        _rate(f.packets, duration_us, 0.0),
        _rate(b.packets, duration_us, 0.0),
        c.lengths.smallest,
        c.lengths.largest,
        mean,
        math.sqrt(variance),
        variance,
        *(flag(bit) for bit in (RST, PSH, ECE, SYN, ACK, FIN, URG, CWR)),
        b.packets // f.packets,
        (total + first.payload_length_bytes) / n,
        f.lengths.mean,
        b.lengths.mean,
        f.header_bytes,
        *(0,) * 6,
        f.packets,
        f.lengths.total,
        b.packets,
        b.lengths.total,
        window,
        b.last_window,
        f.data_packets - (first.payload_length_bytes >= 1),
        f.smallest_header_bytes,
        *c.active.summary(),
        *c.idle.summary(),
    )


def improved_columns(port: int, c: Counters) -> tuple[float, ...]:
    """The columns of the corrected tool.

    Args:
        port: Destination port of the row.
        c: Its counters.
    """
    f, b = c.forward, c.backward
    duration_us = c.duration_us
    fin, syn, rst, psh, ack, urg, cwr, ece = c.flags
    # The tool sets these at a row's first packet only: what that packet's direction is not, keeps
    # the 0 it began with (a header minimum then never rises above it).
    if c.first_forward:
        window, smallest_headers = c.first.window, (f.smallest_header_bytes, 0)
    else:
        window, smallest_headers = 0, (0, b.smallest_header_bytes)
    return (
        port,
        duration_us,
        f.packets,
        b.packets,
        f.lengths.total,
        b.lengths.total,
        *_lengths(f),
        *_lengths(b),
        _rate(c.lengths.total, duration_us, -1.0),
        _rate(c.packets, duration_us, -1.0),
        *c.gaps.summary(),
        *_gaps(f),
        *_gaps(b),
        f.psh,
        b.psh,
        f.urg,
        b.urg,
        f.rst,
        b.rst,
        f.header_bytes,
        b.header_bytes,
        _rate(f.packets, duration_us, 0.0),
        _rate(b.packets, duration_us, 0.0),
        c.lengths.smallest,
        c.lengths.largest,
        c.lengths.mean,
        c.lengths.std,
        c.lengths.variance,
        fin,
        syn,
        rst,
        psh,
        ack,
        urg,
        cwr,
        ece,
        b.packets / f.packets if f.packets else 0.0,
        c.lengths.mean,
        f.lengths.mean,
        b.lengths.mean,
        *f.bulk.averages(),
        *b.bulk.averages(),
        *(
            value / c.subflow_gaps if c.subflow_gaps else 0.0
            for value in (f.packets, f.lengths.total, b.packets, b.lengths.total)
        ),
        window,
        b.first_nonzero_window,
        f.data_packets,
        b.data_packets,
        *smallest_headers,
        *c.active.summary(),
        *c.idle.summary(),
    )


def _lengths(direction: Direction) -> tuple[float, ...]:
    """Largest, smallest, mean, std: the one group the tools print in this order."""
    mean, std, largest, smallest = direction.lengths.summary()
    return largest, smallest, mean, std


def _gaps(direction: Direction) -> tuple[float, ...]:
    return direction.gaps.total, *direction.gaps.summary()


def _rate(amount: int, duration_us: int, when_instant: float) -> float:
    return amount * 1e6 / duration_us if duration_us else when_instant


def _first_counted_twice(c: Counters) -> tuple[float, float]:
    """Mean and sample variance of all payloads with the first one in twice (spec B #41, #42)."""
    value, n = c.first.payload_length_bytes, c.packets + 1
    total, squares = c.lengths.total + value, c.lengths.squares + value * value
    return total / n, sample_variance(n, total, squares)
