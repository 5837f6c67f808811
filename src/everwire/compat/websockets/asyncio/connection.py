"""The connection of the asyncio interface of ``websockets``: everwire's own, with what differs."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import AsyncIterator, Iterable
from typing import Any, Literal, cast, overload

import everwire
from everwire._core.settings import Settings
from everwire.compat.websockets.exceptions import (
    ConcurrencyError,
    ConnectionClosedError,
    ConnectionClosedOK,
    InvalidState,
)
from everwire.compat.websockets.http11 import Request, Response, as_request, as_response
from everwire.compat.websockets.protocol import State
from everwire.compat.websockets.typing import BytesLike, Data, DataLike, LoggerLike
from everwire.websocket import messages

__all__ = ["Connection", "Transport", "broadcast", "connection_class"]


class Transport:
    """The transport of a connection, as far as programs ask it for things: a view of the connection."""

    __slots__ = ("_connection",)

    def __init__(self, connection: everwire.Connection) -> None:
        self._connection = connection

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """The peername, the sockname, the ssl_object, or, of TLS, the peercert or the cipher."""
        connection = self._connection
        layer = connection.ssl_object
        match name:
            case "peername":
                return connection.remote_address
            case "sockname":
                return connection.local_address
            case "ssl_object":
                return default if layer is None else layer
            case "peercert" if layer is not None:
                return layer.getpeercert()
            case "cipher" if layer is not None:
                return layer.cipher()
            case _:
                return default

    def get_write_buffer_size(self) -> int:
        """Bytes that wait to be sent."""
        return self._connection.buffered_amount

    def is_closing(self) -> bool:
        """Return whether the connection is closed or closing."""
        return not self._connection.is_open

    def close(self) -> None:
        """Drop the connection; the peer sees 1006."""
        self._connection.abort()

    def abort(self) -> None:
        """Drop the connection; the peer sees 1006."""
        self._connection.abort()


class Connection(everwire.Connection):
    """A connection of everwire with the names of ``websockets``.

    Receiving, sending and closing are everwire's own methods; what is here is only what differs from them.
    """

    closed_ok = ConnectionClosedOK
    closed_error = ConnectionClosedError

    _id: uuid.UUID | None = None
    _logger: LoggerLike | None = None
    _request: Request | None = None

    answer: Response | bytes | None = None
    """The response of the opening handshake, or the bytes of it."""

    def __init__(self, settings: Settings) -> None:
        """Takes what everwire gives it, so that a subclass may have a constructor of its own."""

    # The types of these differ from those of the base on purpose: it is for programs written for them.

    @property
    def id(self) -> uuid.UUID:  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]
        """A random number that tells this connection from others, for logs."""
        if self._id is None:
            self._id = uuid.uuid4()
        return self._id

    @property
    def logger(self) -> LoggerLike:
        """A logger whose records have this connection as ``websocket``."""
        if self._logger is None:
            self._logger = logging.LoggerAdapter(self.settings.logger, {"websocket": self})
        return self._logger

    @property
    def state(self) -> State:
        """The state of the connection: closed once close frames have gone both ways."""
        error = self.close_error
        if error is not None and error.received is not None and error.sent is not None:
            return State.CLOSED  # what remains is TCP's; no program is told of it in between
        return State(super().state)

    @property  # type: ignore[override]
    def request(self) -> Request:  # pyright: ignore[reportIncompatibleMethodOverride]
        """The request of the opening handshake: path, headers."""
        if self._request is None:
            self._request = as_request(super().request)
        return self._request

    @request.setter
    def request(self, value: everwire.Request) -> None:
        self._request = as_request(value)

    @property
    def response(self) -> Response | None:  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]
        """The response of the opening handshake."""
        if isinstance(self.answer, bytes):
            self.answer = as_response(messages.Response.parse(self.answer))
        elif self.answer is None and (given := super().response) is not None:
            self.answer = as_response(given)
        return self.answer

    @property
    def transport(self) -> Transport:  # type: ignore[override]
        """What programs look up about the socket and TLS: ``transport.get_extra_info("ssl_object")``."""
        return Transport(self)

    @overload
    def recv_streaming(self, decode: Literal[True]) -> AsyncIterator[str]: ...
    @overload
    def recv_streaming(self, decode: Literal[False]) -> AsyncIterator[bytes]: ...
    @overload
    def recv_streaming(self, decode: bool | None = None) -> AsyncIterator[Data]: ...
    async def recv_streaming(self, decode: bool | None = None) -> AsyncIterator[Data]:
        """Receive the next message as an iterator, of one element: fragments are put together before.

        Raises:
            ConnectionClosed: the connection is closed.
            ConcurrencyError: another coroutine is waiting already.
        """
        yield await self.recv(decode)

    async def ping(  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]
        self, data: DataLike | None = None
    ) -> asyncio.Future[float]:
        """Send a ping; what this returns, awaited in turn, is the seconds until its pong.

        Raises:
            ConnectionClosed: the connection is closed.
            ConcurrencyError: a ping with the same data is under way.
            TypeError: the data are neither text nor bytes.
        """
        if data is not None:
            _check_payload(data)
        try:
            return super().ping(data)
        except ValueError as exc:
            if "under way" not in str(exc):
                raise
            raise ConcurrencyError(str(exc)) from None

    async def pong(  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]
        self, data: DataLike = b""
    ) -> None:
        """Send a pong that nobody asked for.

        Raises:
            ConnectionClosed: the connection is closed.
            TypeError: the data are neither text nor bytes.
        """
        _check_payload(data)
        super().pong(data)


def _is_data(data: object) -> bool:
    return isinstance(data, str | BytesLike)


def _check_payload(data: object) -> None:
    if not _is_data(data):
        raise TypeError(f"the data of a ping or a pong are str or bytes-like, not {type(data).__name__}")


def broadcast(
    connections: Iterable[Connection],
    message: DataLike,
    *,
    text: bool | None = None,
    raise_exceptions: bool = False,
) -> None:
    """Send a message to several connections without waiting; those that are not open are left out.

    A connection that is more than 16 MiB behind is closed with 1013.

    Args:
        connections: to whom.
        message: text or bytes.
        text: send bytes as text (True), or text as a binary message (False).
        raise_exceptions: raise what went wrong, together and at the end, instead of logging it.

    Raises:
        TypeError: the message is neither text nor bytes.
        ExceptionGroup: with ``raise_exceptions``, if it could not be sent to some of them.
    """
    if not _is_data(message):
        raise TypeError(f"a message to broadcast is str or bytes-like, not {type(message).__name__}")
    errors: list[Exception] = []
    for connection in connections:
        if not connection.is_open:
            continue
        try:
            connection.send_nowait(message, text=text)
        except Exception as exc:
            if not raise_exceptions:
                connection.logger.warning("skipped broadcast: %s", exc)
            elif isinstance(exc, InvalidState):
                errors.append(ConcurrencyError(str(exc)))
            else:
                errors.append(exc)
    if errors:
        raise ExceptionGroup("skipped broadcast", errors)


def connection_class(create_connection: Any, kind: type[Connection]) -> type[Connection]:
    """What makes connections, by an option ``create_connection``: a subclass, or a function that calls it.

    Raises:
        TypeError: it is a class of something else.
    """
    if create_connection is None:
        return kind
    if isinstance(create_connection, type) and not issubclass(create_connection, kind):
        raise TypeError(
            f"create_connection must be a subclass of everwire.compat.websockets.{kind.__name__}, "
            f"not {create_connection!r}: a connection is a part of everwire's core"
        )
    return cast(type[Connection], create_connection)
