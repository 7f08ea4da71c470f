"""What merges or completes packets before or after we see them.

With GRO and LRO the kernel or the card joins what came in as several packets; with TSO and GSO our
own packets are cut only behind the capture. Flows then show fewer and longer packets than there
were on the wire, other than those a model was trained with.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import socket
import struct
from typing import Final

from edge_agent.capture import interfaces
from edge_agent.contract.errors import CaptureError

_SIOCETHTOOL: Final = 0x8946
# linux/ethtool.h: the command that reads, and the one that writes.
_COMMANDS: Final = {
    "gro": (0x2B, 0x2C),
    "lro": (0x25, 0x26),
    "tso": (0x1E, 0x1F),
    "gso": (0x23, 0x24),
}
# LRO has no command of its own: it is a bit among others that are to stay as they are.
_LRO_BIT: Final = 1 << 15


class _Value(ctypes.Structure):
    _fields_ = [("command", ctypes.c_uint32), ("data", ctypes.c_uint32)]


def read(interface: str) -> dict[str, bool]:
    """Which of gro, lro, tso and gso are on; what the interface does not know is off.

    Raises:
        CaptureError: There is no such interface.
    """
    with _asking(interface) as asked:
        return {name: _is_on(asked, interface, name) for name in _COMMANDS}


def turn_off(interface: str) -> list[str]:
    """Turn off what is on.

    Returns:
        What was turned off. What the driver keeps on nevertheless is not among it.

    Raises:
        CaptureError: There is no such interface, or we may not.
    """
    turned_off = []
    with _asking(interface) as asked:
        for name, (reading, writing) in _COMMANDS.items():
            if not _is_on(asked, interface, name):
                continue
            data = 0
            if name == "lro":
                data = _exchange(asked, interface, reading, 0) & ~_LRO_BIT
            _exchange(asked, interface, writing, data)
            if not _is_on(asked, interface, name):
                turned_off.append(name)
    return turned_off


def _is_on(asked: socket.socket, interface: str, name: str) -> bool:
    value = _exchange(asked, interface, _COMMANDS[name][0], 0)
    return bool(value & _LRO_BIT if name == "lro" else value)


def _exchange(asked: socket.socket, interface: str, command: int, data: int) -> int:
    """What the interface answers; 0 where it does not know the command."""
    value = _Value(command, data)
    request = struct.pack("16sP16x", interface.encode(), ctypes.addressof(value))
    try:
        fcntl.ioctl(asked.fileno(), _SIOCETHTOOL, request)
    except OSError as error:
        if error.errno in (errno.EOPNOTSUPP, errno.EINVAL):
            return 0
        raise _refusal(interface, error) from error
    return int(value.data)


def _refusal(interface: str, error: OSError) -> CaptureError:
    if error.errno == errno.ENODEV:
        return _missing(interface)
    if error.errno == errno.EPERM:
        return CaptureError(
            interface,
            "its offloads cannot be turned off without the capability CAP_NET_ADMIN",
            remedy="turn them off once as root (ethtool -K), or have them reported only",
        )
    return CaptureError(
        interface,
        f"its offloads cannot be read or set ({os.strerror(error.errno or 0)})",
        remedy="have them reported only",
    )


def _missing(interface: str) -> CaptureError:
    return CaptureError(
        interface, "there is no such interface", remedy="see `ip link` for those there are"
    )


def _asking(interface: str) -> socket.socket:
    if not interfaces.exists(interface):
        raise _missing(interface)
    return socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
