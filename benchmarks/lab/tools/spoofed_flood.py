"""A flood from many forged addresses of the lab: hping3, run in turn with one source each.

hping3 forges either one address or any address of the whole internet; labels need a range.
"""

from __future__ import annotations

import argparse
import random
import subprocess
from concurrent.futures import ThreadPoolExecutor
from ipaddress import IPv4Address, IPv4Network

from benchmarks.lab.tools.guard import require_lab


def main() -> None:
    """Run the flood named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("host", type=IPv4Address)
    parser.add_argument("--sources", type=IPv4Network, required=True)
    parser.add_argument("--count", type=int, required=True, help="packets in all")
    parser.add_argument("--each", type=int, default=20, help="packets of one source")
    parser.add_argument("--interval-us", type=int, default=2000)
    parser.add_argument("--parallel", type=int, default=4)
    parser.add_argument("--hping", default="-S -p 80", help="further options of hping3")
    options = parser.parse_args()
    require_lab([options.host, options.sources])
    # Never the same address twice: two processes begun at once with one source send equal packets.
    numbers = random.sample(
        range(1, options.sources.num_addresses - 1), options.count // options.each
    )

    def burst(number: int) -> None:
        source = options.sources[number]
        words = ["hping3", "-q", "-c", str(options.each), "-i", f"u{options.interval_us}"]
        words += ["-a", str(source), *options.hping.split(), str(options.host)]
        subprocess.run(words, check=False, capture_output=True, timeout=30)

    with ThreadPoolExecutor(options.parallel) as pool:
        list(pool.map(burst, numbers))
    print(f"{options.count} packets sent")


if __name__ == "__main__":
    main()
