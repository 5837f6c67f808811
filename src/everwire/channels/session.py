"""Sessions: what a connection is to the hub. Its commands are handled in order, one after the other."""

from __future__ import annotations

import asyncio
import collections
import random
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from msgspec import Raw

from everwire.channels.carrier import Carrier, Origin
from everwire.channels.commands import COMMANDS, Handler
from everwire.channels.options import as_ttl
from everwire.errors import CommandError, Disconnected, EngineError, WireError
from everwire.wire.codes import DisconnectCode, ErrorCode, UnsubscribeCode
from everwire.wire.messages import (
    NOTHING,
    Command,
    Connect,
    ConnectRequest,
    Error,
    Message,
    Push,
    Refresh,
    Reply,
    Unsubscribe,
)

if TYPE_CHECKING:
    from everwire.channels.node import Node
    from everwire.channels.subscription import Subscription

__all__ = ["Session"]

CONNECTING, CONNECTED, REFUSED, CLOSED = range(4)
MAX_REASON = 123
PING_JITTER = 0.1
"""The share of the time between two pings that is drawn at random."""
OF_WEBSOCKETS = (1003, 1009)
"""Close codes of RFC 6455 that transports end sessions with: for messages of the wrong kind, or too large."""


class Session:
    """A connection, as the hub sees it: who it is of, and what it has subscribed to.

    Attributes:
        client: the id of the connection.
        secret: what names the session where commands come by other requests; empty where they do not.
        user: the user's id; empty: nobody known.
        info: what is told about the user.
        meta: what the token or the ``connect`` hook gave to keep.
        caps: what the token allows beyond the channels' options.
        subscriptions: by channel.
        carrier: its transport.
        origin: where it comes from.
    """

    __slots__ = (
        "__weakref__",
        "_awaiting_pong",
        "_queue",
        "_queued",
        "_state",
        "_worker",
        "caps",
        "carrier",
        "client",
        "client_side_refresh",
        "due",
        "expire_at",
        "expiry",
        "hub",
        "info",
        "meta",
        "origin",
        "secret",
        "subscriptions",
        "user",
    )

    def __init__(self, hub: Node, carrier: Carrier, origin: Origin) -> None:
        self.hub = hub
        self.carrier = carrier
        self.origin = origin
        self.client = str(uuid4())
        self.secret = ""
        self.user = ""
        self.info: Raw = NOTHING
        self.meta: Any = None
        self.caps: Any = None
        self.expire_at = 0.0
        self.client_side_refresh = True
        self.expiry: asyncio.TimerHandle | None = None
        self.subscriptions: dict[str, Subscription] = {}
        self.due = 0
        self._state = CONNECTING
        self._awaiting_pong = False
        self._queue: collections.deque[tuple[Command, int]] | None = None
        self._queued = 0
        self._worker: asyncio.Task[None] | None = None

    @property
    def transport(self) -> str:
        """The transport's name."""
        return self.carrier.transport

    @property
    def connected(self) -> bool:
        """Whether it is known who it is of, and it goes on."""
        return self._state == CONNECTED

    @property
    def is_closed(self) -> bool:
        """Whether it is over."""
        return self._state == CLOSED

    # What comes

    def receive(self, frame: bytes | str) -> None:
        """Handle the commands of a frame, after those that came before."""
        if self._state == CLOSED:
            return
        try:
            commands = self.carrier.codec.decode_commands(frame)
        except WireError as error:
            self.hub.logger.info("a frame of %s is malformed: %s", self, error)
            self.disconnect(DisconnectCode.BAD_REQUEST)
            return
        if not commands:
            self.disconnect(DisconnectCode.BAD_REQUEST)
            return
        counts = self.hub.counts
        counts.messages_received += len(commands)
        counts.bytes_received += len(frame)
        size = max(len(frame) // len(commands), 1)
        for command in commands:
            if not command.id and command == PONG:
                self._pong()
            else:
                self._enqueue(command, size)

    def start(self, request: ConnectRequest) -> None:
        """Begin as if this had been the first command: where a transport carries pushes only."""
        self._enqueue(Command(id=1, connect=request), 1)

    def _enqueue(self, command: Command, size: int) -> None:
        if self._state == CLOSED:
            return
        if self._queue is None:
            self._queue = collections.deque()
        self._queue.append((command, size))
        self._queued += size
        if self._queued > self.hub.options.max_queued:
            self.disconnect(DisconnectCode.TOO_MANY_REQUESTS)
        elif self._worker is None:
            self._worker = self.hub.spawn(self._work())

    async def _work(self) -> None:
        """Handle what is queued."""
        try:
            while self._queue:
                command, size = self._queue.popleft()
                self._queued -= size
                await self._handle(command)
                if self._state == CLOSED:
                    break
        finally:
            self._worker = None
            self._queue = None

    async def _handle(self, command: Command) -> None:
        """Handle one command, and answer it."""
        handler = find_handler(command)
        if handler is None or (not command.id and handler.field != "send"):
            self.disconnect(DisconnectCode.BAD_REQUEST)
            return
        if self._state != (CONNECTING if handler.field == "connect" else CONNECTED):
            self.disconnect(DisconnectCode.BAD_REQUEST)
            return
        try:
            await handler.handle(self, command.id, getattr(command, handler.field))
        except CommandError as error:
            self.reply(Reply(id=command.id, error=as_error(error)), failed=handler.field)
        except Disconnected as error:
            self.disconnect(error.code, error.reason)
        except EngineError as error:
            self.hub.logger.error("%s of %s failed: %s", handler.field, self, error)
            self.reply(Reply(id=command.id, error=INTERNAL), failed=handler.field)
        except Exception:
            self.hub.logger.exception("%s of %s failed", handler.field, self)
            self.reply(Reply(id=command.id, error=INTERNAL), failed=handler.field)

    # What goes

    def reply(self, reply: Reply, *, failed: str = "") -> None:
        """Answer a command; *failed* is the field of one that failed."""
        if self._state == CLOSED:
            return
        if self.carrier.unidirectional:
            if reply.connect is not None:
                self.push(Push(connect=as_connect(reply)))
            elif failed == "connect" and reply.error is not None:
                self.disconnect(disconnect_for(reply.error))
            return
        try:
            frame = self.carrier.codec.encode_replies((reply,))
        except WireError as error:
            self.hub.logger.error(
                "an answer to %s cannot be sent as %s: %s", self, self.carrier.codec.name, error
            )
            self.disconnect(DisconnectCode.INAPPROPRIATE_PROTOCOL)
            return
        self.hub.counts.sent(frame)
        self.carrier.send(frame)
        if failed == "connect":
            self._state = REFUSED if self._state == CONNECTING else self._state

    def push(self, push: Push) -> None:
        """Send something that was not asked for."""
        if self._state == CLOSED:
            return
        codec = self.carrier.codec
        try:
            frame = (
                codec.encode_push(push)
                if self.carrier.unidirectional
                else codec.encode_replies((Reply(push=push),))
            )
        except WireError:
            self.disconnect(DisconnectCode.INAPPROPRIATE_PROTOCOL)
            return
        self.hub.counts.sent(frame)
        self.carrier.send(frame)

    def send(self, data: Raw) -> None:
        """Send the client a message of no channel."""
        self.push(Push(message=Message(data=data)))

    def drop(self, channel: str, code: int, reason: str = "") -> None:
        """End a subscription from the server's side, and tell the client."""
        if not reason:
            reason = UnsubscribeCode(code).reason if code in set(UnsubscribeCode) else ""
        subscription = self.subscriptions.get(channel)
        joining = subscription is not None and subscription.buffer is not None
        if self.hub.leave(self, channel, code, reason):
            told = Unsubscribe(code=code, reason=reason)
            if subscription is not None and joining:
                subscription.ended = told
            else:
                self.push(Push(channel=channel, unsubscribe=told))

    def tell_refresh(self) -> None:
        """Tell the client when the session expires now."""
        left = self.expire_at - self.hub.clock() if self.expire_at else 0
        self.push(Push(refresh=Refresh(expires=left > 0, ttl=as_ttl(left) if left > 0 else 0)))

    # Time

    def opened(self) -> None:
        """It has begun: the client has some seconds to say who it is."""
        self.hub.wheel.put(self, self.hub.options.stale_timeout)

    def accepted(self, delay: float) -> None:
        """It is known who it is of; the first ping comes after *delay* seconds."""
        self._state = CONNECTED
        self.hub.wheel.put(self, delay)

    def tick(self) -> None:
        """Time for a ping, or for the answer to one."""
        options = self.hub.options
        if self._state != CONNECTED:
            self.disconnect(DisconnectCode.STALE)
        elif self._awaiting_pong:
            self.disconnect(DisconnectCode.NO_PONG)
        else:
            self.hub.refresh_presence(self)
            if self.carrier.pings:
                self.carrier.send(self.carrier.codec.ping)
            if self.carrier.unidirectional or not self.carrier.pings:
                self._ping_later()
            else:
                self._awaiting_pong = True
                self.hub.wheel.put(self, options.pong_timeout)

    def _pong(self) -> None:
        if not self._awaiting_pong:
            self.disconnect(DisconnectCode.BAD_REQUEST)
            return
        self._awaiting_pong = False
        self._ping_later()

    def _ping_later(self) -> None:
        # A little early, by chance: those that a busy moment has brought together do not stay so.
        interval = self.hub.options.ping_interval
        self.hub.wheel.put(self, random.uniform((1 - PING_JITTER) * interval, interval))

    # The end

    def disconnect(self, code: int, reason: str = "") -> None:
        """End the session; the client is told why."""
        if self._state == CLOSED:
            return
        if not (DisconnectCode.CONNECTION_CLOSED <= code <= 4999 or code in OF_WEBSOCKETS):
            self.hub.logger.error("%s cannot end with the code %r: it is to be 3000 to 4999", self, code)
            code, reason = DisconnectCode.SERVER_ERROR, ""
        if not reason and code in set(DisconnectCode):
            reason = DisconnectCode(code).reason
        # What a close frame has room for (RFC 6455, section 5.5).
        reason = reason.encode()[:MAX_REASON].decode(errors="ignore")
        carrier = self.carrier
        self._end(int(code), reason)
        carrier.close(int(code), reason)

    def closed(self, code: DisconnectCode = DisconnectCode.CONNECTION_CLOSED) -> None:
        """The transport says that the connection is gone, or that it has ended it itself, and why."""
        if self._state != CLOSED:
            self._end(code, code.reason)

    def _end(self, code: int, reason: str) -> None:
        was_connected = self._state == CONNECTED
        self._state = CLOSED
        self._queue = None
        self.hub.wheel.remove(self)
        if self.expiry is not None:
            self.expiry.cancel()
            self.expiry = None
        self.hub.forget(self, code, reason, was_connected=was_connected)

    def __repr__(self) -> str:
        return f"<session {self.client} of {self.user or 'nobody known'!r} by {self.transport}>"


PONG = Command()
INTERNAL = Error(code=ErrorCode.INTERNAL, message=ErrorCode.INTERNAL.reason, temporary=True)


def find_handler(command: Command) -> Handler | None:
    """What handles a command; None: nothing does, or it is more than one command."""
    found = None
    for handler in COMMANDS:
        if getattr(command, handler.field) is not None:
            if found is not None:
                return None
            found = handler
    return found


def as_error(error: CommandError) -> Error:
    """An error as it is told to the client."""
    return Error(code=error.code, message=error.message, temporary=error.temporary)


def as_connect(reply: Reply) -> Connect:
    """The result of a connect command as a push."""
    result = reply.connect
    assert result is not None
    return Connect(**{name: getattr(result, name) for name in result.__struct_fields__})


def disconnect_for(error: Error) -> DisconnectCode:
    """How a session ends whose connect command failed, where there is nobody to answer to."""
    known = {
        ErrorCode.INTERNAL: DisconnectCode.SERVER_ERROR,
        ErrorCode.PERMISSION_DENIED: DisconnectCode.PERMISSION_DENIED,
        ErrorCode.TOKEN_EXPIRED: DisconnectCode.EXPIRED,
        ErrorCode.EXPIRED: DisconnectCode.EXPIRED,
        ErrorCode.TOO_MANY_REQUESTS: DisconnectCode.TOO_MANY_REQUESTS,
    }
    return (
        known.get(ErrorCode(error.code), DisconnectCode.BAD_REQUEST)
        if error.code in set(ErrorCode)
        else (DisconnectCode.BAD_REQUEST)
    )
