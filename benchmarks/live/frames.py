"""Frames made in numpy: IPv4 over Ethernet, with TCP or UDP."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from benchmarks.throughput.records import PCAP_HEADER, RECORD_BYTES, stamp

if TYPE_CHECKING:
    from numpy.typing import NDArray

TCP: Final = 6
UDP: Final = 17
FRAME_BYTES: Final = 60
"""The shortest Ethernet frame, without its checksum."""

FIN: Final = 0x01
SYN: Final = 0x02
RST: Final = 0x04
PSH: Final = 0x08
ACK: Final = 0x10

_ETHERNET: Final = 14
_IPV4: Final = 20
_HEADER: Final = {TCP: 20, UDP: 8}


class Ends(NamedTuple):
    """Who speaks to whom, a frame each: addresses as numbers, and ports."""

    source: NDArray[np.uint32]
    destination: NDArray[np.uint32]
    source_port: NDArray[np.int64]
    destination_port: NDArray[np.int64]


def frames(
    ends: Ends,
    protocol: int,
    *,
    flags: NDArray[np.int64] | int = 0,
    payload: NDArray[np.int64] | int = 0,
    width: int = FRAME_BYTES,
) -> NDArray[np.uint8]:
    """One frame each, shape (n, width); `length_bytes` says how much of a row is the frame.

    Checksums of IPv4 are right, those of TCP and UDP 0.

    Args:
        ends: Who speaks to whom.
        protocol: `TCP` or `UDP`.
        flags: Of TCP.
        payload: Octets of payload, all 0.
        width: Octets of a row, at least those of the longest frame.
    """
    count = len(ends.source)
    made = np.zeros((count, width), np.uint8)
    made[:, 0:12] = (2, 0, 0, 0, 0, 80, 2, 0, 0, 0, 0, 1)
    made[:, 12:24] = (8, 0, 0x45, 0, 0, 0, 0, 0, 0, 0, 64, protocol)
    length = np.broadcast_to(np.asarray(payload), count) + _HEADER[protocol]
    _put(made, 16, length + _IPV4, ">u2")
    _put(made, 26, ends.source, ">u4")
    _put(made, 30, ends.destination, ">u4")
    _put(made, 24, _checksum(made[:, _ETHERNET : _ETHERNET + _IPV4]), ">u2")
    _put(made, 34, ends.source_port, ">u2")
    _put(made, 36, ends.destination_port, ">u2")
    if protocol == UDP:
        _put(made, 38, length, ">u2")
    else:
        made[:, 46] = 5 << 4
        made[:, 47] = flags
        made[:, 48] = 0x20
    return made


def length_bytes(made: NDArray[np.uint8]) -> NDArray[np.int64]:
    """How long each frame is."""
    total = (made[:, 16].astype(np.int64) << 8) | made[:, 17]
    result: NDArray[np.int64] = np.maximum(total + _ETHERNET, FRAME_BYTES)
    return result


def capture(made: NDArray[np.uint8]) -> bytes:
    """The frames as a capture, all stamped 1970."""
    records = np.zeros((len(made), RECORD_BYTES + FRAME_BYTES), np.uint8)
    records[:, 8:RECORD_BYTES] = (FRAME_BYTES, 0, 0, 0) * 2
    records[:, RECORD_BYTES:] = made
    data = records.reshape(-1)
    stamp(data, np.arange(len(made)) * records.shape[1], np.zeros(len(made), np.int64))
    return PCAP_HEADER + data.tobytes()


def _put(made: NDArray[np.uint8], at: int, numbers: NDArray[np.generic], dtype: str) -> None:
    octets = np.ascontiguousarray(numbers.astype(dtype)).view(np.uint8).reshape(len(made), -1)
    made[:, at : at + octets.shape[1]] = octets


def _checksum(headers: NDArray[np.uint8]) -> NDArray[np.uint32]:
    total = np.ascontiguousarray(headers).view(">u2").astype(np.uint32).sum(axis=1)
    for _ in range(2):
        total = (total & 0xFFFF) + (total >> 16)
    result: NDArray[np.uint32] = (~total & 0xFFFF).astype(np.uint32)
    return result
