"""The WebSocket protocol without I/O: bytes in, events out, bytes out. For programs that do their own I/O.

A :class:`ServerProtocol` or a :class:`ClientProtocol` is one side of one connection. It reads nothing and
sends nothing: give it what was received, act on its events, send what it has to send. A server with threads:

>>> import socket, threading
>>> from everwire.websocket.protocol import (
...     ClientProtocol,
...     Closed,
...     Message,
...     RequestReceived,
...     ResponseReceived,
...     ServerProtocol,
... )
>>> def serve(sock: socket.socket) -> None:
...     protocol = ServerProtocol()
...     with sock:
...         while not protocol.should_close:
...             data = sock.recv(65536)
...             protocol.receive_data(data) if data else protocol.receive_eof()
...             for event in protocol.events():
...                 match event:
...                     case RequestReceived():
...                         protocol.accept()
...                     case Message(text):
...                         protocol.send(f"You said {text}")
...             if out := protocol.data_to_send():
...                 sock.sendall(out)

and a client of it:

>>> ours, theirs = socket.socketpair()
>>> thread = threading.Thread(target=serve, args=(theirs,))
>>> thread.start()
>>> with ours:
...     protocol = ClientProtocol("ws://localhost/chat")
...     while not protocol.should_close:
...         if out := protocol.data_to_send():
...             ours.sendall(out)
...         data = ours.recv(65536)
...         protocol.receive_data(data) if data else protocol.receive_eof()
...         for event in protocol.events():
...             match event:
...                 case ResponseReceived(response):
...                     print(response.status, response.reason)
...                     protocol.send("hello")
...                 case Message(text):
...                     print(text)
...                     protocol.close(1000, "bye")
...                 case Closed(error):
...                     print(error)
101 Switching Protocols
You said hello
sent 1000 (normal closure) bye; then received 1000 (normal closure) bye
>>> thread.join()

Pings and the peer's close frame are answered without being asked. A peer that breaks the protocol is told so,
and :class:`Closed` says how.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from everwire.errors import (
    HandshakeError,
    InvalidMessage,
    InvalidState,
)
from everwire.websocket.auth import basic_authorization
from everwire.websocket.body import Body
from everwire.websocket.codec import as_deflate
from everwire.websocket.events import (
    Closed,
    Event,
    HandshakeFailed,
    Message,
    Ping,
    Pong,
    RequestReceived,
    ResponseReceived,
    State,
)
from everwire.websocket.extensions import Deflate
from everwire.websocket.handshake import ClientHandshake, SelectSubprotocol, ServerHandshake, error_response
from everwire.websocket.messages import HeadersLike, Request, Response
from everwire.websocket.origins import Origins
from everwire.websocket.sansio import BaseProtocol
from everwire.websocket.uri import parse_uri

__all__ = [
    "ClientProtocol",
    "Closed",
    "Event",
    "HandshakeFailed",
    "Message",
    "Ping",
    "Pong",
    "RequestReceived",
    "ResponseReceived",
    "ServerProtocol",
    "State",
]


class ServerProtocol(BaseProtocol):
    """The server's side of one connection.

    Parameters:
        origins: pages that may connect: ``"same"``, a list of origins, patterns and None, or None for any.
        subprotocols: those the server speaks, preferred first.
        select_subprotocol: called with the request and the subprotocols offered; returns one or None.
        compression: ``"deflate"``, a :class:`Deflate` for its parameters, or None.
        additional_headers: headers to add to the 101 response.
        server_header: the header ``Server``; None: none.
        max_size: bytes of the largest message received; a larger one closes with 1009. None: no limit.

    Attributes:
        request: the request, None before it has come.

    Raises:
        ValueError, TypeError: an option does not make sense.
    """

    def __init__(
        self,
        *,
        origins: Origins = "same",
        subprotocols: Sequence[str] = (),
        select_subprotocol: SelectSubprotocol | None = None,
        compression: Literal["deflate"] | Deflate | None = "deflate",
        additional_headers: HeadersLike = (),
        server_header: str | None = None,
        max_size: int | None = 1 << 20,
    ) -> None:
        deflate = as_deflate(compression)
        super().__init__(client=False, compression=deflate, max_size=max_size)
        self._handshake = ServerHandshake(
            origins=origins,
            subprotocols=subprotocols,
            select_subprotocol=select_subprotocol,
            compression=deflate,
            additional_headers=additional_headers,
            server_header=server_header,
        )
        self.request: Request | None = None

    def accept(self) -> Response:
        """Answer the request: open the connection, or refuse it if it is no handshake or not allowed.

        Returns:
            The response. Its status is 101 if the connection is open now; if not, :class:`HandshakeFailed`
            says why.

        Raises:
            InvalidState: there is no request to answer.
        """
        request = self._unanswered()
        try:
            accepted = self._handshake.accept(request)
        except HandshakeError as exc:
            return self._refuse(exc)
        self.response = accepted.to_response()
        self.subprotocol = accepted.subprotocol
        self._outgoing += accepted.response
        self._begin(accepted.deflate)
        return self.response

    def reject(self, status: int, body: str | bytes = b"", headers: HeadersLike = ()) -> Response:
        """Answer the request with another HTTP status than 101, and end the connection.

        Raises:
            InvalidState: there is no request to answer.
            ValueError: the status is 101, or none of HTTP.
        """
        request = self._unanswered()
        if status == 101:
            raise ValueError("a response with status 101 opens the connection: use accept()")
        response = Response.of(status, body, headers)
        response.headers["Connection"] = "close"
        data = response.serialize()
        if request.method == "HEAD" and response.body:
            data = data[: -len(response.body)]
        self.response = response
        self._outgoing += data
        self._failed = True
        self._incoming.clear()
        return response

    def _unanswered(self) -> Request:
        if self.request is None:
            raise InvalidState("there is no request yet")
        if self.response is not None or self._failed:
            raise InvalidState("the request is answered, or nobody waits for the answer")
        return self.request

    def _refuse(self, error: HandshakeError) -> Response:
        self.response = error_response(error)
        self._outgoing += self.response.serialize()
        self._fail(error)
        return self.response

    def _handshake_data(self) -> None:
        if self.request is not None:
            return
        try:
            head = self._head()
            if head is None:
                return
            self.request = Request.parse(head)
        except InvalidMessage as exc:
            self._refuse(exc)
        else:
            self._events.append(RequestReceived(self.request))


class ClientProtocol(BaseProtocol):
    """The client's side of one connection. Its request is among the bytes to send from the beginning.

    Parameters:
        uri: what to ask for; ``ws://`` or ``wss://`` make no difference here but for the default port.
        origin: the value of the header Origin.
        subprotocols: the subprotocols to offer, the preferred ones first.
        compression: ``"deflate"``, a :class:`Deflate` for its parameters, or None.
        additional_headers: further headers of the request.
        user_agent_header: the value of the header User-Agent; None: none.
        max_size: bytes of the largest message received; a larger one closes with 1009. None: no limit.

    Attributes:
        request: the request.

    Raises:
        InvalidURI: the URI is not one of a WebSocket server.
        ValueError, TypeError: an option does not make sense.
    """

    def __init__(
        self,
        uri: str,
        *,
        origin: str | None = None,
        subprotocols: Sequence[str] = (),
        compression: Literal["deflate"] | Deflate | None = "deflate",
        additional_headers: HeadersLike = (),
        user_agent_header: str | None = None,
        max_size: int | None = 1 << 20,
    ) -> None:
        deflate = as_deflate(compression)
        super().__init__(client=True, compression=deflate, max_size=max_size)
        target = parse_uri(uri)
        userinfo = target.userinfo
        self._handshake = ClientHandshake(
            host=target.host_header,
            path=target.path,
            origin=origin,
            subprotocols=subprotocols,
            compression=deflate,
            additional_headers=additional_headers,
            user_agent_header=user_agent_header,
            authorization=None if userinfo is None else basic_authorization(*userinfo),
        )
        self._body: Body | None = None
        self._refusal: HandshakeError | None = None
        self.request = self._handshake.request()
        self._outgoing += self.request.serialize()

    def _handshake_data(self) -> None:
        if self._body is None:
            try:
                head = self._head()
                if head is None:
                    return
                self.response = Response.parse(head)
            except InvalidMessage as exc:
                self._fail(exc)
                return
            self._check(self.response)
        if self._body is not None:
            data, self._incoming = bytes(self._incoming), bytearray()
            if self._body.feed(data):
                self._refused()

    def _check(self, response: Response) -> None:
        """See what the head of the response means."""
        try:
            agreed = self._handshake.check(response)
        except HandshakeError as exc:
            # What refuses may have a body, which says more.
            self._refusal = exc
            self._body = Body(response)
            return
        self.subprotocol = agreed.subprotocol
        self._events.append(ResponseReceived(response))
        self._begin(agreed.deflate)

    def _refused(self) -> None:
        """The response that refuses is complete, or what will come of it is."""
        assert self.response is not None
        assert self._body is not None
        assert self._refusal is not None
        self.response.body = self._body.data
        self._events.append(ResponseReceived(self.response))
        self._fail(self._refusal)

    def _handshake_eof(self) -> None:
        if self._body is not None and not self._failed:
            self._refused()
        else:
            super()._handshake_eof()
