"""What can be wrong with a capture: the bounds, the sentences, and the place they name.

Both readers, `pcap.read_frames` and the compiled index, refuse by the same bounds and speak the
same sentences.
"""

from __future__ import annotations

import enum
from pathlib import Path
from typing import Final

from edge_agent.contract.errors import CaptureError

STDIN: Final = Path("-")

# libpcap's own bound for a snapped packet; a longer one means the length field is garbage.
MAX_PACKET_BYTES: Final = 262_144
# Wireshark's bound for a block. A block is read whole, so this bounds what a reader holds.
MAX_BLOCK_BYTES: Final = 16 * 1024 * 1024
# A hostile section could describe interfaces without end; a machine has some hundreds at most.
MAX_INTERFACES: Final = 65_536
# A resolution of whole seconds reaches beyond what int64 holds in µs: such stamps stop here.
MAX_TIME_US: Final = 2**62

_CUT_REMEDY: Final = "repair the file or read what is whole with --allow-cut"
_REMEDY: Final = "check the file, or capture again with tcpdump or dumpcap"


class Problem(enum.IntEnum):
    """As `enum capture_problem` in `native/capture.h`; what only Python can see is negative."""

    EMPTY = -1
    CUT = -2
    UNREADABLE = -3
    CUT_COMPRESSED = -4
    UNKNOWN_MAGIC = 1
    LONG_PACKET = 2
    BAD_BLOCK_LENGTH = 3
    UNKNOWN_BYTE_ORDER = 4
    BAD_PACKET_BLOCK = 5
    TOO_MANY_INTERFACES = 6
    OUT_OF_MEMORY = 7


_SENTENCES: Final = {
    Problem.EMPTY: "is empty, not a capture",
    Problem.CUT: "is cut: {0} bytes are missing",
    Problem.UNREADABLE: "cannot be decompressed or read ({0})",
    Problem.CUT_COMPRESSED: "cannot be decompressed or read ({0})",
    Problem.UNKNOWN_MAGIC: "is not a capture: it begins with {0}",
    Problem.LONG_PACKET: "says a packet of {0:,} bytes follows, which cannot be",
    Problem.BAD_BLOCK_LENGTH: "says a block of {0:,} bytes follows, which cannot be",
    Problem.UNKNOWN_BYTE_ORDER: "has a pcapng section of unknown byte order",
    Problem.BAD_PACKET_BLOCK: "has a packet block that is too short or of no interface",
    Problem.TOO_MANY_INTERFACES: "describes more than {0:,} interfaces",
    Problem.OUT_OF_MEMORY: "describes more interfaces than there is memory for",
}
_REMEDIES: Final = {
    Problem.CUT: _CUT_REMEDY,
    Problem.CUT_COMPRESSED: _CUT_REMEDY,
    Problem.UNKNOWN_MAGIC: "give a pcap or pcapng file, plain or compressed with gzip, xz or zstd",
}


def capture_error(
    path: Path, problem: Problem, offset_bytes: int, detail: int | str | Exception = 0
) -> CaptureError:
    """The sentence for a problem.

    Args:
        path: The capture; `-` is standard input.
        problem: What is wrong.
        offset_bytes: How far the capture, decompressed, had been read.
        detail: The value that cannot be, or what the system said.
    """
    return CaptureError(
        "standard input" if path == STDIN else path,
        _SENTENCES[problem].format(detail),
        remedy=_REMEDIES.get(problem, _REMEDY),
        where=f"byte {offset_bytes:,}",
    )
