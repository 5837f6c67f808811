"""One opening handshake of a client: from a connected socket to an open connection, or to a refusal."""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
from base64 import b64encode
from collections.abc import Callable, Sequence
from functools import lru_cache
from secrets import token_bytes
from typing import Any

from everwire._core.connection import Connection
from everwire._core.reactor import polls
from everwire._core.settings import Settings
from everwire.errors import InvalidMessage
from everwire.websocket.auth import basic_authorization
from everwire.websocket.body import BodyReader
from everwire.websocket.codec import codecs
from everwire.websocket.extensions import Deflate
from everwire.websocket.fallback import Adapter
from everwire.websocket.handshake import ClientHandshake
from everwire.websocket.messages import HeadersLike, Request, Response
from everwire.websocket.uri import WebSocketURI

__all__ = ["RequestTemplate", "client_settings", "common_template", "default_context", "open_connection"]


class RequestTemplate:
    """The requests of opening handshakes that differ in their keys only: made and checked once, then filled.

    Args:
        uri: what to ask for; its user name and password are sent, too.
        options: further options of :class:`ClientHandshake`.

    Raises:
        ValueError: an option has a value that cannot be sent.
        TypeError: an option is of a wrong type.
    """

    __slots__ = ("_after_key", "_before_key", "_compression", "_host", "_subprotocols")

    def __init__(
        self,
        uri: WebSocketURI,
        *,
        subprotocols: Sequence[str] = (),
        compression: Deflate | None = None,
        origin: str | None = None,
        additional_headers: HeadersLike = (),
        user_agent_header: str | None = None,
    ) -> None:
        userinfo = uri.userinfo
        handshake = ClientHandshake(
            host=uri.host_header,
            path=uri.path,
            origin=origin,
            subprotocols=subprotocols,
            compression=compression,
            additional_headers=additional_headers,
            user_agent_header=user_agent_header,
            authorization=None if userinfo is None else basic_authorization(*userinfo),
        )
        before, name, rest = handshake.request().serialize().partition(b"\r\nSec-WebSocket-Key: ")
        self._before_key = before + name
        self._after_key = rest[rest.index(b"\r\n") :]
        self._host = handshake.host
        self._subprotocols = subprotocols
        self._compression = compression

    def fill(self) -> tuple[ClientHandshake, bytes]:
        """A handshake with a key of its own, and the bytes of its request."""
        key = b64encode(token_bytes(16))
        handshake = ClientHandshake(
            host=self._host, subprotocols=self._subprotocols, compression=self._compression, key=key.decode()
        )
        return handshake, b"".join((self._before_key, key, self._after_key))


@lru_cache(maxsize=64)
def common_template(
    uri: WebSocketURI,
    subprotocols: tuple[str, ...],
    compression: Deflate | None,
    origin: str | None,
    user_agent_header: str | None,
) -> RequestTemplate:
    """The template of requests without secrets, kept for whoever connects there again.

    Raises:
        ValueError: an option has a value that cannot be sent.
    """
    return RequestTemplate(
        uri,
        subprotocols=subprotocols,
        compression=compression,
        origin=origin,
        user_agent_header=user_agent_header,
    )


class Opening:
    """An opening handshake under way: what a connection has as its ``data`` until it is open."""

    __slots__ = ("done", "handshake", "request")

    def __init__(self, handshake: ClientHandshake, request: bytes) -> None:
        self.handshake = handshake
        self.request = request
        self.done: asyncio.Future[BodyReader | None] = asyncio.get_running_loop().create_future()
        """None when the connection is open; if the server refused, what reads the body of its answer."""

    def on_head(self, connection: Connection, head: bytes) -> None:
        """The server has answered."""
        response = Response.parse(head)
        if 100 <= response.status < 200 and response.status != 101:
            connection.next_head()
        elif response.status == 101:
            subprotocol, params = self.handshake.check(response)
            compression = self.handshake.compression
            connection.data = None
            connection.request = Request.parse(self.request)
            if params is None or compression is None:
                connection.open(b"", subprotocol, None, None, 0, response)
            else:
                deflate, inflate = codecs(params, compression, client=True)
                connection.open(b"", subprotocol, deflate, inflate, compression.threshold, response)
            self.finish(None)
        else:
            reader = BodyReader(response, connection.abort)
            connection.hand_over(reader)
            self.finish(reader)

    def on_unopened(self, error: Exception | None) -> None:
        """The connection ended before it was open."""
        if self.done.done():
            return
        if error is None:
            message = "the server closed the connection before it answered the opening handshake"
            error = ConnectionResetError(errno.ECONNRESET, message)
        elif isinstance(error, ValueError) and not isinstance(error, OSError):
            error = InvalidMessage(str(error))
        self.done.set_exception(error)

    def finish(self, reader: BodyReader | None) -> None:
        """Says so to the one who waits, if there still is one."""
        if not self.done.done():
            self.done.set_result(reader)


def _on_head(connection: Connection, head: bytes) -> None:
    opening: Opening = connection.data
    opening.on_head(connection, head)


def _on_unopened(connection: Connection, error: Exception | None) -> None:
    opening: Opening = connection.data
    connection.data = None
    opening.on_unopened(error)


def client_settings(**options: Any) -> Settings:
    """The settings of client connections with these limits, timeouts and callbacks."""
    return Settings(client=True, on_head=_on_head, on_unopened=_on_unopened, open_timeout=None, **options)


async def open_connection(
    settings: Settings,
    template: RequestTemplate,
    stream: socket.socket | asyncio.Transport,
    *,
    context: ssl.SSLContext | None,
    server_hostname: str | None,
    create_connection: Callable[[Settings], Connection] = Connection,
) -> Connection | BodyReader:
    """Opens a WebSocket connection over a connected socket, or a transport, which it takes over.

    Returns:
        The open connection, or what reads the body of the answer with which the server refused.

    Raises:
        OSError: TLS failed, or the connection was lost.
        HandshakeError: the server's answer does not open a WebSocket.
    """
    opening = Opening(*template.fill())
    connection = create_connection(settings)
    connection.data = opening
    try:
        if isinstance(stream, socket.socket):
            if polls():
                connection.attach_socket(stream, ssl=context, server_hostname=server_hostname)
            else:
                await asyncio.get_running_loop().create_connection(
                    lambda: Adapter(connection), sock=stream, ssl=context, server_hostname=server_hostname
                )
        else:
            await _attach_transport(connection, stream, context, server_hostname)
        connection.start(opening.request)
        reader = await opening.done
    except BaseException:
        opening.done.cancel()
        connection.abort()
        raise
    return connection if reader is None else reader


async def _attach_transport(
    connection: Connection,
    transport: asyncio.Transport,
    context: ssl.SSLContext | None,
    server_hostname: str | None,
) -> None:
    adapter = Adapter(connection)
    try:
        if context is not None:
            # TLS inside the TLS of the proxy.
            loop = asyncio.get_running_loop()
            upgraded = await loop.start_tls(transport, adapter, context, server_hostname=server_hostname)
            if upgraded is None:
                raise ConnectionResetError(errno.ECONNRESET, "the proxy closed the connection")
            transport = upgraded
        else:
            transport.set_protocol(adapter)
    except BaseException:
        transport.abort()
        raise
    adapter.connection_made(transport)


@lru_cache(maxsize=1)
def default_context() -> ssl.SSLContext:
    """The context of TLS connections without one of their own: it trusts whom the system trusts.

    Reading the system's certificates takes milliseconds, so it is made once.
    """
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context
