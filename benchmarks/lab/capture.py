"""The recording itself: tcpdump on the bridge, where every frame of the house passes once."""

from __future__ import annotations

import re
import signal
import subprocess
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.lab import pcap
from benchmarks.lab.errors import RecordingError

if TYPE_CHECKING:
    from pathlib import Path

SNAP_BYTES = 128
DROPPED = re.compile(r"(\d+) packets dropped by kernel")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a finished recording holds."""

    packets: int
    dropped: int


class Recorder:
    """Runs tcpdump in a namespace and turns what it wrote into the committed form."""

    def __init__(self, space: str, folder: Path) -> None:
        self.raw = folder / "raw.pcap"
        command = ("ip", "netns", "exec", space, "tcpdump", "-i", "br0", "-n", "-Z", "root",
                   "-s", str(SNAP_BYTES), "-B", "32768", "-w", str(self.raw))  # fmt: skip
        self.log = folder / "tcpdump.log"
        with self.log.open("wb") as sink:
            self.process = subprocess.Popen(command, stderr=sink, start_new_session=True)
        deadline_s = time.monotonic() + 15
        while "listening on" not in self.log.read_text():
            if self.process.poll() is not None or time.monotonic() > deadline_s:
                raise RecordingError(f"tcpdump did not start: {self.log.read_text().strip()}")
            time.sleep(0.1)

    def finish(self, output: Path) -> Outcome:
        """Stop tcpdump; sort, cut and compress what it saw."""
        time.sleep(2.0)  # tcpdump reads its ring about once a second
        self.process.send_signal(signal.SIGINT)
        self.process.wait(60)
        found = DROPPED.search(self.log.read_text())
        packets = [pcap.cut_to_headers(packet) for packet in pcap.read(self.raw)]
        packets.sort(key=lambda packet: packet.time_us)
        pcap.write(output, packets, SNAP_BYTES)
        return Outcome(len(packets), int(found[1]) if found else 0)
