"""Sessions over WebSockets: without a task where the server is everwire's, over ASGI elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from everwire._core.connection import Connection
from everwire.errors import HandshakeError
from everwire.transports.ending import GONE, code_of
from everwire.transports.formats import Format, choose
from everwire.transports.incoming import Incoming
from everwire.transports.native import NativeCarrier
from everwire.transports.queued import QueuedCarrier
from everwire.transports.requests import read_connect
from everwire.wire.codec import Codec
from everwire.wire.codes import DisconnectCode

if TYPE_CHECKING:
    from everwire.channels.session import Session
    from everwire.transports.asgi import HubApplication

__all__ = ["accept", "carry_websocket", "make_carrier", "receive_message", "uni_websocket", "websocket"]


OnMessage = Callable[[str | bytes], None]


def receive_message(session: Session, message: str | bytes, max_size: int) -> None:
    """Give a session a message of its WebSocket."""
    binary = session.carrier.codec.binary
    if isinstance(message, str) is binary:
        kind, wanted = ("text", "binary") if binary else ("binary", "text")
        session.disconnect(DisconnectCode.BAD_REQUEST, f"a {kind} message, where {wanted} ones are agreed on")
    elif len(message) > max_size:
        session.disconnect(1009, f"a message over the limit of {max_size} bytes")
    else:
        session.receive(message)


async def accept(incoming: Incoming, subprotocol: str | None) -> bool:
    """Open the WebSocket; False: the client has gone before."""
    event = await incoming.receive()
    if event["type"] != "websocket.connect":
        return False
    await incoming.send({"type": "websocket.accept", "subprotocol": subprotocol, "headers": []})
    return True


def native_connection(incoming: Incoming) -> Connection | None:
    """Everwire's connection of a WebSocket, if it is one."""
    connection = incoming.everwire.get("connection")
    return connection if isinstance(connection, Connection) and connection.is_open else None


def make_carrier(
    app: HubApplication, incoming: Incoming, codec: Codec, **kind: Any
) -> NativeCarrier | QueuedCarrier:
    """The carrier of a WebSocket that is open."""
    connection = native_connection(incoming)
    if connection is not None:
        return NativeCarrier(connection, codec, feeds=app.feeds, **kind)
    return QueuedCarrier(codec, max_backlog=app.options.max_backlog, **kind)


async def carry_websocket(
    incoming: Incoming, session: Session, carrier: NativeCarrier | QueuedCarrier, on_message: OnMessage
) -> None:
    """Serve a session until its WebSocket is closed; each message goes to *on_message*."""

    async def read() -> None:
        while True:
            event = await incoming.receive()
            if event["type"] != "websocket.receive":
                return
            text = event.get("text")
            on_message(text if text is not None else event.get("bytes") or b"")

    if isinstance(carrier, NativeCarrier):
        try:
            await read()
        finally:
            session.closed(code_of(carrier.connection))
        return

    joins = not carrier.codec.binary and not carrier.unidirectional

    async def write(frames: Sequence[bytes]) -> None:
        if carrier.codec.binary:
            await incoming.send({"type": "websocket.send", "bytes": b"".join(frames)})
            return
        for frame in (b"\n".join(frames),) if joins else frames:
            await incoming.send({"type": "websocket.send", "text": frame.decode()})

    await carrier.run(write, read)
    if carrier.ending is not None and carrier.ending[0] != GONE:
        code, reason = carrier.ending
        await incoming.send({"type": "websocket.close", "code": code, "reason": reason})


async def websocket(app: HubApplication, incoming: Incoming) -> None:
    """A session over a WebSocket: ``/connection/websocket``."""
    chosen: Format = choose(incoming.scope.get("subprotocols") or (), incoming.parameter)
    if not await accept(incoming, chosen.subprotocol):
        return
    transport = incoming.extension("everwire.tunnel").get("transport", "websocket")
    carrier = make_carrier(app, incoming, chosen.codec, transport=transport, pings=not chosen.frame_pings)
    session = app.open(carrier, incoming.origin())

    def on_message(message: str | bytes) -> None:
        receive_message(session, message, app.options.max_size)

    await carry_websocket(incoming, session, carrier, on_message)


async def uni_websocket(app: HubApplication, incoming: Incoming) -> None:
    """Pushes over a WebSocket, JSON: ``/connection/uni_websocket``.

    The connect request comes in the query (``cf_connect``), or as the first message; others are ignored.
    """
    given = incoming.parameter("cf_connect")
    request = read_connect(given.encode()) if given else None
    if not await accept(incoming, None):
        return
    carrier = make_carrier(
        app,
        incoming,
        choose((), lambda name: "").codec,
        transport="uni_websocket",
        unidirectional=True,
        farewell=True,
    )
    session = app.open(carrier, incoming.origin())
    begun = request is not None
    if request is not None:
        session.start(request)

    def on_message(message: str | bytes) -> None:
        nonlocal begun
        if begun:
            return
        begun = True
        try:
            session.start(read_connect(message.encode() if isinstance(message, str) else message))
        except HandshakeError as error:
            session.disconnect(DisconnectCode.BAD_REQUEST, str(error)[:100])

    await carry_websocket(incoming, session, carrier, on_message)
