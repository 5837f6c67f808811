"""What a server's decision about a request comes to: an open connection, or an HTTP response."""

from __future__ import annotations

from email.utils import formatdate

from everwire._core.connection import Connection
from everwire._core.settings import Settings
from everwire.errors import HandshakeError
from everwire.websocket.codec import codecs
from everwire.websocket.extensions import Deflate
from everwire.websocket.handshake import Accepted
from everwire.websocket.messages import Request, Response

__all__ = ["complete", "open_connection", "refusal", "refuse", "shutting_down"]


def open_connection(
    connection: Connection,
    accepted: Accepted,
    compression: Deflate | None,
    *,
    settings: Settings | None = None,
) -> None:
    """Send the 101; messages are compressed as agreed on, and else as *compression* says.

    *settings* replace the connection's.
    """
    if accepted.deflate is None or compression is None:
        connection.open(accepted.response, accepted.subprotocol, settings=settings)
    else:
        deflater, inflater = codecs(accepted.deflate, compression, client=False)
        connection.open(
            accepted.response,
            accepted.subprotocol,
            deflater,
            inflater,
            compression.threshold,
            settings=settings,
        )


def shutting_down() -> HandshakeError:
    """What a server says that takes no new connections any more: another one may, in a second."""
    return HandshakeError("the server is shutting down", 503, retry_after=1)


def complete(response: Response, *, server_header: str | None) -> None:
    """Give a response to which nothing more follows the headers that it lacks."""
    headers = response.headers
    if "Date" not in headers:
        headers["Date"] = formatdate(usegmt=True)
    if "Connection" not in headers:
        headers["Connection"] = "close"
    if server_header is not None and "Server" not in headers:
        headers["Server"] = server_header


def refusal(response: Response, request: Request | None, *, server_header: str | None) -> bytes:
    """The bytes of a response that refuses; a HEAD *request* gets no body."""
    complete(response, server_header=server_header)
    data = response.serialize()
    if request is not None and request.method == "HEAD" and response.body:
        data = data[: -len(response.body)]
    return data


def refuse(
    connection: Connection, response: Response, request: Request | None = None, *, server_header: str | None
) -> None:
    """Answer with HTTP and close; a HEAD *request* gets no body."""
    if connection.closed:
        return
    connection.reject(refusal(response, request, server_header=server_header))
