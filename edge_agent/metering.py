"""Captures to flow rows: reading, metering and counting, wired."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from edge_agent.capture.blocks import CaptureBlocks
from edge_agent.contract.errors import CaptureError
from edge_agent.flow.meter import open_meter
from edge_agent.flow.packets import LINK_TYPES, PACKETS, Skip
from edge_agent.native import library, why_missing
from edge_agent.progress import Reached

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from edge_agent.contract.frames import FrameBlock
    from edge_agent.contract.profiles import Padding, Profile
    from edge_agent.flow.limits import Limits
    from edge_agent.flow.rows import FlowRows


class CaptureMeter:
    """Meters captures, one after the other, as if they were one: flows go on from file to file.

    Args:
        paths: pcap or pcapng files, compressed or not; `-` is standard input.
        profile: What a flow is and what is counted of it.
        allow_cut: Take a file that is cut inside a packet as far as it goes.
        padding: Other than the profile's: to replay the captures of 2017.
        limits: Bounds of the meter's memory.

    Attributes:
        meter: Its counts say what was metered and what was skipped.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        profile: Profile,
        *,
        allow_cut: bool = False,
        padding: Padding | None = None,
        limits: Limits | None = None,
    ) -> None:
        self.profile = profile
        self.meter = open_meter(profile, limits, padding=padding)
        self._files = [CaptureBlocks(path, allow_cut=allow_cut) for path in paths]

    def blocks(self) -> Iterator[FrameBlock]:
        """Frames of all files, front to back. A block is valid until the next is asked for.

        Raises:
            CaptureError: A capture cannot be opened, is no capture, is cut, or has frames of
                unsupported link types only.
        """
        for file in self._files:
            frames, link_type, unread = 0, None, self._of_unknown_link_type()
            for block in file:
                if link_type is None:
                    link_type = int(block.frames["link_type"][0])
                frames += len(block.frames)
                yield block
            if frames and self._of_unknown_link_type() - unread == frames:
                raise CaptureError(
                    file.path,
                    f"has no frame that can hold IP (link type {link_type})",
                    remedy="capture on Ethernet, Linux cooked or raw IP (link types "
                    + ", ".join(map(str, LINK_TYPES))
                    + ")",
                )

    def _of_unknown_link_type(self) -> int:
        counts = self.meter.counts()
        return counts[Skip.LINK_TYPE.value] + counts[Skip.WIFI.value]

    def batches(self, on_block: Callable[[], None] | None = None) -> Iterator[FlowRows]:
        """Rows of all files, as they are complete; valid until the next are asked for.

        Args:
            on_block: Called after every block, to show progress: rows may be long in coming.

        Raises:
            CaptureError: As for `blocks`.
        """
        for block in self.blocks():
            yield from self.meter.add(block)
            if on_block is not None:
                on_block()
        yield from self.meter.flush()

    def counts(self) -> dict[str, int]:
        """What was counted: packets first, then what is not 0."""
        counts = self.meter.counts()
        return {name: count for i, (name, count) in enumerate(counts.items()) if count or not i}

    def reached(self, flows: int) -> Reached:
        """How far it is; `flows` is how many rows were taken."""
        bytes_read = sum(file.bytes_read for file in self._files)
        return Reached(bytes_read, self.meter.counts()[PACKETS], flows)

    @property
    def size_bytes(self) -> int | None:
        """Of all files as they are stored; None where one has no end that is known."""
        sizes = [file.size_bytes for file in self._files]
        known = [size for size in sizes if size is not None]
        return sum(known) if len(known) == len(sizes) else None


def tell_if_slow(command: str) -> None:
    """Say on standard error that the compiled meter is missing, if it is."""
    if library is None:
        print(
            f"{command}: the slow reference meter runs, some hundred times slower than the"
            f" compiled one: {why_missing}. Install a C compiler (apt install gcc) and install"
            " edge-ids again.",
            file=sys.stderr,
        )
