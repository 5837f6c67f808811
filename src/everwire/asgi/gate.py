"""The gate to an ASGI application: WebSocket connections go through it to the application, or are refused."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from everwire._core.connection import Connection
from everwire._core.protocol import check_close
from everwire.asgi.bridge import Bridge
from everwire.asgi.routes import Direct, Routes
from everwire.asgi.scope import Application, client_of, websocket_scope
from everwire.errors import HandshakeError, InvalidOrigin
from everwire.websocket.codec import as_deflate
from everwire.websocket.extensions import Deflate, parse_tokens
from everwire.websocket.handshake import Accepted, ServerHandshake, error_response, has_token
from everwire.websocket.listener import Listener
from everwire.websocket.messages import Request, Response
from everwire.websocket.origins import Origins
from everwire.websocket.outcome import open_connection, refuse, shutting_down
from everwire.websocket.transport import hand_over

__all__ = ["Gate"]


class Gate:
    """Runs an ASGI application for WebSocket connections: ``Settings(on_head=gate.on_head)``.

    Parameters:
        app: the ASGI 3 application.
        root_path: the path that the application is mounted at.
        state: what the lifespan has made; each scope has a copy of it. None: scopes have no state.
        http: called for each request that is no WebSocket's to make the ``asyncio.Protocol`` that serves its
            connection. None: such requests are refused.
        origins: pages that may connect, as for :func:`everwire.serve`.
        compression: ``"deflate"``, a :class:`Deflate` for its parameters, or None.
        default_headers: headers of every 101 response, as pairs of bytes.
        server_header: the header ``Server`` of refusals; None: none.
        access: where accepted and refused WebSockets are noted; None: nowhere.
        logger: where failures go.
        asgi_version: the version of ASGI that scopes name.
        direct: asked first whether a request goes straight to a listener; None: none does. It may raise
            :exc:`HandshakeError` to refuse.
        forwarded: called with such a connection and its request to find out who is behind a proxy.

    Attributes:
        closing: whether every new WebSocket is refused, because the server shuts down.
        tasks: the runs of the application.
        default_headers: as given; may be replaced at any time.
    """

    def __init__(
        self,
        app: Application,
        *,
        root_path: str = "",
        state: Mapping[str, Any] | None = None,
        http: Callable[[], asyncio.Protocol] | None = None,
        origins: Origins = "same",
        compression: Literal["deflate"] | Deflate | None = "deflate",
        default_headers: Sequence[tuple[bytes, bytes]] = (),
        server_header: str | None = "everwire",
        access: logging.Logger | None = None,
        logger: logging.Logger | None = None,
        asgi_version: str = "3.0",
        direct: Direct | None = None,
        forwarded: Callable[[Connection, Request], object] | None = None,
    ) -> None:
        self.app = app
        self.compression = as_deflate(compression)
        self.default_headers = default_headers
        self.server_header = server_header
        self.access = access
        self.logger = logger if logger is not None else logging.getLogger("everwire.server")
        self.closing = False
        self.tasks: set[asyncio.Task[Any]] = set()
        self._bridges: dict[Connection, Bridge] = {}
        self._root_path = root_path
        self._state = state
        self._http = http
        self._asgi_version = asgi_version
        self._direct = direct
        self._forwarded = forwarded
        self._routes = Routes()
        self._handshake = ServerHandshake(origins=origins, compression=self.compression)

    def on_head(self, connection: Connection, head: bytes) -> None:
        """Run the application for a request, refuse it, or hand its connection over to plain HTTP."""
        try:
            request = Request.parse(head)
            if self._http is not None and not _wants_websocket(request):
                hand_over(connection, self._http(), head)
                return
            if self.closing:
                raise shutting_down()
            accepted = self._handshake.accept(request)
            if self._direct is not None and (found := self._direct(request)) is not None:
                self._open(connection, request, accepted, *found)
                return
            scope = websocket_scope(
                connection,
                request,
                root_path=self._root_path,
                state=self._state,
                asgi_version=self._asgi_version,
            )
        except HandshakeError as exc:
            if isinstance(exc, InvalidOrigin):
                self.logger.warning("refused a WebSocket: %s", str(exc))
            refuse(connection, error_response(exc), server_header=self.server_header)
            return
        except Exception:
            self.logger.exception("opening handshake failed")
            refuse(connection, Response.of(500, "internal error\n"), server_header=self.server_header)
            return
        connection.deliberate()
        bridge = Bridge(connection, self, scope, accepted)
        task = asyncio.get_running_loop().create_task(bridge.run())
        self.tasks.add(task)
        self._bridges[connection] = bridge

        def done(task: asyncio.Task[Any]) -> None:
            self.tasks.discard(task)
            del self._bridges[connection]

        task.add_done_callback(done)

    def _open(
        self,
        connection: Connection,
        request: Request,
        accepted: Accepted,
        listener: Listener,
        data: Any,
        subprotocol: str | None,
    ) -> None:
        """Open a connection that goes to a listener."""
        settings = self._routes.settings(connection, listener)
        lines = [b"%b: %b\r\n" % header for header in self.default_headers]
        if subprotocol is not None:
            name = "Sec-WebSocket-Protocol"
            if subprotocol not in parse_tokens(name, request.headers.get_all(name)):
                raise ValueError(f"the client does not offer the subprotocol {subprotocol!r}")
            lines.append(f"{name}: {subprotocol}\r\n".encode())
        if self._forwarded is not None:
            self._forwarded(connection, request)
        if self.access is not None:
            address = client_of({"client": connection.remote_address or None})
            self.access.info('%s - "WebSocket %s" [accepted]', address, request.path)
        connection.data = data
        response = accepted.response[:-2] + b"".join(lines) + b"\r\n"
        accepted = accepted._replace(response=response, subprotocol=subprotocol)
        open_connection(connection, accepted, self.compression, settings=settings)

    def runs(self, connection: Connection) -> bool:
        """Whether the application runs for a connection."""
        return connection in self._bridges

    def end(self, connection: Connection, code: int = 1012, reason: str = "") -> None:
        """Begin to close one connection as :meth:`close` does all of them."""
        bridge = self._bridges.get(connection)
        if bridge is not None:
            bridge.end(code, reason)
        elif not connection.opened or connection.is_open:
            connection.close(code, reason)

    def close(self, code: int = 1012, reason: str = "") -> None:
        """Refuse what comes, begin to close every connection with *code*, and tell the application so.

        A WebSocket that the application has not accepted yet is answered with 500. It is left to the caller
        to wait for :attr:`tasks`: see :meth:`shutdown`.

        Raises:
            ValueError: the code may not be sent, or the reason is too long.
        """
        check_close(code, reason)
        self.closing = True
        for bridge in list(self._bridges.values()):
            bridge.end(code, reason)

    async def shutdown(self, code: int = 1012, reason: str = "", *, timeout: float | None = 10.0) -> None:
        """Close as :meth:`close` does, and wait for the application; after *timeout* seconds, cancel it."""
        self.close(code, reason)
        if not self.tasks:
            return
        _, late = await asyncio.wait(self.tasks, timeout=timeout)
        for connection in list(self._bridges):
            connection.abort()
        for task in late:
            task.cancel()
        if late:
            await asyncio.wait(late)


def _wants_websocket(request: Request) -> bool:
    fields = request.headers.scan()
    return has_token(fields.get("upgrade"), "websocket") and has_token(fields.get("connection"), "upgrade")
