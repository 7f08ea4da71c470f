"""Captures to flow rows: the reader, the decoder and the meter, wired."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_agent.capture.pcap import read_frames
from edge_agent.contract.errors import CaptureError
from edge_agent.flow.packets import LINK_TYPES, PacketReader, UnknownLinkTypeError
from edge_agent.flow.reference import meter

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from edge_agent.contract.profiles import Padding, Profile
    from edge_agent.flow.packets import Packet
    from edge_agent.flow.rows import FlowRow


class CaptureMeter:
    """Meters one capture.

    Args:
        path: A pcap or pcapng file, gzipped or not; `-` is standard input.
        profile: What a flow is and what is counted of it.
        allow_cut: Take a file that is cut inside a packet as far as it goes.
        padding: Other than the profile's: to replay the captures of 2017.

    Attributes:
        reader: Its counters say what was metered and what was skipped.
    """

    def __init__(
        self,
        path: Path,
        profile: Profile,
        *,
        allow_cut: bool = False,
        padding: Padding | None = None,
    ) -> None:
        self.path = path
        self.profile = profile
        self.reader = PacketReader(padding or profile.padding)
        self._allow_cut = allow_cut

    def packets(self) -> Iterator[Packet]:
        """Decode the capture front to back.

        Raises:
            CaptureError: It cannot be opened, is no capture, is cut, or of an unknown link type.
        """
        for frame in read_frames(self.path, allow_cut=self._allow_cut):
            try:
                packet = self.reader.decode(
                    frame.time_us, frame.link_type, frame.data, frame.wire_length_bytes
                )
            except UnknownLinkTypeError as error:
                raise CaptureError(
                    self.path,
                    f"has frames of link type {error.link_type}, which is not supported",
                    remedy="capture on Ethernet, Linux cooked or raw IP (link types "
                    + ", ".join(map(str, LINK_TYPES))
                    + ")",
                ) from error
            if packet is not None:
                yield packet

    def rows(self) -> Iterator[FlowRow]:
        """Meter the capture; rows come as they are complete.

        Raises:
            CaptureError: As for `packets`.
        """
        engine = meter(self.profile)
        for packet in self.packets():
            yield from engine.add(packet)
        yield from engine.flush()


def meter_capture(path: Path, profile: Profile) -> Iterator[FlowRow]:
    """Rows of a capture; see `CaptureMeter`."""
    return CaptureMeter(path, profile).rows()
