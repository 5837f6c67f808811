"""Tests of ASGI WebSockets in memory: ``async with connect(app, "/ws") as ws: ...``, without a port."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Literal

from everwire._core.connection import Connection
from everwire._core.reactor import polls
from everwire._core.settings import Settings
from everwire.asgi.gate import Gate
from everwire.asgi.lifespan import Lifespan, LifespanMode
from everwire.asgi.scope import Application
from everwire.errors import ConnectionClosed, InvalidStatus
from everwire.websocket import client
from everwire.websocket.extensions import Deflate
from everwire.websocket.fallback import Adapter
from everwire.websocket.messages import HeadersLike, Request

__all__ = ["attach", "connect"]

_GONE = "WebSocketDisconnect"
"""What Starlette, FastAPI and Litestar raise in a handler whose client has closed: no error here."""


async def attach(gate: Gate) -> tuple[Connection, socket.socket]:
    """A connection that a gate serves, and the socket at the other end of it, for a client."""
    theirs, ours = socket.socketpair()
    try:
        settings = Settings(
            client=False,
            on_head=gate.on_head,
            parse_head=Request.parse,
            max_size=None,
            open_timeout=None,
            ping_interval=None,
        )
        connection = Connection(settings)
        if polls():
            connection.attach_socket(theirs)
        else:
            await asyncio.get_running_loop().connect_accepted_socket(lambda: Adapter(connection), theirs)
    except BaseException:
        ours.close()
        raise
    return connection, ours


class connect:
    """A client of an ASGI application in the same event loop: ``async with connect(app, "/ws") as ws: ...``.

    What it gives is a :class:`everwire.Connection`: ``send``, ``recv``, ``ping``, ``close``, ``close_code``
    and the rest. The application runs behind the same gate and protocol as under ``everwire serve``; the
    bytes pass through a pair of sockets. On leaving the block, the connection is closed and the application
    ends.

    An exception of the application is raised here: on entering if it failed before it accepted, on leaving if
    it failed later, unless the block itself raises something else than :exc:`ConnectionClosed`.

    Parameters:
        app: the ASGI application: of Starlette, FastAPI, Django, or a function.
        path: path and query, percent-encoded.
        subprotocols: those to offer, preferred first.
        additional_headers: further headers of the request.
        origin: the header ``Origin``; an application is not protected from other origins here.
        compression: ``"deflate"``, a :class:`Deflate` for its parameters, or None.
        root_path: the path that the application is mounted at.
        state: what a lifespan would have made; each scope has a copy.
        lifespan: ``"on"`` or ``"auto"`` to have the application start up before and shut down after, as for
            :func:`everwire.asgi.serve`; what it makes is added to *state*.
        host: the host and port of the request, and of the scope's ``server``.
        client: the scope's ``client``.
        timeout: seconds that the application has to end after its connection is closed.
        options: of :func:`everwire.connect`: limits, timeouts, ``listener``.

    Raises:
        InvalidStatus: the application refused; ``exc.response`` has status, headers and body.
        LifespanError: the application says that it cannot start.
        TimeoutError: (on leaving) the application did not end; it was cancelled.
    """

    def __init__(
        self,
        app: Application,
        path: str = "/",
        *,
        subprotocols: Sequence[str] | None = None,
        additional_headers: HeadersLike | None = None,
        origin: str | None = None,
        compression: Literal["deflate"] | Deflate | None = None,
        root_path: str = "",
        state: Mapping[str, Any] | None = None,
        lifespan: LifespanMode = "off",
        host: str = "testserver",
        client: tuple[str, int] | None = ("127.0.0.1", 50000),
        timeout: float = 5.0,
        **options: Any,
    ) -> None:
        self._app = app
        self._lifespan = Lifespan(app, lifespan)
        self._lifespan.state.update(state or {})
        self._uri = f"ws://{host}{path}"
        name, _, port = host.partition(":")
        self._server = (name, int(port or 80))
        self._client = client
        self._timeout = timeout
        self._error: Exception | None = None
        self._gate = Gate(
            self._run,
            root_path=root_path,
            state=self._lifespan.state,
            origins=None,
            compression=compression,
            server_header=None,
        )
        self._options: dict[str, Any] = {
            "subprotocols": subprotocols,
            "additional_headers": additional_headers,
            "origin": origin,
            "compression": compression,
            "proxy": None,
            **options,
        }
        self._connection: Connection | None = None

    async def _run(self, scope: Any, receive: Any, send: Any) -> Any:
        scope["server"], scope["client"] = self._server, self._client
        try:
            return await self._app(scope, receive, send)
        except Exception as exc:
            if type(exc).__name__ == _GONE:
                return None
            self._error = exc
            raise

    async def __aenter__(self) -> Connection:
        await self._lifespan.startup()
        try:
            self._connection = await self._connect()
        except BaseException as exc:
            await self._end()
            if self._error is not None and isinstance(exc, InvalidStatus | ConnectionError):
                raise self._error from None
            raise
        return self._connection

    async def _connect(self) -> Connection:
        _, sock = await attach(self._gate)
        return await client.connect(self._uri, sock=sock, **self._options)

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._connection is not None
        await self._connection.close(1000 if kind is None else 1011)
        ended = await self._end()
        if exc is not None and not isinstance(exc, ConnectionClosed):
            return
        if self._error is not None:
            raise self._error
        if not ended and exc is None:
            raise TimeoutError(
                f"the application did not end within {self._timeout:g} seconds of the end of its connection"
            )

    async def _end(self) -> bool:
        """Let the application end; whether it did so by itself."""
        tasks = set(self._gate.tasks)
        ended = True
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=self._timeout)
            ended = not late
        await self._gate.shutdown(timeout=0)
        await self._lifespan.shutdown(timeout=self._timeout)
        return ended
