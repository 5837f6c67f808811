"""Who is let in by a server: everwire's own decision, with the hooks of ``websockets``."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, cast

import everwire
from everwire.compat.websockets.exceptions import InvalidMessage, NegotiationError
from everwire.compat.websockets.http11 import Request, Response, as_response
from everwire.websocket import admission
from everwire.websocket.handshake import Accepted, ServerHandshake

if TYPE_CHECKING:
    from everwire.compat.websockets.asyncio.server import Server, ServerConnection

__all__ = ["Admission", "ProcessRequest", "ProcessResponse", "SelectSubprotocol"]

ProcessRequest = Callable[["ServerConnection", Request], Awaitable[Response | None] | Response | None]
ProcessResponse = Callable[
    ["ServerConnection", Request, Response], Awaitable[Response | None] | Response | None
]
SelectSubprotocol = Callable[["ServerConnection", Sequence[Any]], str | None]


class Admission(admission.Admission):
    """Opens connections or refuses them, for one server.

    Attributes:
        server: the server, once it is there.
    """

    server: Server

    def __init__(
        self,
        handshake: ServerHandshake,
        *,
        process_request: ProcessRequest | None,
        process_response: ProcessResponse | None,
        select_subprotocol: SelectSubprotocol | None,
        logger: logging.Logger,
    ) -> None:
        self._on_request = process_request
        self._on_response = process_response
        self._chooser = select_subprotocol
        self._accepting: ServerConnection | None = None
        super().__init__(
            handshake,
            process_request=[] if process_request is None else [self._ask_user],
            process_response=None if process_response is None else self._revise_for_user,
            http=None,
            logger=logger,
        )
        if select_subprotocol is not None or handshake.subprotocols:
            handshake.select_subprotocol = self._choose

    def _accept(self, connection: everwire.Connection, request: everwire.Request) -> Accepted:
        self._accepting = cast("ServerConnection", connection)
        try:
            # The hook may have changed its request.
            return super()._accept(connection, self._accepting.request.native())
        finally:
            self._accepting = None

    def _choose(self, request: everwire.Request, offered: list[str]) -> str | None:
        """As ``websockets`` does it: a server with subprotocols refuses clients that speak none of them."""
        assert self._accepting is not None
        if self._chooser is not None:
            return self._chooser(self._accepting, offered)
        names = self._handshake.subprotocols
        for name in names:
            if name in offered:
                return name
        raise NegotiationError(f"the client must offer one of the subprotocols {', '.join(names)}")

    def _open(self, connection: everwire.Connection, accepted: Accepted) -> None:
        ours = cast("ServerConnection", connection)
        ours.server = self.server
        ours.answer = accepted.response
        super()._open(connection, accepted)

    def _ask_user(self, connection: everwire.Connection, request: everwire.Request) -> Any:
        assert self._on_request is not None
        ours = cast("ServerConnection", connection)
        ours.server = self.server
        answer = self._on_request(ours, ours.request)
        return _refusal_later(answer) if inspect.isawaitable(answer) else _refusal(answer)

    async def _revise_for_user(
        self, connection: everwire.Connection, request: everwire.Request, response: everwire.Response
    ) -> everwire.Response:
        assert self._on_response is not None
        ours = cast("ServerConnection", connection)
        ours.revised = True
        shown = as_response(response)
        answer = self._on_response(ours, ours.request, shown)
        changed = await answer if inspect.isawaitable(answer) else answer
        return (shown if changed is None else changed).native()

    def _refuse(
        self,
        connection: everwire.Connection,
        response: everwire.Response,
        request: everwire.Request | None = None,
    ) -> None:
        # Unlike everwire's own hook, this one is asked about refusals, too.
        if self._on_response is not None and not cast("ServerConnection", connection).revised:
            try:
                request = cast("ServerConnection", connection).request.native()
            except InvalidMessage:
                pass  # there is no request to show
            else:
                self._later(self._revise_refusal(connection, request, response), connection)
                return
        super()._refuse(connection, response, request)

    async def _revise_refusal(
        self, connection: everwire.Connection, request: everwire.Request, response: everwire.Response
    ) -> None:
        revised = await self._revise_for_user(connection, request, response)
        self._refuse(connection, _checked(revised), request)


def _refusal(answer: Response | None) -> everwire.Response | None:
    return None if answer is None else _checked(answer.native())


async def _refusal_later(answer: Awaitable[Response | None]) -> everwire.Response | None:
    return _refusal(await answer)


def _checked(response: everwire.Response) -> everwire.Response:
    if response.status == 101:
        raise ValueError("a response 101 cannot be made by hand: return None, and everwire makes it")
    return response
