"""``connect`` with the options and the ways of ``websockets``."""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import socket
import ssl as tls
from collections.abc import AsyncIterator, Callable, Generator, Sequence
from types import TracebackType
from typing import Any, Literal, cast

from everwire import errors
from everwire.compat.websockets.asyncio.connection import Connection, connection_class
from everwire.compat.websockets.exceptions import InvalidMessage, InvalidProxy, InvalidStatus, translated
from everwire.compat.websockets.options import (
    Limit,
    as_compression,
    as_max_queue,
    as_max_size,
    as_write_limit,
    check_unknown,
    unix_path,
)
from everwire.compat.websockets.typing import LoggerLike
from everwire.websocket import client
from everwire.websocket.backoff import Backoff
from everwire.websocket.body import BodyReader
from everwire.websocket.client import USER_AGENT
from everwire.websocket.messages import HeadersLike
from everwire.websocket.way import Target

__all__ = ["ClientConnection", "backoff", "connect", "process_exception", "unix_connect"]

TEMPORARY = frozenset({500, 502, 503, 504})
"""Answers after which it is worth trying again."""


class ClientConnection(Connection):
    """A client's connection."""


def backoff() -> Generator[float]:
    """Seconds to wait before each attempt to connect again: those of :class:`everwire.Backoff`."""
    policy = Backoff()
    return (policy.delay(attempt) for attempt in itertools.count(1))


def process_exception(exc: Exception) -> Exception | None:
    """Return None if connecting again may help: after failures of the network, and 500, 502, 503 and 504."""
    if isinstance(exc, OSError):
        return None
    if isinstance(exc, InvalidMessage) and isinstance(exc.__cause__, EOFError):
        return None
    if isinstance(exc, InvalidStatus) and exc.response.status_code in TEMPORARY:
        return None
    return exc


class connect(client.connect):
    """Connects to a WebSocket server: ``await`` it, or use it with ``async with`` or ``async for``.

    Args:
        uri: ``ws://`` or ``wss://``.
        origin: the value of the header Origin.
        extensions: the parameters of permessage-deflate, as a list with a
            :class:`~everwire.compat.websockets.extensions.permessage_deflate.ClientPerMessageDeflateFactory`.
        subprotocols: the subprotocols to offer, the preferred ones first.
        compression: ``"deflate"`` or None.
        additional_headers: further headers of the request.
        user_agent_header: the value of the header User-Agent, or None for none.
        proxy: the URI of a proxy, True for the one of the environment, or None.
        process_exception: takes what an attempt of ``async for`` failed with; returns None to try again, or
            an exception to raise.
        open_timeout: seconds until the connection is open, or None.
        ping_interval: seconds of silence after which a ping is sent, or None.
        ping_timeout: seconds that its pong may take, or None.
        close_timeout: seconds that the closing handshake may take, or None.
        reconnect_delays: makes the iterator of seconds that ``async for`` waits between failed attempts.
        max_size: bytes of the largest message, or None; of a pair the first counts.
        max_queue: messages that may wait for ``recv``, or None; of a pair the first counts.
        write_limit: bytes waiting to be sent from which on ``send`` waits; a pair is (high, low).
        logger: where to log; by default the logger ``websockets.client``.
        create_connection: a subclass of :class:`ClientConnection` to use.
        ssl: the context for TLS; None or True for one that trusts whom the system trusts.
        server_hostname: the name that the server's certificate must have.
        host: a host to connect to instead of the URI's.
        port: a port to connect to instead of the URI's.
        sock: a connected socket to use.
        local_addr: host and port to connect from.
        unix: whether to connect to the Unix socket ``path``.
        path: the path of a Unix socket.
        proxy_ssl: the context for TLS to an ``https`` proxy.

    Raises:
        InvalidURI: the URI is not one of a WebSocket server.
        InvalidProxy: ``proxy`` is not the URI of a proxy.
        TypeError, ValueError: an option does not make sense, or is not supported.
        OSError: the server cannot be reached. (This and what follows is raised when it is awaited.)
        InvalidHandshake: the opening handshake failed: :exc:`InvalidStatus` if the server refused.
        TimeoutError: ``open_timeout`` passed.
    """

    def __init__(
        self,
        uri: str,
        *,
        # WebSocket
        origin: str | None = None,
        extensions: Sequence[object] | None = None,
        subprotocols: Sequence[str] | None = None,
        compression: str | None = "deflate",
        # HTTP
        additional_headers: HeadersLike | None = None,
        user_agent_header: str | None = USER_AGENT,
        proxy: str | Literal[True] | None = True,
        process_exception: Callable[[Exception], Exception | None] = process_exception,
        # Timeouts
        open_timeout: float | None = 10,
        ping_interval: float | None = 20,
        ping_timeout: float | None = 20,
        close_timeout: float | None = 10,
        reconnect_delays: Callable[[], Generator[float]] = backoff,
        # Limits
        max_size: Limit = 1 << 20,
        max_queue: Limit = 16,
        write_limit: int | tuple[int, int | None] = 1 << 15,
        # Other
        logger: LoggerLike | None = None,
        create_connection: type[ClientConnection] | None = None,
        # The way
        ssl: tls.SSLContext | Literal[True] | None = None,
        server_hostname: str | None = None,
        host: str | None = None,
        port: int | None = None,
        sock: socket.socket | None = None,
        local_addr: tuple[str, int] | None = None,
        unix: bool = False,
        path: str | os.PathLike[str] | None = None,
        proxy_ssl: tls.SSLContext | Literal[True] | None = None,
        **unknown: Any,
    ) -> None:
        check_unknown(unknown, "connect")
        self._process_exception = process_exception
        self._reconnect_delays = reconnect_delays
        logger = logging.getLogger("websockets.client") if logger is None else logger
        try:
            super().__init__(
                uri,
                origin=origin,
                subprotocols=subprotocols,
                compression=as_compression(compression, extensions),
                additional_headers=additional_headers,
                user_agent_header=user_agent_header,
                ssl=ssl,
                server_hostname=server_hostname,
                host=host,
                port=port,
                sock=sock,
                unix=unix_path(unix, path, sock),
                local_addr=local_addr,
                proxy=proxy,
                proxy_ssl=None if proxy_ssl is True else proxy_ssl,
                open_timeout=open_timeout,
                close_timeout=close_timeout,
                ping_interval=ping_interval,
                ping_timeout=ping_timeout,
                max_size=as_max_size(max_size),
                max_queue=as_max_queue(max_queue),
                write_limit=as_write_limit(write_limit),
                create_connection=connection_class(create_connection, ClientConnection),
                logger=cast(logging.Logger, logger),  # an adapter has the methods that matter
            )
        except errors.ProxyError as exc:
            raise InvalidProxy(str(proxy), str(exc)) from None

    def __await__(self) -> Generator[Any, None, ClientConnection]:
        return self._open().__await__()

    async def __aenter__(self) -> ClientConnection:
        connection = await self._open()
        self._connection = connection
        return connection

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()

    async def __aiter__(self) -> AsyncIterator[ClientConnection]:
        delays: Generator[float] | None = None
        while True:
            try:
                connection = await self._open()
            except Exception as exc:
                self._give_up(exc)
                delays = self._reconnect_delays() if delays is None else delays
                await self._wait(next(delays), exc)
                continue
            delays = None
            try:
                yield connection
            finally:
                await connection.close()

    def _give_up(self, exc: Exception) -> None:
        """Raise what ``process_exception`` wants to be raised, if anything."""
        try:
            fatal = self._process_exception(exc)
        except Exception as raised:
            fatal = raised
        if fatal is exc:
            raise exc
        if fatal is not None:
            raise fatal from exc

    async def _wait(self, seconds: float, why: Exception) -> None:
        assert self._logger is not None
        reason = str(why) or type(why).__name__
        self._logger.info("connect failed; reconnecting in %.1f seconds: %s", seconds, reason)
        await asyncio.sleep(seconds)

    async def _open(self) -> ClientConnection:
        try:
            return cast(ClientConnection, await super()._open())
        except errors.EverwireError as exc:
            other = translated(exc)
            if other is exc:
                raise
            raise other from exc

    async def _shake_hands(
        self,
        target: Target,
        stream: socket.socket | asyncio.Transport,
        context: tls.SSLContext | None,
        hostname: str | None,
    ) -> Connection | BodyReader:
        try:
            opened = await super()._shake_hands(target, stream, context, hostname)
        except ConnectionError as exc:
            raise InvalidMessage("the server sent no valid answer") from EOFError(str(exc))
        return cast(Connection | BodyReader, opened)


def unix_connect(
    path: str | os.PathLike[str] | None = None, uri: str | None = None, **options: Any
) -> connect:
    """Connect to a server at a Unix socket; the options are those of :class:`connect`.

    Args:
        path: the path of the socket.
        uri: what to ask for; by default ``ws://localhost/``, or ``wss://localhost/`` with an option ``ssl``.
    """
    if uri is None:
        uri = "ws://localhost/" if options.get("ssl") is None else "wss://localhost/"
    return connect(uri, unix=True, path=path, **options)
