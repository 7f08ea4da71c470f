"""Cuts the agent's built-in self-test out of a recording of the lab.

    python -m benchmarks.lab.excerpt

writes `edge_agent/selftest/{capture.pcap.gz,expected.json}` anew: twenty seconds of benign traffic,
then the beginnings of attacks of different kinds, each by another address. Frames are those of the
recording, at their times; what was between the windows is left out.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.lab import pcap

_SESSION: Final = Path(__file__).parent / "sessions" / "session-c"
_TARGET: Final = Path(__file__).parents[2] / "edge_agent" / "selftest"
_BENIGN_S: Final = 20
_SNAP_BYTES: Final = 128


@dataclass(frozen=True)
class Window:
    """The beginning of a campaign.

    Attributes:
        campaign: Its id in the recording.
        length_s: How much of it; the whole network's traffic in this time is taken.
    """

    campaign: str
    length_s: float


WINDOWS: Final = (
    Window("c01", 6),  # nmap sweep of hosts
    Window("c04", 8),  # Mirai-like scan
    Window("c08", 2),  # SYN flood outwards
    Window("c10", 4),  # nmap SYN scan
    Window("c14", 8),  # MQTT connect flood
)


def main() -> None:
    """Write both files."""
    truth = json.loads((_SESSION / "truth.json").read_text())
    campaigns = {campaign["id"]: campaign for campaign in truth["campaigns"]}
    packets = list(pcap.read(_SESSION / "capture.pcap.gz"))
    first_us = packets[0].time_us
    stretches = [(first_us, first_us + _BENIGN_S * 1_000_000)]
    expected = []
    for window in WINDOWS:
        campaign = campaigns[window.campaign]
        begin_us = campaign["start_us"]
        end_us = min(begin_us + int(window.length_s * 1e6), campaign["end_us"])
        stretches.append((begin_us, end_us))
        expected.append(
            {
                "attack": campaign["label"],
                "source": campaign["attackers"][0],
                "begin_us": begin_us,
                "end_us": end_us,
            }
        )
    taken = [
        packet
        for packet in packets
        if any(begin_us <= packet.time_us <= end_us for begin_us, end_us in stretches)
    ]
    _TARGET.mkdir(exist_ok=True)
    pcap.write(_TARGET / "capture.pcap.gz", taken, _SNAP_BYTES)
    (_TARGET / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")
    print(f"{_TARGET}: {len(taken):,} packets, {len(expected)} attacks")


if __name__ == "__main__":
    main()
