"""The network interfaces of this machine, or of the namespace that a socket belongs to.

Asked for by ioctl, which needs no privileges and no /sys: a container's /sys may be another's.
"""

from __future__ import annotations

import contextlib
import fcntl
import socket
import struct
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

ANY: Final = "any"
"""What captures take as the name of all interfaces together."""

ETHERNET: Final = 1
LOOPBACK: Final = 772

_SIOCGIFFLAGS: Final = 0x8913
_SIOCGIFHWADDR: Final = 0x8927
_SIOCGIFINDEX: Final = 0x8933
_IFF_UP: Final = 1
_NAME_BYTES: Final = 16  # with the zero behind it
_REQUEST: Final = struct.Struct(f"{_NAME_BYTES}s24x")
_INDEX: Final = struct.Struct(f"{_NAME_BYTES}xi")
_SHORT: Final = struct.Struct(f"{_NAME_BYTES}xH")


def names() -> list[str]:
    """All interfaces of this thread's namespace; none where a sandbox keeps them from us."""
    try:
        return [name for _, name in socket.if_nameindex()]
    except OSError:
        return []


def index(name: str, via: socket.socket | None = None) -> int | None:
    """The number of an interface; None where there is none of this name.

    Args:
        name: The interface.
        via: A socket of the namespace that is meant; else that of this thread.
    """
    answer = _ask(name, _SIOCGIFINDEX, via)
    return None if answer is None else int(_INDEX.unpack_from(answer)[0])


def exists(name: str, via: socket.socket | None = None) -> bool:
    """Whether there is an interface of this name."""
    return index(name, via) is not None


def is_up(name: str, via: socket.socket | None = None) -> bool:
    """Whether there is such an interface, and it is switched on."""
    answer = _ask(name, _SIOCGIFFLAGS, via)
    return answer is not None and bool(_SHORT.unpack_from(answer)[0] & _IFF_UP)


def link_type(name: str, via: socket.socket | None = None) -> int | None:
    """What it is (an ARPHRD_ number: `ETHERNET`, `LOOPBACK`, ...); None where there is none."""
    answer = _ask(name, _SIOCGIFHWADDR, via)
    return None if answer is None else int(_SHORT.unpack_from(answer)[0])


def _ask(name: str, question: int, via: socket.socket | None) -> bytes | None:
    try:
        encoded = name.encode("utf-8")
    except UnicodeEncodeError:
        return None
    if not 0 < len(encoded) < _NAME_BYTES or b"\0" in encoded:
        return None
    with _socket(via) as asked:
        try:
            return fcntl.ioctl(asked.fileno(), question, _REQUEST.pack(encoded))
        except OSError:
            return None


@contextlib.contextmanager
def _socket(via: socket.socket | None) -> Iterator[socket.socket]:
    if via is not None:
        yield via
        return
    # Every kind of socket answers; of this one no sandbox deprives a service.
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as made:
        yield made
