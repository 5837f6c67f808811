"""Metrics at a port of their own, where no key is asked for: it is for networks that clients do not reach."""

from __future__ import annotations

import contextlib
import errno
import logging
from importlib.util import find_spec
from urllib.parse import urlsplit

from everwire.errors import ConfigError
from everwire.ops.metrics import HubMetrics
from everwire.websocket.messages import Request, Response
from everwire.websocket.server import Server, serve

__all__ = ["Exporter"]

logger = logging.getLogger("everwire.hub")


class Exporter:
    """Serves ``/metrics``.

    Parameters:
        metrics: what is served.
        address: ``HOST:PORT``; the port 0 takes a free one.
        ports: how many ports are tried from that one on, for one that is free.

    Raises:
        ConfigError: it is no address, or the package for metrics is missing.
    """

    def __init__(self, metrics: HubMetrics, address: str, *, ports: int = 1) -> None:
        self._metrics = metrics
        self._host, self._port = parse_address(address)
        self._address = address
        self._ports = ports
        self._server: Server | None = None
        if find_spec("prometheus_client") is None:
            raise ConfigError(
                'metrics_address needs prometheus_client; install it: pip install "everwire[metrics]"'
            )

    @property
    def port(self) -> int:
        """The port at which it is; 0: it was not started."""
        return self._server.port if self._server is not None else 0

    async def start(self) -> None:
        """Begin.

        Raises:
            ConfigError: the address cannot be had.
        """
        for port in range(self._port, self._port + self._ports):
            try:
                self._server = await serve(
                    _nothing, self._host, port, process_request=self._answer, server_header=None
                )
                break
            except OSError as error:
                if error.errno != errno.EADDRINUSE or port == self._port + self._ports - 1:
                    raise ConfigError(f"metrics_address {self._address}: {error}") from error
        host = f"[{self._host}]" if ":" in self._host else self._host
        logger.info("metrics are at http://%s:%d/metrics", host, self.port)

    async def close(self) -> None:
        """End."""
        server, self._server = self._server, None
        if server is not None:
            server.close()
            await server.wait_closed()

    def _answer(self, connection: object, request: Request) -> Response:
        if request.pathname != "/metrics":
            return Response.of(404, "there is /metrics\n")
        body, content_type = self._metrics.render()
        return Response.of(200, body, [("Content-Type", content_type), ("Cache-Control", "no-store")])


async def _nothing(connection: object) -> None:
    """No WebSocket gets so far."""


def parse_address(address: str) -> tuple[str, int]:
    """The host and the port of ``HOST:PORT``.

    Raises:
        ConfigError: it is none.
    """
    with contextlib.suppress(ValueError):
        parts = urlsplit(f"//{address}")
        if parts.hostname and parts.port is not None and parts.netloc == address and "@" not in address:
            return parts.hostname, parts.port
    raise ConfigError(
        f"metrics_address is HOST:PORT, like 127.0.0.1:9100, [::1]:9100 or 0.0.0.0:9100, not {address!r}"
    )
