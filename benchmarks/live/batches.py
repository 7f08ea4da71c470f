"""Sends frames many at a time: sendmmsg(2) on a packet socket, by ctypes.

tcpreplay makes one system call a frame; this makes one for sixty-four.
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SOL_PACKET: Final = 263
_QDISC_BYPASS: Final = 20
# Enough that the call itself no longer counts; few enough that a pause between calls is short.
BATCH: Final = 64

# struct iovec and struct mmsghdr of 64-bit Linux.
_IOVEC: Final = np.dtype([("base", "<u8"), ("length", "<u8")])
_MESSAGE: Final = np.dtype(
    [
        ("name", "<u8"),
        ("name_length", "<u8"),
        ("iov", "<u8"),
        ("iov_count", "<u8"),
        ("control", "<u8"),
        ("control_length", "<u8"),
        ("flags", "<u8"),
        ("sent", "<u8"),
    ]
)


class Frames:
    """Frames in memory, ready to be sent again and again.

    Args:
        data: Their bytes; others may change them in place between sends.
        offsets: Where each begins, shape (n,).
        lengths: How long each is, in bytes, shape (n,).
    """

    def __init__(
        self, data: NDArray[np.uint8], offsets: NDArray[np.int64], lengths: NDArray[np.int64]
    ) -> None:
        self._data = data
        self._vectors = np.empty(len(offsets), _IOVEC)
        self._vectors["base"] = data.ctypes.data + offsets
        self._vectors["length"] = lengths
        self._messages = np.zeros(len(offsets), _MESSAGE)
        self._messages["iov"] = self._vectors.ctypes.data + np.arange(len(offsets)) * 16
        self._messages["iov_count"] = 1
        self._address = self._messages.ctypes.data
        self.count: Final = len(offsets)

    def send(self, sender: Sender, first: int, count: int) -> int:
        """Send some of them, at most `BATCH` and not beyond the last; how many went out."""
        count = min(count, BATCH, self.count - first)
        return sender.send(self._address + first * _MESSAGE.itemsize, count)


class Sender:
    """A socket that sends whole frames on one interface; a context manager."""

    def __init__(self, interface: str) -> None:
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        self._socket.bind((interface, 0))
        # Straight to the driver: a pair of virtual interfaces has no queue that could help.
        self._socket.setsockopt(_SOL_PACKET, _QDISC_BYPASS, 1)
        self._sendmmsg = ctypes.CDLL(None, use_errno=True).sendmmsg
        self._sendmmsg.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int)

    def __enter__(self) -> Sender:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def send(self, messages: int, count: int) -> int:
        """Send `count` messages from an address on; how many went out.

        Raises:
            OSError: The interface takes none.
        """
        sent: int = self._sendmmsg(self._socket.fileno(), messages, count, 0)
        if sent >= 0:
            return sent
        number = ctypes.get_errno()
        if number in (errno.ENOBUFS, errno.EAGAIN, errno.EINTR):
            return 0
        raise OSError(number, os.strerror(number))
