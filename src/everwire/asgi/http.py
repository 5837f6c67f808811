"""Plain HTTP for ASGI applications: uvicorn's protocol classes, on whatever transport there is."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Sequence
from email.utils import formatdate
from functools import partial
from typing import Any, cast

from everwire._core.connection import Connection
from everwire.asgi.routes import Routes, StreamOpener
from everwire.asgi.scope import Application
from everwire.websocket.messages import Request
from everwire.websocket.transport import ReactorTransport

__all__ = ["HTTP"]

LINGER = 0.2
"""Seconds that the client of an idle connection has to close its end when the server shuts down."""


class _Shared:
    """What the protocols of one server share, in the place of uvicorn's ServerState.

    The header Date is that of the second in which it is asked for.
    """

    def __init__(self, headers: Sequence[tuple[bytes, bytes]]) -> None:
        self.total_requests = 0
        self.connections: set[Any] = set()
        self.tasks: set[asyncio.Task[Any]] = set()
        self._fixed = list(headers)
        self._second = 0
        self._dated = self._fixed

    @property
    def default_headers(self) -> list[tuple[bytes, bytes]]:
        """The headers that every response has."""
        second = int(time.time())
        if second != self._second:
            self._second = second
            self._dated = [(b"date", formatdate(second, usegmt=True).encode()), *self._fixed]
        return self._dated


class Upgrade(asyncio.Protocol):
    """Takes a connection back from HTTP when a later request on it upgrades: it is decided about anew."""

    def __init__(self, **_: Any) -> None:
        self._transport: ReactorTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The transport that HTTP had."""
        self._transport = cast(ReactorTransport, transport)

    def data_received(self, data: bytes) -> None:
        """The head of the request."""
        assert self._transport is not None
        self._transport.take_back(data)


class HTTP:
    """Makes the protocols for the HTTP connections of one server, and ends them.

    Parameters:
        app: the ASGI application.
        root_path: the path under which a proxy has put the application.
        proxy_headers: whether ``X-Forwarded-For`` and ``X-Forwarded-Proto`` are believed, if they come from
            *forwarded_allow_ips*: addresses, networks, ``"*"`` for any; None: ``FORWARDED_ALLOW_IPS`` in the
            environment, else this machine.
        server_header: the header ``Server``; None: none.
        access_log: whether requests are logged, to ``uvicorn.access``.
        timeout_keep_alive: seconds that a connection stays open without a request.
        open_timeout: seconds that the head of a request may take, after the first; None: for ever.

    Attributes:
        app: the application, behind what the options put before it.
        state: what the scopes of requests get a copy of.

    Raises:
        ModuleNotFoundError: uvicorn is not installed.
    """

    def __init__(
        self,
        app: Application,
        *,
        state: dict[str, Any],
        root_path: str,
        proxy_headers: bool,
        forwarded_allow_ips: str | Sequence[str] | None,
        server_header: str | None,
        access_log: bool,
        timeout_keep_alive: float,
        open_timeout: float | None = None,
    ) -> None:
        try:
            from uvicorn.config import Config
            from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware
        except ModuleNotFoundError:
            problem = 'hosting needs uvicorn, for HTTP: pip install "everwire[asgi]"'
            raise ModuleNotFoundError(problem, name="uvicorn") from None
        trusted = forwarded_allow_ips
        config: Any = Config(
            lambda: app,
            factory=True,
            ws=Upgrade,
            log_config=None,
            root_path=root_path,
            proxy_headers=proxy_headers,
            forwarded_allow_ips=trusted if isinstance(trusted, str | None) else [*trusted],
            timeout_keep_alive=cast(int, timeout_keep_alive),  # what call_later takes
        )
        config.load()
        self._config = config
        self._shared = _Shared(
            [] if server_header is None else [(b"server", server_header.encode("latin-1"))]
        )
        self._protocol_class = _hosted(config.http_protocol_class, self._run, open_timeout)
        self._routes = Routes()
        self._access_log = access_log
        self._loop = asyncio.get_running_loop()
        self.app = cast(Application, config.loaded_app)
        self._believe: Any = None
        if proxy_headers:
            self._believe = ProxyHeadersMiddleware(_nothing, trusted_hosts=config.forwarded_allow_ips)
        self.state = state

    def __call__(self) -> asyncio.Protocol:
        """Make the protocol of one connection."""
        protocol = self._protocol_class(
            config=self._config, server_state=self._shared, app_state=self.state, _loop=self._loop
        )
        if not self._access_log:
            protocol.access_log = False
        return cast(asyncio.Protocol, protocol)

    def _run(self, transport: ReactorTransport, scope: Any, receive: Any, send: Any) -> Awaitable[Any]:
        """Run the application for a request, which it may answer with a stream."""
        scope["extensions"] = {"everwire": {"stream": StreamOpener(transport, self._routes)}}
        return self.app(scope, receive, send)

    def forwarded(self, connection: Connection, request: Request) -> None:
        """Have a connection's address be that of the client, if the request comes from a trusted proxy."""
        values = request.headers.get_all("X-Forwarded-For")
        address = connection.remote_address
        if not values or self._believe is None:
            return
        given = address[:2] if address else None  # an empty string: a Unix socket
        headers = [(b"x-forwarded-for", value.encode("latin-1")) for value in values]
        scope: dict[str, Any] = {"type": "websocket", "scheme": "ws", "client": given, "headers": headers}
        running = self._believe(scope, None, None)
        with contextlib.suppress(StopIteration):
            running.send(None)  # it waits for nothing
        if scope["client"] is not None and scope["client"] != given:
            connection.set_remote_address(*scope["client"])

    @property
    def tasks(self) -> set[asyncio.Task[Any]]:
        """The requests that are being answered."""
        return self._shared.tasks

    def shutdown(self) -> None:
        """Close connections that have no request, and the others when they have answered theirs."""
        for protocol in list(self._shared.connections):
            protocol.shutdown()


async def _nothing(scope: Any, receive: Any, send: Any) -> None:
    """The application behind the middleware that finds out who a client is."""


def _hosted(protocol_class: Any, run: Callable[..., Awaitable[Any]], open_timeout: float | None) -> Any:
    """uvicorn's protocol class, whose objects run the application through *run*, with their transport.

    The head of a request has to come within *open_timeout*: uvicorn waits for ever once it has begun. And a
    server that shuts down does not wait for clients that keep an idle connection: it half-closes, waits a
    moment, as a request may just be on its way, and then closes (RFC 9112, section 9.6).
    """

    # Which of uvicorn's classes it is, is known at run time only.
    class Hosted(protocol_class):  # type: ignore[misc]
        head_deadline: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            protocol_class.connection_made(self, transport)
            self.app = partial(run, transport)

        def data_received(self, data: bytes) -> None:
            protocol_class.data_received(self, data)
            cycle = self.cycle
            if (cycle is None or cycle.response_complete) and self.timeout_keep_alive_task is None:
                if self.head_deadline is None and open_timeout is not None:
                    self.head_deadline = self.loop.call_later(open_timeout, self.head_is_late)
            elif self.head_deadline is not None:
                self.no_deadline()

        def connection_lost(self, exc: Exception | None) -> None:
            self.no_deadline()
            protocol_class.connection_lost(self, exc)

        def no_deadline(self) -> None:
            if self.head_deadline is not None:
                self.head_deadline.cancel()
                self.head_deadline = None

        def shutdown(self) -> None:
            idle = self.cycle is None or self.cycle.response_complete
            protocol_class.shutdown(self)
            if idle:
                self.loop.call_later(LINGER, self.waited, self.transport)

        @staticmethod
        def waited(transport: Any) -> None:
            # Who still takes its last response has until the server's own deadline.
            if not transport.get_write_buffer_size():
                transport.abort()

        def head_is_late(self) -> None:
            self.transport.write(
                b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
            )
            self.transport.close()

    return Hosted
