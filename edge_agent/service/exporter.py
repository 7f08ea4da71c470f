"""Metrics over HTTP.

Written here rather than with Prometheus' client library: forty lines against a dependency that
every gateway would carry for a port that is closed unless somebody opens it.
"""

from __future__ import annotations

import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Final

from edge_agent.contract.errors import OutputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from edge_agent.service.metrics import Metric

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
# A scraper that does not finish its request.
_REQUEST_TIMEOUT_S: Final = 5.0


class MetricsServer:
    """Serves /metrics until it is closed.

    Args:
        address: IP address to listen on.
        port: TCP port; 0 takes a free one.
        collect: Gives the metrics of the moment; called from another thread.

    Raises:
        OutputError: The port cannot be had.
    """

    def __init__(self, address: str, port: int, collect: Callable[[], Iterable[Metric]]) -> None:
        class Server(ThreadingHTTPServer):
            address_family = _family(address)
            daemon_threads = True

        class Handler(BaseHTTPRequestHandler):
            timeout = _REQUEST_TIMEOUT_S
            server_version = "edge-agent"
            sys_version = ""

            def do_GET(self) -> None:
                if self.path.split("?")[0] != "/metrics":
                    self.send_error(404, "Only /metrics is here")
                    return
                body = "".join(metric.text() for metric in collect()).encode()
                self.send_response(200)
                self.send_header("Content-Type", CONTENT_TYPE)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
                """Scrapes are no news."""

        try:
            self._server = Server((address, port), Handler)
        except OSError as error:
            raise OutputError(
                f"metrics cannot be served on {address} port {port} ({error.strerror}); choose"
                " another metrics.address or metrics.port, or turn metrics off."
            ) from error
        self.port = int(self._server.server_address[1])
        self._thread = threading.Thread(
            target=self._server.serve_forever, name="edge-ids metrics", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _family(address: str) -> int:
    return socket.AF_INET6 if ":" in address else socket.AF_INET
