"""What the protocol without I/O tells: see :mod:`everwire.websocket.protocol`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from everwire.errors import ConnectionClosed, HandshakeError
from everwire.websocket.messages import Request, Response

__all__ = [
    "Closed",
    "Event",
    "HandshakeFailed",
    "Message",
    "Ping",
    "Pong",
    "RequestReceived",
    "ResponseReceived",
    "State",
]


class State(IntEnum):
    """The states of a connection, numbered as in the WHATWG standard."""

    CONNECTING = 0
    """The opening handshake is not done."""
    OPEN = 1
    """Messages can be sent."""
    CLOSING = 2
    """A close frame was sent or received, or the protocol was broken."""
    CLOSED = 3
    """The end of the stream was received, or the opening handshake failed."""


@dataclass(frozen=True, slots=True)
class RequestReceived:
    """To a server: a client has asked for a connection; call ``accept`` or ``reject``."""

    request: Request


@dataclass(frozen=True, slots=True)
class ResponseReceived:
    """To a client: the server has answered. If the status is not 101, :class:`HandshakeFailed` comes next."""

    response: Response


@dataclass(frozen=True, slots=True)
class HandshakeFailed:
    """There is no connection, and there will be none."""

    error: HandshakeError


@dataclass(frozen=True, slots=True)
class Message:
    """A whole message: text as ``str``, binary as ``bytes``."""

    data: str | bytes


@dataclass(frozen=True, slots=True)
class Ping:
    """The peer has sent a ping; its answer is among the bytes to send already."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class Pong:
    """The peer has sent a pong."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class Closed:
    """No message will come any more. It is told once, of connections that were open."""

    error: ConnectionClosed
    """How it ended; if the protocol was broken, its ``__cause__`` is the :exc:`ProtocolError`."""

    @property
    def code(self) -> int:
        """The peer's close code: 1005 if it sent none, 1006 if there was no close frame (RFC 6455, 7.1.5)."""
        return self.error.code

    @property
    def reason(self) -> str:
        """The peer's close reason, or an empty string."""
        return self.error.reason


Event = RequestReceived | ResponseReceived | HandshakeFailed | Message | Ping | Pong | Closed
"""What ``events`` returns."""
