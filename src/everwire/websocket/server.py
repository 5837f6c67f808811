"""``serve``: accept WebSocket connections."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import ssl as tls
from collections.abc import Awaitable, Callable, Generator, Sequence
from types import TracebackType
from typing import Any, Generic, Literal, Protocol, TypeVar

from everwire._core.acceptor import Acceptor
from everwire._core.connection import Connection
from everwire._core.protocol import check_close
from everwire._core.reactor import get_reactor, polls
from everwire._core.settings import Settings
from everwire.pacing import Departure, as_rate_limit
from everwire.websocket.admission import Admission, ProcessRequest, ProcessResponse
from everwire.websocket.auth import BasicAuth
from everwire.websocket.codec import as_deflate
from everwire.websocket.extensions import Deflate
from everwire.websocket.fallback import TransportAcceptor
from everwire.websocket.handshake import SelectSubprotocol, ServerHandshake
from everwire.websocket.listener import Callbacks, Listener
from everwire.websocket.messages import HeadersLike, Request
from everwire.websocket.origins import Origins
from everwire.websocket.sockets import Where, addresses_of, port_of, remove_path

__all__ = ["SERVER", "Decider", "Server", "Starting", "serve"]

SERVER = "everwire"
"""The header Server of responses that name no other."""

Handler = Callable[[Connection], Awaitable[None]]
ServerT = TypeVar("ServerT", bound="Server")


class Decider(Protocol):
    """What decides about the requests of a server, by their heads: an :class:`Admission` for one.

    Attributes:
        closing: whether every new request is refused, because the server shuts down.
        tasks: what it runs, and what the end of the server waits for.
    """

    closing: bool
    tasks: set[asyncio.Task[Any]]

    def on_head(self, connection: Connection, head: bytes) -> object:
        """Open the connection, reject it, or hand it over: now or later."""
        ...


class Server:
    """A server that accepts connections: what ``await serve(...)`` and ``async with serve(...)`` give.

    Attributes:
        sockets: the listening sockets.
    """

    def __init__(self, decider: Decider, *, close_timeout: float | None, options: dict[str, Any]) -> None:
        self._loop = asyncio.get_running_loop()
        self._decider = decider
        self._close_timeout = close_timeout
        self._settings = Settings(
            client=False,
            on_head=decider.on_head,
            on_idle=self._on_idle,
            parse_head=Request.parse,
            close_timeout=close_timeout,
            **options,
        )
        self._logger: logging.Logger = self._settings.logger
        self._acceptors: list[Acceptor | TransportAcceptor] = []
        self._path: str | None = None
        self._closing: asyncio.Task[None] | None = None
        self._departure: Departure[Connection] | None = None
        self._departing: asyncio.Task[None] | None = None
        self._idle = asyncio.Event()
        self._begun = asyncio.Event()
        self.sockets: tuple[socket.socket, ...] = ()

    # Listening

    def _listen(self, sockets: list[socket.socket], context: tls.SSLContext | None, path: str | None) -> None:
        self.sockets = tuple(sockets)
        self._path = path
        for sock in sockets:
            sock.setblocking(False)
            if polls():
                self._acceptors.append(Acceptor(self._loop, sock, self._settings, context))
            else:
                self._acceptors.append(TransportAcceptor(self._loop, sock, self._settings, context))
        for name in self.addresses:
            self._logger.info("listening on %s", name)

    @property
    def addresses(self) -> list[str]:
        """The addresses listened on, as ``host:port`` or a path."""
        return addresses_of(self.sockets)

    @property
    def port(self) -> int:
        """The port of the first listening socket; 0 for a Unix socket."""
        return port_of(self.sockets)

    @property
    def connections(self) -> list[Connection]:
        """The connections that are open."""
        return [
            one
            for one in get_reactor(self._loop).owners()
            if isinstance(one, Connection) and one.settings.root is self._settings and one.is_open
        ]

    @property
    def settings(self) -> Settings:
        """The limits and counters that all connections share."""
        return self._settings

    def is_serving(self) -> bool:
        """Return whether new connections are accepted."""
        return bool(self._acceptors)

    # The end

    def _on_idle(self) -> None:
        self._idle.set()

    async def drain(
        self,
        code: int = 1012,
        reason: str = "",
        *,
        spread: float | None = 60.0,
        deadline: float | None = None,
    ) -> None:
        """Close all connections with *code*, evenly over *spread* seconds, and answer new ones with 503.

        Their clients then do not come back all at once. Returns when the last one was told; the server goes
        on to listen, and says that it is busy, until :meth:`close`. Called again meanwhile, it makes haste if
        that says so.

        Parameters:
            code: the close code; 1012: the service restarts.
            reason: why, for people.
            spread: seconds from the first to the last; None: a second for each 1,000, 10 at most.
            deadline: seconds after which all who are left are told at once; None: after *spread* all are.

        Raises:
            ValueError: the code may not be sent, or the reason is too long.
        """
        check_close(code, reason)
        self._decider.closing = True
        await self._depart(code, reason, spread, deadline)

    async def _depart(self, code: int, reason: str, spread: float | None, deadline: float | None) -> None:
        """Tell the connections there are to leave; what has begun to do so makes haste, if that says so."""
        if self._departure is None:
            self._departure = Departure(
                self.connections,
                lambda connection: self._end(connection, code, reason),
                is_there=lambda connection: connection.is_open,
                spread=spread,
            )
            self._departing = self._loop.create_task(self._departure.run())
        else:
            self._departure.hasten(spread)
        if deadline is not None:
            self._departure.hasten(deadline)
        assert self._departing is not None
        await asyncio.shield(self._departing)

    def close(
        self,
        code: int = 1001,
        reason: str = "",
        *,
        timeout: float | None = None,
        spread: float | None = 0.0,
    ) -> None:
        """Stop accepting, and begin to close every connection with *code* (1012: the service restarts).

        They are told evenly over *spread* seconds (None: a second for each 1,000, 10 at most). Connections
        and handlers that are not done after *timeout* seconds in all (by default, *spread* and
        ``close_timeout`` and a second more) are dropped and cancelled. Await :meth:`wait_closed` for the end.
        Closing again does nothing.
        """
        check_close(code, reason)
        if self._closing is not None:
            return
        for acceptor in self._acceptors:
            acceptor.close()
        self._acceptors.clear()
        self._decider.closing = True
        if self._path is not None:
            remove_path(self._path)
        self._closing = self._loop.create_task(self._leave(code, reason, timeout, spread))
        self._begun.set()

    def _remaining(self) -> list[Connection]:
        return [
            one
            for one in get_reactor(self._loop).owners()
            if isinstance(one, Connection) and one.settings.root is self._settings
        ]

    async def _leave(self, code: int, reason: str, timeout: float | None, spread: float | None) -> None:
        if spread != 0:
            begin = self._loop.time()
            await self._depart(code, reason, spread, timeout)
            if timeout is not None:
                timeout = max(timeout - (self._loop.time() - begin), 0.0)
        elif self._departure is not None:
            self._departure.hasten(0.0)
        if timeout is None and self._close_timeout is not None:
            timeout = self._close_timeout + 1
        await self._close(code, reason, timeout)

    async def _close(self, code: int, reason: str, timeout: float | None) -> None:
        # Connections that the kernel has accepted for us but that we did not look at yet come first.
        await asyncio.sleep(0)
        for connection in self._remaining():
            self._end(connection, code, reason)
        try:
            async with asyncio.timeout(timeout):
                await self._all_gone()
        except TimeoutError:
            for connection in self._remaining():
                connection.abort()
            for task in (tasks := self._tasks()):
                task.cancel()
            if tasks:
                await asyncio.wait(tasks, timeout=1)
            if tasks := self._tasks():
                self._logger.error("%d handlers do not end when cancelled", len(tasks))

    def drop_connections(self) -> None:
        """Cut all connections at once, as a failing network does; go on accepting new ones."""
        for connection in self._remaining():
            connection.abort()

    def _end(self, connection: Connection, code: int, reason: str) -> None:
        """Begin to close a connection."""
        if connection.is_open or not connection.opened:
            connection.close(code, reason)

    def _tasks(self) -> set[asyncio.Task[Any]]:
        """Handlers, and decisions that take time."""
        return self._settings.tasks | self._decider.tasks

    async def _all_gone(self) -> None:
        while self._settings.connections:
            self._idle.clear()
            await self._idle.wait()
        while tasks := self._tasks():
            await asyncio.wait(tasks)

    async def wait_closed(self) -> None:
        """Wait until :meth:`close` was called, every connection is gone and every handler has ended."""
        await self._begun.wait()
        assert self._closing is not None
        await asyncio.shield(self._closing)

    async def serve_forever(self) -> None:
        """Serve until :meth:`close` is called or this is cancelled, as by Ctrl-C; then shut down gently."""
        try:
            await self.wait_closed()
        except asyncio.CancelledError:
            self.close()
            await self.wait_closed()
            raise

    async def __aenter__(self) -> Server:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
        await self.wait_closed()


class Starting(Generic[ServerT]):
    """Starts a server, in the ways that there are to ask for that."""

    _server: ServerT

    async def _start(self) -> ServerT:
        raise NotImplementedError

    def __await__(self) -> Generator[Any, None, ServerT]:
        return self._start().__await__()

    async def __aenter__(self) -> ServerT:
        self._server = await self._start()
        return self._server

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._server.__aexit__(kind, error, trace)


class serve(Starting[Server]):
    """Accept WebSocket connections: ``async with serve(handler, "127.0.0.1", 8080) as server: ...``.

    Parameters:
        handler: a coroutine function that is run for each connection, or a :class:`Listener` for all of them.
            The connection is closed with 1000 when the coroutine ends, with 1011 when it raises.
        host: where to listen: a name, an address or a list of them, None for all interfaces.
        port: the port to listen on; 0 takes any free one.
        unix: listen on a Unix socket at this path instead.
        sock: listen on this socket, or on these, instead.
        ssl: serve ``wss`` with this ``ssl.SSLContext``.
        reuse_address: listen although earlier connections of the port linger (``SO_REUSEADDR``).
        reuse_port: let other processes listen on the same port (``SO_REUSEPORT``).
        backlog: connections that the system may hold until they are accepted.
        origins: pages that may connect. ``"same"``, the default: those whose origin has the host and port of
            the request; a list of origins, patterns (``re.Pattern``) and None (no ``Origin`` header); or
            None: any.
        subprotocols: those the server speaks, preferred first.
        select_subprotocol: called with the request and the subprotocols offered; returns one or None.
        compression: ``"deflate"``, a :class:`Deflate` for its parameters, or None.
        max_size: bytes of the largest message received (None: no limit); a larger one closes with 1009.
        max_queue: messages received that may wait for ``recv``; with more, reading pauses.
        write_limit: unsent bytes from which on ``send`` waits; a pair is (high, low). A server does not read
            from a peer that is behind by more.
        max_backlog: unsent bytes up to which ``send_nowait`` takes messages.
        overflow: what ``send_nowait`` does at ``max_backlog``: ``"close"`` with 1013, or ``"drop"`` the
            message.
        ping_interval: seconds of silence after which a peer is pinged; None: never.
        ping_timeout: seconds in which it must answer; None: for ever.
        idle_timeout: seconds without a message after which the connection is closed; None: never.
        open_timeout: seconds that the opening handshake, TLS included, may take.
        close_timeout: seconds that the closing handshake may take.
        process_request: called with the connection and the :class:`Request` before anything else; may return
            a :class:`Response`, which is sent instead of opening. It may be a coroutine function.
        process_response: called with the connection, the request and the 101 :class:`Response` before that is
            sent; may change it or return another. It may be a coroutine function.
        basic_auth: who may connect, by :func:`everwire.basic_auth`; asked before ``process_request``.
        http: called for each plain HTTP request to make the ``asyncio.Protocol`` that serves its connection.
        additional_headers: headers to add to 101 responses.
        server_header: the header ``Server``; None: none.
        connection_rate_limit: connections that may come in a second; others are refused with 503 and the
            header ``Retry-After``; 0: no limit.
        logger: instead of ``logging.getLogger("everwire.server")``.

    Raises:
        OSError: the address cannot be listened on; the message says why.
        ValueError, TypeError: an option does not make sense.
    """

    def __init__(
        self,
        handler: Handler | Listener,
        host: str | Sequence[str] | None = None,
        port: int | None = None,
        *,
        unix: str | os.PathLike[str] | None = None,
        sock: socket.socket | Sequence[socket.socket] | None = None,
        ssl: tls.SSLContext | None = None,
        reuse_port: bool = False,
        reuse_address: bool = os.name == "posix",
        backlog: int = 1024,
        # The opening handshake
        origins: Origins = "same",
        subprotocols: Sequence[str] = (),
        select_subprotocol: SelectSubprotocol | None = None,
        compression: Literal["deflate"] | Deflate | None = "deflate",
        process_request: ProcessRequest | None = None,
        process_response: ProcessResponse | None = None,
        basic_auth: BasicAuth | None = None,
        http: Callable[[], asyncio.Protocol] | None = None,
        additional_headers: HeadersLike = (),
        server_header: str | None = SERVER,
        # Limits
        connection_rate_limit: float = 0,
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
        logger: logging.Logger | None = None,
    ) -> None:
        listener = _listener_or_none(handler)
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
        hooks: list[ProcessRequest] = [] if process_request is None else [process_request]
        if basic_auth is not None:
            hooks.insert(0, basic_auth)
        handshake = ServerHandshake(
            origins=origins,
            subprotocols=subprotocols,
            select_subprotocol=select_subprotocol,
            compression=as_deflate(compression),
            additional_headers=additional_headers,
            server_header=server_header,
        )
        logger = logger if logger is not None else logging.getLogger("everwire.server")
        self._admission: Callable[[], Admission] = lambda: Admission(
            handshake,
            process_request=hooks,
            process_response=process_response,
            http=http,
            rate_limit=as_rate_limit(connection_rate_limit),
            logger=logger,
        )
        self._arguments: dict[str, Any] = {
            "close_timeout": close_timeout,
            "options": {
                "handler": None if listener is not None else handler,
                "listener": listener,
                "max_size": max_size,
                "max_queue": max_queue,
                "write_limit": write_limit,
                "max_backlog": max_backlog,
                "overflow": overflow,
                "ping_interval": ping_interval,
                "ping_timeout": ping_timeout,
                "idle_timeout": idle_timeout,
                "open_timeout": open_timeout,
                "logger": logger,
            },
        }

    async def _start(self) -> Server:
        server = Server(self._admission(), **self._arguments)
        sockets = await self._where.sockets()
        # Users get servers that listen already, from here.
        server._listen(sockets, self._ssl, self._where.path)  # pyright: ignore[reportPrivateUsage]
        return server


def _listener_or_none(handler: Handler | Listener) -> Callbacks | None:
    if isinstance(handler, Listener):
        return Callbacks(handler)
    if not callable(handler):
        raise TypeError(f"the handler is a coroutine function or a Listener, not {type(handler).__name__}")
    if isinstance(handler, type) and issubclass(handler, Listener):
        raise TypeError(f"pass a listener object, {handler.__name__}(), not the class")
    return None
