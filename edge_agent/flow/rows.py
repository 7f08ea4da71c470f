"""What the meter gives out: one row per flow, by the array.

`FlowRows` is what moves through the agent; `FlowRow` is one of them as an object, for those who
look at flows one by one.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, cast

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

ROW: Final = np.dtype(
    [
        ("source", "u1", 16),
        ("destination", "u1", 16),
        ("start_us", "<i8"),
        ("end_us", "<i8"),
        ("released_us", "<i8"),
        ("source_port", "<u2"),
        ("destination_port", "<u2"),
        ("protocol", "u1"),
        ("ip_version", "u1"),
        ("unused", "u1", 2),
    ]
)
"""Who a row is about, as in `FlowRow`; an IPv4 address fills the first four bytes. `struct row` in
`native/meter.h`."""


@dataclass(frozen=True, slots=True)
class FlowRow:
    """One flow, as a profile counts it.

    Attributes:
        source_address, source_port, destination_address, destination_port: As the profile
            orients the flow; addresses as text.
        protocol: IP protocol number, 6 or 17.
        start_us: Time of its first packet, µs since 1970.
        end_us: Time of its last packet.
        released_us: The meter's time when the row was given out; never before `end_us`.
        values: The profile's columns in order (`Profile.columns`).
    """

    source_address: str
    source_port: int
    destination_address: str
    destination_port: int
    protocol: int
    start_us: int
    end_us: int
    released_us: int
    values: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class FlowRows:
    """Rows in the order they were given out.

    Attributes:
        about: Who each row is about, dtype `ROW`, shape (n,).
        values: The profile's columns, float64, shape (n, columns).
    """

    about: NDArray[Any]
    values: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.about)

    def __iter__(self) -> Iterator[FlowRow]:
        for about, values in zip(self.about, self.values, strict=True):
            version = int(about["ip_version"])
            yield FlowRow(
                source_address=address_text(about["source"].tobytes(), version),
                source_port=int(about["source_port"]),
                destination_address=address_text(about["destination"].tobytes(), version),
                destination_port=int(about["destination_port"]),
                protocol=int(about["protocol"]),
                start_us=int(about["start_us"]),
                end_us=int(about["end_us"]),
                released_us=int(about["released_us"]),
                values=tuple(values.tolist()),
            )

    @classmethod
    def of(cls, rows: Sequence[FlowRow], columns: int) -> FlowRows:
        """Gather rows, each of `columns` values."""
        about = np.zeros(len(rows), dtype=ROW)
        for index, row in enumerate(rows):
            source, version = address_bytes(row.source_address)
            destination, _ = address_bytes(row.destination_address)
            about[index] = (
                np.frombuffer(source, dtype=np.uint8),
                np.frombuffer(destination, dtype=np.uint8),
                row.start_us,
                row.end_us,
                row.released_us,
                row.source_port,
                row.destination_port,
                row.protocol,
                version,
                (0, 0),
            )
        values = np.array([row.values for row in rows], dtype=np.float64)
        return cls(about, values.reshape(len(rows), columns))

    @classmethod
    def join(cls, parts: Sequence[FlowRows]) -> FlowRows:
        """One after the other; at least one part."""
        if len(parts) == 1:
            return parts[0]
        return cls(
            np.concatenate([part.about for part in parts]),
            np.concatenate([part.values for part in parts]),
        )

    def copy(self) -> FlowRows:
        """Rows that are the caller's to keep."""
        return FlowRows(self.about.copy(), self.values.copy())

    def split(self, count: int) -> tuple[FlowRows, FlowRows]:
        """The first `count` rows, and the rest."""
        return (
            FlowRows(self.about[:count], self.values[:count]),
            FlowRows(self.about[count:], self.values[count:]),
        )

    def only(self, chosen: NDArray[np.bool_]) -> FlowRows:
        """The rows chosen by a mask, shape (n,)."""
        return FlowRows(self.about[chosen], self.values[chosen])

    def sources(self) -> list[str]:
        """Source address of each row, as text."""
        return _texts(self.about["source"], self.about["ip_version"])

    def destinations(self) -> list[str]:
        """Destination address of each row, as text."""
        return _texts(self.about["destination"], self.about["ip_version"])


def _texts(addresses: NDArray[np.uint8], versions: NDArray[np.uint8]) -> list[str]:
    # Few hosts make most flows: each address is spelled once.
    texts = np.empty(len(versions), object)
    for version, kind in ((4, np.dtype(np.uint32)), (6, np.dtype("V16"))):
        there = np.flatnonzero(versions == version)
        packed = np.ascontiguousarray(addresses[there, : kind.itemsize])
        keys = packed.view(kind)[:, 0]
        _, first, which = np.unique(keys, return_index=True, return_inverse=True)
        spelled = [address_text(packed[at].tobytes(), version) for at in first.tolist()]
        texts[there] = np.array(spelled, object)[which]
    return cast("list[str]", texts.tolist())


def address_text(address: bytes, version: int) -> str:
    """An address of 16 bytes as people write it; of IPv4 the first four count."""
    if version == 4:
        return socket.inet_ntop(socket.AF_INET, address[:4])
    return socket.inet_ntop(socket.AF_INET6, address)


def address_bytes(text: str) -> tuple[bytes, int]:
    """The 16 bytes that `address_text` spells so, and the IP version."""
    if ":" in text:
        return socket.inet_pton(socket.AF_INET6, text), 6
    return socket.inet_pton(socket.AF_INET, text) + bytes(12), 4


ROW_COLUMNS = ("Src IP", "Src Port", "Dst IP", "Dst Port", "Protocol", "Start us")
"""Columns of an extracted CSV before the profile's own; a profile's `Dst Port` is not repeated."""

IP_VERSION = "IP Version"
"""The last column, 4 or 6: no public training data has flows over IPv6, so they are told apart."""
