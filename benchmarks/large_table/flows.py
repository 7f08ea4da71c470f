"""Flows that nobody recorded, with numbers as a build of the tool would have computed them.

For tables of any size and for tests of reading them: the packets of each flow are drawn, and every
column is computed from them by the formulas of `contract.features`, so that what a reader checks
holds as it does in published files. Nothing can be learned from such rows but that attacks are
short and send much.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Mask = NDArray[np.bool_]

_TCP: Final = 6
_UDP: Final = 17
# Packets per direction and flow, at most: enough for means and deviations.
_PACKETS: Final = 8
_LARGEST_BYTES: Final = 1460
_IDLE_US: Final = 5_000_000


@dataclass(frozen=True, slots=True)
class Flows:
    """Drawn flows.

    Attributes:
        columns: `Feature.number` → its column, shape (n_flows,).
        reset: RST flags forward and backward, which only the corrected tool counts.
        protocol: 6 or 17, shape (n_flows,).
    """

    columns: dict[int, Floats]
    reset: Floats
    protocol: NDArray[np.int64]


def draw(rng: np.random.Generator, is_attack: Mask, *, corrected: bool) -> Flows:
    """Draw a flow for each entry of `is_attack`, shape (n_flows,).

    Args:
        rng: Says which.
        is_attack: Whether a flow is short and sends much, or the other way round.
        corrected: Whether the corrected tool counts, or the original.
    """
    packets = _Packets.draw(rng, is_attack)
    columns = _common(packets)
    (_corrected if corrected else _original)(packets, columns)
    return Flows(columns, np.zeros(len(is_attack)), packets.protocol)


@dataclass(frozen=True, slots=True)
class _Packets:
    """Packets of flows in order of time, shape (n_flows, 2 * _PACKETS) unless noted.

    Attributes:
        is_there: Flows are of different length.
        is_forward: The first packet is.
        time_us: Since the flow began.
        length: Payload, bytes.
        protocol, port, window: Shape (n_flows,).
        is_syn: Whether the first packet has SYN, else PSH and ACK, shape (n_flows,).
    """

    is_there: Mask
    is_forward: Mask
    time_us: Floats
    length: Floats
    protocol: NDArray[np.int64]
    port: NDArray[np.int64]
    is_syn: Mask

    @classmethod
    def draw(cls, rng: np.random.Generator, is_attack: Mask) -> _Packets:
        count = len(is_attack)
        forward = rng.integers(1, _PACKETS + 1, count)
        backward = rng.integers(1, _PACKETS + 1, count)
        slot = np.arange(2 * _PACKETS)
        is_forward = np.broadcast_to(slot % 2 == 0, (count, len(slot)))
        is_there = slot // 2 < np.where(is_forward, forward[:, None], backward[:, None])
        # Packets that are there first, in their order.
        order = np.argsort(~is_there, axis=1, kind="stable")
        is_there = np.take_along_axis(is_there, order, axis=1)
        is_forward = np.take_along_axis(is_forward, order, axis=1)
        scale = np.where(is_attack, 20, 4000)[:, None]
        gap = rng.integers(1, 1000, is_there.shape) * scale
        # A pause in one flow of ten, never before the first answer.
        pauses = rng.random(count) < 0.1
        gap[pauses, 2] += rng.integers(_IDLE_US, 4 * _IDLE_US, int(pauses.sum()))
        gap[:, 0] = 0
        most = np.where(is_attack, _LARGEST_BYTES, 300)[:, None]
        protocol = np.where(rng.random(count) < 0.7, _TCP, _UDP)
        return cls(
            is_there=is_there,
            is_forward=is_forward,
            time_us=np.cumsum(gap, axis=1).astype(np.float64),
            length=rng.integers(0, most + 1, is_there.shape).astype(np.float64),
            protocol=protocol,
            port=np.where(is_attack, 80, rng.integers(1, 65_536, count)),
            is_syn=(protocol == _TCP) & (rng.random(count) < 0.6),
        )


def _statistics(values: Floats, counted: Mask) -> dict[str, Floats]:
    """Sum, mean, sample deviation, largest and smallest of the values counted; 0 without any."""
    count = counted.sum(axis=1)
    total = np.where(counted, values, 0).sum(axis=1)
    mean = total / np.maximum(count, 1)
    squares = np.where(counted, (values - mean[:, None]) ** 2, 0).sum(axis=1)
    return {
        "count": count.astype(np.float64),
        "total": total,
        "mean": mean,
        "std": np.sqrt(np.where(count > 1, squares / np.maximum(count - 1, 1), 0)),
        "max": values.max(axis=1, where=counted, initial=0),
        "min": np.where(count > 0, values.min(axis=1, where=counted, initial=np.inf), 0),
    }


def _gaps(packets: _Packets, chosen: Mask) -> dict[str, Floats]:
    """Statistics of the gaps between the chosen packets."""
    order = np.argsort(~chosen, axis=1, kind="stable")
    time = np.take_along_axis(packets.time_us, order, axis=1)
    there = np.take_along_axis(chosen, order, axis=1)
    return _statistics(np.diff(time, axis=1), there[:, 1:])


def _common(packets: _Packets) -> dict[int, Floats]:
    """The columns that both tools compute alike."""
    there, forward = packets.is_there, packets.is_there & packets.is_forward
    backward = there & ~packets.is_forward
    header = np.where(packets.protocol == _TCP, 20, 8).astype(np.float64)
    lengths = [_statistics(packets.length, mask) for mask in (forward, backward, there)]
    gaps = [_gaps(packets, mask) for mask in (there, forward, backward)]
    duration = gaps[0]["total"]
    columns = {
        1: packets.port.astype(np.float64),
        2: duration,
        3: lengths[0]["count"],
        4: lengths[1]["count"],
        5: lengths[0]["total"],
        6: lengths[1]["total"],
        15: lengths[2]["total"] * 1e6 / duration,
        16: lengths[2]["count"] * 1e6 / duration,
        35: lengths[0]["count"] * header,
        36: lengths[1]["count"] * header,
        37: lengths[0]["count"] * 1e6 / duration,
        38: lengths[1]["count"] * 1e6 / duration,
        39: lengths[2]["min"],
        40: lengths[2]["max"],
        54: lengths[0]["mean"],
        55: lengths[1]["mean"],
        70: header,
    }
    for first, found in ((7, lengths[0]), (11, lengths[1])):
        columns |= {first + i: found[name] for i, name in enumerate(("max", "min", "mean", "std"))}
    columns |= {17 + i: gaps[0][name] for i, name in enumerate(("mean", "std", "max", "min"))}
    for first, found in ((21, gaps[1]), (26, gaps[2])):
        names = ("total", "mean", "std", "max", "min")
        columns |= {first + i: found[name] for i, name in enumerate(names)}
    return columns | _rests(packets)


def _rests(packets: _Packets) -> dict[int, Floats]:
    """Active and idle times: flows pause once at most, before the third packet."""
    pause = packets.time_us[:, 2] - packets.time_us[:, 1]
    idle = np.where(packets.is_there[:, 2] & (pause > _IDLE_US), pause, 0)
    active = np.where(idle > 0, packets.time_us[:, 1], 0)
    nothing = np.zeros(len(idle))
    return {
        71: active, 72: nothing, 73: active, 74: active,
        75: idle, 76: nothing, 77: idle, 78: idle,
    }  # fmt: skip


def _original(packets: _Packets, columns: dict[int, Floats]) -> None:
    """Add what the original tool computes: the first packet twice, its flags permuted."""
    twice = np.concatenate([packets.length[:, :1], packets.length], axis=1)
    there = np.concatenate([packets.is_there[:, :1], packets.is_there], axis=1)
    length = _statistics(twice, there)
    is_tcp = packets.protocol == _TCP
    push = (is_tcp & ~packets.is_syn).astype(np.float64)
    count = columns[3] + columns[4]
    data = packets.is_there & packets.is_forward & (packets.length > 0)
    window = np.where(is_tcp, 29_200, -1).astype(np.float64)
    nothing = np.zeros(len(push))
    columns |= dict.fromkeys((32, 33, 34, 44, 46, 49, 50, 51, *range(57, 63)), nothing)
    columns |= {
        31: push,
        41: length["mean"],
        42: length["std"],
        43: length["std"] ** 2,
        45: push,
        47: packets.is_syn.astype(np.float64),
        48: push,
        52: np.floor(columns[4] / columns[3]),
        53: length["total"] / count,
        56: columns[35],
        63: columns[3],
        64: columns[5],
        65: columns[4],
        66: columns[6],
        67: window,
        68: window,
        69: data[:, 1:].sum(axis=1).astype(np.float64),
    }


def _corrected(packets: _Packets, columns: dict[int, Floats]) -> None:
    """Add what the corrected tool computes."""
    length = _statistics(packets.length, packets.is_there)
    is_tcp = (packets.protocol == _TCP).astype(np.float64)
    forward = packets.is_there & packets.is_forward & (packets.length > 0)
    backward = packets.is_there & ~packets.is_forward & (packets.length > 0)
    pushes = forward.sum(axis=1) * is_tcp, backward.sum(axis=1) * is_tcp
    syn = packets.is_syn.astype(np.float64)
    nothing = np.zeros(len(syn))
    columns |= dict.fromkeys((33, 34, 44, 46, 49, 50, 51, *range(57, 67)), nothing)
    columns |= {
        31: pushes[0],
        32: pushes[1],
        41: length["mean"],
        42: length["std"],
        43: length["std"] ** 2,
        45: 2 * syn,
        47: pushes[0] + pushes[1],
        48: (columns[3] + columns[4] - syn) * is_tcp,
        52: columns[4] / columns[3],
        53: length["mean"],
        67: 29_200 * is_tcp,
        68: 501 * is_tcp,
        69: forward.sum(axis=1).astype(np.float64),
    }
