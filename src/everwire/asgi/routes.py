"""Connections of a hosted application that go straight to a listener: WebSockets, and streams over HTTP."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Literal

from everwire._core.connection import Connection
from everwire._core.settings import Settings
from everwire._core.streaming import FRAMINGS
from everwire.errors import InvalidState
from everwire.websocket.listener import Callbacks, Listener
from everwire.websocket.messages import Request
from everwire.websocket.transport import ReactorTransport

__all__ = ["Direct", "Routes", "StreamOpener"]

Direct = Callable[[Request], tuple[Listener, Any, str | None] | None]
"""Which listener a WebSocket request goes to, what its connection's ``data`` is and its subprotocol; None: it
goes to the application, as others do."""

_MOST = 64
"""Listeners whose settings are kept: an application has few, but one might make them anew each time."""


class Routes:
    """The settings of connections that go to listeners: one for each, made once."""

    def __init__(self) -> None:
        self._known: dict[Listener, Settings] = {}

    def settings(self, connection: Connection, listener: Listener) -> Settings:
        """The connection's settings with this listener, and its limits.

        Raises:
            TypeError, ValueError: it is no listener, or its limits make no sense.
        """
        found = self._known.get(listener)
        if found is None:
            if not isinstance(listener, Listener):  # pyright: ignore[reportUnnecessaryIsInstance]
                raise TypeError(f"a connection goes to a Listener, not to {type(listener).__name__}")
            found = connection.settings.derive(listener=Callbacks(listener), **listener.limits)
            if len(self._known) >= _MOST:
                del self._known[next(iter(self._known))]
            self._known[listener] = found
        return found


class StreamOpener:
    """Opens a stream in place of a request's response: ``scope["extensions"]["everwire"]["stream"]``."""

    __slots__ = ("_routes", "_transport")

    def __init__(self, transport: ReactorTransport, routes: Routes) -> None:
        self._transport = transport
        self._routes = routes

    def __call__(
        self,
        status: int | None,
        headers: Iterable[tuple[bytes, bytes]],
        framing: Literal["lines", "events", "raw"],
        *,
        listener: Listener,
        data: Any = None,
    ) -> Connection:
        """Answer the request with a response that goes on for as long as the connection it returns.

        The application's run of the request has nothing more to do: it returns. What it sends after this goes
        nowhere; so events of a whole response may be sent for middleware that waits for one.

        Parameters:
            status: the response's status; None: ``http.response.start`` was sent, as goes through middleware.
            headers: those of the response, without ``Content-Length`` and ``Transfer-Encoding``.
            framing: how a message is written: ``"lines"``, with a newline behind it; ``"events"``, as data
                of a server-sent event; ``"raw"``, as it is.
            listener: what is told of the connection; its ``on_message`` never is.
            data: the connection's ``data``. Its ``remote_address`` is the scope's ``client``.

        Raises:
            InvalidState: the request cannot be answered so: its client is gone, its response has begun (or
                has not, with *status* None), other requests wait behind it, or it is a HEAD request.
            ValueError: there is no such framing, or the headers say how long the body is.
        """
        if framing not in FRAMINGS:
            raise ValueError(f"the framing of a stream is one of {', '.join(FRAMINGS)}, not {framing!r}")
        transport = self._transport
        protocol: Any = transport.get_protocol()
        cycle = self._cycle(protocol)
        connection = transport.connection
        settings = self._routes.settings(connection, listener)
        if status is None:
            if not cycle.response_started:
                raise InvalidState("the response has not begun: middleware holds it back")
        elif cycle.response_started:
            raise InvalidState("the response has begun: its status is None here")
        else:
            _begin(cycle, status, [*headers])
        if getattr(cycle, "expected_content_length", 0):
            raise ValueError("a stream has no Content-Length")
        chunked = getattr(cycle, "chunked_encoding", cycle.scope["http_version"] != "1.0")
        cycle.response_complete = cycle.disconnected = True
        cycle.message_event.set()
        protocol.server_state.total_requests += 1
        connection.data = data
        client, address = cycle.scope["client"], connection.remote_address
        if client and client[0] != address[0]:
            connection.set_remote_address(client[0], client[1])
        transport.detach()
        connection.open_stream(b"", framing, chunked=chunked, settings=settings)
        return connection

    def _cycle(self, protocol: Any) -> Any:
        """uvicorn's state of the request, if that is the one which the connection is busy with."""
        cycle = getattr(protocol, "cycle", None)
        if self._transport.is_closing() or cycle is None or cycle.disconnected:
            raise InvalidState("the client is gone")
        extensions = cycle.scope.get("extensions")  # another request's, or none yet, if others wait
        if cycle.response_complete or not extensions or extensions["everwire"]["stream"] is not self:
            raise InvalidState("the response is complete, or other requests wait behind this one")
        if cycle.scope["method"] == "HEAD":
            raise InvalidState("the response to HEAD has no body")
        return cycle


def _begin(cycle: Any, status: int, headers: list[tuple[bytes, bytes]]) -> None:
    """Have uvicorn write the head, and its line in the access log."""
    names = {name.lower() for name, _ in headers}
    if names & {b"content-length", b"transfer-encoding"}:
        raise ValueError("a stream has no Content-Length, and its Transfer-Encoding is not the application's")
    if b"connection" not in names:
        headers.append((b"connection", b"close"))
    if cycle.scope["http_version"] == "1.0":
        cycle.chunked_encoding = False  # the end of the connection ends the body
    sending = cycle.send({"type": "http.response.start", "status": status, "headers": headers})
    try:
        sending.send(None)
    except StopIteration:
        return
    sending.close()
    raise InvalidState("the client has not taken the responses before this one")
