"""A broker for demonstrations: amqtt on loopback, in a child process, gone when its parent is.

    with EmbeddedBroker() as broker:
        BrokerAddress.parse(broker.url)

For machines without Mosquitto. Anonymous, plain text, loopback only: not for a network.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from typing import TYPE_CHECKING, Final

from edge_agent.contract.errors import BrokerError

if TYPE_CHECKING:
    from types import TracebackType

_HOST: Final = "127.0.0.1"
# amqtt takes about a second to import; a busy two-core board several.
_START_TIMEOUT_S: Final = 30.0
_STOP_TIMEOUT_S: Final = 5.0


class EmbeddedBroker:
    """Runs from `with` to its end, on a free port."""

    def __init__(self) -> None:
        self.port = 0
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """What `--broker` takes."""
        return f"mqtt://{_HOST}:{self.port}"

    def __enter__(self) -> EmbeddedBroker:
        """Start and wait until it accepts connections.

        Raises:
            BrokerError: It did not start.
        """
        self.port = _free_port()
        command = [sys.executable, "-m", "benchmarks.demo.broker", "--port", str(self.port)]
        with tempfile.TemporaryFile() as log:
            # Its standard input is a pipe from us: when it closes, however we end, it stops.
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=log
            )
            try:
                self._wait_ready(self._process)
            except BrokerError as error:
                self._stop()
                log.seek(0)
                said = log.read().decode(errors="replace").strip().splitlines()
                reason = said[-1] if said else "no reason given"
                raise BrokerError(
                    f"{self.url}: the embedded broker did not start ({reason}); install the"
                    " [demo] extra, or start Mosquitto and name it with --broker."
                ) from error
            except BaseException:
                self._stop()
                raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop()

    def _wait_ready(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + _START_TIMEOUT_S
        while process.poll() is None and time.monotonic() < deadline:
            with socket.socket() as probe:
                if probe.connect_ex((_HOST, self.port)) == 0:
                    return
            time.sleep(0.05)
        raise BrokerError(f"{self.url}: not ready.")

    def _stop(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        if process.stdin is not None:
            process.stdin.close()
        try:
            process.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((_HOST, 0))
        port: int = probe.getsockname()[1]
        return port


async def _serve(port: int) -> None:
    # The parent does without: only the child loads the broker.
    from amqtt.broker import Broker
    from amqtt.contexts import BrokerConfig, ListenerConfig

    broker = Broker(
        BrokerConfig(
            listeners={"default": ListenerConfig(bind=f"{_HOST}:{port}")},
            plugins={"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}},
        )
    )
    await broker.start()
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    # End of file on standard input: the parent is gone.
    os.set_blocking(sys.stdin.fileno(), False)
    loop.add_reader(sys.stdin.fileno(), stop.set)
    await stop.wait()
    loop.remove_reader(sys.stdin.fileno())
    await broker.shutdown()


def main() -> None:
    """Serve on loopback until standard input closes."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.demo.broker", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    asyncio.run(_serve(parser.parse_args().port))


if __name__ == "__main__":
    main()
