"""The names of ``websockets.exceptions`` for everwire's exceptions.

Where everwire has an exception of the same meaning, the name here is that exception, so that ``except``
clauses of either library catch it. A class of its own has only what differs: another name of an attribute,
another place in the tree, or an exception that everwire does not raise, which exists so that it can be named.
"""

from __future__ import annotations

from everwire import errors
from everwire.compat.websockets.http11 import Response, as_response
from everwire.errors import (
    Close,
    ConcurrencyError,
    InvalidHeader,
    InvalidMessage,
    InvalidOrigin,
    InvalidState,
    InvalidURI,
    NegotiationError,
    ProtocolError,
)

__all__ = [
    "ConcurrencyError",
    "ConnectionClosed",
    "ConnectionClosedError",
    "ConnectionClosedOK",
    "DuplicateParameter",
    "HeaderLineTooLong",
    "InvalidHandshake",
    "InvalidHeader",
    "InvalidHeaderFormat",
    "InvalidHeaderValue",
    "InvalidMessage",
    "InvalidMethod",
    "InvalidOrigin",
    "InvalidParameterName",
    "InvalidParameterValue",
    "InvalidProtocol",
    "InvalidProxy",
    "InvalidProxyMessage",
    "InvalidProxyStatus",
    "InvalidState",
    "InvalidStatus",
    "InvalidURI",
    "InvalidUpgrade",
    "NegotiationError",
    "PayloadTooBig",
    "ProtocolError",
    "ProxyError",
    "RequestLineTooLong",
    "SecurityError",
    "StatusLineTooLong",
    "TooManyFragments",
    "TooManyHeaders",
    "WebSocketException",
    "translated",
]

WebSocketException = errors.EverwireError
InvalidHandshake = errors.HandshakeError
PayloadTooBig = errors.MessageTooBig


class ConnectionClosed(errors.ConnectionClosed):
    """The connection is closed.

    Args:
        rcvd: the peer's close frame, or None if there was none.
        sent: our close frame, or None if there was none.
        rcvd_then_sent: whether the peer's came first; None unless there are both.
    """

    def __init__(self, rcvd: Close | None, sent: Close | None, rcvd_then_sent: bool | None = None) -> None:
        super().__init__(rcvd, sent, rcvd_then_sent)

    @property
    def rcvd(self) -> Close | None:
        """The peer's close frame, or None if there was none."""
        return self.received

    @property
    def rcvd_then_sent(self) -> bool | None:
        """Whether the peer's close frame came before ours was sent; None unless there are both."""
        return self.received_first


class ConnectionClosedOK(errors.ConnectionClosedOK, ConnectionClosed):
    """The connection was closed as agreed: both sides sent 1000, 1001 or no code."""


class ConnectionClosedError(errors.ConnectionClosedError, ConnectionClosed):
    """The connection was closed for another reason than the work being done, or was lost."""


class InvalidStatus(errors.InvalidStatus):
    """The server answered the handshake with another status than 101.

    Attributes:
        response: its response, a :class:`Response` with ``status_code``.
    """

    response: Response  # type: ignore[assignment]

    def __init__(self, response: Response) -> None:
        super().__init__(response.native())
        self.response = response  # pyright: ignore[reportIncompatibleVariableOverride]


class SecurityError(errors.RedirectError):
    """A redirect that is not safe to follow, or a message over the limits."""


class RequestLineTooLong(SecurityError):
    """Not raised: an :exc:`InvalidMessage` tells."""


class StatusLineTooLong(SecurityError):
    """Not raised: an :exc:`InvalidMessage` tells."""


class HeaderLineTooLong(SecurityError):
    """Not raised: an :exc:`InvalidMessage` tells."""


class TooManyHeaders(SecurityError):
    """Not raised: an :exc:`InvalidMessage` tells."""


class ProxyError(errors.ProxyError, errors.HandshakeError):
    """The proxy refused the connection or could not be used."""


class InvalidProxyMessage(ProxyError):
    """Not raised: a :exc:`ProxyError` tells."""


class InvalidProxyStatus(ProxyError):
    """Not raised: a :exc:`ProxyError` tells."""


class InvalidProxy(errors.ProxyError):
    """The URI of a proxy is not one that can be used.

    Attributes:
        msg: why.
    """

    def __init__(self, proxy: str, msg: str) -> None:
        super().__init__(msg)
        self.proxy = proxy
        self.msg = msg


class InvalidMethod(errors.HandshakeError):
    """Not raised: the server answers 405."""


class InvalidProtocol(errors.HandshakeError):
    """Not raised: the server answers 505."""


class InvalidHeaderFormat(InvalidHeader):
    """Not raised: an :exc:`InvalidHeader` tells."""


class InvalidHeaderValue(InvalidHeader):
    """A header of the handshake has a wrong value: Sec-WebSocket-Accept does not fit the key."""


class InvalidUpgrade(InvalidHeader):
    """The header Upgrade or Connection is not that of a WebSocket handshake."""


class DuplicateParameter(NegotiationError):
    """Not raised: a :exc:`NegotiationError` tells."""


class InvalidParameterName(NegotiationError):
    """Not raised: a :exc:`NegotiationError` tells."""


class InvalidParameterValue(NegotiationError):
    """Not raised: a :exc:`NegotiationError` tells."""


class TooManyFragments(errors.EverwireError):
    """Not raised: fragments are limited by the size of the message."""


def translated(error: errors.EverwireError) -> errors.EverwireError:
    """The exception that ``websockets`` has for a handshake that failed; the same one if it has no other."""
    match error:
        case errors.InvalidStatus(response=response):
            return InvalidStatus(as_response(response))
        case errors.RedirectError():
            return SecurityError(str(error))
        case errors.ProxyError() if not isinstance(error, ProxyError | InvalidProxy):
            return ProxyError(str(error))
        case errors.InvalidHeader(name="Upgrade" | "Connection"):
            return InvalidUpgrade(error.name, error.value, str(error))
        case errors.InvalidHeader(name="Sec-WebSocket-Accept", value=str()):
            return InvalidHeaderValue(error.name, error.value, str(error))
        case _:
            return error
