"""``connect``: open a WebSocket connection to a server, once, or again and again."""

from __future__ import annotations

import asyncio
import logging
import os
import platform
import socket
import ssl as tls
import sys
from collections.abc import AsyncIterator, Generator, Sequence
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, Literal

from everwire._core.connection import Connection
from everwire.errors import InvalidStatus, InvalidURI, RedirectError
from everwire.websocket.backoff import Attempts, Backoff
from everwire.websocket.body import BodyReader
from everwire.websocket.codec import as_deflate
from everwire.websocket.dial import connect_tcp, connect_unix
from everwire.websocket.extensions import Deflate
from everwire.websocket.listener import Callbacks, Listener
from everwire.websocket.messages import Headers, HeadersLike, Response
from everwire.websocket.opening import (
    RequestTemplate,
    client_settings,
    common_template,
    default_context,
    open_connection,
)
from everwire.websocket.proxy import (
    Proxy,
    connect_socks,
    connect_tunnel,
    connect_tunnel_tls,
    environment_proxy,
    parse_proxy,
)
from everwire.websocket.uri import WebSocketURI, parse_uri

__all__ = ["USER_AGENT", "connect"]

_version = getattr(sys.modules["everwire"], "__version__", "0")

USER_AGENT = f"everwire/{_version} Python/{platform.python_version()}"
"""The User-Agent of connections that name no other."""

REDIRECTS = frozenset({301, 302, 303, 307, 308})

PRIVATE_HEADERS = ("Authorization", "Cookie", "Host")
"""Headers of the user that are for the server of the URI, and for no other one."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where to connect to, after so many redirects, and with which of the user's headers."""

    uri: WebSocketURI
    headers: HeadersLike
    foreign: bool = False
    """Whether a redirect has led to another origin than the one asked for."""

    def redirected(self, response: Response) -> Target:
        """Where the server sends us.

        Raises:
            RedirectError: nowhere, or from ``wss`` to ``ws``.
        """
        location = response.headers.get_all("Location")
        if len(location) != 1:
            raise RedirectError(
                f"{self.uri.without_query} answered {response.status} with no or several Location"
            )
        try:
            uri = self.uri.join(location[0])
        except InvalidURI as exc:
            raise RedirectError(f"{self.uri.without_query} redirects to {exc}") from exc
        if self.uri.secure and not uri.secure:
            raise RedirectError(
                f"{self.uri.without_query} redirects to {uri.without_query}: that would send in the clear "
                "what was to be encrypted"
            )
        if uri.origin == self.uri.origin:
            return replace(self, uri=uri)
        headers = Headers(self.headers)
        for name in PRIVATE_HEADERS:
            headers.pop(name, None)
        return Target(uri, headers, foreign=True)


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
        backoff: Backoff | None = None,
        logger: logging.Logger | None = None,
    ) -> None:
        target = parse_uri(uri)
        if ssl is not None:
            if not target.secure:
                raise ValueError("ssl is for wss:// and https://: change the URI, or leave ssl out")
            _check_context(ssl)
        if (sock is not None) + (unix is not None) + (host is not None or port is not None) > 1:
            raise ValueError("sock, unix and host/port exclude each other")
        if open_timeout is not None and not open_timeout > 0:
            raise ValueError(
                f"open_timeout must be more than 0 seconds, or None for no limit: {open_timeout!r}"
            )
        if max_redirects < 0:
            raise ValueError(f"max_redirects must be at least 0: {max_redirects!r}")
        self._target = Target(target, () if additional_headers is None else additional_headers)
        self._origin = origin
        if isinstance(subprotocols, str):
            raise TypeError(f"subprotocols is a list: [{subprotocols!r}]")
        self._subprotocols = tuple(subprotocols or ())
        self._compression = as_deflate(compression)
        self._user_agent = user_agent_header
        self._template = self._make_template(self._target)
        self._max_redirects = max_redirects
        self._ssl = None if ssl is True else ssl
        self._server_hostname = server_hostname
        self._host = host
        self._port = port
        self._sock = sock
        self._unix = unix
        self._local_addr = local_addr
        self._proxy: Proxy | bool = parse_proxy(proxy) if isinstance(proxy, str) else bool(proxy)
        self._proxy_ssl = proxy_ssl
        self._open_timeout = open_timeout
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
        if self._sock is not None:
            raise ValueError(
                "sock can be used for one connection only: leave it out to connect again and again"
            )
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
        logger = self._logger or logging.getLogger("everwire.client")
        uri = self._target.uri.without_query
        logger.info("%s: %s; connecting again in %.1f seconds", uri, str(why) or type(why).__name__, seconds)
        await attempts.policy.sleep(seconds)

    async def _open(self) -> Connection:
        """Opens a connection, wherever redirects lead, in the time there is."""
        target = self._target
        reader: BodyReader | None = None
        deadline = asyncio.timeout(self._open_timeout)
        try:
            async with deadline:
                for _ in range(self._max_redirects + 1):
                    opened = await self._attempt(target)
                    if isinstance(opened, Connection):
                        return opened
                    reader = opened
                    if reader.response.status not in REDIRECTS or not self._max_redirects:
                        if reader.needed:
                            await reader.done
                        raise InvalidStatus(reader.response)
                    reader.finish()
                    target = self._redirected(target, reader.response)
                raise RedirectError(
                    f"{self._target.uri.without_query}: more than {self._max_redirects} redirects"
                )
        except TimeoutError as exc:
            if not deadline.expired():
                raise
            if reader is not None and reader.response.status not in REDIRECTS:
                # The answer matters more than that its body is not complete.
                reader.finish()
                raise InvalidStatus(reader.response) from None
            where = target.uri.without_query
            raise TimeoutError(
                f"no connection to {where} within {self._open_timeout:g} seconds (open_timeout)"
            ) from exc
        finally:
            if reader is not None:
                reader.finish()

    def _redirected(self, target: Target, response: Response) -> Target:
        new = target.redirected(response)
        way = "sock" if self._sock is not None else None
        if new.uri.origin != target.uri.origin:
            way = way or ("unix" if self._unix is not None else None)
            way = way or ("host" if self._host is not None else "port" if self._port is not None else None)
        if way is not None:
            raise RedirectError(
                f"{target.uri.without_query} redirects to {new.uri.without_query}, but the option {way} says "
                "where to connect"
            )
        return new

    async def _attempt(self, target: Target) -> Connection | BodyReader:
        """Makes one connection, and one opening handshake over it."""
        uri = target.uri
        context = hostname = None
        if uri.secure:
            context = self._ssl or default_context()
            hostname = self._server_hostname if not target.foreign else None
            hostname = hostname or uri.host.partition("%")[0].removesuffix(".")
        template = self._template if target is self._target else self._make_template(target)
        stream = await self._dial(uri)
        return await open_connection(
            self._settings, template, stream, context=context, server_hostname=hostname
        )

    def _make_template(self, target: Target) -> RequestTemplate:
        uri = target.uri
        if target.headers == () and uri.username is None:
            return common_template(uri, self._subprotocols, self._compression, self._origin, self._user_agent)
        return RequestTemplate(
            uri,
            subprotocols=self._subprotocols,
            compression=self._compression,
            origin=self._origin,
            additional_headers=target.headers,
            user_agent_header=self._user_agent,
        )

    async def _dial(self, uri: WebSocketURI) -> socket.socket | asyncio.Transport:
        """Connects to the server, in the way that the options say."""
        if self._sock is not None:
            return self._sock
        if self._unix is not None:
            return await connect_unix(self._unix)
        proxy = self._proxy
        if proxy is True:
            proxy = environment_proxy(uri) or False
        host = self._host or uri.host
        port = self._port or uri.port
        local_addr = self._local_addr
        if not isinstance(proxy, Proxy):
            return await connect_tcp(host, port, local_addr=local_addr)
        if proxy.is_socks:
            return await connect_socks(proxy, host, port, local_addr=local_addr)
        if proxy.scheme == "http":
            return await connect_tunnel(proxy, host, port, user_agent=self._user_agent, local_addr=local_addr)
        return await connect_tunnel_tls(
            proxy,
            host,
            port,
            context=self._proxy_ssl or default_context(),
            user_agent=self._user_agent,
            local_addr=local_addr,
        )


def _check_context(option: object) -> None:
    if option is not True and not isinstance(option, tls.SSLContext):
        raise TypeError(f"ssl must be an ssl.SSLContext, True or None, not {option!r}")
