"""Where the broker is, and how we prove who we are."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote, urlsplit

from edge_agent.contract.alerts import printable
from edge_agent.contract.errors import BrokerError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

PASSWORD_VARIABLE: Final = "EDGE_IDS_BROKER_PASSWORD"  # noqa: S105 - the variable's name

# A password file with a key or a disk image in it is a mistake.
_MAX_PASSWORD_BYTES: Final = 1024
_DEFAULT_PORTS: Final = {"mqtt": 1883, "mqtts": 8883}
_EXAMPLE: Final = "write it as mqtt://host:1883 or mqtts://user@host:8883"


@dataclass(frozen=True, slots=True)
class BrokerAddress:
    """A broker that we are willing to talk to.

    Attributes:
        host: Name or address.
        port: TCP port.
        tls: Whether the connection is encrypted.
        username: Who we are; None for anonymous.
        password: Its password; never part of a URL, a message or a representation.
        ca_file: Certificates to trust instead of the system's.
    """

    host: str
    port: int
    tls: bool = False
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    ca_file: Path | None = None

    @classmethod
    def parse(
        cls,
        url: str,
        *,
        password: str | None = None,
        ca_file: Path | None = None,
        allow_plaintext: bool = False,
    ) -> BrokerAddress:
        """Read `mqtt://[user@]host[:port]` or `mqtts://...`.

        Args:
            url: The address.
            password: The user's, from `read_password`.
            ca_file: Certificates to trust instead of the system's; mqtts only.
            allow_plaintext: Permit mqtt:// beyond this machine.

        Raises:
            BrokerError: It is no such URL, holds a password, or would send alerts in plain text.
        """
        # What may be a password does not reach a message.
        shown = printable(url.rpartition("@")[2], 80)
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError as error:
            raise BrokerError(f"{shown}: not a broker's URL ({error}); {_EXAMPLE}.") from error
        if parts.scheme not in _DEFAULT_PORTS or not host or not _is_host(host) or port == 0:
            raise BrokerError(f"{shown}: not a broker's URL; {_EXAMPLE}.")
        if parts.path.strip("/") or parts.query or parts.fragment:
            raise BrokerError(f"{shown}: a broker's URL ends with its port; {_EXAMPLE}.")
        if parts.password is not None:
            raise BrokerError(
                f"{shown}: the URL holds a password, which other users can read in the list of"
                f" processes; put it into {PASSWORD_VARIABLE} or a password file."
            )
        username = unquote(parts.username) if parts.username else None
        if password is not None and username is None:
            raise BrokerError(f"{shown}: there is a password but no user name; {_EXAMPLE}.")
        tls = parts.scheme == "mqtts"
        if ca_file is not None and not tls:
            raise BrokerError(f"{shown}: a CA file needs TLS; write the URL as mqtts://{host}.")
        address = cls(
            host=host,
            port=port or _DEFAULT_PORTS[parts.scheme],
            tls=tls,
            username=username,
            password=password,
            ca_file=ca_file,
        )
        if not tls and not address.is_loopback and not allow_plaintext:
            raise BrokerError(
                f"{address.url}: alerts would cross the network in plain text; use mqtts://, or"
                " allow plain text explicitly."
            )
        return address

    @property
    def url(self) -> str:
        """For messages: no user, no password."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'mqtts' if self.tls else 'mqtt'}://{host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """Whether it names this machine."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False


def _is_host(text: str) -> bool:
    # A longer or empty label is an error of the resolver's encoder, not of its own.
    if not all(0 < len(label) <= 63 for label in text.removesuffix(".").split(".")):
        return False
    return len(text) <= 253 and all(c.isascii() and (c.isalnum() or c in "-._:%") for c in text)


def read_password(file: Path | None, environment: Mapping[str, str]) -> str | None:
    """The broker's password: a file's first line, else `PASSWORD_VARIABLE`, else None.

    Raises:
        BrokerError: The file cannot be read or holds no password.
    """
    if file is None:
        return environment.get(PASSWORD_VARIABLE)
    try:
        with file.open("rb") as stream:
            data = stream.read(_MAX_PASSWORD_BYTES + 1)
        lines = data.decode().splitlines()
    except OSError as error:
        raise BrokerError(
            f"{file}: the password file cannot be read ({error.strerror}); check its path and"
            " permissions."
        ) from error
    except UnicodeDecodeError:
        lines = []
    if not lines or not lines[0] or len(data) > _MAX_PASSWORD_BYTES:
        raise BrokerError(f"{file}: holds no password; write the password on its first line.")
    return lines[0]
