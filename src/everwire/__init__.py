"""Real-time messaging for Python in one package: WebSockets as fast as C++, strict and safe.

::

    async def echo(ws):
        async for message in ws:
            await ws.send(message)

    async with everwire.serve(echo, "127.0.0.1", 8080) as server:
        await server.serve_forever()
"""

__version__ = "0.1.0.dev0"

from typing import TYPE_CHECKING, Any

from everwire._core.connection import Connection
from everwire._core.status import SendStatus
from everwire._core.topic import Topic
from everwire.client.client import Client
from everwire.client.subscription import Subscription
from everwire.errors import (
    BadRequest,
    Close,
    CommandError,
    ConcurrencyError,
    ConnectionClosed,
    ConnectionClosedError,
    ConnectionClosedOK,
    Disconnected,
    EngineError,
    EverwireError,
    Forbidden,
    HandshakeError,
    InvalidHeader,
    InvalidMessage,
    InvalidOrigin,
    InvalidPayload,
    InvalidState,
    InvalidStatus,
    InvalidURI,
    MessageTooBig,
    NegotiationError,
    NodeUnreachable,
    PositionConflict,
    ProtocolError,
    ProxyError,
    RedirectError,
    Unauthorized,
    UnknownChannel,
    Unrecovered,
    Unsubscribed,
)
from everwire.web.abort import AbortController, AbortSignal
from everwire.web.blob import Blob
from everwire.web.events import CloseEvent, ErrorEvent, MessageEvent
from everwire.web.exceptions import DOMException, WebSocketError
from everwire.web.stream import WebSocketStream
from everwire.web.target import Event, EventTarget
from everwire.web.websocket import WebSocket
from everwire.websocket.auth import basic_auth
from everwire.websocket.backoff import Backoff
from everwire.websocket.client import connect
from everwire.websocket.extensions import Deflate
from everwire.websocket.listener import Listener
from everwire.websocket.messages import Headers, Request, Response
from everwire.websocket.server import Server, serve
from everwire.wire.position import Position

# At the end: it needs what is above.
from everwire import sync as sync  # isort: skip

if TYPE_CHECKING:
    from everwire.hub import Hub


def __getattr__(name: str) -> Any:
    """Import what programs without channels have no need of when it is first asked for."""
    if name == "Hub":
        from everwire.hub import Hub

        globals()[name] = Hub
        return Hub
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = [
    "AbortController",
    "AbortSignal",
    "Backoff",
    "BadRequest",
    "Blob",
    "Client",
    "Close",
    "CloseEvent",
    "CommandError",
    "ConcurrencyError",
    "Connection",
    "ConnectionClosed",
    "ConnectionClosedError",
    "ConnectionClosedOK",
    "DOMException",
    "Deflate",
    "Disconnected",
    "EngineError",
    "ErrorEvent",
    "Event",
    "EventTarget",
    "EverwireError",
    "Forbidden",
    "HandshakeError",
    "Headers",
    "Hub",
    "InvalidHeader",
    "InvalidMessage",
    "InvalidOrigin",
    "InvalidPayload",
    "InvalidState",
    "InvalidStatus",
    "InvalidURI",
    "Listener",
    "MessageEvent",
    "MessageTooBig",
    "NegotiationError",
    "NodeUnreachable",
    "Position",
    "PositionConflict",
    "ProtocolError",
    "ProxyError",
    "RedirectError",
    "Request",
    "Response",
    "SendStatus",
    "Server",
    "Subscription",
    "Topic",
    "Unauthorized",
    "UnknownChannel",
    "Unrecovered",
    "Unsubscribed",
    "WebSocket",
    "WebSocketError",
    "WebSocketStream",
    "basic_auth",
    "connect",
    "serve",
]
