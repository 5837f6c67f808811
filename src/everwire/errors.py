"""Every exception of everwire, in one tree.

::

    EverwireError
    ├── ConnectionClosed             the connection is over: code, reason, and who said what first
    │   ├── ConnectionClosedOK       it ended as agreed: 1000 or 1001
    │   └── ConnectionClosedError    it ended otherwise: a code, or no closing handshake (1006)
    ├── ClientDisconnected           an ASGI application sends to a client that is gone; an OSError, too
    ├── ApplicationError             there is no ASGI application by that name, or its import failed
    ├── LifespanError                an ASGI application could not start, or not clean up
    ├── ProtocolError                a peer broke the protocol (RFC 6455, RFC 7692)
    │   ├── InvalidPayload           text that is not UTF-8, or data that does not decompress (1007)
    │   └── MessageTooBig            a message over ``max_size`` (1009)
    ├── HandshakeError               the opening handshake failed
    │   ├── InvalidMessage           not HTTP/1.1, or an HTTP head over its limits
    │   ├── InvalidHeader            a header is missing, malformed or has an unacceptable value
    │   ├── InvalidOrigin            the request's Origin is not allowed
    │   ├── NegotiationError         a subprotocol or an extension that was not offered
    │   ├── InvalidStatus            the server answered with another status than 101
    │   └── RedirectError            a redirect that cannot be followed
    ├── InvalidURI                   not a ws, wss, http or https URI
    ├── ProxyError                   the proxy refused, or its URI is not valid
    ├── ConcurrencyError             two calls at once of which one would wait for ever
    ├── InvalidState                 the call does not fit the state of the object
    ├── WireError                    a frame that is malformed in the client protocol of channels
    ├── CommandError                 a command of that protocol failed: code, message, temporary
    │   ├── Unauthorized             101: it is not known who asks
    │   ├── UnknownChannel           102: there is no such channel
    │   ├── Forbidden                103: that user may not do that
    │   └── BadRequest               107: it makes no sense, or its payload is not of the channel's type
    ├── Disconnected                 a session of that protocol was ended, or is to end: code, reason
    ├── Unsubscribed                 a subscription was ended by the server: channel, code, reason
    ├── Unrecovered                  publications were missed, and the server has them no more
    ├── TokenError                   a token that is not valid: malformed, signed by no key known, not for us
    │   └── TokenExpired             one that was valid
    ├── EngineError                  the engine of a hub is not available, or has refused
    │   └── NodeUnreachable          another node of a hub has not answered, or there is none
    ├── ConfigError                  a configuration file says something that it cannot mean
    └── DOMException                 of the browser's API, in everwire.web: its name says what is wrong
        └── WebSocketError           how a WebSocketStream ended, or is to end

Timeouts raise the built-in :exc:`TimeoutError`, failures of the network :exc:`OSError`; wrong arguments raise
:exc:`TypeError` or :exc:`ValueError`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from everwire.websocket.messages import Response
    from everwire.wire.position import Position

__all__ = [
    "ApplicationError",
    "BadRequest",
    "ClientDisconnected",
    "Close",
    "CommandError",
    "ConcurrencyError",
    "ConfigError",
    "ConnectionClosed",
    "ConnectionClosedError",
    "ConnectionClosedOK",
    "Disconnected",
    "EngineError",
    "EverwireError",
    "Forbidden",
    "HandshakeError",
    "InvalidHeader",
    "InvalidMessage",
    "InvalidOrigin",
    "InvalidPayload",
    "InvalidState",
    "InvalidStatus",
    "InvalidURI",
    "LifespanError",
    "MessageTooBig",
    "NegotiationError",
    "NodeUnreachable",
    "PositionConflict",
    "ProtocolError",
    "ProxyError",
    "RedirectError",
    "TokenError",
    "TokenExpired",
    "Unauthorized",
    "UnknownChannel",
    "Unrecovered",
    "Unsubscribed",
    "WireError",
]

CLOSE_CODES = {
    1000: "normal closure",
    1001: "going away",
    1002: "protocol error",
    1003: "unsupported data",
    1005: "no status received",
    1006: "abnormal closure",
    1007: "invalid payload",
    1008: "policy violation",
    1009: "message too big",
    1010: "extension missing",
    1011: "internal error",
    1012: "service restart",
    1013: "try again later",
    1014: "bad gateway",
    1015: "TLS handshake failed",
}
"""The meaning of the registered close codes (RFC 6455, section 7.4, and the IANA registry)."""


class Close(NamedTuple):
    """A close frame: its code (1005 if it carried none) and its reason."""

    code: int
    reason: str

    def __str__(self) -> str:
        meaning = CLOSE_CODES.get(self.code)
        if meaning is None:
            meaning = (
                "registered"
                if 3000 <= self.code < 4000
                else "private use"
                if self.code >= 4000
                else "unknown"
            )
        return f"{self.code} ({meaning})" + (f" {self.reason}" if self.reason else "")


class EverwireError(Exception):
    """The base of all exceptions of everwire."""


class ConnectionClosed(EverwireError):
    """The connection is closed: nothing more can be sent, and all that was received has been read.

    Attributes:
        received: the peer's close frame, or None if there was none.
        sent: our close frame, or None if there was none.
        received_first: whether the peer's close frame came before ours was sent; None unless both exist.
    """

    def __init__(
        self, received: Close | None, sent: Close | None, received_first: bool | None = None
    ) -> None:
        self.received = received
        self.sent = sent
        self.received_first = received_first
        super().__init__(received, sent, received_first)

    @property
    def code(self) -> int:
        """The peer's close code: 1005 if its close frame had none, 1006 if there was no close frame."""
        return self.received.code if self.received is not None else 1006

    @property
    def reason(self) -> str:
        """The reason that the peer sent, or an empty string."""
        return self.received.reason if self.received is not None else ""

    def __str__(self) -> str:
        if self.received is None and self.sent is None:
            return "no close frame received or sent: the connection was lost"
        if self.received is None:
            return f"sent {self.sent}; no close frame received"
        if self.sent is None:
            return f"received {self.received}; no close frame sent"
        if self.received_first:
            return f"received {self.received}; then sent {self.sent}"
        return f"sent {self.sent}; then received {self.received}"


class ConnectionClosedOK(ConnectionClosed):
    """The connection was closed as agreed: both sides sent 1000, 1001 or no code."""


class ConnectionClosedError(ConnectionClosed):
    """The connection was closed for another reason than the work being done, or was lost."""


class ClientDisconnected(EverwireError, OSError):
    """An ASGI application sends to a client whose connection is closed or closing.

    An :exc:`OSError`, as the ASGI specification says (HTTP & WebSocket message format, since 2.4). Its cause
    is the :exc:`ConnectionClosed` that says how the connection ended.
    """


class ApplicationError(EverwireError):
    """There is no ASGI application by that name.

    Its ``__cause__`` is what was raised while it was imported or made, if that is why.
    """


class LifespanError(EverwireError):
    """An ASGI application says that it could not start or clean up, or it failed in doing so."""


class ProtocolError(EverwireError):
    """A peer broke the protocol.

    Attributes:
        code: the close code with which the connection is failed (RFC 6455, section 7.4.1).
    """

    code = 1002

    def __init__(self, message: str, code: int | None = None) -> None:
        super().__init__(message)
        if code is not None:
            self.code = code


class InvalidPayload(ProtocolError):
    """Text that is not UTF-8, or data that does not decompress: the connection is failed with 1007."""

    code = 1007


class MessageTooBig(ProtocolError):
    """A message is over ``max_size``: the connection is failed with 1009."""

    code = 1009


class HandshakeError(EverwireError):
    """The opening handshake failed (RFC 6455, section 4).

    Attributes:
        status: the HTTP status with which a server answers this failure.
        retry_after: seconds after which the client may come again, for the header ``Retry-After``; None: the
            server says nothing of that.
    """

    status = 400
    retry_after: int | None = None

    def __init__(
        self, message: str = "", status: int | None = None, *, retry_after: int | None = None
    ) -> None:
        super().__init__(message)
        if status is not None:
            self.status = status
        if retry_after is not None:
            self.retry_after = retry_after


class InvalidMessage(HandshakeError):
    """The peer's bytes are no HTTP/1.1 message, or its head is over the limits (RFC 9112)."""


class InvalidHeader(HandshakeError):
    """A header of the handshake is missing, malformed or has a value that cannot be accepted.

    Attributes:
        name: the header's name.
        value: its value, or None if it is missing.
    """

    def __init__(
        self, name: str, value: str | None = None, message: str | None = None, status: int | None = None
    ) -> None:
        self.name = name
        self.value = value
        if message is None:
            message = f"missing {name} header" if value is None else f"invalid {name} header: {value!r}"
        super().__init__(message, status)


class InvalidOrigin(InvalidHeader):
    """The request comes from a page of an origin that is not allowed (RFC 6455, section 10.2)."""

    status = 403

    def __init__(self, value: str | None) -> None:
        super().__init__(
            "Origin",
            value,
            f"origin {value!r} is not allowed; allow it with the option origins" if value else None,
        )


class NegotiationError(HandshakeError):
    """The peers agree on no subprotocol, or one named an extension or a subprotocol that was not offered."""


class InvalidStatus(HandshakeError):
    """The server answered the handshake with another status than 101.

    Attributes:
        response: the whole response, its body included (bounded in size).
    """

    def __init__(self, response: Response) -> None:
        self.response = response
        super().__init__(f"the server answered {response.status} {response.reason}", response.status)


class RedirectError(HandshakeError):
    """A redirect cannot be followed: too many of them, no Location, or from wss to ws."""


class InvalidURI(EverwireError):
    """A URI is not one that can be connected to.

    Attributes:
        uri: the URI, without a password.
    """

    def __init__(self, uri: str, message: str) -> None:
        self.uri = uri
        super().__init__(f"{uri!r} is not a WebSocket URI: {message}")


class ProxyError(EverwireError):
    """The proxy refused the connection, answered nonsense, or its URI is not valid."""


class ConcurrencyError(EverwireError, RuntimeError):
    """Two coroutines wait for a message of the same connection; only one may.

    With threads: a thread that is in a call of a connection makes another one that would wait for the first,
    in a signal's handler or while it sends fragments.
    """


class InvalidState(EverwireError):
    """The call does not fit the state of the object."""


class WireError(EverwireError):
    """A frame that is malformed in the client protocol of channels."""


class CommandError(EverwireError):
    """A command of the client protocol failed: hooks raise it to refuse, clients when they were refused.

    Attributes:
        code: the error's code: below 400 the protocol's (:class:`everwire.wire.codes.ErrorCode`), from 400
            to 1999 the application's own.
        message: what it means.
        temporary: whether the same command may work later.
    """

    def __init__(self, code: int, message: str, *, temporary: bool = False) -> None:
        self.code = int(code)
        self.message = message
        self.temporary = temporary
        super().__init__(self.code, message)

    def __str__(self) -> str:
        return f"{self.message} ({self.code})"


class Unauthorized(CommandError):
    """It is not known who asks (101)."""

    def __init__(self, message: str = "unauthorized") -> None:
        super().__init__(101, message)


class UnknownChannel(CommandError):
    """There is no such channel (102)."""

    def __init__(self, message: str = "unknown channel") -> None:
        super().__init__(102, message)


class Forbidden(CommandError):
    """That user may not do that (103)."""

    def __init__(self, message: str = "permission denied") -> None:
        super().__init__(103, message)


class BadRequest(CommandError):
    """The command makes no sense, or its payload is not of the channel's type (107)."""

    def __init__(self, message: str = "bad request") -> None:
        super().__init__(107, message)


class Disconnected(EverwireError):
    """A session of the client protocol was ended, or (raised by a hook) is to end.

    Attributes:
        code: the protocol's (:class:`everwire.wire.codes.DisconnectCode`), or the application's own: clients
        come
            back by themselves after 4000 to 4499, not after 4500 to 4999.
        reason: what it means; short, for people.
    """

    def __init__(self, code: int, reason: str = "") -> None:
        self.code = int(code)
        self.reason = reason
        super().__init__(self.code, reason)

    def __str__(self) -> str:
        return f"{self.reason} ({self.code})"


class Unsubscribed(EverwireError):
    """A subscription is over: its server ended it, and it does not begin anew by itself.

    Attributes:
        channel: its channel.
        code: the protocol's (:class:`everwire.wire.codes.UnsubscribeCode`), or the application's own.
        reason: what it means; short, for people.
    """

    def __init__(self, channel: str, code: int, reason: str = "") -> None:
        self.channel = channel
        self.code = int(code)
        self.reason = reason
        super().__init__(channel, self.code, reason)

    def __str__(self) -> str:
        return f"the subscription to {self.channel!r} was ended: {self.reason} ({self.code})"


class Unrecovered(EverwireError):
    """Publications of a channel were missed, and the server cannot tell which: its history has them no more.

    It is raised once, between the last publication before the gap and the first one after it; the
    subscription goes on. What the application knows of the channel is to be loaded anew.

    Attributes:
        channel: the channel.
        since: the position of the last publication before the gap.
        now: the position of the channel from which the subscription goes on.
    """

    def __init__(self, channel: str, since: Position, now: Position) -> None:
        self.channel = channel
        self.since = since
        self.now = now
        super().__init__(channel, since, now)

    def __str__(self) -> str:
        return (
            f"publications of {self.channel!r} after offset {self.since.offset} may be missing: its history "
            "does not reach back to there any more; load what you know of it anew, then go on"
        )


class TokenError(EverwireError):
    """A token that is not valid: malformed, not signed by a key known, not for us."""


class TokenExpired(TokenError):
    """A token at another time than it is valid: a new one is needed."""


class EngineError(EverwireError):
    """The engine of a hub is not available, or has refused."""


class PositionConflict(EngineError):
    """Something else is at the top of a log than a publisher expected; nothing was published.

    Attributes:
        offset, epoch: what is there.
    """

    def __init__(self, channel: str, *, offset: int, epoch: str) -> None:
        super().__init__(
            f"the top of {channel!r} is not at the expected position, but at offset {offset} of epoch "
            f"{epoch!r}: read what is new there, and publish again"
        )
        self.offset = offset
        self.epoch = epoch


class NodeUnreachable(EngineError):
    """Another node of a hub has not answered, or has ended; what it did of what was asked is not known.

    Attributes:
        known: whether there is such a node, as far as can be told; else there is nobody to ask again.
    """

    def __init__(self, message: str, *, known: bool) -> None:
        super().__init__(message)
        self.known = known


class ConfigError(EverwireError):
    """A configuration that cannot be meant; the message names the place, the problem and the remedy."""
