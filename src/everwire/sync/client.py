"""``connect`` for programs with threads: open a connection to a server, once, or again and again."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import socket
import ssl as tls
import time
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Any, Literal, NoReturn

from everwire._core.http1 import MAX_HEAD, find_head_end, over_limit
from everwire._core.stream import monotonic
from everwire.errors import InvalidStatus
from everwire.sync.background import background
from everwire.sync.connection import Connection, Limits
from everwire.sync.relay import relay
from everwire.websocket.backoff import Backoff
from everwire.websocket.body import Body
from everwire.websocket.client import USER_AGENT
from everwire.websocket.codec import codecs
from everwire.websocket.extensions import Deflate
from everwire.websocket.messages import HeadersLike, Request, Response
from everwire.websocket.uri import WebSocketURI
from everwire.websocket.way import REDIRECTS, Target, Way

__all__ = ["connect"]


class connect:
    """Connects to a WebSocket server, for programs with threads; no event loop is needed.

    ::

        with everwire.sync.connect("wss://example.com/chat") as ws: ...
        ws = everwire.sync.connect("wss://example.com/chat").open()
        for ws in everwire.sync.connect("wss://example.com/chat"):
            try:
                for message in ws: ...
            except ConnectionClosed:
                continue

    The last form connects again, after a delay, whenever the loop's body is done or an attempt failed, until
    an error occurs that time will not heal: see :class:`everwire.Backoff`. ``break`` ends it.

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
        backoff: when ``for`` connects again, and when it gives up; its ``sleep`` is not used.
        logger: where to log; by default the logger ``everwire.client``.

    Raises:
        InvalidURI: the URI is not one of a WebSocket server.
        ValueError: options contradict each other or cannot be sent.
        TimeoutError: ``open_timeout`` passed. (This and what follows is raised by opening it.)
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
        # What happens with it
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
        self._limits = Limits(
            max_size=max_size,
            max_queue=max_queue,
            ping_interval=ping_interval,
            ping_timeout=ping_timeout,
            idle_timeout=idle_timeout,
            close_timeout=close_timeout,
            logger=logger or logging.getLogger("everwire.client"),
        )
        self._backoff = backoff
        self._connection: Connection | None = None

    def __getattr__(self, name: str) -> NoReturn:
        if not name.startswith("_") and hasattr(Connection, name):
            raise AttributeError(
                f"the connection is not open yet, so there is no {name}: "
                "write `with connect(...) as ws:` or `ws = connect(...).open()`"
            )
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __enter__(self) -> Connection:
        self._connection = self.open()
        return self._connection

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.__exit__(kind, error, trace)

    def __iter__(self) -> Iterator[Connection]:
        self._way.check_reusable()
        attempts = (self._backoff or Backoff()).attempts()
        while True:
            try:
                connection = self.open()
            except Exception as exc:
                self._pause(attempts.failed(exc), exc)
                continue
            attempts.opened()
            with connection:
                yield connection
                error = connection.close_error
            if error is None:
                # The loop's body wants another one, now.
                attempts.reset()
            else:
                self._pause(attempts.closed(error), error)

    def _pause(self, seconds: float, why: Exception) -> None:
        self._way.log_again(self._limits.logger, seconds, why)
        time.sleep(seconds)

    def open(self) -> Connection:
        """Open the connection, wherever redirects lead, in the time there is.

        Raises:
            OSError, HandshakeError, ProxyError: see the class.
        """
        way = self._way
        target = way.target
        deadline = _Deadline(way.open_timeout)
        try:
            for _ in range(way.max_redirects + 1):
                opened = self._attempt(target, deadline)
                if isinstance(opened, Connection):
                    return opened
                if opened.status not in REDIRECTS or not way.max_redirects:
                    raise InvalidStatus(opened)
                target = way.redirected(target, opened)
        except TimeoutError as exc:
            if not deadline.passed:
                raise
            raise way.too_late(target) from exc
        raise way.too_many_redirects()

    def _attempt(self, target: Target, deadline: _Deadline) -> Connection | Response:
        """Makes one connection, and one opening handshake over it."""
        context, hostname = self._way.security(target)
        sock, address = background.call(lambda: _dial(self._way, target.uri), deadline.left)
        try:
            connection = Connection(sock, self._limits, client=True, remote_address=address)
        except BaseException:
            sock.close()
            raise
        try:
            if context is not None:
                connection.secure(context, hostname, deadline.left)
            return self._shake_hands(connection, target, deadline)
        except BaseException:
            connection.drop()
            raise

    def _shake_hands(
        self, connection: Connection, target: Target, deadline: _Deadline
    ) -> Connection | Response:
        handshake, request = self._way.template(target).fill()
        connection.write_raw(request, deadline.left)
        response = _read_response(connection, deadline)
        while 100 <= response.status < 200 and response.status != 101:
            response = _read_response(connection, deadline)
        if response.status != 101:
            _read_body(connection, response, deadline)
            connection.drop()
            return response
        connection.subprotocol, params = handshake.check(response)
        connection.request = Request.parse(request)
        connection.response = response
        compression = handshake.compression
        if params is None or compression is None:
            connection.open()
        else:
            connection.open(*codecs(params, compression, client=True), compression.threshold)
        connection.start()
        return connection


class _Deadline:
    """Until when a connection must be open."""

    def __init__(self, seconds: float | None) -> None:
        self._end = None if seconds is None else monotonic() + seconds

    @property
    def left(self) -> float | None:
        """The seconds that are left, or None for no limit."""
        return None if self._end is None else max(0.0, self._end - monotonic())

    @property
    def passed(self) -> bool:
        """Whether it is over."""
        return self._end is not None and monotonic() >= self._end


async def _dial(way: Way, uri: WebSocketURI) -> tuple[socket.socket, Any]:
    """A connected socket, and the peer's address if the socket does not know it."""
    stream = await way.dial(uri)
    if isinstance(stream, socket.socket):
        return stream, None
    assert isinstance(stream, asyncio.Transport)
    return await relay(stream), stream.get_extra_info("peername")


def _read_response(connection: Connection, deadline: _Deadline) -> Response:
    """The head of the server's answer.

    Raises:
        OSError: the connection ended before it came.
        InvalidMessage: it is not HTTP/1.x, or too long.
    """
    head = connection.read_head(deadline.left)
    end = find_head_end(head)
    if not 0 < end <= MAX_HEAD:
        if len(head) > MAX_HEAD or end > 0:
            raise over_limit(head)
        message = "the server closed the connection before it answered the opening handshake"
        raise connection.lost or ConnectionResetError(errno.ECONNRESET, message)
    return Response.parse(head)


def _read_body(connection: Connection, response: Response, deadline: _Deadline) -> None:
    """Read the body of an answer that refuses, as much of it as comes in time."""
    body = Body(response)
    try:
        while not body.done and (data := connection.read_raw(deadline.left)):
            if body.feed(data):
                break
    except TimeoutError:
        pass  # the answer matters more than that its body is not complete
    response.body = body.data
