"""The service's way to the broker, and what of its own traffic capture must not see."""

from __future__ import annotations

import logging
import os
import socket
from typing import TYPE_CHECKING

from edge_agent.alerting.address import BrokerAddress, read_password
from edge_agent.alerting.mqtt import PahoSession
from edge_agent.capture.live import Connection
from edge_agent.contract.errors import CaptureError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edge_agent.alerting.mqtt import SessionOptions
    from edge_agent.config.outlets import MqttSection

_log = logging.getLogger(__name__)


def broker_address(mqtt: MqttSection) -> BrokerAddress | None:
    """Where alerts go; None: to standard output.

    Raises:
        BrokerError: The address, or the password file, cannot be used.
    """
    if mqtt.broker is None:
        return None
    return BrokerAddress.parse(
        mqtt.broker,
        password=read_password(mqtt.password_file, os.environ),
        ca_file=mqtt.ca_file,
        allow_plaintext=mqtt.allow_plaintext,
    )


def own_connections(address: BrokerAddress) -> tuple[Connection, ...]:
    """From which of our addresses to which of the broker's we shall speak: none while unknown."""
    try:
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_DGRAM)
    except OSError:
        # No name server yet; the connection will fail for the same reason.
        return ()
    connections = []
    for family, kind, number, _, target in found:
        with socket.socket(family, kind, number) as probe:
            try:
                # Sends nothing: the kernel looks up its route.
                probe.connect(target)
            except OSError:
                continue
            local = str(probe.getsockname()[0])
        connections.append(Connection(local, str(target[0]), address.port))
    return tuple(dict.fromkeys(connections))


class UnseenSession:
    """Opens sessions whose packets are not captured.

    Args:
        exclude: Told which connections to leave out, before each session.
    """

    def __init__(self, exclude: Callable[[Sequence[Connection]], None]) -> None:
        self._exclude = exclude

    def connect(self, address: BrokerAddress, options: SessionOptions) -> PahoSession:
        """See `PahoSession.connect`; takes and raises the same."""
        try:
            self._exclude(own_connections(address))
        except CaptureError as error:
            # Metering our own alerts is a nuisance, not sending them a failure.
            _log.warning("%s", error)
        return PahoSession.connect(address, options)
