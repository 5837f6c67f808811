"""A connection to a Redis server: commands go out together, answers come back in order (RESP3)."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, TypeVar, cast

from hiredis import (
    HiredisError,
    PushNotification,
    Reader,
    pack_command,  # pyright: ignore[reportUnknownVariableType]
)

from everwire.errors import EngineError

__all__ = ["Confirmation", "Link", "LinkLost", "Refused", "pack", "unicode"]

Value = TypeVar("Value")
Encoded = TypeVar("Encoded")

MAX_UNSENT = 64 << 20
"""Bytes that wait for the server to read them; what comes beyond is refused."""


class LinkLost(EngineError):
    """The connection is gone, and with it the answer: what was asked for may have been done."""


class Refused(Exception):
    """The server has answered with an error.

    Attributes:
        code: its first word: ``"MOVED"``, ``"OOM"``, ...
    """

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.code = message.partition(" ")[0]


def unicode(encode: Callable[[Value], Encoded], value: Value) -> Encoded:
    """What *encode* makes of a value.

    Raises:
        EngineError: there is a text in it that UTF-8 has nothing for.
    """
    try:
        return encode(value)
    except UnicodeEncodeError as error:
        raise EngineError(f"a name that is not valid Unicode cannot be stored: {error}") from error


def pack(*parts: bytes | str | int) -> bytes:
    """A command as bytes.

    Raises:
        EngineError: there is a text in it that UTF-8 has nothing for.
    """
    return unicode(_pack, parts)


# The stubs of hiredis have a tuple of one.
_pack = cast(Callable[[tuple[bytes | str | int, ...]], bytes], pack_command)


class Confirmation(asyncio.Future[Any]):
    """The answer to a command of pub/sub, which comes as a push: ``b"subscribe"`` and so on, and a name."""

    def __init__(self, kind: bytes, name: bytes, *, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop=loop)
        self.kind = kind
        self.name = name


class Link(asyncio.Protocol):
    """A connection, from the first byte to the last.

    What is sent within one turn of the event loop goes out in one piece. Nothing is sent a second time: that
    is for those who know whether it may be.

    Parameters:
        on_push: is told of pushes (messages of pub/sub), ``[kind, name, payload]``.
        on_lost: is told once that the connection is over, and why.
        timeout: seconds after which a server that owes an answer is taken for dead.
        max_waiting: answers that may be owed; more commands are refused.
        replicas: how many replicas :meth:`replicated` waits for.

    Attributes:
        generation: identifies the server's time as a master (its replication id), as far as it was asked.
        run_id: identifies the process of the server.
        tell: the command by which those are told who follow something there.
    """

    def __init__(
        self,
        *,
        on_push: Callable[[list[Any]], None],
        on_lost: Callable[[Link, Exception], None],
        timeout: float,
        max_waiting: int,
        replicas: int = 0,
    ) -> None:
        self.generation = ""
        self.run_id = ""
        self.tell = b"PUBLISH"
        self._loop = asyncio.get_running_loop()
        self._on_push = on_push
        self._on_lost = on_lost
        self._timeout = timeout
        self._max_waiting = max_waiting
        self._wait = pack("WAIT", replicas, max(1, int(timeout * 500)))
        self._reader = Reader(protocolError=HiredisError, replyError=Refused, notEnoughData=self)
        self._transport: asyncio.Transport | None = None
        self._unsent: list[bytes] = []
        self._unsent_bytes = 0
        self._answers: deque[asyncio.Future[Any]] = deque()
        # The question that is on its way, and the next.
        self._replicating: asyncio.Future[Any] | None = None
        self._replicated: asyncio.Future[Any] | None = None
        # When a batch went out, and the number of the last command in it: to see which answer is overdue.
        self._batches: deque[tuple[float, int]] = deque()
        self._sent = self._answered = 0
        self._watch: asyncio.TimerHandle | None = None
        self._lost: Exception | None = None

    # Sending

    def send(self, command: bytes) -> asyncio.Future[Any]:
        """Send a command; a future of the answer.

        Raises:
            EngineError: the connection is over, or too many answers are owed.
        """
        return self._enqueue(command, self._loop.create_future())

    def confirm(self, command: bytes, kind: bytes, name: bytes) -> asyncio.Future[Any]:
        """Send a command of pub/sub, whose answer is a push of this kind and name."""
        return self._enqueue(command, Confirmation(kind, name, loop=self._loop))

    def replicated(self) -> asyncio.Future[Any]:
        """How many replicas have what was sent until now: one answer for all that goes out together.

        The server does nothing else on the connection while it waits for replicas. So one such question is on
        its way at a time, and all that is sent meanwhile shares the next: then nothing waits for long.
        """
        if self._replicated is None:
            self._replicated = self._loop.create_future()
        return self._replicated

    def _enqueue(self, command: bytes, answer: asyncio.Future[Any]) -> asyncio.Future[Any]:
        transport = self._transport
        if transport is None or self._lost is not None:
            raise LinkLost(f"the connection is over: {self._lost or 'it was never there'}")
        if len(self._answers) >= self._max_waiting:
            raise EngineError(
                f"{self._max_waiting} commands wait for Redis already: it is too slow for these"
            )
        if not self._unsent:
            self._loop.call_soon(self._flush)
        self._unsent.append(command)
        self._unsent_bytes += len(command)
        if self._unsent_bytes > 1 << 16:
            # Only now: to ask for it each time would cost more than it saves.
            waiting = transport.get_write_buffer_size()
            if waiting + self._unsent_bytes > MAX_UNSENT and waiting:
                self._unsent.pop()
                self._unsent_bytes -= len(command)
                raise EngineError(f"{MAX_UNSENT} bytes wait for Redis already: it is too slow for these")
        self._answers.append(answer)
        self._sent += 1
        return answer

    def _flush(self) -> None:
        if self._lost is not None or self._transport is None:
            return
        if self._replicated is not None and self._replicating is None:
            self._unsent.append(self._wait)
            self._answers.append(self._replicated)
            self._sent += 1
            self._replicating, self._replicated = self._replicated, None
        data = b"".join(self._unsent)
        self._unsent.clear()
        self._unsent_bytes = 0
        if not data:
            return
        self._batches.append((self._loop.time(), self._sent))
        self._transport.write(data)

    # What the server sends

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It is there."""
        self._transport = cast(asyncio.Transport, transport)
        self._watch = self._loop.call_later(self._timeout / 4, self._look)

    def data_received(self, data: bytes) -> None:
        """Take answers and pushes, in order."""
        reader, answers = self._reader, self._answers
        try:
            reader.feed(data)
            while (reply := reader.gets()) is not self:
                if type(reply) is PushNotification:
                    self._pushed(reply)
                    continue
                if not answers:
                    raise HiredisError("an answer to nothing that was asked")
                answer = answers.popleft()
                self._answered += 1
                if answer is self._replicating:
                    self._replicating = None
                    if self._replicated is not None:
                        self._loop.call_soon(self._flush)
                if answer.done():
                    continue  # whoever asked has given up
                if isinstance(reply, Refused):
                    answer.set_exception(reply)
                else:
                    answer.set_result(reply)
            batches, answered = self._batches, self._answered
            while batches and batches[0][1] <= answered:
                batches.popleft()
        except HiredisError as error:
            self.abort(EngineError(f"what the server sends is not the Redis protocol: {error}"))

    def _pushed(self, push: list[Any]) -> None:
        answers = self._answers
        head = answers[0] if answers else None
        if isinstance(head, Confirmation) and head.kind == push[0] and head.name == push[1]:
            answers.popleft()
            self._answered += 1
            if not head.done():
                head.set_result(None)
        if self._lost is None:
            self._on_push(push)

    def _look(self) -> None:
        """Look whether an answer is overdue."""
        batches = self._batches
        if batches and self._loop.time() - batches[0][0] > self._timeout:
            self.abort(LinkLost(f"the server has not answered for {self._timeout:g} seconds"))
            return
        self._watch = self._loop.call_later(self._timeout / 4, self._look)

    # The end

    @property
    def is_lost(self) -> bool:
        """Whether it is over."""
        return self._lost is not None

    def abort(self, reason: Exception) -> None:
        """End it at once."""
        self._over(reason)
        if self._transport is not None:
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """It is over."""
        self._over(LinkLost(f"the connection was lost: {exc or 'the server has closed it'}"))

    def _over(self, reason: Exception) -> None:
        if self._lost is not None:
            return
        self._lost = reason
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        owed = [*self._answers, self._replicated] if self._replicated is not None else [*self._answers]
        self._answers.clear()
        self._unsent.clear()
        for answer in owed:
            if not answer.done():
                answer.set_exception(LinkLost(str(reason)))
                # Nobody may be left who asks for it.
                answer.exception()
        self._on_lost(self, reason)
