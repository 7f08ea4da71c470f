"""A SYN flood with forged sources: one-packet flows to one port of one victim."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from benchmarks.throughput.records import RECORD_BYTES, stamp

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

PER_S: Final = 200_000
"""Packets a second: what a 100 Mbit/s link carries of the shortest frames, and a third more."""

_BLOCK_PACKETS: Final = 65_536
_FRAME_BYTES: Final = 60
_VICTIM: Final = (10, 0, 0, 80)
_VICTIM_PORT: Final = 443


def blocks(packets: int, start_us: int) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.int64]]]:
    """The flood by the block: records one behind the other, and their times in µs."""
    for first in range(0, packets, _BLOCK_PACKETS):
        number = np.arange(first, min(first + _BLOCK_PACKETS, packets))
        time_us = start_us + number * 1_000_000 // PER_S
        yield _records(_mixed(number.astype(np.uint64) + np.uint64(1)), time_us), time_us


def _mixed(numbers: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """SplitMix64: random-looking, and unlike numpy's generators promised to stay as it is."""
    mixed = numbers * np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))


def _records(mixed: NDArray[np.uint64], time_us: NDArray[np.int64]) -> NDArray[np.uint8]:
    # Ethernet, IPv4 and TCP header, padded to the shortest frame.
    frame = np.zeros(_FRAME_BYTES, np.uint8)
    frame[0:6] = (2, 0, 0, 0, 0, 80)
    frame[6:12] = (2, 0, 0, 0, 0, 1)
    frame[12:14] = (8, 0)
    frame[14:24] = (0x45, 0, 0, 40, 0, 0, 0, 0, 64, 6)
    frame[30:34] = _VICTIM
    frame[36:38] = divmod(_VICTIM_PORT, 256)
    frame[46:50] = (5 << 4, 2, 0x20, 0)
    block = np.zeros((len(mixed), RECORD_BYTES + _FRAME_BYTES), np.uint8)
    block[:, 8:RECORD_BYTES] = (_FRAME_BYTES, 0, 0, 0) * 2
    packet = block[:, RECORD_BYTES:]
    packet[:] = frame
    # 128.0.0.0 to 223.255.255.255: no loopback, no multicast. Ports from 1024 up.
    source = (mixed >> np.uint64(32)) % np.uint64(0x60000000) + np.uint64(0x80000000)
    port = (mixed & np.uint64(0xFFFF)) % np.uint64(64512) + np.uint64(1024)
    packet[:, 26:30] = _octets(source, ">u4")
    packet[:, 34:36] = _octets(port, ">u2")
    packet[:, 38:42] = _octets(mixed & np.uint64(0xFFFFFFFF), ">u4")
    packet[:, 24:26] = _checksum(packet[:, 14:34])
    # The pseudo-header has protocol and TCP length beside the addresses: 6 and 20.
    packet[:, 50:52] = _checksum(packet[:, 26:54], 6 + 20)
    data = block.reshape(-1)
    stamp(data, np.arange(len(mixed)) * block.shape[1], time_us)
    return data


def _octets(numbers: NDArray[np.uint64] | NDArray[np.uint32], dtype: str) -> NDArray[np.uint8]:
    return numbers.astype(dtype).view(np.uint8).reshape(len(numbers), -1)


def _checksum(headers: NDArray[np.uint8], more: int = 0) -> NDArray[np.uint8]:
    """The internet checksum of each row, and of a number beside it, as two octets a row."""
    total = np.ascontiguousarray(headers).view(">u2").astype(np.uint32).sum(axis=1) + more
    for _ in range(2):
        total = (total & 0xFFFF) + (total >> 16)
    return _octets((~total & 0xFFFF).astype(np.uint32), ">u2")
