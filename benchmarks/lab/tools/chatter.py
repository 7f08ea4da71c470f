"""UDP chatter of a house: service discovery, its answers, and a camera's video stream.

``answer ADDRESS`` · ``search ADDRESS`` · ``video HOST PORT SECONDS`` · ``receive PORT``
"""

from __future__ import annotations

import contextlib
import os
import random
import select
import socket
import struct
import sys
import time
from ipaddress import IPv4Address

from benchmarks.lab.tools.guard import require_lab

SSDP = ("239.255.255.250", 1900)
MDNS = ("224.0.0.251", 5353)
SEARCH = (
    b'M-SEARCH * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\nMAN: "ssdp:discover"\r\nMX: 2\r\n\r\n'
)
FOUND = b"HTTP/1.1 200 OK\r\nCACHE-CONTROL: max-age=1800\r\nST: upnp:rootdevice\r\n" + b"x" * 180
QUESTION = struct.pack(">6H", 0, 0, 1, 0, 0, 0) + b"\x05_http\x04_tcp\x05local\x00\x00\x0c\x00\x01"
FRAME_GAP_S = 0.04
VIDEO_LIMIT_S = 120.0


def listen(own: str, group: str, port: int) -> socket.socket:
    """Open a socket that hears a multicast group."""
    handle = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    handle.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    member = socket.inet_aton(group) + socket.inet_aton(own)
    handle.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, member)
    handle.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(own))
    handle.bind(("", port))
    return handle


def answer(own: str) -> None:
    """Answer searches by unicast and announce oneself now and then, until ended."""
    rng = random.Random(own)
    ssdp, mdns = listen(own, *SSDP), listen(own, *MDNS)
    announce_s = time.monotonic() + rng.uniform(5, 40)
    while True:
        ready, _, _ = select.select((ssdp, mdns), (), (), 1.0)
        for handle in ready:
            data, peer = handle.recvfrom(2048)
            if handle is ssdp and data.startswith(b"M-SEARCH"):
                time.sleep(rng.uniform(0.0, 0.2))
                handle.sendto(FOUND, peer)
        if time.monotonic() >= announce_s:
            ssdp.sendto(b"NOTIFY * HTTP/1.1\r\n" + FOUND, SSDP)
            mdns.sendto(QUESTION + FOUND[:80], MDNS)
            announce_s = time.monotonic() + rng.uniform(40, 80)


def search(own: str) -> None:
    """Search once, both ways, and listen two seconds for answers."""
    handle = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    handle.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(own))
    handle.settimeout(2.0)
    for target, data in ((SSDP, SEARCH), (MDNS, QUESTION), (SSDP, SEARCH)):
        handle.sendto(data, target)
        time.sleep(0.1)
    try:
        while True:
            handle.recv(2048)
    except TimeoutError:
        return


def video(host: str, port: int, seconds: float) -> None:
    """Send frames of a camera at 25 a second, some split over several datagrams."""
    require_lab([IPv4Address(host)])
    handle = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    handle.connect((host, port))
    end_s = time.monotonic() + min(seconds, VIDEO_LIMIT_S)
    while time.monotonic() < end_s:
        for _ in range(random.choice((1, 1, 1, 2, 3))):
            # Nobody may be listening at the moment; cameras do not care.
            with contextlib.suppress(ConnectionError):
                handle.send(os.urandom(random.randint(300, 1300)))
        time.sleep(FRAME_GAP_S)


def receive(port: int) -> None:
    """Take in video until ended."""
    handle = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    handle.bind(("", port))
    while True:
        handle.recv(2048)


def main(arguments: list[str]) -> None:
    """Do what the first argument says."""
    match arguments:
        case ["answer", own]:
            require_lab([])
            answer(own)
        case ["search", own]:
            require_lab([])
            search(own)
        case ["video", host, port, seconds]:
            video(host, int(port), float(seconds))
        case ["receive", port]:
            require_lab([])
            receive(int(port))
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
