"""``everwire.asgi.serve``: host an ASGI application, its WebSockets and its HTTP on one port."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import ssl as tls
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Literal

from everwire._core.connection import Connection
from everwire.asgi.gate import Gate
from everwire.asgi.http import HTTP, LINGER
from everwire.asgi.lifespan import Lifespan, LifespanMode
from everwire.asgi.loading import load_app
from everwire.asgi.scope import Application
from everwire.websocket.extensions import Deflate
from everwire.websocket.origins import Origins
from everwire.websocket.server import SERVER, Server, Starting
from everwire.websocket.sockets import Where, remove_path

__all__ = ["Host", "serve"]

JUST_CONNECTED = 0.2
"""Seconds that a connection without a request has for it when the server closes."""


class Host(Server):
    """An ASGI application that is being served: what ``async with everwire.asgi.serve(...)`` gives.

    Attributes:
        state: what the application put into the lifespan's state.
        websocket_path: where the application has its WebSockets, as far as it says; else empty.
    """

    def __init__(
        self,
        gate: Gate,
        http: HTTP,
        lifespan: Lifespan,
        *,
        graceful: float | None,
        options: dict[str, Any],
        on_close: Callable[[], object] | None = None,
        on_drain: Callable[..., Awaitable[object]] | None = None,
        count: Callable[[], int] | None = None,
        websocket_path: str = "",
    ) -> None:
        super().__init__(gate, **options)
        self.websocket_path = websocket_path
        self._gate = gate
        self._http = http
        self._lifespan = lifespan
        self._graceful = graceful
        self._on_close = on_close
        self._on_drain = on_drain
        self._count = count
        self.state = lifespan.state

    async def start(self, where: Where, context: tls.SSLContext | None) -> None:
        """Listen; connections are taken once the application is ready.

        Raises:
            OSError: the place cannot be listened on.
            LifespanError: the application could not start.
        """
        sockets = await where.sockets()
        try:
            await self._lifespan.startup()
        except BaseException:
            for sock in sockets:
                sock.close()
            if where.path is not None:
                remove_path(where.path)
            raise
        self._listen(sockets, context, where.path)

    def close(
        self,
        code: int = 1012,
        reason: str = "",
        *,
        timeout: float | None = None,
        spread: float | None = 0.0,
    ) -> None:
        """Stop accepting, close WebSockets with *code* (1012: service restart), let requests be answered.

        WebSockets are told evenly over *spread* seconds (None: a second for each 1,000, 10 at most). What is
        not done after *timeout* seconds in all (by default ``timeout_graceful_shutdown``) is cancelled; then
        the application may clean up. Await :meth:`wait_closed` for the end.
        """
        super().close(code, reason, timeout=self._graceful if timeout is None else timeout, spread=spread)

    def clients(self) -> int:
        """How many clients there are: as the application counts them, else WebSockets."""
        return len(self.connections) if self._count is None else self._count()

    async def _depart(self, code: int, reason: str, spread: float | None, deadline: float | None) -> None:
        if self._on_drain is None:
            await super()._depart(code, reason, spread, deadline)
        else:
            await self._on_drain(spread=spread, deadline=deadline)

    async def _close(self, code: int, reason: str, timeout: float | None) -> None:
        if self._on_close is not None:
            self._on_close()
        self._http.shutdown()
        await asyncio.sleep(0)
        # Who has just connected may have its request on the way: it is answered, as those before it are.
        if any(not one.opened and not one.handed_over for one in self._remaining()):
            await asyncio.sleep(JUST_CONNECTED)
            self._http.shutdown()
        linger = self._loop.call_later(LINGER, self._drop_unused)
        try:
            await super()._close(code, reason, timeout)
        finally:
            linger.cancel()
        await self._lifespan.shutdown(timeout=self._graceful)

    def _drop_unused(self) -> None:
        """Wait no longer for clients that have connected and asked for nothing, as browsers do in advance."""
        for one in self._remaining():
            if not (one.opened or one.handed_over or one.buffered_amount or self._gate.runs(one)):
                one.abort()

    def _end(self, connection: Connection, code: int, reason: str) -> None:
        if not connection.handed_over:
            self._gate.end(connection, code, reason)

    def _tasks(self) -> set[asyncio.Task[Any]]:
        return super()._tasks() | self._http.tasks


class serve(Starting[Host]):
    """Host an ASGI application: ``async with everwire.asgi.serve(app, "127.0.0.1", 8000) as server: ...``.

    Parameters:
        app: the application, or where it is: ``"module:attribute"``.
        host, port, unix, sock, ssl, reuse_address, reuse_port, backlog: where to listen, as for
            :func:`everwire.serve`.
        root_path: the path under which a proxy has put the application.
        lifespan: ``"auto"``, ``"on"`` or ``"off"``: whether the application is told of start and end.
        proxy_headers: whether ``X-Forwarded-For`` and ``X-Forwarded-Proto`` are believed, if they come from
            one of *forwarded_allow_ips*: addresses, networks, or ``"*"``; None: what ``FORWARDED_ALLOW_IPS``
            in the environment says, else this machine.
        access_log: whether requests are logged, to ``uvicorn.access``.
        origins, compression: of WebSockets, as for :func:`everwire.serve`.
        server_header: the header ``Server`` of all responses; None: none.
        max_size, max_queue, write_limit, max_backlog, overflow: limits of WebSockets, as for
            :func:`everwire.serve`.
        ping_interval, ping_timeout, idle_timeout, open_timeout, close_timeout: seconds, as for
            :func:`everwire.serve`.
        timeout_keep_alive: seconds that an HTTP connection stays open without a request.
        timeout_graceful_shutdown: seconds that requests and WebSockets have to end when the server closes,
            and then the application to clean up; None: for ever.
        logger: instead of ``logging.getLogger("everwire.server")``.

    Raises:
        ApplicationError: there is no such application.
        LifespanError: the application says that it cannot start.
        OSError: the address cannot be listened on; the message says why.
        ValueError, TypeError: an option does not make sense.
    """

    def __init__(
        self,
        app: Application | str,
        host: str | Sequence[str] | None = None,
        port: int | None = None,
        *,
        unix: str | os.PathLike[str] | None = None,
        sock: socket.socket | Sequence[socket.socket] | None = None,
        ssl: tls.SSLContext | None = None,
        reuse_port: bool = False,
        reuse_address: bool = os.name == "posix",
        backlog: int = 1024,
        # The application
        root_path: str = "",
        lifespan: LifespanMode = "auto",
        proxy_headers: bool = True,
        forwarded_allow_ips: str | Sequence[str] | None = None,
        access_log: bool = True,
        # The opening handshake
        origins: Origins = "same",
        compression: Literal["deflate"] | Deflate | None = "deflate",
        server_header: str | None = SERVER,
        # Limits
        max_size: int | None = 1 << 20,
        max_queue: int | None = 64,
        write_limit: int | tuple[int, int] = 1 << 16,
        max_backlog: int | None = 1 << 24,
        overflow: Literal["close", "drop"] = "close",
        # Timeouts
        ping_interval: float | None = 20.0,
        ping_timeout: float | None = 20.0,
        idle_timeout: float | None = None,
        open_timeout: float | None = 10.0,
        close_timeout: float | None = 10.0,
        timeout_keep_alive: float = 5.0,
        timeout_graceful_shutdown: float | None = 30.0,
        logger: logging.Logger | None = None,
    ) -> None:
        self._app: Application = load_app(app) if isinstance(app, str) else app
        if not callable(self._app):
            raise TypeError(f"the application is an ASGI callable or its name, not {type(app).__name__}")
        self._where = Where(
            host=host,
            port=port,
            unix=unix,
            sock=sock,
            backlog=backlog,
            reuse_port=reuse_port,
            reuse_address=reuse_address,
        )
        self._ssl = ssl
        self._mode: LifespanMode = lifespan
        self._graceful = timeout_graceful_shutdown
        self._http: dict[str, Any] = {
            "root_path": root_path,
            "proxy_headers": proxy_headers,
            "forwarded_allow_ips": forwarded_allow_ips,
            "server_header": server_header,
            "access_log": access_log,
            "timeout_keep_alive": timeout_keep_alive,
            "open_timeout": open_timeout,
        }
        self._gate: dict[str, Any] = {
            "root_path": root_path,
            "origins": origins,
            "compression": compression,
            "server_header": server_header,
            "default_headers": []
            if server_header is None
            else [(b"server", server_header.encode("latin-1"))],
            "access": logging.getLogger("uvicorn.error") if access_log else None,
            "logger": logger if logger is not None else logging.getLogger("everwire.server"),
        }
        self._options: dict[str, Any] = {
            "close_timeout": close_timeout,
            "options": {
                "max_size": max_size,
                "max_queue": max_queue,
                "write_limit": write_limit,
                "max_backlog": max_backlog,
                "overflow": overflow,
                "ping_interval": ping_interval,
                "ping_timeout": ping_timeout,
                "idle_timeout": idle_timeout,
                "open_timeout": open_timeout,
                "logger": self._gate["logger"],
            },
        }

    async def _start(self) -> Host:
        lifespan = Lifespan(self._app, self._mode)
        http = HTTP(self._app, state=lifespan.state, **self._http)
        direct = getattr(self._app, "everwire_listener", None)
        options: dict[str, Any] = self._gate
        if options["origins"] in ("same", ["same"]):
            # An application may say itself which pages may connect, unless the server was told.
            options = {**options, "origins": getattr(self._app, "everwire_origins", "same")}
        gate = Gate(
            http.app, state=lifespan.state, http=http, direct=direct, forwarded=http.forwarded, **options
        )
        host = Host(
            gate,
            http,
            lifespan,
            graceful=self._graceful,
            options=self._options,
            # An application that knows its connections ends them its own way, before the server does.
            on_close=getattr(self._app, "everwire_closing", None),
            on_drain=getattr(self._app, "everwire_drain", None),
            count=getattr(self._app, "everwire_clients", None),
            websocket_path=getattr(self._app, "everwire_websocket_path", ""),
        )
        await host.start(self._where, self._ssl)
        return host
