"""One connection of a server with threads: the opening handshake, the handler, the end."""

from __future__ import annotations

import logging
import ssl
from collections.abc import Callable, Sequence
from inspect import isawaitable
from typing import Any, cast

from everwire._core.http1 import MAX_HEAD, find_head_end, over_limit
from everwire._core.stream import monotonic
from everwire.errors import ConnectionClosed, HandshakeError
from everwire.sync.connection import Connection
from everwire.websocket.codec import codecs
from everwire.websocket.extensions import Deflate
from everwire.websocket.handshake import Accepted, ServerHandshake, error_response
from everwire.websocket.messages import Request, Response
from everwire.websocket.outcome import refusal, shutting_down

__all__ = ["Admission", "Handler", "ProcessRequest", "ProcessResponse"]

Handler = Callable[[Connection], object]
ProcessRequest = Callable[[Connection, Request], Response | None]
ProcessResponse = Callable[[Connection, Request, Response], Response | None]

LINGER = 2.0
"""Seconds for a peer that was refused to take the response and to close."""


class Admission:
    """Opens connections or refuses them, and runs the handler of those that it has opened.

    Attributes:
        closing: the close code and reason of a server that shuts down, and refuses every new
            request; None before.
    """

    def __init__(
        self,
        handler: Handler,
        handshake: ServerHandshake,
        *,
        context: ssl.SSLContext | None,
        process_request: Sequence[Callable[[Connection, Request], Any]],
        process_response: ProcessResponse | None,
        open_timeout: float | None,
        logger: logging.Logger,
    ) -> None:
        self._handler = handler
        self._handshake = handshake
        self._context = context
        self._process_request = process_request
        self._process_response = process_response
        self._open_timeout = open_timeout
        self._logger = logger
        self.closing: tuple[int | None, str] | None = None

    def serve(self, connection: Connection) -> None:
        """All of the life of a connection, in a thread of its own."""
        try:
            if not self._open(connection):
                return
        except OSError as exc:
            self._logger.debug("a connection ended before it was open: %s", exc)
            return
        finally:
            if connection.raw:
                connection.drop()
        connection.start()
        if self.closing is not None:
            connection.begin_close(*self.closing, 0)  # the end came while it was opened
        self._handle(connection)

    def _handle(self, connection: Connection) -> None:
        code, reason = 1011, "internal error"
        try:
            self._handler(connection)
            code, reason = 1000, ""
        except Exception as exc:
            if connection.is_open or not isinstance(exc, ConnectionClosed):
                self._logger.exception("connection handler failed")
            else:
                code, reason = 1000, ""
        finally:
            connection.close(code, reason)  # after SystemExit, too

    def _open(self, connection: Connection) -> bool:
        """The opening handshake; whether the connection is open."""
        timeout = self._open_timeout
        end = None if timeout is None else monotonic() + timeout

        def left() -> float | None:
            return None if end is None else max(0.0, end - monotonic())

        if self._context is not None:
            connection.secure(self._context, None, left())
        request = None
        try:
            head = self._read_head(connection, left)
            if head is None:
                return False
            request = connection.request = Request.parse(head)
            if self.closing is not None:
                raise shutting_down()
            accepted = self._decide(connection, request)
        except HandshakeError as exc:
            accepted = error_response(exc)
        except Exception:
            self._logger.exception("opening handshake failed")
            accepted = Response.of(500, "internal error\n")
        if isinstance(accepted, Response):
            self._refuse(connection, accepted, request)
            return False
        connection.write_raw(accepted.response, left())
        connection.response = accepted.to_response()
        connection.subprotocol = accepted.subprotocol
        if accepted.deflate is None:
            connection.open()
        else:
            compression = cast(Deflate, self._handshake.compression)
            connection.open(*codecs(accepted.deflate, compression, client=False), compression.threshold)
        return True

    def _read_head(self, connection: Connection, left: Callable[[], float | None]) -> bytes | None:
        """The head of the request, or None if the client has gone before."""
        try:
            head = connection.read_head(left())
        except TimeoutError:
            raise HandshakeError("the request has not come in time", 408) from None
        end = find_head_end(head)
        if 0 < end <= MAX_HEAD:
            return head
        if end > 0 or len(head) > MAX_HEAD:
            raise over_limit(head)
        return None

    def _decide(self, connection: Connection, request: Request) -> Accepted | Response:
        """Let the hooks decide, then the handshake itself."""
        for hook in self._process_request:
            answer = _plain(hook(connection, request), "process_request")
            if answer is not None:
                return answer
        accepted = self._handshake.accept(request)
        if self._process_response is None:
            return accepted
        response = accepted.to_response()
        changed = _plain(self._process_response(connection, request, response), "process_response")
        response = response if changed is None else changed
        return accepted._replace(response=response.serialize()) if response.status == 101 else response

    def _refuse(self, connection: Connection, response: Response, request: Request | None) -> None:
        """Answer with HTTP, and wait until the client has taken it."""
        self._logger.debug("answered %s to a request", response.status)
        data = refusal(response, request, server_header=self._handshake.server_header)
        connection.write_raw(data, LINGER)
        connection.finish_raw(LINGER)


def _plain(answer: Any, hook: str) -> Response | None:
    if isawaitable(answer):
        close: Any = getattr(answer, "close", None)
        if close is not None:
            close()  # a coroutine: nobody forgot to await it
        raise TypeError(f"{hook} is to be a plain function: there is no event loop to await its result on")
    return cast("Response | None", answer)
