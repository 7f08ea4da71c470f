"""A small house made by hand: a plan, its truth and a capture that passes the lab's check."""

from __future__ import annotations

import dataclasses
import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from benchmarks.lab import pcap, truth, verify
from benchmarks.lab.plan import Plan, load
from benchmarks.lab.truth import Truth, Wave
from tests.packets import Segment

if TYPE_CHECKING:
    from pathlib import Path

PLAN = """
session = "house"
seed = 7

[network]
lan = "10.1.0.0/24"
wan = "192.0.2.0/24"
dark = "198.18.0.0/16"

[timing]
duration_s = 300
opening_s = 60
closing_s = 40
pause_s = [12, 18]
attacker_gap_s = 63

[accounts]
user = "noor"
password = "p1"
mqtt_user = "m"
mqtt_password = "p2"
telnet_user = "t"
telnet_password = "p3"

[guesses]
users = ["root", "admin"]
passwords = ["a", "b", "c"]

[asleep]
console = "10.1.0.40"

[[hosts]]
name = "gateway"
address = "10.1.0.1"
side = "lan"
services = ["dns"]

[[hosts]]
name = "server"
address = "10.1.0.2"
side = "lan"
services = ["web", "ssh"]

[[hosts]]
name = "laptop"
address = "10.1.0.3"
side = "lan"
link = { delay_ms = 1.0, loss = 0.01 }
activities = [{ kind = "get", to = "server", every_s = 5, burst = [1, 2] }]

[[hosts]]
name = "camera"
address = "10.1.0.4"
side = "lan"
infected = true
activities = [{ kind = "get", to = "server", port = 8080, every_s = 5 }]

[[campaigns]]
id = "h01"
label = "scan"
family = "scan"
program = "nmap"
arguments = "-n -sS {server}"
launched_from = ["camera"]
victims = ["server"]
protocol = 6
ports = [[1, 100]]

[[campaigns]]
id = "h02"
label = "flood"
family = "dos"
program = "hping3"
arguments = "-S -p 22 -c 100 {server}"
launched_from = ["camera"]
victims = ["server"]
protocol = 6
ports = [22]
"""

START_US = 1_700_000_000_000_000
SERVER, LAPTOP, CAMERA = "10.1.0.2", "10.1.0.3", "10.1.0.4"


def at(seconds: float) -> int:
    """Microseconds since 1970 at a second of the session."""
    return START_US + round(seconds * 1e6)


def house_plan(folder: Path, *changes: tuple[str, str]) -> Plan:
    """The plan with pieces of its text replaced."""
    text = PLAN
    for before, after in changes:
        assert text.count(before) >= 1, before
        text = text.replace(before, after, 1)
    path = folder / "plan.toml"
    path.write_text(text)
    return load(path)


def with_identification(frame: bytes, identification: int) -> bytes:
    """The frame with an IP identification, as every program's own packets have."""
    return frame[:18] + struct.pack(">H", identification) + frame[20:]


def conversation(begin_s: float, client: str, server: str, ports: tuple[int, int]) -> list[Segment]:
    """A short TCP connection from SYN to FIN."""
    ends, back = (client, ports[0], server, ports[1]), (server, ports[1], client, ports[0])
    steps = ((ends, "S", 0), (back, "SA", 0), (ends, "A", 0), (ends, "PA", 120), (back, "PA", 900),
             (ends, "FA", 0), (back, "FA", 0), (ends, "A", 0))  # fmt: skip
    return [
        Segment(at(begin_s) + 2_000 * number, *who, flags, payload)
        for number, (who, flags, payload) in enumerate(steps)
    ]


def house_segments() -> list[Segment]:
    """Benign pages all the time, a scan in h01 and a flood in h02."""
    segments: list[Segment] = []
    for number in range(29):
        segments += conversation(10 * number + 1, LAPTOP, SERVER, (40_000 + number, 80))
        segments += conversation(10 * number + 2, CAMERA, SERVER, (40_000 + number, 8080))
    for port in range(1, 101):
        segments.append(Segment(at(100.5) + port * 1_000, CAMERA, 50_000, SERVER, port, "S"))
        segments.append(Segment(at(100.5) + port * 1_000 + 90, SERVER, port, CAMERA, 50_000, "RA"))
    segments += [
        Segment(at(200.5) + n * 900, CAMERA, 2_000 + n, SERVER, 22, "S") for n in range(99)
    ]
    return sorted(segments, key=lambda segment: segment.time_us)


def packets_of(segments: list[Segment]) -> list[pcap.Packet]:
    """The packets as they are committed: numbered, and cut to their headers."""
    packets = []
    for number, segment in enumerate(segments, 1):
        frame = with_identification(segment.frame(), number & 0xFFFF)
        packets.append(pcap.cut_to_headers(pcap.Packet(segment.time_us, len(frame), frame)))
    return packets


def wave(identity: str, label: str, family: str, begin_s: float, end_s: float) -> Wave:
    """A campaign of the infected camera against the server."""
    ports: tuple[int | tuple[int, int], ...] = (22,) if identity == "h02" else ((1, 100),)
    return Wave(
        id=identity,
        tool="nmap",
        family=family,
        label=label,
        command="nmap",
        start_us=at(begin_s),
        end_us=at(end_s),
        attackers=(CAMERA,),
        victims=(SERVER,),
        protocol=6,
        ports=ports,
        launched_from=(CAMERA,),
    )


def house_truth() -> Truth:
    """What happened in the house."""
    return Truth(
        session="house",
        capture="capture.pcap.gz",
        start_us=START_US,
        end_us=at(300),
        packets=0,
        dropped_by_kernel=0,
        lan="10.1.0.0/24",
        hosts={"server": SERVER, "laptop": LAPTOP, "camera": CAMERA},
        infected=("camera",),
        tools={"nmap": "7"},
        campaigns=(wave("h01", "scan", "scan", 100, 110), wave("h02", "flood", "dos", 200, 210)),
    )


@dataclass
class Recording:
    """A recording that a test may spoil before it is written and checked."""

    folder: Path
    packets: list[pcap.Packet] = field(default_factory=lambda: packets_of(house_segments()))
    truth: Truth = field(default_factory=house_truth)
    plan_changes: tuple[tuple[str, str], ...] = ()
    snap_bytes: int = 128

    def write(self) -> Path:
        """Write the three files; the truth counts the packets unless it has a count already."""
        house_plan(self.folder, *self.plan_changes)
        pcap.write(self.folder / "capture.pcap.gz", self.packets, self.snap_bytes)
        count = self.truth.packets or len(self.packets)
        dataclasses.replace(self.truth, packets=count).save(self.folder / "truth.json")
        return self.folder

    def check(self) -> verify.Report:
        """What the lab's check says of it."""
        return verify.check(self.write())

    def move(self, identity: str, begin_s: float, end_s: float) -> None:
        """Let a campaign have run at another time."""
        moved = tuple(
            dataclasses.replace(w, start_us=at(begin_s), end_us=at(end_s))
            if w.id == identity else w
            for w in self.truth.campaigns
        )  # fmt: skip
        self.truth = dataclasses.replace(self.truth, campaigns=moved)


__all__ = ["PLAN", "Recording", "at", "house_plan", "truth"]
