"""Flood a broker with connections, some kept open, at a bounded rate and number."""

from __future__ import annotations

import argparse
import random
import socket
import time
from ipaddress import IPv4Address

from benchmarks.lab.tools.guard import require_lab
from benchmarks.lab.tools.mqtt import connect_packet


def main() -> None:
    """Open the connections named on the command line, hold them, close them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("host")
    parser.add_argument("--port", type=int, default=1883)
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--rate", type=float, default=40.0, help="connections a second")
    parser.add_argument("--hold", type=int, default=100, help="most connections open at once")
    parser.add_argument("--silent", type=float, default=0.3, help="share that never says CONNECT")
    options = parser.parse_args()
    require_lab([IPv4Address(options.host)])
    held: list[socket.socket] = []
    refused = 0
    for number in range(options.count):
        try:
            connection = socket.create_connection((options.host, options.port), timeout=2)
        except OSError:
            refused += 1
            continue
        if random.random() >= options.silent:
            connection.sendall(connect_packet(f"f{number}-{random.randrange(10**6)}"))
        held.append(connection)
        if len(held) > options.hold:
            held.pop(0).close()
        time.sleep(random.expovariate(options.rate))
    for connection in held:
        connection.close()
    print(f"{options.count} connections, {refused} refused")


if __name__ == "__main__":
    main()
