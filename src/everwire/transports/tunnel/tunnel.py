"""One tunnel: a WebSocket of an ASGI application whose client comes by requests."""

from __future__ import annotations

import asyncio
import hmac
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Any, cast

from everwire._core.protocol import check_close
from everwire.errors import ClientDisconnected, ProtocolError
from everwire.transports.tunnel.outbox import Outbox
from everwire.transports.tunnel.records import BINARY, CLOSE, TEXT, Record, close_record

__all__ = ["Application", "Limits", "Opening", "Poll", "Tunnel"]

Scope = MutableMapping[str, Any]
Application = Callable[
    [Scope, Callable[[], Awaitable[Any]], Callable[[Any], Awaitable[None]]], Awaitable[Any]
]
"""An ASGI 3 application."""

_logger = logging.getLogger("everwire.tunnel")
_REMEMBERED = 10.0
"""Seconds for which one that is over is remembered, since its client may not have got the last answer."""
_MAX_DENIAL = 1 << 16
"""Bytes of the body with which an application may refuse a WebSocket; what is over is cut off."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of each tunnel of a middleware; its options say what they are."""

    max_size: int
    max_queue: int
    max_backlog: int
    poll_timeout: float
    timeout: float


@dataclass(slots=True)
class Opening:
    """What an application has answered to a WebSocket: 101 and a subprotocol, or a refusal."""

    status: int
    headers: list[tuple[bytes, bytes]] = field(default_factory=list[tuple[bytes, bytes]])
    subprotocol: str = ""
    body: bytes = b""


class Poll:
    """A request that is held until there is something to answer.

    Attributes:
        superseded: whether a later request has taken its place.
        gone: whether its client has gone.
    """

    def __init__(self) -> None:
        self.superseded = False
        self.gone = False
        self._waiter: asyncio.Future[None] | None = None

    def wake(self) -> None:
        """Have it look whether there is something now."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def wait(self, seconds: float) -> bool:
        """Return True when it is woken, False after so many seconds."""
        waiter = self._waiter = asyncio.get_running_loop().create_future()
        await asyncio.wait((waiter,), timeout=seconds)
        self._waiter = None
        return waiter.done()


class Tunnel:
    """A WebSocket of an application: its events on the one side, numbered records on the other.

    Parameters:
        key: what the client proves with that a request is its own.
        scope: the scope of the WebSocket.
        on_end: called when the tunnel can be forgotten.

    Attributes:
        outbox: what the application has sent.
        received: the number of the last record that came from the client.
        over: whether nothing more comes of it: it was closed, or its client stayed away.
        opening: done when the application has answered.
    """

    def __init__(
        self, app: Application, scope: Scope, key: str, limits: Limits, on_end: Callable[[], object]
    ) -> None:
        loop = asyncio.get_running_loop()
        self.outbox = Outbox(limits.max_backlog, self._wake)
        self.received = 0
        self.over = False
        self.opening: asyncio.Future[Opening] = loop.create_future()
        self._key = key
        self._limits = limits
        self._on_end = on_end
        self._loop = loop
        self._denial: Opening | None = None
        self._done = False
        """Whether nothing more goes to the client after what is in the outbox."""
        self._left = False
        """Whether it was the application that has had the last word."""
        self._inbox: deque[dict[str, Any]] = deque([{"type": "websocket.connect"}])
        self._parting: dict[str, Any] | None = None
        self._arrived = asyncio.Event()
        self._arrived.set()
        self._taken = asyncio.Event()
        self._poll: Poll | None = None
        self._number = 0
        self._heard = loop.time()
        self._timer = loop.call_later(limits.timeout, self._check)
        self.task = loop.create_task(self._run(app, scope), name="everwire tunnel")

    # What the middleware asks for

    def is_key(self, key: str, *, lives: bool = True) -> bool:
        """Whether this is the client's key; a sign of life, if so, unless it is not the client who asks."""
        if not hmac.compare_digest(key.encode(), self._key.encode()):
            return False
        if lives:
            self._heard = self._loop.time()
        return True

    def hold(self, number: int) -> Poll | None:
        """Begin to hold a request in place of the one before; None if it is not newer than that."""
        if number <= self._number:
            return None
        self._number = number
        if self._poll is not None:
            self._poll.superseded = True
            self._poll.wake()
        self._poll = Poll()
        return self._poll

    def held(self, number: int) -> Poll | None:
        """The request that is held by this number; None if another has taken its place."""
        return self._poll if number == self._number else None

    def acknowledge(self, number: int) -> None:
        """The client has all records up to this number.

        Raises:
            ProtocolError: nothing of this number was sent.
        """
        if not self.over:
            self.outbox.acknowledge(number)
            self._leave_if_told()

    async def take(self, number: int, record: Record, patience: float) -> bool:
        """Give a record from the client to the application, once; False if it has no room for it in time.

        Raises:
            ProtocolError: a record is missing before it, or it makes no sense.
        """
        deadline = self._loop.time() + patience
        while number > self.received and not self.over and len(self._inbox) >= self._limits.max_queue:
            self._taken.clear()
            try:
                async with asyncio.timeout_at(deadline):
                    await self._taken.wait()
            except TimeoutError:
                return False
        if number > self.received + 1:
            raise ProtocolError(f"message {number} comes after {self.received}")
        if number <= self.received:
            return True
        if record.kind == CLOSE:
            self.leave(*record.close_frame())
        elif not self._done:
            self._inbox.append(_event(record))
            self._arrived.set()
        self.received = number
        return True

    def end(self, code: int, reason: str) -> None:
        """Close from this side: tell the client, after what was sent before, and the application."""
        if self._done or self.over:
            return
        self._done = True
        if self.opening.done():
            self.outbox.put(close_record(code, reason))
        else:
            self.opening.set_result(Opening(503))
        self._part({"type": "websocket.disconnect", "code": code, "reason": reason})

    def leave(self, code: int, reason: str = "") -> None:
        """The client is gone: tell the application; answer nobody any more."""
        if self.over:
            return
        self.over = True
        if not self.opening.done():
            self.opening.set_result(Opening(504))
        self._part({"type": "websocket.disconnect", "code": code, "reason": reason})
        self.outbox.clear()
        self._wake()
        self._taken.set()
        self._timer.cancel()
        self._timer = self._loop.call_later(min(_REMEMBERED, self._limits.timeout), self._on_end)

    def _leave_if_told(self) -> None:
        """It is over once the client knows that the application has closed."""
        if self._done and self.outbox.first > self.outbox.last:
            self.leave(1000)

    def _check(self) -> None:
        rest = self._heard + self._limits.timeout - self._loop.time()
        if rest > 0:
            self._timer = self._loop.call_later(rest, self._check)
        else:
            self.leave(1006)

    def stop(self) -> None:
        """Stop its clock."""
        self._timer.cancel()

    def _wake(self) -> None:
        if self._poll is not None:
            self._poll.wake()

    # The application's side

    async def _run(self, app: Application, scope: Scope) -> None:
        try:
            result = await app(scope, self._receive, self._send)
        except ClientDisconnected:
            self._finish(1011, "internal error")
        except asyncio.CancelledError:
            self._finish(1012, "")
            raise
        except Exception:
            _logger.exception("Exception in ASGI application\n")
            self._finish(1011, "internal error")
        else:
            if not self.opening.done() and not self.over:
                _logger.error("ASGI callable returned without completing handshake.")
            elif result is not None:
                _logger.error("ASGI callable should return None, but returned '%s'.", result)
            self._finish(1000, "")

    def _finish(self, code: int, reason: str) -> None:
        """The application has ended: so does the WebSocket, if the application did not see to that."""
        if not self.opening.done():
            self.opening.set_result(Opening(500, body=b"Internal Server Error"))
            self.leave(1006)
        self.end(code, reason)

    async def _receive(self) -> dict[str, Any]:
        while not self._inbox:
            if self._parting is not None:
                return self._parting
            self._arrived.clear()
            await self._arrived.wait()
        event = self._inbox.popleft()
        self._taken.set()
        return event

    def _part(self, event: dict[str, Any]) -> None:
        """What the application receives from now on, after what has come before."""
        if self._parting is None:
            self._parting = event
            self._arrived.set()

    async def _send(self, event: Mapping[str, Any]) -> None:
        kind = event.get("type")
        if self._left:
            raise RuntimeError(
                f"Unexpected ASGI message {kind!r}, after sending 'websocket.close' or a whole response."
            )
        self._check_there()
        if not self.opening.done():
            self._decide(kind, event)
        elif kind == "websocket.send":
            record = _record(event)
            await self.outbox.wait_for_room()
            self._check_there()
            self.outbox.put(record)
        elif kind == "websocket.close":
            code, reason = event.get("code", 1000), event.get("reason") or ""
            check_close(code, reason)
            self.end(code, reason)
            self._left = True
        else:
            raise RuntimeError(
                f"Expected ASGI message 'websocket.send' or 'websocket.close', but got {kind!r}."
            )

    def _check_there(self) -> None:
        if self.over or self._done:
            raise ClientDisconnected("the client is gone")

    def _decide(self, kind: object, event: Mapping[str, Any]) -> None:
        if self._denial is not None:
            if kind != "websocket.http.response.body":
                raise RuntimeError(f"Expected ASGI message 'websocket.http.response.body', but got {kind!r}.")
            self._denial.body = (self._denial.body + (event.get("body") or b""))[:_MAX_DENIAL]
            if not event.get("more_body"):
                self._refuse(self._denial)
        elif kind == "websocket.accept":
            headers = [*(event.get("headers") or ())]
            self.opening.set_result(Opening(101, headers, event.get("subprotocol") or ""))
        elif kind == "websocket.close":
            self._refuse(Opening(403))
        elif kind == "websocket.http.response.start":
            self._denial = Opening(event["status"], [*(event.get("headers") or ())])
        else:
            raise RuntimeError(
                "Expected ASGI message 'websocket.accept', 'websocket.close' or "
                f"'websocket.http.response.start', but got {kind!r}."
            )

    def _refuse(self, opening: Opening) -> None:
        self.opening.set_result(opening)
        self.leave(1006)
        self._left = True


def _event(record: Record) -> dict[str, Any]:
    """The event with which a message comes to an application.

    Raises:
        InvalidPayload: a text message is not UTF-8.
    """
    if record.kind == TEXT:
        return {"type": "websocket.receive", "text": record.text}
    return {"type": "websocket.receive", "bytes": record.payload}


def _record(event: Mapping[str, Any]) -> Record:
    """The message that an application sends."""
    data: Any = event.get("bytes")
    text: Any = event.get("text")
    if data is not None:
        if not isinstance(data, bytes | bytearray | memoryview):
            raise TypeError(f"bytes of 'websocket.send' is {type(data).__name__}; text goes under 'text'")
        return Record(BINARY, bytes(cast(bytes, data)))
    if isinstance(text, str):
        return Record(TEXT, text.encode())
    if text is not None:
        raise TypeError(f"text of 'websocket.send' is {type(text).__name__}, not str")
    raise ValueError("'websocket.send' needs 'bytes' or 'text'; both are missing or None")
