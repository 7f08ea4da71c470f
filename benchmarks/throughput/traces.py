"""The traces that throughput is measured on: made on the spot, the same bytes everywhere.

`large` repeats the recordings of the lab. Copy k takes session k mod 3 and starts two minutes after
copy k - 1, so eight to nine houses are live at once; the trace ends after the packets asked for.
Each copy is a house of its own: the two middle octets of every unicast IPv4 address (ARP's too) and
the third and fourth of every unicast MAC address are xored with k. No two copies share a
conversation, and the addresses inside a house stay one network.

`flood` is a SYN flood with forged sources (`flood.py`).

Both are pcap with µs stamps, little-endian, Ethernet; stamps never decrease. IPv4 header checksums
are right. The lab cuts frames behind their headers and sets TCP and UDP checksums to 0, since they
cover bytes that are gone; in `large` every frame has its length on the wire again, as a gateway
sees it, with zeros for what was cut, and checksums stay 0. An ICMP error quotes the datagram as it
was recorded, under the recorded addresses. The flood's TCP checksums are right too.

A trace lies in its folder under a name that tells its size. Beside it lies what is known about it,
the SHA-256 of its bytes included; a trace that no longer fits that is made again. Memory does not
grow with the size of a trace: the three sessions, and one window of the result.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import mmap
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from benchmarks.throughput import flood
from benchmarks.throughput.records import (
    PCAP_HEADER,
    RECORD_BYTES,
    Records,
    gathered,
    joined,
    parse,
    stamp,
    translate,
    whole,
)
from edge_agent.console import end_progress, progress_line
from edge_agent.contract.files import atomic_output, write_atomically

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

SESSIONS: Final = tuple(
    Path(__file__).resolve().parent.parent / "lab" / "sessions" / name / "capture.pcap.gz"
    for name in ("session-a", "session-b", "session-c")
)

# A session takes 16 to 18 minutes; with two minutes between starts, eight to nine overlap.
_STRIDE_US: Final = 120_000_000
# Of the traces' clock; a round number.
_START_US: Final = 1_700_000_000_000_000
# 10 s of nine houses are some 20,000 packets: a few megabytes in flight, few turns of the loop.
_WINDOW_US: Final = 10_000_000
# As many as two octets can tell apart: 12 billion packets.
_MAX_HOUSES: Final = 65_536

# To be raised whenever the same request yields other bytes; cached traces are then made again.
_RECIPE: Final = 2


@dataclass(frozen=True, slots=True)
class Trace:
    """A capture file and what is in it.

    Attributes:
        path: The pcap file.
        packets: Frames in it.
        conversations: Different (protocol, address, port, address, port), directions together. A
            meter that cuts flows by time or teardown counts more.
        captured_bytes: All frames as captured, without record headers.
        wire_bytes: All frames on the wire.
        duration_s: From the first to the last packet.
        sha256: Of the file.
    """

    path: Path
    packets: int
    conversations: int
    captured_bytes: int
    wire_bytes: int
    duration_s: float
    sha256: str

    def to_json(self) -> dict[str, Any]:
        """For the report; the file by its name alone."""
        return {**asdict(self), "path": self.path.name, "summary": self.sentence()}

    def sentence(self) -> str:
        """What is in it, for people."""
        return (
            f"{self.path.name}: {self.packets:,} packets, {self.conversations:,} conversations,"
            f" {self.duration_s:,.0f} s, on average {self.wire_bytes / self.packets:.0f} bytes on"
            f" the wire and {self.captured_bytes / self.packets:.0f} captured,"
            f" sha256 {self.sha256}"
        )


@dataclass(frozen=True, slots=True)
class _Part:
    """A stretch of a trace: records, and what is counted of them."""

    data: NDArray[np.uint8]
    time_us: NDArray[np.int64]
    wire_bytes: int
    conversations: int


def large_trace(folder: Path, packets: int, sessions: Sequence[Path] = SESSIONS) -> Trace:
    """The lab's houses, many at once.

    Args:
        folder: Where the trace is kept.
        packets: How many packets to take.
        sessions: Recordings to repeat.

    Raises:
        CaptureError: A recording cannot be used.
        OutputError: The trace cannot be written.
    """
    digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in sessions]

    def parts() -> Iterator[_Part]:
        captures = [whole(parse(gzip.decompress(path.read_bytes()), path)) for path in sessions]
        return _house_parts(captures, packets)

    path = folder / f"large-{packets}.pcap"
    return _cached(path, {"sessions": digests}) or _write(
        path, {"sessions": digests}, packets, parts()
    )


def flood_trace(folder: Path, packets: int) -> Trace:
    """A SYN flood, each packet from another source; arguments and errors as of `large_trace`."""
    parts = (
        _Part(data, time_us, len(data) - RECORD_BYTES * len(time_us), len(time_us))
        for data, time_us in flood.blocks(packets, _START_US)
    )
    path = folder / f"flood-{packets}.pcap"
    return _cached(path, {}) or _write(path, {}, packets, parts)


def prefix(trace: Trace, packets: int) -> Trace:
    """The first packets of a trace, for what is too slow for all of it; itself if it is no longer.

    Raises:
        OutputError: The file cannot be written.
    """
    if packets >= trace.packets:
        return trace
    path = trace.path.with_name(f"{trace.path.stem}-first-{packets}.pcap")
    found = _cached(path, {"of": trace.sha256})
    if found is not None:
        return found
    with (
        trace.path.open("rb") as stream,
        mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as mapped,
    ):
        records = parse(mapped, trace.path, limit=packets)
        part = _Part(
            gathered(records, np.arange(packets))[0],
            records.time_us,
            int(records.wire_bytes.sum()),
            int(np.count_nonzero(records.begins_conversation)),
        )
        # It looks into the mapping, which must outlive it.
        del records
    return _write(path, {"of": trace.sha256}, packets, [part])


def empty_trace(folder: Path) -> Path:
    """A capture without packets: what a program costs on it is its start."""
    path = folder / "empty.pcap"
    write_atomically(path, PCAP_HEADER)
    return path


def _house_parts(captures: Sequence[Records], packets: int) -> Iterator[_Part]:
    """Windows of the large trace."""
    records, places = joined(captures)
    longest_us = int(records.time_us.max())
    left, begin_us = packets, 0
    while left:
        end_us = begin_us + _WINDOW_US
        chosen, time_us, houses = [], [], []
        first = max(0, (begin_us - longest_us) // _STRIDE_US)
        for house in range(first, min(-(-end_us // _STRIDE_US), _MAX_HOUSES)):
            place, start_us = places[house % len(places)], house * _STRIDE_US
            low, high = place.start + np.searchsorted(
                records.time_us[place], [begin_us - start_us, end_us - start_us]
            )
            chosen.append(np.arange(low, high))
            time_us.append(records.time_us[low:high] + start_us)
            houses.append(np.full(high - low, house))
        begin_us = end_us
        # Stable: what a house recorded in one microsecond keeps its order.
        order = np.argsort(np.concatenate(time_us), kind="stable")[:left]
        left -= len(order)
        if len(order):
            yield _window(
                records,
                np.concatenate(chosen)[order],
                np.concatenate(time_us)[order],
                np.concatenate(houses)[order],
            )


def _window(
    records: Records,
    chosen: NDArray[np.int64],
    time_us: NDArray[np.int64],
    house: NDArray[np.int64],
) -> _Part:
    data, at = gathered(records, chosen)
    translate(data, at, house)
    stamp(data, at, time_us + _START_US)
    # A copy's packets come in the session's order: each conversation's first one is among them.
    conversations = int(np.count_nonzero(records.begins_conversation[chosen]))
    wire_bytes = int(records.wire_bytes[chosen].sum())
    return _Part(data, time_us + _START_US, wire_bytes, conversations)


def _facts_path(path: Path) -> Path:
    return path.with_name(path.name + ".json")


def _cached(path: Path, recipe: dict[str, Any]) -> Trace | None:
    """A trace that lies there already; None when it is missing or anything about it is wrong."""
    try:
        known = json.loads(_facts_path(path).read_text())
        if known.pop("recipe") != {"number": _RECIPE, **recipe}:
            return None
        trace = Trace(**{**known, "path": path})
        digest = hashlib.sha256()
        with path.open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return trace if digest.hexdigest() == trace.sha256 else None


def _write(path: Path, recipe: dict[str, Any], packets: int, parts: Iterable[_Part]) -> Trace:
    digest = hashlib.sha256(PCAP_HEADER)
    trace = Trace(path, 0, 0, 0, 0, 0.0, "")
    first_us: int | None = None
    with atomic_output(path) as stream:
        stream.write(PCAP_HEADER)  # type: ignore[arg-type]
        for part in parts:
            data = part.data.tobytes()
            stream.write(data)  # type: ignore[arg-type]
            digest.update(data)
            first_us = int(part.time_us[0]) if first_us is None else first_us
            trace = replace(
                trace,
                packets=trace.packets + len(part.time_us),
                conversations=trace.conversations + part.conversations,
                captured_bytes=trace.captured_bytes + len(data) - RECORD_BYTES * len(part.time_us),
                wire_bytes=trace.wire_bytes + part.wire_bytes,
                duration_s=(int(part.time_us[-1]) - first_us) / 1_000_000,
            )
            progress_line(f"{path.name}: {trace.packets:,} of {packets:,} packets")
    end_progress()
    trace = replace(trace, sha256=digest.hexdigest())
    facts = {**asdict(trace), "path": path.name, "recipe": {"number": _RECIPE, **recipe}}
    write_atomically(_facts_path(path), (json.dumps(facts, indent=1) + "\n").encode())
    return trace
