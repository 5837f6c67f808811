"""``WebSocketStream``: a WebSocket with back-pressure, as proposed for browsers and tried in Chromium."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import NamedTuple, Unpack

from everwire.web.abort import AbortSignal
from everwire.web.channel import Channel, Owner, WebSocketCloseInfo
from everwire.web.exceptions import WebSocketError, check_closing
from everwire.web.opening import ConnectOptions, check_protocols, extensions, refusal, running_loop
from everwire.web.promise import Promise
from everwire.web.streams import ReadableStream, WritableStream
from everwire.web.url import read_url, write_url
from everwire.websocket.client import connect

__all__ = ["WebSocketCloseInfo", "WebSocketOpenInfo", "WebSocketStream"]


class WebSocketOpenInfo(NamedTuple):
    """What a ``WebSocketStream`` is when it is open."""

    readable: ReadableStream
    """The messages that come."""
    writable: WritableStream
    """Where messages go to."""
    protocol: str
    """The subprotocol that the server accepted; an empty string if none was offered."""
    extensions: str
    """The extensions that the server accepted, or an empty string."""


class WebSocketStream:
    """A WebSocket as two streams; it connects by itself.

    ::

        stream = everwire.WebSocketStream("wss://example.com/feed")
        readable, writable, protocol, extensions = await stream.opened
        async for message in readable:
            ...
        closeCode, reason = await stream.closed

    What is not read from ``readable`` makes the server wait; who writes to ``writable`` can wait for it.

    It needs a running event loop. It is closed when the program has forgotten it, its streams, readers and
    writers.

    Args:
        url: a URL of the scheme ws, wss, http (for ws) or https (for wss), or what has one as its ``str()``.
        protocols: the subprotocols to offer, the preferred ones first. The server has to accept one.
        signal: calls the opening off when it is aborted; once it is open, it has no effect.
        options: those of :class:`everwire.WebSocket`.

    Raises:
        DOMException: ``SyntaxError``: the URL is not valid or has a fragment, or a subprotocol is not valid
            or is there twice.
        TypeError: *protocols* is a ``str``.
        ValueError: options contradict each other or cannot be sent.
        RuntimeError: no event loop is running.
    """

    def __init__(
        self,
        url: object,
        *,
        protocols: Sequence[str] = (),
        signal: AbortSignal | None = None,
        **options: Unpack[ConnectOptions],
    ) -> None:
        loop = running_loop("WebSocketStream")
        uri = read_url(url)
        if isinstance(protocols, str):
            raise TypeError(f"protocols is a list: [{protocols!r}]")
        names = check_protocols(protocols)
        options.setdefault("max_redirects", 0)
        self._url = write_url(uri)
        connector = connect(self._url, subprotocols=names, **options)
        channel = Channel(loop)
        self._owner = Owner(channel)
        self._opening = Opening(loop, channel)
        if signal is not None and signal.reason is not None:
            self._opening.call_off(signal.reason)
        else:
            self._opening.begin(connector, names, self._owner, signal)

    def __repr__(self) -> str:
        return f"<WebSocketStream {read_url(self._url).without_query}>"

    @property
    def url(self) -> str:
        """The URL, with its user name and password."""
        return self._url

    @property
    def opened(self) -> Promise[WebSocketOpenInfo]:
        """To be awaited for the streams, any number of times.

        It fails with a :class:`WebSocketError` if there is no connection, or with the reason of the signal.
        """
        return self._opening.opened

    @property
    def closed(self) -> Promise[WebSocketCloseInfo]:
        """To be awaited for the close code and the reason of the server, any number of times.

        It fails with a :class:`WebSocketError` if the connection was lost, or closed before all was written;
        or as ``opened`` does.
        """
        return self._owner.channel.closed

    def close(self, *, closeCode: int | None = None, reason: str = "") -> None:
        """Begin the closing handshake; ``closed`` tells its end. Closing again does nothing.

        Args:
            closeCode: 1000, or 3000 to 4999; None to send none, or 1000 if there is a reason.
            reason: at most 123 bytes of UTF-8.

        Raises:
            DOMException: ``InvalidAccessError``: another code. ``SyntaxError``: the reason is too long.
        """
        code, reason = check_closing(closeCode, reason)
        if not self._opening.opened.settled:
            self._opening.call_off(WebSocketError("it was closed before the connection was open"))
        self._owner.channel.close(code, reason)


class Opening:
    """The opening of a stream, under way or done."""

    def __init__(self, loop: asyncio.AbstractEventLoop, channel: Channel) -> None:
        self.opened: Promise[WebSocketOpenInfo] = Promise(loop)
        self._loop = loop
        self._channel = channel
        self._task: asyncio.Task[None] | None = None

    def begin(
        self, connector: connect, protocols: tuple[str, ...], owner: Owner, signal: AbortSignal | None
    ) -> None:
        """Open the connection."""
        self._task = self._loop.create_task(self._open(connector, protocols, owner))
        if signal is not None:
            forget = signal.on_abort(self.call_off)
            self._task.add_done_callback(lambda task: forget())

    def call_off(self, error: BaseException) -> None:
        """There shall be no connection."""
        self._reject(error)
        if self._task is not None:
            self._task.cancel()

    def _reject(self, error: BaseException) -> None:
        self.opened.reject(error)
        self._channel.closed.reject(error)

    async def _open(self, connector: connect, protocols: tuple[str, ...], owner: Owner) -> None:
        """Until it is open, this keeps the stream; then those do who have been given its two sides."""
        try:
            connection = await connector
        except BaseException as exc:
            error = WebSocketError.received(str(exc) or type(exc).__name__, 1006)
            error.__cause__ = exc
            self._reject(error)
            if not isinstance(exc, Exception):
                raise
            return
        refused = refusal(connection, protocols)
        if refused is not None:
            connection.abort()
            error = WebSocketError.received(str(refused), 1006)
            error.__cause__ = refused
            self._reject(error)
            return
        self._channel.begin(connection)
        protocol = connection.subprotocol or ""
        sides = ReadableStream(owner), WritableStream(owner)
        self.opened.resolve(WebSocketOpenInfo(*sides, protocol, extensions(connection)))
