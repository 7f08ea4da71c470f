"""The meter alone: ``python -m benchmarks.throughput.child ENGINE PROFILE CAPTURE``.

ENGINE is `meter`, what `edge-agent` uses, or `reference`, the plain Python that it is held against.
Rows are counted and dropped; prints how many there were. Imports no more than metering needs:
starting is part of what is measured.
"""

import sys
from pathlib import Path

from edge_agent.contract.profiles import PROFILES


def meter(profile: str, capture: Path) -> int:
    """Flows of a capture, as `edge-agent` counts them."""
    from edge_agent.metering import CaptureMeter

    return sum(len(rows) for rows in CaptureMeter([capture], PROFILES[profile]).batches())


def reference(profile: str, capture: Path) -> int:
    """Flows of a capture, in plain Python from the file to the row."""
    from edge_agent.capture.pcap import read_frames
    from edge_agent.flow import reference as plain
    from edge_agent.flow.packets import PacketReader

    engine, count = plain.meter(PROFILES[profile]), 0
    reader = PacketReader(PROFILES[profile].padding)
    for frame in read_frames(capture):
        packet = reader.decode(frame.time_us, frame.link_type, frame.data, frame.wire_length_bytes)
        if packet is not None:
            count += len(list(engine.add(packet)))
    return count + len(list(engine.flush()))


if __name__ == "__main__":
    _, name, profile_name, file = sys.argv
    print({"meter": meter, "reference": reference}[name](profile_name, Path(file)))
