"""The plainest capture in Python: a packet socket read in a loop, frames counted.

``python socket_child.py INTERFACE BUFFER_BYTES``; on SIGTERM it prints frames read and dropped.
"""

import os
import signal
import socket
import struct
import sys

_ETH_P_ALL = 3
_SO_RCVBUFFORCE = 33
_SOL_PACKET = 263
_STATISTICS = 6
_LONGEST = 65_535


def main() -> None:
    """Count until SIGTERM."""
    packets = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    packets.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, int(sys.argv[2]))
    count = 0

    def end(_number: int, _frame: object) -> None:
        _, dropped = struct.unpack("=II", packets.getsockopt(_SOL_PACKET, _STATISTICS, 8))
        print(count, dropped, flush=True)
        os._exit(0)

    signal.signal(signal.SIGTERM, end)
    packets.bind((sys.argv[1], _ETH_P_ALL))
    while True:
        packets.recv(_LONGEST)
        count += 1


if __name__ == "__main__":
    main()
