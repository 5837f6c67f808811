"""The connection below a ``WebSocketStream``: what is written, what is read, and how it ends."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, NamedTuple

from everwire._core.awaitables import Done
from everwire._core.connection import Connection
from everwire.errors import ConnectionClosed
from everwire.web.exceptions import DOMException, WebSocketError, check_closing
from everwire.web.idl import message_size
from everwire.web.opening import ended_cleanly
from everwire.web.promise import Promise

__all__ = ["Channel", "Owner", "WebSocketCloseInfo"]


class WebSocketCloseInfo(NamedTuple):
    """How a ``WebSocketStream`` was closed."""

    closeCode: int
    """The peer's close code: 1005 if it sent none."""
    reason: str
    """The peer's close reason."""


class Channel:
    """A connection, or one that will be, and the writes on it that are under way.

    One message is with the connection until that is ready for more; the others wait here.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.connection: Connection | None = None
        self.closed: Promise[WebSocketCloseInfo] = Promise(loop)
        self.ready: Promise[None] = Promise(loop)
        self.ready.resolve(None)
        self.ended: Promise[None] = Promise(loop)
        """The end of writing: we have closed it, or it failed."""
        self.error: DOMException | None = None
        """Why nothing can be written any more."""
        self._reading = asyncio.Lock()
        self._cancelled = False
        self._closing = False
        """Whether it is we who have begun to close."""
        self._finishing = False
        """Whether we close when all is written."""
        self._writing: Promise[None] | None = None
        self._waiting: deque[tuple[str | bytes, Promise[None]]] = deque()
        self._waiting_bytes = 0
        self._tasks: set[asyncio.Task[None]] = set()

    def begin(self, connection: Connection) -> None:
        """The connection is open."""
        self.connection = connection
        self._spawn(self._watch(connection))

    def fail(self, error: BaseException) -> None:
        """There will be no connection."""
        self.closed.reject(error)

    # Reading

    async def read(self) -> str | bytes | None:
        """The next message; None at a clean end.

        Raises:
            WebSocketError: it did not end cleanly.
        """
        assert self.connection is not None
        async with self._reading:
            if not self._cancelled:
                with suppress(ConnectionClosed):
                    return await self.connection.recv()
                await self.closed
            return None

    def cancel(self, reason: object) -> Promise[None]:
        """Read no more, and close; what a WebSocketError says of the close code is used."""
        self._cancelled = True
        return self.abort(reason)

    # Writing

    @property
    def desired_size(self) -> int | None:
        """How many messages may be written before ``ready`` has to be awaited: 1 or 0; less if it was not."""
        if self.error is not None:
            return None
        return 1 - len(self._waiting) - (self._writing is not None)

    def write(self, message: str | bytes) -> Promise[None]:
        """Write a message after those before it.

        Raises:
            DOMException: ``QuotaExceededError``: more than ``max_backlog`` bytes are waiting already.
        """
        written: Promise[None] = Promise(self.loop)
        connection = self.connection
        if connection is None or self.error is not None or self._finishing or not connection.is_open:
            written.reject(self.error or closed_error())
        elif self._writing is not None:
            size = message_size(message)
            if self._waiting_bytes + size > connection.settings.max_backlog:
                raise DOMException(
                    "more than max_backlog bytes are waiting: await writer.ready, or the writes",
                    "QuotaExceededError",
                )
            self._waiting.append((message, written))
            self._waiting_bytes += size
        else:
            sending = connection.send(message)
            if isinstance(sending, Done):
                written.resolve(None)
            else:
                self._writing = written
                self.ready = Promise(self.loop)
                self._spawn(self._write(connection, sending))
        return written

    def finish(self) -> Promise[None]:
        """Close when all is written."""
        connection = self.connection
        if connection is not None and connection.is_open and not self._finishing:
            self._finishing = self._closing = True
            if self._writing is None:
                connection.close(None)
        return self.ended

    def abort(self, reason: object) -> Promise[None]:
        """Close now; a WebSocketError says with which code and reason."""
        code, text = None, ""
        if isinstance(reason, WebSocketError):
            with suppress(DOMException):  # one that tells how another connection ended may have any code
                code, text = check_closing(reason.closeCode, reason.reason)
        self.close(code, text)
        return self.ended

    def close(self, code: int | None, reason: str) -> None:
        """Close now: what waits here is not written any more."""
        connection = self.connection
        if connection is not None and connection.is_open:
            self._closing = True
            self.error = closed_error()
            self._reject_waiting(self.error)
            connection.close(code, reason)

    async def _write(self, connection: Connection, sending: Coroutine[Any, Any, None]) -> None:
        """Wait until the message that is being written is, and write those that wait."""
        try:
            while True:
                await sending
                if self._writing is not None:
                    self._writing.resolve(None)
                if not self._waiting:
                    break
                message, self._writing = self._waiting.popleft()
                self._waiting_bytes -= message_size(message)
                sending = connection.send(message)
        except ConnectionClosed:
            return  # the end of the connection is the end of all writes
        self._writing = None
        if self.error is None:
            self.ready.resolve(None)
        if self._finishing:
            connection.close(None)

    def _reject_waiting(self, error: DOMException) -> None:
        for _, written in self._waiting:
            written.reject(error)
        self._waiting.clear()
        self._waiting_bytes = 0

    # The end

    def abandon(self) -> None:
        """Nobody reads or writes any more: close when all is written, whatever still comes."""
        connection = self.connection
        if connection is not None and connection.is_open:
            self._spawn(self._discard(connection))
            self.finish()

    async def _discard(self, connection: Connection) -> None:
        with suppress(ConnectionClosed):
            while True:
                await connection.recv()

    async def _watch(self, connection: Connection) -> None:
        """Tell everybody how it ended."""
        await connection.wait_closed()
        unwritten = self._writing is not None or bool(self._waiting)
        answered = ended_cleanly(connection)
        code, reason = connection.close_code or 1006, connection.close_reason or ""
        if answered and not unwritten:
            error: DOMException = closed_error()
            self.closed.resolve(WebSocketCloseInfo(code, reason))
            if self._closing:
                self.ended.resolve(None)
        else:
            why = connection.close_error
            message = (
                "it was closed before all was written" if answered else str((why and why.__cause__) or why)
            )
            failure = WebSocketError.received(message, code, reason)
            failure.__cause__ = why
            error = closed_error() if answered else failure
            self.closed.reject(failure)
        self.error = error = self.error or error
        self.ended.reject(error)
        if self._writing is not None:
            self._writing.reject(error)
        self._reject_waiting(error)
        if self.ready.settled and not self._finishing:
            self.ready = Promise(self.loop)
        self.ready.reject(error)

    def _spawn(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = self.loop.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class Owner:
    """What a stream, and those that read and write it, hold on to: without any of them, it is closed."""

    __slots__ = ("channel",)

    def __init__(self, channel: Channel) -> None:
        self.channel = channel

    def __del__(self) -> None:
        channel = self.channel
        if channel.connection is not None and not channel.closed.settled:
            with suppress(RuntimeError):  # the loop is closed: there is nothing left to do
                channel.loop.call_soon_threadsafe(channel.abandon)


def closed_error() -> DOMException:
    """Why nothing can be written to a stream that is closed, or closing."""
    return DOMException("the stream is closed or closing", "InvalidStateError")
