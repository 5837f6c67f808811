"""A channel for those who have no client of the protocol: its payloads and nothing else.

``new WebSocket("/connection/raw/news?since=17,EPOCH")`` gets each payload as a message, and
``new EventSource("/connection/raw/news")`` as an event, whose id is the position: a browser sends the last
one when it comes back. Underneath it is an ordinary session, which asks the same permission as any other.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import msgspec

from everwire.channels.carrier import FeedFactory, plain_feed
from everwire.channels.session import disconnect_for
from everwire.errors import HandshakeError, WireError
from everwire.transports.incoming import Incoming
from everwire.transports.native import NativeCarrier
from everwire.transports.queued import QueuedCarrier
from everwire.transports.streams import EVENTS, carry_stream
from everwire.transports.websocket import accept, carry_websocket, make_carrier
from everwire.wire.codec import Codec
from everwire.wire.codes import DisconnectCode, ErrorCode, UnsubscribeCode
from everwire.wire.formats import codec
from everwire.wire.messages import (
    Command,
    ConnectRequest,
    EmulationRequest,
    Error,
    Publication,
    Push,
    Reply,
    SubscribeRequest,
)

if TYPE_CHECKING:
    from everwire.channels.session import Session
    from everwire.transports.asgi import HubApplication

__all__ = ["RawCodec", "raw"]

UNRECOVERED = 4410
"""The close code of a WebSocket that asked for what is gone. The reason says where the log is now."""
ERRORS = {
    ErrorCode.UNAUTHORIZED: 401,
    ErrorCode.TOKEN_EXPIRED: 401,
    ErrorCode.UNKNOWN_CHANNEL: 404,
    ErrorCode.PERMISSION_DENIED: 403,
    ErrorCode.LIMIT_EXCEEDED: 429,
    ErrorCode.TOO_MANY_REQUESTS: 429,
    ErrorCode.INTERNAL: 503,
}
DISCONNECTS = {
    DisconnectCode.INVALID_TOKEN: 401,
    DisconnectCode.BAD_REQUEST: 401,
    DisconnectCode.PERMISSION_DENIED: 403,
    DisconnectCode.CONNECTION_LIMIT: 429,
    DisconnectCode.TOO_MANY_REQUESTS: 429,
    DisconnectCode.SHUTDOWN: 503,
    DisconnectCode.SERVER_ERROR: 503,
}
"""The HTTP status for what the protocol says; 400 for all else."""
JSON = codec("json")


class Frame(bytes):
    """What a session sends: for a publication its payload, whatever else it is.

    Attributes:
        reply: what it is.
    """

    reply: Reply


def as_frame(reply: Reply) -> Frame:
    """The frame of a reply or a push."""
    publication = reply.push.pub if reply.push is not None else None
    frame = Frame(as_text(publication) if publication is not None else b"")
    frame.reply = reply
    return frame


def as_text(publication: Publication) -> bytes:
    """The payload of a publication.

    Raises:
        WireError: it is not UTF-8.
    """
    data = bytes(publication.data)
    try:
        data.decode()
    except UnicodeDecodeError:
        raise WireError("the payload is not UTF-8, which raw channels carry only") from None
    return data


class RawCodec:
    """The format of raw channels: a :class:`~everwire.wire.codec.Codec` whose frames their carrier reads."""

    name = "raw"
    binary = False
    ping: bytes = as_frame(Reply())
    pong = b"{}"

    def decode_commands(self, frame: bytes | str) -> list[Command]:
        """Read commands: those of the carrier, which speaks for its client."""
        return JSON.decode_commands(frame)

    def encode_commands(self, commands: Iterable[Command]) -> bytes:
        """Make a frame of commands."""
        return JSON.encode_commands(commands)

    def decode_replies(self, frame: bytes | str) -> list[Reply]:
        """Not to be done: a payload says nothing of where it is from."""
        raise WireError("raw frames have no replies in them")

    def encode_replies(self, replies: Iterable[Reply]) -> bytes:
        """Make a frame of one reply.

        Raises:
            WireError: a payload is not UTF-8.
        """
        (reply,) = replies
        return as_frame(reply)

    def encode_push(self, push: Push) -> bytes:
        """Make a frame of one push.

        Raises:
            WireError: a payload is not UTF-8.
        """
        return as_frame(Reply(push=push))

    def decode_emulation(self, body: bytes | str) -> EmulationRequest:
        """Not to be done: clients of raw channels send nothing."""
        raise WireError("raw channels take no commands")


RAW = RawCodec()


class RawCarrier:
    """A client of one channel that speaks no protocol: this speaks it for it.

    Parameters:
        events: whether payloads go out as server-sent events, with their positions.

    Attributes:
        session: its session.
        ready: done when it is subscribed; its exception says why it is not.
    """

    session: Session

    def __init__(self, *, events: bool) -> None:
        self.codec: Codec = RAW
        self.transport = "raw"
        self.unidirectional = False
        self.emulated = False
        self.pings = True
        self.feeds: FeedFactory = plain_feed
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._events = events
        self._below: NativeCarrier | QueuedCarrier | None = None
        self._held: list[bytes] = []
        self._ending: tuple[int, str] | None = None
        self._epoch = ""

    def attach(self, below: NativeCarrier | QueuedCarrier) -> Session:
        """Send by another carrier from now on, first what waits for it."""
        below.session = self.session
        self._below = below
        for data in self._held:
            below.send(data)
        self._held.clear()
        if self._ending is not None:
            below.close(*self._ending)
        return self.session

    def send(self, frame: bytes) -> None:
        """Send what is for the client, and answer for it what is not."""
        assert isinstance(frame, Frame)
        reply = frame.reply
        if reply.push is not None:
            if reply.push.pub is not None:
                self._send_payload(frame, reply.push.pub.offset)
            elif reply.push.unsubscribe is not None:
                again = reply.push.unsubscribe.code >= UnsubscribeCode.INSUFFICIENT_STATE
                self._end(DisconnectCode.INSUFFICIENT_STATE if again else DisconnectCode.FORCE_NO_RECONNECT)
        elif reply.error is not None:
            self._refused(reply.error)
        elif reply.subscribe is not None:
            self._subscribed(reply)
        elif reply.connect is None:
            if self._events:
                self._send(b":\n\n")
            # It cannot know what a ping of the protocol is.
            asyncio.get_running_loop().call_soon(self.session.receive, RAW.pong)

    def _subscribed(self, reply: Reply) -> None:
        result = reply.subscribe
        assert result is not None
        self._epoch = result.epoch
        if result.was_recovering and not result.recovered:
            if self._events:
                where = msgspec.json.encode({"offset": result.offset, "epoch": result.epoch})
                position = f"{result.offset},{result.epoch}".encode()
                self._send(b"event: unrecovered\nid: %b\ndata: %b\n\n" % (position, where))
            else:
                self._end(UNRECOVERED, f"the log is at {result.offset},{result.epoch}")
        elif self._events and result.epoch:
            # The browser is to come back to here, though nothing may have come by then.
            self._send(f"id: {result.offset},{result.epoch}\n:\n\n".encode())
        for publication in result.publications:
            self._send_payload(as_text(publication), publication.offset)
        if not self.ready.done():
            self.ready.set_result(None)

    def _refused(self, error: Error) -> None:
        if not self.ready.done():
            status = ERRORS.get(ErrorCode(error.code), 400) if error.code in set(ErrorCode) else 403
            self.ready.set_exception(HandshakeError(f"{error.message} ({error.code})", status))
        self._end(disconnect_for(error), error.message)

    def _send_payload(self, data: bytes, offset: int) -> None:
        if self._events:
            lines = bytes(data).splitlines() or [b""]
            position = f"id: {offset},{self._epoch}\n".encode() if offset else b""
            self._send(position + b"".join([b"data: %b\n" % line for line in lines]) + b"\n")
        else:
            self._send(bytes(data))

    def _send(self, data: bytes) -> None:
        if self._below is not None:
            self._below.send(data)
        else:
            self._held.append(data)

    def _end(self, code: int, reason: str = "") -> None:
        """End the session, once what it is doing is done."""
        asyncio.get_running_loop().call_soon(self.session.disconnect, code, reason)

    def close(self, code: int, reason: str) -> None:
        """End the connection."""
        if not self.ready.done():
            known = code in set(DisconnectCode)
            status = DISCONNECTS.get(DisconnectCode(code), 400) if known else 403
            self.ready.set_exception(HandshakeError(f"{reason} ({code})", status))
        self._ending = (code, reason)
        if self._below is not None:
            self._below.close(code, reason)


def commands(incoming: Incoming) -> bytes:
    """The commands of a client that follows a channel.

    Raises:
        HandshakeError: the position is malformed, or there is no channel.
    """
    channel = incoming.rest
    if not channel:
        raise HandshakeError("no channel: its name is what comes after /raw/", 404)
    request = SubscribeRequest(channel=channel, token=incoming.parameter("subscription_token"))
    since = incoming.headers.get("last-event-id") or incoming.parameter("since")
    if since:
        offset, _, epoch = since.partition(",")
        if not offset.isdecimal() or not offset.isascii() or len(offset) > 19:
            raise HandshakeError(f"since is OFFSET or OFFSET,EPOCH, not {since!r}")
        request.recover = True
        request.offset = int(offset)
        request.epoch = epoch or incoming.parameter("epoch")
    connect = ConnectRequest(token=incoming.parameter("token"))
    return RAW.encode_commands((Command(id=1, connect=connect), Command(id=2, subscribe=request)))


def refuse_message(session: Session) -> Callable[[str | bytes], None]:
    """What is done with a message of a client: raw channels are for reading."""
    return lambda message: session.disconnect(1003, "a raw channel is for reading only")


async def raw(app: HubApplication, incoming: Incoming) -> None:
    """Follow a channel without a client: ``/connection/raw/CHANNEL``."""
    first = commands(incoming)
    events = incoming.scope["type"] == "http"
    carrier = RawCarrier(events=events)
    session = app.open(carrier, incoming.origin())
    session.receive(first)
    try:
        if events:
            await carrier.ready
            await carry_stream(app, incoming, JSON, "raw", EVENTS, carrier.attach, transport="raw")
            return
        # Its client knows no reply: that it is open tells it that it is subscribed. Who is refused is told by
        # the code of the close, which pages can see, as they cannot see the status of a response.
        await asyncio.wait((carrier.ready,))
        carrier.ready.exception()
        if not await accept(incoming, None):
            session.closed()
            return
        # Unidirectional: payloads are not joined into one message.
        below = make_carrier(app, incoming, JSON, transport="raw", unidirectional=True)
        carrier.attach(below)
        await carry_websocket(incoming, session, below, refuse_message(session))
    except BaseException:
        session.closed()
        raise
