"""The two directions of a ``WebSocketStream`` (Streams standard, as far as a WebSocket needs it)."""

from __future__ import annotations

from typing import NamedTuple

from typing_extensions import Buffer

from everwire.web.channel import Owner
from everwire.web.idl import as_message
from everwire.web.promise import Promise

__all__ = [
    "ReadableStream",
    "ReadableStreamDefaultReader",
    "ReadableStreamReadResult",
    "WritableStream",
    "WritableStreamDefaultWriter",
]


class ReadableStreamReadResult(NamedTuple):
    """What ``read`` gives."""

    value: str | bytes | None
    """The message: text as ``str``, binary as ``bytes``; None at the end."""
    done: bool
    """Whether this is the end."""


class ReadableStream:
    """The messages that come: ``async for message in readable``, or a reader.

    They are read from the connection as they are taken from here, but for ``max_queue`` messages or
    ``max_size`` bytes: a peer that is too fast has to wait.
    """

    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        self._locked = False

    @property
    def locked(self) -> bool:
        """Whether it has a reader."""
        return self._locked

    def getReader(self) -> ReadableStreamDefaultReader:
        """A reader, until it is released the only one.

        Raises:
            TypeError: there is one.
        """
        self._check()
        self._locked = True
        return ReadableStreamDefaultReader(self, self._owner)

    def cancel(self, reason: BaseException | None = None) -> Promise[None]:
        """Read no more, and close; a :class:`WebSocketError` says with which code and reason.

        The result may be awaited: the connection is closed then.

        Raises:
            TypeError: it has a reader.
        """
        self._check()
        return self._owner.channel.cancel(reason)

    def unlock(self) -> None:
        """The reader is done; for readers."""
        self._locked = False

    def __aiter__(self) -> ReadableStream:
        return self

    async def __anext__(self) -> str | bytes:
        self._check()
        message = await self._owner.channel.read()
        if message is None:
            raise StopAsyncIteration
        return message

    def _check(self) -> None:
        if self._locked:
            raise TypeError("the stream has a reader: use that, or release it with releaseLock()")


class ReadableStreamDefaultReader:
    """Reads the messages of a :class:`ReadableStream`, one after the other."""

    def __init__(self, stream: ReadableStream, owner: Owner) -> None:
        self._stream: ReadableStream | None = stream
        self._owner = owner

    async def read(self) -> ReadableStreamReadResult:
        """The next message, and whether it was the end instead.

        Raises:
            WebSocketError: the connection did not end cleanly.
            TypeError: the reader was released.
        """
        self._check()
        message = await self._owner.channel.read()
        return ReadableStreamReadResult(message, message is None)

    def cancel(self, reason: BaseException | None = None) -> Promise[None]:
        """As of the stream.

        Raises:
            TypeError: the reader was released.
        """
        self._check()
        return self._owner.channel.cancel(reason)

    def releaseLock(self) -> None:
        """Let others read."""
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.unlock()

    def _check(self) -> None:
        if self._stream is None:
            raise TypeError("the reader was released: get another one with getReader()")


class WritableStream:
    """Where messages go to: get a writer."""

    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        self._locked = False

    @property
    def locked(self) -> bool:
        """Whether it has a writer."""
        return self._locked

    def getWriter(self) -> WritableStreamDefaultWriter:
        """A writer, until it is released the only one.

        Raises:
            TypeError: there is one.
        """
        self._check()
        self._locked = True
        return WritableStreamDefaultWriter(self, self._owner)

    def close(self) -> Promise[None]:
        """Close the connection when all is written; the result may be awaited.

        Raises:
            TypeError: it has a writer.
        """
        self._check()
        return self._owner.channel.finish()

    def abort(self, reason: BaseException | None = None) -> Promise[None]:
        """Close the connection now; a :class:`WebSocketError` says with which code and reason.

        The result may be awaited.

        Raises:
            TypeError: it has a writer.
        """
        self._check()
        return self._owner.channel.abort(reason)

    def unlock(self) -> None:
        """The writer is done; for writers."""
        self._locked = False

    def _check(self) -> None:
        if self._locked:
            raise TypeError("the stream has a writer: use that, or release it with releaseLock()")


class WritableStreamDefaultWriter:
    """Writes messages, and tells when there is room for more.

    ::

        await writer.ready
        writer.write(message)   # or: await writer.write(message)
    """

    def __init__(self, stream: WritableStream, owner: Owner) -> None:
        self._stream: WritableStream | None = stream
        self._owner = owner

    @property
    def ready(self) -> Promise[None]:
        """To be awaited before the next message is written; it fails when nothing can be written any more."""
        self._check()
        return self._owner.channel.ready

    @property
    def closed(self) -> Promise[None]:
        """Settled at the end: it fails unless it was this end that closed the connection, and cleanly."""
        return self._owner.channel.ended

    @property
    def desiredSize(self) -> int | None:
        """1 if there is room for a message; 0 or less if not; None when nothing can be written any more."""
        self._check()
        return self._owner.channel.desired_size

    def write(self, chunk: str | Buffer) -> Promise[None]:
        """Write a message: a ``str`` as text, any bytes-like object as binary. It is taken now.

        The result may be awaited: no more than ``write_limit`` bytes are unsent then. It fails with a
        DOMException, ``InvalidStateError``, when the connection is closed before.

        Raises:
            TypeError: it is of another type, or the writer was released.
            DOMException: ``QuotaExceededError``: nobody waited, and over ``max_backlog`` bytes are waiting.
        """
        self._check()
        return self._owner.channel.write(as_message(chunk))

    def close(self) -> Promise[None]:
        """Close the connection when all is written; the result may be awaited.

        Raises:
            TypeError: the writer was released.
        """
        self._check()
        return self._owner.channel.finish()

    def abort(self, reason: BaseException | None = None) -> Promise[None]:
        """As of the stream.

        Raises:
            TypeError: the writer was released.
        """
        self._check()
        return self._owner.channel.abort(reason)

    def releaseLock(self) -> None:
        """Let others write."""
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.unlock()

    def _check(self) -> None:
        if self._stream is None:
            raise TypeError("the writer was released: get another one with getWriter()")
