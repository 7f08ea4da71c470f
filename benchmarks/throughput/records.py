"""The records of a capture as arrays: chosen, moved and readdressed without a loop over packets."""

from __future__ import annotations

import itertools
import struct
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from edge_agent.contract.errors import CaptureError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from mmap import mmap
    from pathlib import Path

    from numpy.typing import NDArray

# Little-endian, µs, version 2.4, tcpdump's own snap length, Ethernet.
PCAP_HEADER: Final = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262_144, 1)
RECORD_BYTES: Final = 16
"""The pcap header in front of each frame."""

_RECORD: Final = struct.Struct("<IIII")
# In octets from the beginning of a record.
_CAPTURED: Final = 8
# In octets from the beginning of an Ethernet frame.
_TYPE: Final = 12
_IP: Final = 14
_IP_CHECKSUM: Final = 24
_IP_SOURCE: Final = 26
_IP_DESTINATION: Final = 30
_ARP_SENDER: Final = 28
_ARP_TARGET: Final = 38
_FIRST_MULTICAST: Final = 224


@dataclass(frozen=True, slots=True)
class Records:
    """A capture in memory.

    Attributes:
        data: Record headers and frames, one behind the other or not.
        at: Where each record begins in `data`.
        record_bytes: Length of each, header included.
        time_us: Capture time of each, since 1970 or since the first.
        wire_bytes: Length of each frame on the wire.
        begins_conversation: True where a record is the first between its two endpoints, either
            direction. Endpoints are address and port, of TCP or of UDP.
    """

    data: NDArray[np.uint8]
    at: NDArray[np.int64]
    record_bytes: NDArray[np.int64]
    time_us: NDArray[np.int64]
    wire_bytes: NDArray[np.int64]
    begins_conversation: NDArray[np.bool_]


def parse(capture: bytes | mmap, path: Path, *, limit: int | None = None) -> Records:
    """Index a capture.

    Args:
        capture: The bytes of a little-endian µs Ethernet pcap file.
        path: Its name, for messages.
        limit: Take no more records than this.

    Raises:
        CaptureError: It is something else, cut, or its stamps go backwards.
    """
    if capture[:4] != PCAP_HEADER[:4] or capture[20:24] != PCAP_HEADER[20:24]:
        raise _unusable(path, "is not a little-endian µs Ethernet pcap")
    at: list[int] = []
    heads = []
    offset = len(PCAP_HEADER)
    try:
        while offset < len(capture) and (limit is None or len(at) < limit):
            heads.append(_RECORD.unpack_from(capture, offset))
            at.append(offset)
            offset += RECORD_BYTES + heads[-1][2]
    except struct.error as error:
        raise _unusable(path, "is cut") from error
    if offset > len(capture) or not at:
        raise _unusable(path, "is cut or holds no packets")
    head = np.array(heads, np.int64)
    data = np.frombuffer(capture, np.uint8)
    start = np.array(at, np.int64)
    time_us = head[:, 0] * 1_000_000 + head[:, 1]
    if np.any(np.diff(time_us) < 0):
        raise _unusable(path, "has stamps that go backwards")
    length = RECORD_BYTES + head[:, 2]
    return Records(data, start, length, time_us, head[:, 3], _beginnings(data, start, head[:, 2]))


def _unusable(path: Path, problem: str) -> CaptureError:
    return CaptureError(path, problem, remedy="take a recording of the lab")


def joined(captures: Sequence[Records]) -> tuple[Records, list[slice]]:
    """Several captures as one, each with times from its first packet, and where each lies in it."""
    bases = np.cumsum([0] + [len(capture.data) for capture in captures])
    starts = np.cumsum([0] + [len(capture.at) for capture in captures]).tolist()
    return Records(
        np.concatenate([capture.data for capture in captures]),
        np.concatenate([c.at + base for c, base in zip(captures, bases, strict=False)]),
        np.concatenate([capture.record_bytes for capture in captures]),
        np.concatenate([capture.time_us - capture.time_us[0] for capture in captures]),
        np.concatenate([capture.wire_bytes for capture in captures]),
        np.concatenate([capture.begins_conversation for capture in captures]),
    ), [slice(*ends) for ends in itertools.pairwise(starts)]


def whole(records: Records) -> Records:
    """The same frames as long as they were on the wire; what was cut off comes back as zeros."""
    kept, kept_at = gathered(records, np.arange(len(records.at)))
    length = RECORD_BYTES + records.wire_bytes
    end = np.cumsum(length)
    at = end - length
    data = np.zeros(end[-1], np.uint8)
    data[np.repeat(at - kept_at, records.record_bytes) + np.arange(len(kept))] = kept
    captured = np.arange(_CAPTURED, _CAPTURED + 4)
    data[at[:, None] + captured] = records.wire_bytes.astype("<u4").view(np.uint8).reshape(-1, 4)
    return replace(records, data=data, at=at, record_bytes=length)


def gathered(
    records: Records, chosen: NDArray[np.int64]
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Copies of the chosen records, one behind the other, and where each begins."""
    length = records.record_bytes[chosen]
    end = np.cumsum(length)
    at = end - length
    source = np.repeat(records.at[chosen] - at, length) + np.arange(end[-1])
    return records.data[source], at


def stamp(data: NDArray[np.uint8], at: NDArray[np.int64], time_us: NDArray[np.int64]) -> None:
    """Give records, in place, other capture times."""
    parts = np.stack([time_us // 1_000_000, time_us % 1_000_000], axis=1).astype("<u4")
    data[at[:, None] + np.arange(8)] = parts.view(np.uint8)


def translate(data: NDArray[np.uint8], at: NDArray[np.int64], house: NDArray[np.int64]) -> None:
    """Move records, in place, to other houses: see `traces`.

    Args:
        data: Records.
        at: Where each begins.
        house: The house of each, below 65,536.
    """
    frame = at + RECORD_BYTES
    mask = np.stack([house >> 8, house & 0xFF], axis=1).astype(np.uint8)
    for mac in (0, 6):
        unicast = data[frame + mac] & 1 == 0
        _mix(data, frame[unicast] + mac + 2, mask[unicast])
    ether_type = _word(data, frame + _TYPE)
    for kind, places in ((0x0800, (_IP_SOURCE, _IP_DESTINATION)),
                         (0x0806, (_ARP_SENDER, _ARP_TARGET))):  # fmt: skip
        of_kind = ether_type == kind
        begin, own = frame[of_kind], mask[of_kind]
        before = _address_sum(data, begin, places)
        for place in places:
            unicast = data[begin + place] < _FIRST_MULTICAST
            _mix(data, begin[unicast] + place + 1, own[unicast])
        if kind == 0x0800:
            _adjust_checksum(data, begin, before, _address_sum(data, begin, places))


def _mix(data: NDArray[np.uint8], at: NDArray[np.int64], mask: NDArray[np.uint8]) -> None:
    data[at] ^= mask[:, 0]
    data[at + 1] ^= mask[:, 1]


def _word(data: NDArray[np.uint8], at: NDArray[np.int64]) -> NDArray[np.int64]:
    """The 16-bit numbers, in network order, that begin at the places."""
    return (data[at].astype(np.int64) << 8) | data[at + 1]


def _address_sum(
    data: NDArray[np.uint8], frame: NDArray[np.int64], places: tuple[int, int]
) -> NDArray[np.int64]:
    words = [_word(data, frame + place + step) for place in places for step in (0, 2)]
    return words[0] + words[1] + words[2] + words[3]


def _adjust_checksum(
    data: NDArray[np.uint8],
    frame: NDArray[np.int64],
    before: NDArray[np.int64],
    after: NDArray[np.int64],
) -> None:
    """RFC 1624: what was right stays right when the sum of some words changes."""
    total = (~_word(data, frame + _IP_CHECKSUM) & 0xFFFF) + (4 * 0xFFFF - before) + after
    for _ in range(2):
        total = (total & 0xFFFF) + (total >> 16)
    checksum = ~total & 0xFFFF
    data[frame + _IP_CHECKSUM] = checksum >> 8
    data[frame + _IP_CHECKSUM + 1] = checksum & 0xFF


def _beginnings(
    data: NDArray[np.uint8], at: NDArray[np.int64], captured: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """First record of each conversation; what has no ports or is cut before them has none."""
    result = np.zeros(len(at), np.bool_)
    number = np.flatnonzero(captured >= 38)
    frame = at[number] + RECORD_BYTES
    ports_at = _IP + (data[frame + _IP] & 0x0F).astype(np.int64) * 4
    with_ports = (
        (_word(data, frame + _TYPE) == 0x0800)
        & np.isin(data[frame + 23], (6, 17))
        & (_word(data, frame + 20) & 0x1FFF == 0)
        & (captured[number] >= ports_at + 4)
    )
    number, frame, ports_at = number[with_ports], frame[with_ports], ports_at[with_ports]
    ends = []
    for address, port in ((_IP_SOURCE, 0), (_IP_DESTINATION, 2)):
        high, low = _word(data, frame + address), _word(data, frame + address + 2)
        ends.append((high << 32) | (low << 16) | _word(data, frame + ports_at + port))
    lower, higher = np.minimum(*ends), np.maximum(*ends)
    protocol = data[frame + 23]
    order = np.lexsort((higher, lower, protocol))
    new = np.ones(len(order), np.bool_)
    for key in (protocol[order], lower[order], higher[order]):
        # A record is another's sequel where all three are as before; lexsort is stable.
        new[1:] &= key[1:] == key[:-1]
    new[1:] = ~new[1:]
    result[number[order[new]]] = True
    return result
