"""One MQTT session: the only file that imports paho, and where its errors become ours.

MQTT 3.1.1, which every broker on small devices speaks. The client is driven from outside (its own
thread is not used), one client per connection, so that what is sent again after an outage, and in
which order, is decided in one place: the outbox.
"""

from __future__ import annotations

import select
import socket
import ssl
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion

from edge_agent.alerting.address import PASSWORD_VARIABLE
from edge_agent.alerting.link import Received, SessionLost
from edge_agent.alerting.outbox import WINDOW
from edge_agent.contract.alerts import printable
from edge_agent.contract.errors import BrokerError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from paho.mqtt.reasoncodes import ReasonCode

    from edge_agent.alerting.address import BrokerAddress
    from edge_agent.alerting.outbox import Message

# The broker tells subscribers "offline" after one and a half of it; a ping costs 2 bytes.
_KEEPALIVE_S: Final = 20
# CONNACK codes of MQTT 3.1.1, as paho names them.
_CREDENTIALS_REFUSED: Final = frozenset({"Bad user name or password", "Not authorized"})

_NO_MQTT: Final = (
    "check that the port is an MQTT broker's, and whether it speaks TLS (mqtts://) or not (mqtt://)"
)
_START: Final = "start the broker, or correct the host and the port"
_CHECK_LOG: Final = "look into the broker's log"
_CHECK_PASSWORD: Final = (
    f"check the user name and the password ({PASSWORD_VARIABLE} or the password file)"
)


@dataclass(frozen=True, slots=True)
class SessionOptions:
    """What a session needs besides the address.

    Attributes:
        client_id: The broker ends an older session of the same name.
        will: What the broker publishes when we vanish.
        filters: Topic filters to subscribe to, QoS 1.
        connect_timeout_s: For the TCP connection, and again for the broker's answer.
    """

    client_id: str
    will: Message | None = None
    filters: tuple[str, ...] = ()
    connect_timeout_s: float = 5.0


class PahoSession:
    """A `link.Session` over paho. Make it with `connect`."""

    def __init__(self, address: BrokerAddress, options: SessionOptions) -> None:
        self._place = address.url
        self._acknowledged: list[int] = []
        self._received: list[Received] = []
        self._reason: ReasonCode | None = None
        self._granted: list[ReasonCode] = []
        client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id=options.client_id,
            clean_session=True,
            protocol=MQTTProtocolVersion.MQTTv311,
            reconnect_on_failure=False,
        )
        client.connect_timeout = options.connect_timeout_s
        client.max_inflight_messages_set(WINDOW)
        if address.username is not None:
            client.username_pw_set(address.username, address.password)
        if options.will is not None:
            will = options.will
            client.will_set(will.topic, will.payload, will.qos, will.retain)
        client.on_connect = self._on_connect
        client.on_subscribe = self._on_subscribe
        client.on_publish = self._on_publish
        client.on_message = self._on_message
        self._client = client

    @classmethod
    def connect(cls, address: BrokerAddress, options: SessionOptions) -> PahoSession:
        """Connect, wait for the broker's consent, subscribe.

        Raises:
            BrokerError: The broker cannot be reached, is not trusted, or refuses us.
        """
        session = cls(address, options)
        try:
            if address.tls:
                session._client.tls_set_context(_tls_context(address, options.connect_timeout_s))
            session._open(address, options.connect_timeout_s)
            session._subscribe(options.filters, options.connect_timeout_s)
        except BaseException:
            session.abandon()
            raise
        return session

    def publish(self, message: Message) -> int:
        """Send a message; its number.

        Raises:
            SessionLost: It could not be handed to the connection.
        """
        with self._translated():
            info = self._client.publish(message.topic, message.payload, message.qos, message.retain)
            self._check(info.rc)
        return info.mid

    def poll(self, wake: socket.socket | None, timeout_s: float) -> None:
        """Move bytes until something happened or `wake` is readable.

        Raises:
            SessionLost: The connection broke.
        """
        with self._translated():
            sock = self._client.socket()
            if sock is None:
                raise SessionLost(f"{self._place}: the connection was lost.")
            poller = select.poll()
            writing = select.POLLOUT if self._client.want_write() else 0
            poller.register(sock, select.POLLIN | writing)
            if wake is not None:
                poller.register(wake, select.POLLIN)
            # TLS may have decrypted more than was asked for; the socket does not show it.
            buffered = isinstance(sock, ssl.SSLSocket) and sock.pending() > 0
            ready = dict(poller.poll(0 if buffered else timeout_s * 1000))
            events = ready.get(sock.fileno(), 0)
            if buffered or events & ~select.POLLOUT:
                self._check(self._client.loop_read())
            if events & select.POLLOUT:
                self._check(self._client.loop_write())
            self._check(self._client.loop_misc())

    def acknowledged(self) -> list[int]:
        """Numbers acknowledged since the last call."""
        numbers, self._acknowledged = self._acknowledged, []
        return numbers

    def received(self) -> list[Received]:
        """Messages received since the last call."""
        received, self._received = self._received, []
        return received

    def disconnect(self, timeout_s: float) -> None:
        """End cleanly: the broker discards the last will."""
        deadline = time.monotonic() + timeout_s
        with self._translated():
            self._client.disconnect()
        while self._client.want_write() and time.monotonic() < deadline:
            self.poll(None, 0.1)
        self.abandon()

    def abandon(self) -> None:
        """Close the socket without a word."""
        # Bound methods would keep the client, and its sockets, alive in a cycle.
        self._client.on_connect = None
        self._client.on_subscribe = None
        self._client.on_publish = None
        self._client.on_message = None
        if (sock := self._client.socket()) is not None:
            sock.close()

    def _open(self, address: BrokerAddress, timeout_s: float) -> None:
        try:
            self._client.connect(address.host, address.port, _KEEPALIVE_S)
        except OSError as error:
            problem, remedy = _diagnose(error, timeout_s)
            raise BrokerError(f"{self._place}: {problem}; {remedy}.") from error
        try:
            self._await(lambda: self._reason is not None, timeout_s)
        except SessionLost as error:
            # A refusal is answered, then closed: the answer says more.
            if self._reason is None:
                raise BrokerError(f"{self._place}: does not answer in MQTT; {_NO_MQTT}.") from error
        if self._reason is None:
            raise BrokerError(f"{self._place}: no answer within {timeout_s:g} s; {_NO_MQTT}.")
        if self._reason.is_failure:
            answer = printable(str(self._reason), 60)
            remedy = _CHECK_PASSWORD if answer in _CREDENTIALS_REFUSED else _CHECK_LOG
            raise BrokerError(f"{self._place}: the broker refuses us ({answer}); {remedy}.")

    def _subscribe(self, filters: Sequence[str], timeout_s: float) -> None:
        if not filters:
            return
        with self._translated():
            code, _ = self._client.subscribe([(topic_filter, 1) for topic_filter in filters])
            self._check(code)
        self._await(lambda: bool(self._granted), timeout_s)
        if not self._granted or any(reason.is_failure for reason in self._granted):
            raise BrokerError(
                f"{self._place}: the broker does not let us read {', '.join(filters)}; check the"
                " rights of the user there."
            )

    def _await(self, done: Callable[[], bool], timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        while not done() and (left_s := deadline - time.monotonic()) > 0:
            self.poll(None, left_s)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Turn what paho raises into a lost session.

        The broker's bytes decide what that is: its parser lets struct.error, IndexError and others
        through.
        """
        try:
            yield
        except BrokerError:
            raise
        except Exception as error:
            text = printable(f"{type(error).__name__}: {error}", 120)
            raise SessionLost(f"{self._place}: the connection broke ({text}).") from error

    def _check(self, code: MQTTErrorCode) -> None:
        if code != MQTTErrorCode.MQTT_ERR_SUCCESS:
            raise SessionLost(
                f"{self._place}: the connection was lost ({paho.error_string(code)[:-1]})."
            )

    def _on_connect(
        self, _client: object, _data: object, _flags: object, reason: ReasonCode, _more: object
    ) -> None:
        self._reason = reason

    def _on_subscribe(
        self, _client: object, _data: object, _number: int, reasons: list[ReasonCode], _more: object
    ) -> None:
        self._granted = reasons

    def _on_publish(
        self, _client: object, _data: object, number: int, _reason: object, _more: object
    ) -> None:
        self._acknowledged.append(number)

    def _on_message(self, _client: object, _data: object, message: Any) -> None:
        try:
            topic = message.topic
        except UnicodeDecodeError:
            # No topic of ours; a broker should not have let it pass.
            return
        self._received.append(Received(topic, bytes(message.payload), bool(message.retain)))


def _tls_context(address: BrokerAddress, timeout_s: float) -> ssl.SSLContext:
    class Handshake(ssl.SSLSocket):
        """paho waits a keep-alive's time for the handshake, and leaves a failed socket open."""

        def do_handshake(self, block: bool = False) -> None:
            self.settimeout(timeout_s)
            try:
                super().do_handshake(block)
            except BaseException:
                self.close()
                raise

    try:
        context = ssl.create_default_context(cafile=address.ca_file)
    except OSError as error:
        raise BrokerError(
            f"{address.ca_file}: the CA file cannot be used ({error.strerror or error}); name a"
            " file of certificates in PEM form."
        ) from error
    context.sslsocket_class = Handshake
    return context


def _diagnose(error: OSError, timeout_s: float) -> tuple[str, str]:
    """What went wrong, and what to do about it."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return (
            f"its certificate is not trusted ({printable(error.verify_message, 80)})",
            "name the CA's file, or use the host name the certificate was made for",
        )
    known: tuple[tuple[type[OSError], str, str], ...] = (
        (ssl.SSLError, f"TLS failed ({getattr(error, 'reason', None) or error})", _NO_MQTT),
        (
            socket.gaierror,
            "the host name cannot be resolved",
            "check its spelling and the name service",
        ),
        (ConnectionRefusedError, "nothing listens there", _START),
        (ConnectionResetError, "closed the connection", _NO_MQTT),
        (
            TimeoutError,
            f"does not answer within {timeout_s:g} s",
            "check that the broker runs and that no firewall stands between",
        ),
    )
    for kind, problem, remedy in known:
        if isinstance(error, kind):
            return problem, remedy
    return f"cannot be reached ({error.strerror or error})", _START
