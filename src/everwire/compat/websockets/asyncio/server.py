"""``serve`` with the options and the ways of ``websockets``."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import socket
import ssl as tls
from collections.abc import Awaitable, Callable, Generator, Sequence
from email.utils import formatdate
from http import HTTPStatus
from inspect import isawaitable
from types import TracebackType
from typing import Any, Self, cast

import everwire
from everwire.compat.websockets.asyncio.admission import (
    Admission,
    ProcessRequest,
    ProcessResponse,
    SelectSubprotocol,
)
from everwire.compat.websockets.asyncio.connection import Connection, broadcast, connection_class
from everwire.compat.websockets.datastructures import Headers
from everwire.compat.websockets.http11 import SERVER, Request, Response, as_response
from everwire.compat.websockets.options import (
    Limit,
    as_compression,
    as_max_queue,
    as_max_size,
    as_write_limit,
    check_unknown,
    unix_path,
)
from everwire.compat.websockets.typing import LoggerLike, StatusLike
from everwire.websocket import auth, server
from everwire.websocket.handshake import ServerHandshake
from everwire.websocket.sockets import Where

__all__ = ["Server", "ServerConnection", "basic_auth", "broadcast", "serve", "unix_serve"]

NOT_STARTED = "the server is not started: await it, or use it with async with"

Handler = Callable[["ServerConnection"], Awaitable[None]]


class ServerConnection(Connection):
    """A server's connection.

    Attributes:
        server: the server that it is of.
        username: the name of the user, once :func:`basic_auth` has let somebody in.
    """

    server: Server
    username: str

    revised = False
    """Whether ``process_response`` was asked about the response."""

    def respond(self, status: StatusLike, text: str) -> Response:
        """Make a response with a text, for ``process_request`` and ``process_response`` to return."""
        body = text.encode()
        headers = Headers(
            {
                "Date": formatdate(usegmt=True),
                "Connection": "close",
                "Content-Length": str(len(body)),
                "Content-Type": "text/plain; charset=utf-8",
            }
        )
        return Response(status, HTTPStatus(status).phrase, headers, body)


class Listening(server.Server):
    """everwire's server, which can end without ending its connections.

    Attributes:
        patient: whether the end waits for the connections that are open, however long they stay so.
    """

    patient = False

    async def _close(self, code: int, reason: str, timeout: float | None) -> None:
        await super()._close(code, reason, None if self.patient else timeout)

    def _end(self, connection: everwire.Connection, code: int, reason: str) -> None:
        if not (self.patient and connection.opened):
            super()._end(connection, code, reason)


class Server:
    """A server, which ``await`` or ``async with`` starts."""

    def __init__(
        self,
        where: Where,
        admission: Admission,
        *,
        ssl: tls.SSLContext | None,
        start_serving: bool,
        close_timeout: float | None,
        options: dict[str, Any],
    ) -> None:
        self._where = where
        self._admission = admission
        self._ssl = ssl
        self._start_serving = start_serving
        self._close_timeout = close_timeout
        self._options = options
        self._sockets: list[socket.socket] = []
        self._server: Listening | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self.logger: LoggerLike = options["logger"]
        admission.server = self

    async def _start(self) -> Self:
        if self._server is None:
            self._loop = asyncio.get_running_loop()
            self._server = Listening(
                self._admission, close_timeout=self._close_timeout, options=self._options
            )
            self._sockets = await self._where.sockets()
            if self._start_serving:
                self._accept()
        return self

    def _accept(self) -> None:
        # As the server of everwire.serve does it.
        self._native._listen(self._sockets, self._ssl, self._where.path)  # pyright: ignore[reportPrivateUsage]

    @property
    def _native(self) -> Listening:
        if self._server is None:
            raise RuntimeError(NOT_STARTED)
        return self._server

    @property
    def sockets(self) -> tuple[socket.socket, ...]:
        """The listening sockets."""
        return tuple(self._sockets)

    @property
    def connections(self) -> set[ServerConnection]:
        """The open connections."""
        return {cast(ServerConnection, connection) for connection in self._native.connections}

    def get_loop(self) -> asyncio.AbstractEventLoop:
        """The event loop that the server runs on."""
        if self._loop is None:
            raise RuntimeError(NOT_STARTED)
        return self._loop

    def is_serving(self) -> bool:
        """Return whether new connections are accepted."""
        return self._server is not None and self._server.is_serving()

    async def start_serving(self) -> None:
        """Accept connections, if ``start_serving=False`` has put that off."""
        if not self.is_serving():
            self._accept()

    async def serve_forever(self) -> None:
        """Serve until :meth:`close` is called, or until cancelled."""
        await self.start_serving()
        await self._native.serve_forever()

    def close(self, close_connections: bool = True, code: int = 1001, reason: str = "") -> None:
        """Stop accepting and begin to close all connections; await :meth:`wait_closed` for the end.

        Args:
            close_connections: False leaves the connections that are open to their handlers.
            code: the close code that the connections get.
            reason: the reason that they get.
        """
        if not self.is_serving():
            for sock in self._sockets:
                sock.close()
        if self.is_serving():
            self._native.patient = not close_connections
        self._native.close(code, reason)
        self._sockets = []

    async def wait_closed(self) -> None:
        """Wait until :meth:`close` was called, every connection is gone and every handler has ended."""
        await self._native.wait_closed()

    def __await__(self) -> Generator[Any, None, Self]:
        return self._start().__await__()

    async def __aenter__(self) -> Self:
        return await self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
        await self.wait_closed()


def serve(
    handler: Handler,
    host: str | Sequence[str] | None = None,
    port: int | None = None,
    *,
    # WebSocket
    origins: Sequence[str | re.Pattern[str] | None] | None = None,
    extensions: Sequence[object] | None = None,
    subprotocols: Sequence[str] | None = None,
    select_subprotocol: SelectSubprotocol | None = None,
    compression: str | None = "deflate",
    # HTTP
    process_request: ProcessRequest | None = None,
    process_response: ProcessResponse | None = None,
    server_header: str | None = SERVER,
    # Timeouts
    open_timeout: float | None = 10,
    ping_interval: float | None = 20,
    ping_timeout: float | None = 20,
    close_timeout: float | None = 10,
    # Limits
    max_size: Limit = 1 << 20,
    max_queue: Limit = 16,
    write_limit: int | tuple[int, int | None] = 1 << 15,
    # Other
    logger: LoggerLike | None = None,
    create_connection: type[ServerConnection] | None = None,
    # Where
    ssl: tls.SSLContext | None = None,
    sock: socket.socket | None = None,
    unix: bool = False,
    path: str | os.PathLike[str] | None = None,
    backlog: int = 1024,
    reuse_address: bool | None = None,
    reuse_port: bool | None = None,
    start_serving: bool = True,
    **unknown: Any,
) -> Server:
    """Accept WebSocket connections: ``async with serve(handler, "localhost", 8765): ...``.

    Args:
        handler: a coroutine function that is run for each connection.
        host: a name, an address or a list of them; None or an empty string for all interfaces.
        port: the port, 0 for any free one.
        origins: the origins that may connect: strings, patterns, and None for no header Origin. None, the
            default, lets pages of any origin connect, which everwire's own ``serve`` does not.
        extensions: the parameters of permessage-deflate, as a list with a
            :class:`~everwire.compat.websockets.extensions.permessage_deflate.ServerPerMessageDeflateFactory`.
        subprotocols: those the server speaks, preferred first; a client that speaks none of them is refused.
        select_subprotocol: chooses instead: takes the connection and the subprotocols offered.
        compression: ``"deflate"`` or None.
        process_request: takes the connection and the request; may return a response that is sent instead of
            opening. It may be a coroutine function.
        process_response: takes the connection, the request and the response; may change it or return
            another. It may be a coroutine function.
        server_header: the header Server; None for none.
        open_timeout: seconds that the opening handshake, TLS included, may take, or None.
        ping_interval: seconds of silence after which a ping is sent, or None.
        ping_timeout: seconds that its pong may take, or None.
        close_timeout: seconds that the closing handshake may take, or None.
        max_size: bytes of the largest message, or None; of a pair the first counts.
        max_queue: messages that may wait for ``recv``, or None; of a pair the first counts.
        write_limit: bytes waiting to be sent from which on ``send`` waits; a pair is (high, low).
        logger: where to log; by default the logger ``websockets.server``.
        create_connection: a subclass of :class:`ServerConnection` to use.
        ssl: the context for TLS.
        sock: a socket to listen on.
        unix: whether to listen on the Unix socket ``path``.
        path: the path of a Unix socket.
        backlog: connections that the system may hold until they are accepted.
        reuse_address: listen although earlier connections of the port linger; None: where that is usual.
        reuse_port: let other processes listen on the same port.
        start_serving: False accepts no connections until :meth:`Server.start_serving` is called.

    Raises:
        TypeError, ValueError: an option does not make sense, or is not supported.
        OSError: the address cannot be listened on. (This is raised when the server is awaited.)
    """
    check_unknown(unknown, "serve")
    where = Where(
        host=host,
        port=port,
        unix=unix_path(unix, path, sock),
        sock=sock,
        backlog=backlog,
        reuse_port=bool(reuse_port),
        reuse_address=os.name == "posix" if reuse_address is None else reuse_address,
    )
    # An adapter has the methods that matter.
    log = cast(logging.Logger, logging.getLogger("websockets.server") if logger is None else logger)
    admission = Admission(
        ServerHandshake(
            origins=origins,
            subprotocols=() if subprotocols is None else subprotocols,
            compression=as_compression(compression, extensions),
            server_header=server_header,
        ),
        process_request=process_request,
        process_response=process_response,
        select_subprotocol=select_subprotocol,
        logger=log,
    )
    options = {
        "create_connection": connection_class(create_connection, ServerConnection),
        "handler": handler,
        "max_size": as_max_size(max_size),
        "max_queue": as_max_queue(max_queue),
        "write_limit": as_write_limit(write_limit),
        "ping_interval": ping_interval,
        "ping_timeout": ping_timeout,
        "open_timeout": open_timeout,
        "logger": log,
    }
    return Server(
        where,
        admission,
        ssl=ssl,
        start_serving=start_serving,
        close_timeout=close_timeout,
        options=options,
    )


def unix_serve(handler: Handler, path: str | os.PathLike[str] | None = None, **options: Any) -> Server:
    """Accept WebSocket connections at a Unix socket; the options are those of :func:`serve`.

    Args:
        handler: a coroutine function that is run for each connection.
        path: the path of the socket.
    """
    return serve(handler, unix=True, path=path, **options)


def basic_auth(
    realm: str = "",
    credentials: auth.Credentials | None = None,
    check_credentials: auth.CheckCredentials | None = None,
) -> Callable[[ServerConnection, Request], Awaitable[Response | None]]:
    """Make a ``process_request`` that asks for a user name and a password (RFC 7617).

    Args:
        realm: what they are for, in ASCII.
        credentials: a pair ``(username, password)``, or several.
        check_credentials: instead, a function or a coroutine function that says whether both are right.

    Raises:
        ValueError: neither of the last two is given, or both.
        TypeError: ``credentials`` are no pairs of strings.
    """
    if (credentials is None) == (check_credentials is None):
        raise ValueError("basic_auth takes either credentials or check_credentials")
    check = auth.basic_auth(realm=realm, credentials=credentials, check_credentials=check_credentials)

    async def process_request(connection: ServerConnection, request: Request) -> Response | None:
        asking = request.native()
        answer = check(connection, asking)
        refusal = await answer if isawaitable(answer) else answer
        if refusal is None:
            assert asking.username is not None
            connection.username = asking.username
            return None
        return as_response(refusal)

    return process_request
