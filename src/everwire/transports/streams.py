"""Sessions over responses that do not end: server-sent events, and HTTP streams.

Bidirectional ones are emulated: commands come by other requests (see :mod:`everwire.transports.emulation`),
the first of them with the request that is answered by the stream.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal, cast

from everwire._core.connection import Connection
from everwire.errors import HandshakeError, InvalidState
from everwire.transports.ending import code_of
from everwire.transports.incoming import OCTETS, Incoming
from everwire.transports.native import LAST_WORDS, NativeCarrier
from everwire.transports.queued import QueuedCarrier
from everwire.transports.requests import read_connect
from everwire.websocket.listener import Listener
from everwire.wire.codec import Codec
from everwire.wire.codes import DisconnectCode
from everwire.wire.formats import codec

if TYPE_CHECKING:
    from everwire.channels.session import Session
    from everwire.transports.asgi import HubApplication

__all__ = ["StreamListener", "carry_stream", "http_stream", "sse", "uni_http_stream", "uni_sse"]

Framing = Literal["lines", "events", "raw"]
"""What stands around a frame: a line of JSON, a server-sent event, nothing."""

EVENTS = "text/event-stream; charset=utf-8"
LINES = "application/x-ndjson; charset=utf-8"
CONNECT = "cf_connect"
"""The parameter of the query for the first commands; or for the connect request, if there are no others."""


class StreamListener(Listener):
    """Tells sessions of the ends of their streams; what clients send after their requests means nothing.

    Parameters:
        max_backlog: unsent bytes of one client; one that is behind by more is closed.
    """

    def __init__(self, max_backlog: int) -> None:
        self.limits = {
            "max_backlog": max_backlog,
            "close_code": DisconnectCode.SLOW,
            "close_reason": DisconnectCode.SLOW.reason,
            "close_timeout": LAST_WORDS,
        }

    def on_close(self, ws: Connection, code: int, reason: str) -> None:
        """The stream is over."""
        session: Session | None = ws.data
        if session is not None:
            session.closed(code_of(ws))


def frame_part(framing: Framing, frame: bytes) -> bytes:
    """A frame as it is written into a body."""
    if framing == "lines":
        return frame + b"\n"
    if framing == "events":
        return b"data: " + frame.replace(b"\n", b"\ndata: ") + b"\n\n"
    return frame


def take_over(app: HubApplication, incoming: Incoming, framing: Framing) -> Connection | None:
    """Everwire's connection of a request whose response has begun, as a stream; None: it cannot be had."""
    open_stream = incoming.everwire.get("stream")
    if open_stream is None:
        return None
    try:
        return cast(Connection, open_stream(None, (), framing, listener=app.stream_listener))
    except InvalidState:
        # Middleware holds the response back, or the client is gone: ASGI will tell.
        return None


async def carry_stream(
    app: HubApplication,
    incoming: Incoming,
    format: Codec,
    framing: Framing,
    content_type: str,
    begin: Callable[[NativeCarrier | QueuedCarrier], Session],
    **kind: Any,
) -> None:
    """Answer with a stream, and serve the session that *begin* has for its carrier until it ends."""
    headers = incoming.stream_headers(content_type)
    await incoming.send({"type": "http.response.start", "status": 200, "headers": headers})
    connection = take_over(app, incoming, framing)
    if connection is not None:
        connection.data = begin(NativeCarrier(connection, format, feeds=app.feeds, **kind))
        # For middleware that waits for a whole response: it goes nowhere.
        await incoming.send({"type": "http.response.body", "body": b"", "more_body": False})
        return
    queued = QueuedCarrier(format, max_backlog=app.options.max_backlog, **kind)

    async def read() -> None:
        while (await incoming.receive())["type"] != "http.disconnect":
            pass

    async def write(frames: Sequence[bytes]) -> None:
        body = b"".join([frame_part(framing, frame) for frame in frames])
        await incoming.send({"type": "http.response.body", "body": body, "more_body": True})

    if framing == "events":
        # Some servers and proxies hold the head back until there is something of the body.
        await incoming.send({"type": "http.response.body", "body": b"\r\n", "more_body": True})
    begin(queued)
    with app.leaving:
        await queued.run(write, read)
    if not queued.is_stuck:
        await incoming.send({"type": "http.response.body", "body": b"", "more_body": False})


def beginning(
    app: HubApplication, incoming: Incoming, start: Callable[[Session], None]
) -> Callable[[NativeCarrier | QueuedCarrier], Session]:
    """What opens a session over a carrier, and gives it what came with the request."""

    def begin(carrier: NativeCarrier | QueuedCarrier) -> Session:
        session = app.open(carrier, incoming.origin())
        start(session)
        return session

    return begin


async def first_data(app: HubApplication, incoming: Incoming) -> bytes:
    """What a client sends with the request for its stream: in the query, or as the body of a POST.

    Raises:
        HandshakeError: it is over the limit.
        ClientDisconnected: the client is gone.
    """
    if incoming.method == "POST":
        return await incoming.body(app.options.max_size, app.options.body_timeout)
    return incoming.parameter(CONNECT).encode()


async def sse(app: HubApplication, incoming: Incoming) -> None:
    """A session over server-sent events, JSON: ``/connection/sse``."""
    commands = await first_data(app, incoming)
    if not commands:
        raise HandshakeError(f"no connect command: put it into the parameter {CONNECT}, or POST it")
    await carry_stream(
        app,
        incoming,
        codec("json"),
        "events",
        EVENTS,
        beginning(app, incoming, lambda session: session.receive(commands)),
        transport="sse",
        emulated=True,
        farewell=True,
    )


async def http_stream(app: HubApplication, incoming: Incoming) -> None:
    """A session over the body of a response, JSON or Protobuf: ``/connection/http_stream``."""
    commands = await first_data(app, incoming)
    if not commands:
        raise HandshakeError("no connect command: POST it as the body")
    binary = incoming.is_protobuf
    await carry_stream(
        app,
        incoming,
        codec("protobuf" if binary else "json"),
        "raw" if binary else "lines",
        OCTETS if binary else LINES,
        beginning(app, incoming, lambda session: session.receive(commands)),
        transport="http_stream",
        emulated=True,
        farewell=True,
    )


async def uni_sse(app: HubApplication, incoming: Incoming) -> None:
    """Pushes as server-sent events, JSON: ``/connection/uni_sse``."""
    await carry_pushes(app, incoming, "events", EVENTS, "uni_sse")


async def uni_http_stream(app: HubApplication, incoming: Incoming) -> None:
    """Pushes as lines of JSON: ``/connection/uni_http_stream``."""
    await carry_pushes(app, incoming, "lines", LINES, "uni_http_stream")


async def carry_pushes(
    app: HubApplication, incoming: Incoming, framing: Framing, content_type: str, transport: str
) -> None:
    """Serve a session that takes pushes only, in JSON."""
    request = read_connect(await first_data(app, incoming))
    begin = beginning(app, incoming, lambda session: session.start(request))
    kind = {"transport": transport, "unidirectional": True, "farewell": True}
    await carry_stream(app, incoming, codec("json"), framing, content_type, begin, **kind)
