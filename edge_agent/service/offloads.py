"""Receive offloads merge packets before they are captured: turn them off, or say so."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from edge_agent.capture import interfaces, offloads
from edge_agent.capture.live import ANY
from edge_agent.contract.errors import CaptureError

if TYPE_CHECKING:
    from edge_agent.config.intake import CaptureSection

_log = logging.getLogger(__name__)

_LOOPBACK: Final = "lo"


def look_at_offloads(capture: CaptureSection) -> None:
    """As configured: turn off what merges packets, or log a warning about it."""
    names = capture.interfaces
    if ANY in names:
        names = tuple(interfaces.names())
    for name in names:
        if name == _LOOPBACK:
            continue
        try:
            if capture.offloads == "off":
                if turned_off := offloads.turn_off(name):
                    _log.info("%s: turned off %s", name, ", ".join(turned_off))
                continue
            on = [offload for offload, is_on in offloads.read(name).items() if is_on]
        except CaptureError as error:
            _log.warning("%s", error)
            continue
        if on:
            _log.warning(
                "%s merges packets before they are captured (%s), so sizes and counts differ from"
                " the wire; set capture.offloads to off, or turn them off with ethtool -K",
                name,
                ", ".join(on),
            )
