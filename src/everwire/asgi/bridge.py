"""One WebSocket of an ASGI application: the run of the application, and what its events do."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from enum import Enum
from typing import TYPE_CHECKING, Any, NoReturn

from everwire._core.asgi import Exchange
from everwire._core.connection import Connection
from everwire.asgi.scope import Event, Scope, client_of, path_of
from everwire.errors import ClientDisconnected, ConnectionClosed
from everwire.websocket.handshake import Accepted, check_additional
from everwire.websocket.messages import Headers, Response
from everwire.websocket.outcome import complete, open_connection, refuse

if TYPE_CHECKING:
    from everwire.asgi.gate import Gate

__all__ = ["Bridge"]


_PLAIN = (("Content-Type", "text/plain; charset=utf-8"),)


class Stage(Enum):
    """How far an application has come."""

    DECIDING = "deciding"
    OPEN = "open"
    DENYING = "denying"
    """A response was begun in place of the WebSocket."""
    OVER = "over"
    """The application has closed or refused the connection."""


class Bridge(Exchange):
    """The exchange of events between an application and one connection."""

    def __init__(self, connection: Connection, gate: Gate, scope: Scope, accepted: Accepted) -> None:
        self._gate = gate
        self._scope = scope
        self._accepted: Accepted | None = accepted
        self._stage = Stage.DECIDING
        self._denial: Response | None = None
        self._streaming = False

    async def run(self) -> None:
        """Run the application to its end, which is the end of the connection."""
        gate = self._gate
        try:
            result = await gate.app(self._scope, self.receive, self.send)
        except ClientDisconnected:
            self._finish(1011, "internal error")
        except asyncio.CancelledError:
            self._finish(1012, "")
            raise
        except Exception:
            gate.logger.exception("Exception in ASGI application\n")
            self._finish(1011, "internal error")
        else:
            if self._stage is Stage.DECIDING and not self.connection.closed:
                gate.logger.error("ASGI callable returned without completing handshake.")
            elif result is not None:
                gate.logger.error("ASGI callable should return None, but returned '%s'.", result)
            self._finish(1000, "")

    def _finish(self, code: int, reason: str) -> None:
        """The application has ended: so does the connection, if the application did not see to that."""
        connection = self.connection
        if self._stage is Stage.DECIDING:
            self._answer(Response.of(500, "Internal Server Error"))
        elif self._stage is Stage.DENYING:
            connection.abort()  # half a response must not look like a whole one
        elif self._stage is Stage.OPEN and connection.is_open:
            connection.close(code, reason)
        self._stage = Stage.OVER

    def end(self, code: int, reason: str) -> None:
        """The server shuts down: say so to the client, and to the application."""
        if self._stage is Stage.OPEN:
            if self.connection.is_open:
                self.part({"type": "websocket.disconnect", "code": code})
                self.connection.close(code, reason)
        elif self._stage is Stage.DECIDING:
            self._answer(Response.of(500, "Internal Server Error"))
            self.part({"type": "websocket.disconnect", "code": code})

    # What the core asks for

    def disconnected(self) -> dict[str, Any]:
        """The event for a connection that is over, and nobody here has ended it."""
        connection = self.connection
        event: dict[str, Any] = {"type": "websocket.disconnect"}
        error = connection.close_error
        if not connection.opened or error is None:
            return {**event, "code": 1006}
        frame = error.received
        if error.sent is not None and not error.received_first:
            frame = error.sent  # the peer broke the protocol, or did not answer pings
        # The code for a client that is just gone is that of uvicorn; the connection's close_code says 1006.
        return (
            {**event, "code": 1005}
            if frame is None
            else {**event, "code": frame.code, "reason": frame.reason}
        )

    async def drained(self) -> None:
        """Wait until the client has taken enough."""
        try:
            await self.connection.drain()
        except ConnectionClosed as exc:
            raise ClientDisconnected("the client is gone") from exc

    async def send_otherwise(self, event: Event, error: Exception | None) -> None:
        """Do what an event says, when it is no message on an open connection."""
        if isinstance(error, ConnectionClosed):
            raise ClientDisconnected("the client is gone") from error
        if error is not None:
            raise error
        kind = event.get("type")
        if self.connection.closed or (self._stage is Stage.OPEN and not self.connection.is_open):
            raise ClientDisconnected("the client is gone") from self.connection.close_error
        match self._stage:
            case Stage.DECIDING:
                self._decide(kind, event)
            case Stage.DENYING:
                if kind != "websocket.http.response.body":
                    _unexpected(kind, "'websocket.http.response.body'")
                await self._deny(event)
            case Stage.OPEN if kind == "websocket.send":
                await self._send_message(event)
            case Stage.OPEN if kind == "websocket.close":
                self._close(event)
            case Stage.OPEN:
                _unexpected(kind, "'websocket.send' or 'websocket.close'")
            case Stage.OVER:
                raise RuntimeError(
                    f"Unexpected ASGI message {kind!r}, after sending 'websocket.close' or a whole response."
                )

    # What the application says

    def _decide(self, kind: object, event: Event) -> None:
        if kind == "websocket.accept":
            self._accept(event)
        elif kind == "websocket.close":
            self._log("403")
            self._answer(Response.of(403, "", _PLAIN))
            self._leave(1006)
        elif kind == "websocket.http.response.start":
            self._denial = self._response(event)
            self._log(str(self._denial.status))
            self._stage = Stage.DENYING
        else:
            _unexpected(kind, "'websocket.accept', 'websocket.close' or 'websocket.http.response.start'")

    def _accept(self, event: Event) -> None:
        gate, accepted = self._gate, self._accepted
        assert accepted is not None
        headers = _headers([*gate.default_headers, *(event.get("headers") or ())])
        check_additional(headers, "the headers of 'websocket.accept'")
        subprotocol = event.get("subprotocol")
        if subprotocol:
            headers["Sec-WebSocket-Protocol"] = subprotocol
            if subprotocol not in self._scope["subprotocols"]:
                gate.logger.warning(
                    "the application accepts with the subprotocol %r, which the client does not offer: "
                    "most clients fail the connection then",
                    subprotocol,
                )
        self._log("[accepted]")
        self._accepted = None
        self._stage = Stage.OPEN
        response = accepted.with_headers(headers)
        open_connection(
            self.connection,
            accepted._replace(response=response, subprotocol=subprotocol or None),
            gate.compression,
        )

    async def _send_message(self, event: Event) -> None:
        data: Any = event.get("bytes")
        text: Any = event.get("text")
        if data is not None:
            if not isinstance(data, (bytes, bytearray, memoryview)):
                raise TypeError(f"bytes of 'websocket.send' is {type(data).__name__}; text goes under 'text'")
            await self._send(data)
        elif isinstance(text, str):
            await self._send(text)
        elif text is not None:
            raise TypeError(f"text of 'websocket.send' is {type(text).__name__}, not str")
        else:
            raise ValueError("'websocket.send' needs 'bytes' or 'text'; both are missing or None")

    async def _send(self, message: Any) -> None:
        try:
            await self.connection.send(message)
        except ConnectionClosed as exc:
            raise ClientDisconnected("the client is gone") from exc

    def _close(self, event: Event) -> None:
        code, reason = event.get("code", 1000), event.get("reason") or ""
        self.connection.close(code, reason)
        self._stage = Stage.OVER
        self.part({"type": "websocket.disconnect", "code": code, "reason": reason})

    # Refusals

    def _answer(self, response: Response) -> None:
        refuse(self.connection, response, server_header=self._gate.server_header)

    def _leave(self, code: int) -> None:
        """The application has had its last word."""
        self._stage = Stage.OVER
        self.part({"type": "websocket.disconnect", "code": code})

    def _response(self, event: Event) -> Response:
        status = event.get("status")
        if not isinstance(status, int) or not 200 <= status < 600:
            raise RuntimeError(f"Invalid HTTP status code {status!r} in response; it is from 200 to 599.")
        response = Response.of(status)
        response.headers.update(_headers(event.get("headers") or ()))
        return response

    async def _deny(self, event: Event) -> None:
        """Send a part of the body: the only one with its length, several as they come."""
        response, connection = self._denial, self.connection
        assert response is not None
        body, more = event.get("body") or b"", bool(event.get("more_body"))
        if not self._streaming:
            response.body = body if not more else b""
            if "Content-Type" not in response.headers:
                response.headers.update(_PLAIN)
            if not more:
                self._answer(response)
                self._leave(1006)
                return
            self._streaming = True
            if "Content-Length" not in response.headers:
                response.headers["Transfer-Encoding"] = "chunked"
            complete(response, server_header=self._gate.server_header)
            connection.raw_write(response.serialize())
        if "Transfer-Encoding" in response.headers:
            body = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
            body += b"" if more else b"0\r\n\r\n"
        if more:
            connection.raw_write(body)
            await self.drained()
        else:
            connection.reject(body)
            self._leave(1006)

    def _log(self, outcome: str) -> None:
        access = self._gate.access
        if access is not None:
            access.info('%s - "WebSocket %s" %s', client_of(self._scope), path_of(self._scope), outcome)


def _headers(pairs: Iterable[tuple[bytes, bytes]]) -> Headers:
    return Headers([(name.decode("latin-1"), value.decode("latin-1")) for name, value in pairs])


def _unexpected(kind: object, expected: str) -> NoReturn:
    raise RuntimeError(f"Expected ASGI message {expected}, but got {kind!r}.")
