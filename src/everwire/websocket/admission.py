"""Who is let in: what a server answers to the request of an opening handshake."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from everwire._core.connection import Connection
from everwire.errors import HandshakeError
from everwire.pacing import RateLimit
from everwire.websocket.handshake import Accepted, ServerHandshake, error_response
from everwire.websocket.messages import Request, Response
from everwire.websocket.outcome import open_connection, refuse, shutting_down
from everwire.websocket.transport import hand_over

__all__ = ["Admission", "ProcessRequest", "ProcessResponse"]

ProcessRequest = Callable[[Connection, Request], Response | Awaitable[Response | None] | None]
ProcessResponse = Callable[[Connection, Request, Response], Response | Awaitable[Response | None] | None]


class Admission:
    """Opens connections, refuses them, or hands them over to plain HTTP.

    Attributes:
        closing: whether every new request is refused, because the server shuts down.
        tasks: decisions that take time.
    """

    def __init__(
        self,
        handshake: ServerHandshake,
        *,
        process_request: Sequence[ProcessRequest],
        process_response: ProcessResponse | None,
        http: Callable[[], asyncio.Protocol] | None,
        rate_limit: RateLimit | None = None,
        logger: logging.Logger,
    ) -> None:
        self._handshake = handshake
        self._rate_limit = rate_limit
        self._process_request = process_request
        self._process_response = process_response
        self._http = http
        self._logger = logger
        self.closing = False
        self.tasks: set[asyncio.Task[Any]] = set()

    def on_head(self, connection: Connection, head: bytes) -> None:
        """Decide about a request, by its head; a hook that is a coroutine takes its time."""
        try:
            request = Request.parse(head)
            if self.closing:
                raise shutting_down()
            if self._rate_limit is not None and (self._http is None or "upgrade" in request.headers):
                self._rate_limit.admit()
            if self._process_request:
                self._ask(connection, request, head)
                return
            if self._http is not None and "upgrade" not in request.headers:
                hand_over(connection, self._http(), head)
                return
            accepted = self._accept(connection, request)
        except HandshakeError as exc:
            self._refuse(connection, error_response(exc))
            return
        except Exception:
            self._broken(connection)
            return
        if self._process_response is not None:
            self._later(self._revise(connection, request, accepted), connection)
            return
        self._open(connection, accepted)

    def _ask(self, connection: Connection, request: Request, head: bytes) -> None:
        """Let the ``process_request`` hooks decide; a coroutine only if one of them is."""
        connection.request = request
        for i, hook in enumerate(self._process_request):
            answer = hook(connection, request)
            if inspect.isawaitable(answer):
                rest = self._process_request[i + 1 :]
                self._later(self._ask_later(connection, request, head, answer, rest), connection)
                return
            if answer is not None:
                self._refuse(connection, answer, request)
                return
        self._decide(connection, request, head)

    async def _ask_later(
        self,
        connection: Connection,
        request: Request,
        head: bytes,
        answer: Awaitable[Response | None],
        rest: Sequence[ProcessRequest],
    ) -> None:
        response = await answer
        for hook in rest:
            if response is not None:
                break
            again = hook(connection, request)
            response = await again if inspect.isawaitable(again) else again
        if response is not None:
            self._refuse(connection, response, request)
        else:
            self._decide(connection, request, head)

    def _decide(self, connection: Connection, request: Request, head: bytes) -> None:
        """No hook has answered: it is a WebSocket handshake, or for the HTTP protocol."""
        if connection.closed:
            return
        if self._http is not None and "upgrade" not in request.headers:
            hand_over(connection, self._http(), head)
            return
        if self.closing:
            raise shutting_down()
        accepted = self._accept(connection, request)
        if self._process_response is not None:
            self._later(self._revise(connection, request, accepted), connection)
        else:
            self._open(connection, accepted)

    def _accept(self, connection: Connection, request: Request) -> Accepted:
        """The handshake's answer to a request."""
        return self._handshake.accept(request)

    async def _revise(self, connection: Connection, request: Request, accepted: Accepted) -> None:
        """Let ``process_response`` change the response, or replace it by a refusal."""
        assert self._process_response is not None
        response = accepted.to_response()
        answer = self._process_response(connection, request, response)
        changed = await answer if inspect.isawaitable(answer) else answer
        response = response if changed is None else changed
        if response.status != 101:
            self._refuse(connection, response, request)
        else:
            self._open(connection, accepted._replace(response=response.serialize()))

    def _open(self, connection: Connection, accepted: Accepted) -> None:
        open_connection(connection, accepted, self._handshake.compression)

    def _refuse(self, connection: Connection, response: Response, request: Request | None = None) -> None:
        self._logger.debug("answered %s to a request", response.status)
        refuse(connection, response, request, server_header=self._handshake.server_header)

    def _broken(self, connection: Connection) -> None:
        """A hook has failed."""
        self._logger.exception("opening handshake failed")
        self._refuse(connection, Response.of(500, "internal error\n"))

    def _later(self, decision: Any, connection: Connection) -> None:
        """Run a decision that may take time; nothing is read from the connection meanwhile."""

        async def decide() -> None:
            try:
                await decision
            except HandshakeError as exc:
                self._refuse(connection, error_response(exc))
            except Exception:
                self._broken(connection)

        task = asyncio.get_running_loop().create_task(decide())
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
