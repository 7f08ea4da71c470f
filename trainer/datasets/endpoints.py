"""Who talked to whom and when, by the array: what label rules are held against."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from ipaddress import AddressValueError, IPv4Address, IPv4Network, NetmaskValueError
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from trainer.datasets.flows import address_ids

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

ENDS: Final = np.dtype(
    [
        ("source", "<u4"),
        ("destination", "<u4"),
        ("source_port", "<u2"),
        ("destination_port", "<u2"),
        ("protocol", "u1"),
        ("start_us", "<i8"),
    ]
)
"""A flow over IPv4: addresses as integers, the IP protocol's number, and µs since 1970."""

MAX_PORT: Final = 65_535

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=timezone.utc)
# A damaged capture may hold any time; calendars end with the year 9999.
_MAX_TIME_US: Final = 253_402_300_799_999_999

Span = tuple[int, int]
"""Lowest and highest value of a range, both included: addresses as integers, or ports."""


def ends_of(about: NDArray[Any]) -> NDArray[Any]:
    """Take it from metered rows over IPv4.

    Args:
        about: dtype `edge_agent.flow.rows.ROW`, shape (n_flows,).

    Returns:
        dtype `ENDS`, shape (n_flows,).
    """
    ends = np.empty(len(about), dtype=ENDS)
    for side in ("source", "destination"):
        # An IPv4 address fills the first four bytes, as it stands in the packet.
        octets = np.ascontiguousarray(about[side][:, :4])
        ends[side] = octets.view(">u4")[:, 0]
    for name in ("source_port", "destination_port", "protocol", "start_us"):
        ends[name] = about[name]
    return ends


def turned(ends: NDArray[Any]) -> NDArray[Any]:
    """The same flows as seen from the other side."""
    other = ends.copy()
    other["source"], other["destination"] = ends["destination"], ends["source"]
    other["source_port"], other["destination_port"] = ends["destination_port"], ends["source_port"]
    return other


def connections(ends: NDArray[Any]) -> NDArray[np.int64]:
    """Numbers from 0, shape (n_flows,), equal for rows of one 5-tuple, whichever way round."""
    source = ends["source"].astype(np.int64) << 16 | ends["source_port"]
    destination = ends["destination"].astype(np.int64) << 16 | ends["destination_port"]
    low, high = np.minimum(source, destination), np.maximum(source, destination)
    order = np.lexsort((ends["protocol"], high, low))
    is_new = np.zeros(len(ends), dtype=np.int64)
    for key in (low, high, ends["protocol"]):
        ordered = key[order]
        is_new[1:] |= ordered[1:] != ordered[:-1]
    number = np.empty(len(ends), dtype=np.int64)
    number[order] = np.cumsum(is_new)
    return number


def hosts(ends: NDArray[Any]) -> NDArray[np.int64]:
    """Ids of the source addresses, shape (n_flows,), equal across files and kinds of file."""
    addresses, which = np.unique(ends["source"], return_inverse=True)
    return address_ids([str(IPv4Address(address)) for address in addresses.tolist()])[which]


def inside(values: NDArray[Any], spans: Sequence[Span]) -> NDArray[np.bool_]:
    """Which values lie in any of the spans; shape as `values`."""
    found = np.zeros(values.shape, dtype=bool)
    for low, high in spans:
        found |= (values >= low) & (values <= high)
    return found


def clock(time_us: int) -> str:
    """A time in µs since 1970, to the second, for messages."""
    moment = _EPOCH + timedelta(microseconds=min(max(time_us, 0), _MAX_TIME_US))
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"


def address_span(text: object) -> Span:
    """An IPv4 address, or a network as `10.0.0.0/8`.

    Raises:
        ValueError: It is neither.
    """
    try:
        # As text, since IPv4Network takes bare integers for addresses.
        network = IPv4Network(str(text), strict=False)
    except (AddressValueError, NetmaskValueError) as error:
        raise ValueError(f"{text!r} is no IPv4 address or network") from error
    return int(network.network_address), int(network.broadcast_address)


def port_span(entry: object) -> Span:
    """A port, or a list of the first and the last one of a range.

    Raises:
        ValueError: It is neither.
    """
    pair = entry if isinstance(entry, list) and len(entry) == 2 else [entry, entry]
    low, high = pair
    if not (type(low) is int and type(high) is int and 0 <= low <= high <= MAX_PORT):
        raise ValueError(f"{entry!r} is no port or range of ports")
    return low, high
