"""The request and the response of the opening handshake, with the names of ``websockets.http11``."""

from __future__ import annotations

from dataclasses import dataclass

from everwire.compat.websockets.datastructures import Headers
from everwire.websocket import messages
from everwire.websocket.client import USER_AGENT
from everwire.websocket.server import SERVER

__all__ = ["SERVER", "USER_AGENT", "Request", "Response", "as_request", "as_response"]


@dataclass
class Request:
    """The request of an opening handshake."""

    path: str
    """The request target as sent, query included."""

    headers: Headers
    """The header fields."""

    method: str = "GET"
    """The method."""

    protocol: str = "HTTP/1.1"
    """The version of HTTP."""

    def native(self) -> messages.Request:
        """The same as everwire's own class."""
        return messages.Request(self.method, self.path, self.headers, self.protocol)


@dataclass
class Response:
    """A response to the request of an opening handshake."""

    status_code: int
    """The status."""

    reason_phrase: str
    """What the status is called."""

    headers: Headers
    """The header fields."""

    body: bytes = b""
    """The body."""

    def native(self) -> messages.Response:
        """The same as everwire's own class."""
        return messages.Response(int(self.status_code), self.reason_phrase, self.headers, bytes(self.body))


def as_request(request: messages.Request) -> Request:
    """A request of everwire's as one of these."""
    return Request(request.path, Headers(request.headers), request.method, request.version)


def as_response(response: messages.Response) -> Response:
    """A response of everwire's as one of these."""
    return Response(response.status, response.reason, Headers(response.headers), response.body)
