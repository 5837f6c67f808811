"""``connect``: open a WebSocket connection to a server, once, or again and again."""

from __future__ import annotations

import asyncio
import logging
import os
import platform
import socket
import ssl as tls
import sys
from collections.abc import AsyncIterator, Callable, Generator, Sequence
from types import TracebackType
from typing import Any, Literal

from everwire._core.connection import Connection
from everwire._core.settings import Settings
from everwire.errors import InvalidStatus
from everwire.websocket.backoff import Attempts, Backoff
from everwire.websocket.body import BodyReader
from everwire.websocket.extensions import Deflate
from everwire.websocket.listener import Callbacks, Listener
from everwire.websocket.messages import HeadersLike
from everwire.websocket.opening import client_settings, open_connection
from everwire.websocket.way import REDIRECTS, Target, Way

__all__ = ["USER_AGENT", "connect"]

_version = getattr(sys.modules["everwire"], "__version__", "0")

USER_AGENT = f"everwire/{_version} Python/{platform.python_version()}"
"""The User-Agent of connections that name no other."""


class connect:
    """Connects to a WebSocket server: opens the connection, and closes it where it is used as a context.

    ::

        async with connect("wss://example.com/chat") as ws: ...
        ws = await connect("wss://example.com/chat")
        async for ws in connect("wss://example.com/chat"):
            try:
                async for message in ws: ...
            except ConnectionClosed:
                continue

    The last form connects again, after a delay, whenever the loop's body is done or an attempt failed, until
    an error occurs that time will not heal: see :class:`everwire.websocket.backoff.Backoff`. ``break`` ends
    it.

    Args:
        uri: ``ws://`` or ``wss://`` (``http://`` and ``https://`` mean the same). A user name and password in
            it are sent for basic authentication (RFC 7617).
        origin: the value of the header Origin.
        subprotocols: the subprotocols to offer, the preferred ones first.
        compression: ``"deflate"``, a :class:`Deflate` with its parameters, or None for no compression.
        additional_headers: further headers of the request, such as Cookie or Authorization.
        user_agent_header: the value of the header User-Agent, or None for none.
        max_redirects: how many redirects to follow, 0 for none. Authorization, Cookie, user name and password
            are not sent to another origin than the URI's.
        ssl: the context for TLS; None or True for one that trusts whom the system trusts. For ``wss`` only.
        server_hostname: the name that the server's certificate must have, if not the URI's host.
        host: a host or an IP address to connect to instead of the URI's host.
        port: a port to connect to instead of the URI's.
        sock: a connected socket to use, which is taken over.
        unix: the path of a Unix socket to connect to.
        local_addr: host and port to connect from.
        proxy: the URI of a proxy: http, https, socks5, socks5h, socks4 or socks4a; True for the one that the
            environment names (https_proxy and its like), None for no proxy.
        proxy_ssl: the context for TLS to an ``https`` proxy.
        open_timeout: seconds for all until the connection is open, redirects included; None for no limit.
        close_timeout: seconds that the closing handshake may take, or None.
        ping_interval: seconds of silence after which a ping is sent, or None for no pings.
        ping_timeout: seconds that its pong may take, or None.
        idle_timeout: seconds without a message after which the connection is closed, or None.
        max_size: bytes of the largest message to receive, or None for no limit.
        max_queue: messages received that may wait for ``recv``; then reading pauses.
        write_limit: bytes waiting to be sent from which on ``send`` waits; a pair is (high, low).
        max_backlog: bytes waiting to be sent that ``send_nowait`` may reach.
        overflow: what happens then: ``"close"`` the connection, or ``"drop"`` the message.
        listener: an object whose methods are called for messages, instead of ``recv``.
        create_connection: makes a :class:`Connection` from its settings, of a subclass perhaps.
        backoff: when ``async for`` connects again, and when it gives up.
        logger: where to log; by default the logger ``everwire.client``.

    Raises:
        InvalidURI: the URI is not one of a WebSocket server.
        ValueError: options contradict each other or cannot be sent.
        TimeoutError: ``open_timeout`` passed. (This and what follows is raised when it is awaited.)
        OSError: the server cannot be reached, or TLS failed.
        InvalidStatus: the server refused; the exception has its answer.
        HandshakeError: the server's answer is not the one of a WebSocket server.
        ProxyError: the proxy refused.
    """

    def __init__(
        self,
        uri: str,
        *,
        # Request
        origin: str | None = None,
        subprotocols: Sequence[str] | None = None,
        compression: Deflate | Literal["deflate"] | None = "deflate",
        additional_headers: HeadersLike | None = None,
        user_agent_header: str | None = USER_AGENT,
        max_redirects: int = 10,
        # Way
        ssl: tls.SSLContext | Literal[True] | None = None,
        server_hostname: str | None = None,
        host: str | None = None,
        port: int | None = None,
        sock: socket.socket | None = None,
        unix: str | os.PathLike[str] | None = None,
        local_addr: tuple[str, int] | None = None,
        proxy: str | Literal[True] | None = True,
        proxy_ssl: tls.SSLContext | None = None,
        # Time
        open_timeout: float | None = 10,
        close_timeout: float | None = 10,
        ping_interval: float | None = 20,
        ping_timeout: float | None = 20,
        idle_timeout: float | None = None,
        # Limits
        max_size: int | None = 1 << 20,
        max_queue: int | None = 64,
        write_limit: int | tuple[int, int] = 1 << 16,
        max_backlog: int | None = 1 << 24,
        overflow: Literal["close", "drop"] = "close",
        # What happens with it
        listener: Listener | None = None,
        create_connection: Callable[[Settings], Connection] | None = None,
        backoff: Backoff | None = None,
        logger: logging.Logger | None = None,
    ) -> None:
        self._way = Way(
            uri,
            origin=origin,
            subprotocols=subprotocols,
            compression=compression,
            additional_headers=additional_headers,
            user_agent_header=user_agent_header,
            max_redirects=max_redirects,
            ssl=ssl,
            server_hostname=server_hostname,
            host=host,
            port=port,
            sock=sock,
            unix=unix,
            local_addr=local_addr,
            proxy=proxy,
            proxy_ssl=proxy_ssl,
            open_timeout=open_timeout,
        )
        self._create_connection = create_connection or Connection
        self._backoff = backoff
        self._logger = logger
        self._settings = client_settings(
            listener=None if listener is None else Callbacks(listener),
            max_size=max_size,
            max_queue=max_queue,
            write_limit=write_limit,
            max_backlog=max_backlog,
            overflow=overflow,
            ping_interval=ping_interval,
            ping_timeout=ping_timeout,
            idle_timeout=idle_timeout,
            close_timeout=close_timeout,
            logger=logger,
        )
        self._connection: Connection | None = None

    def __await__(self) -> Generator[Any, None, Connection]:
        return self._open().__await__()

    async def __aenter__(self) -> Connection:
        self._connection = await self._open()
        return self._connection

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close(1000 if kind is None else 1011 if issubclass(kind, Exception) else 1001)

    async def __aiter__(self) -> AsyncIterator[Connection]:
        self._way.check_reusable()
        attempts = (self._backoff or Backoff()).attempts()
        while True:
            try:
                connection = await self._open()
            except Exception as exc:
                await self._pause(attempts.failed(exc), attempts, exc)
                continue
            attempts.opened()
            try:
                yield connection
                error = connection.close_error
            finally:
                await connection.close()
            if error is None:
                # The loop's body wants another one, now.
                attempts.reset()
            else:
                await self._pause(attempts.closed(error), attempts, error)

    async def _pause(self, seconds: float, attempts: Attempts, why: Exception) -> None:
        self._way.log_again(self._logger or logging.getLogger("everwire.client"), seconds, why)
        await attempts.policy.sleep(seconds)

    async def _open(self) -> Connection:
        """Opens a connection, wherever redirects lead, in the time there is."""
        way = self._way
        target = way.target
        reader: BodyReader | None = None
        deadline = asyncio.timeout(way.open_timeout)
        try:
            async with deadline:
                for _ in range(way.max_redirects + 1):
                    opened = await self._attempt(target)
                    if isinstance(opened, Connection):
                        return opened
                    reader = opened
                    if reader.response.status not in REDIRECTS or not way.max_redirects:
                        if reader.needed:
                            await reader.done
                        raise InvalidStatus(reader.response)
                    reader.finish()
                    target = way.redirected(target, reader.response)
                raise way.too_many_redirects()
        except TimeoutError as exc:
            if not deadline.expired():
                raise
            if reader is not None and reader.response.status not in REDIRECTS:
                # The answer matters more than that its body is not complete.
                reader.finish()
                raise InvalidStatus(reader.response) from None
            raise way.too_late(target) from exc
        finally:
            if reader is not None:
                reader.finish()

    async def _attempt(self, target: Target) -> Connection | BodyReader:
        """Makes one connection, and one opening handshake over it."""
        context, hostname = self._way.security(target)
        stream = await self._way.dial(target.uri)
        return await self._shake_hands(target, stream, context, hostname)

    async def _shake_hands(
        self,
        target: Target,
        stream: socket.socket | asyncio.Transport,
        context: tls.SSLContext | None,
        hostname: str | None,
    ) -> Connection | BodyReader:
        return await open_connection(
            self._settings,
            self._way.template(target),
            stream,
            context=context,
            server_hostname=hostname,
            create_connection=self._create_connection,
        )
