"""everwire's WebSocket protocol for uvicorn: ``uvicorn --ws everwire.asgi:UvicornProtocol``."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, cast

from everwire._core.connection import Connection
from everwire._core.settings import Settings
from everwire.asgi.gate import Gate
from everwire.asgi.scope import Application
from everwire.websocket.fallback import Adapter
from everwire.websocket.messages import Request
from everwire.websocket.origins import Origins

if TYPE_CHECKING:
    from uvicorn.config import Config
    from uvicorn.server import ServerState

__all__ = ["UvicornProtocol"]

_KEPT = "_everwire"
_SHUTDOWN = 2.0
"""Seconds that clients have, once told that the server restarts, before their connections are dropped."""


class UvicornProtocol(Adapter):
    """WebSockets of a uvicorn server, on uvicorn's transports: one object a connection, made by uvicorn.

    It honours ``ws_max_size``, ``ws_max_queue``, ``ws_ping_interval``, ``ws_ping_timeout``,
    ``ws_per_message_deflate`` and ``root_path``.

    Attributes:
        origins: pages that may connect, as for :func:`everwire.serve`; a subclass can say so. None, any, is
            what uvicorn's own protocols do.
    """

    origins: Origins = None

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        if not config.loaded:
            config.load()
        # Kept with the server's state, so that it goes when that goes.
        kept = vars(server_state)
        shared: _Shared | None = kept.get(_KEPT)
        if shared is None:
            shared = kept[_KEPT] = _Shared(config, server_state, app_state, self.origins)
        shared.gate.default_headers = server_state.default_headers
        super().__init__(Connection(shared.settings, _loop))
        self._gate = shared.gate
        self._connections = cast(set[object], server_state.connections)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """uvicorn's HTTP protocol has met a request for a WebSocket; its head comes first."""
        self._connections.add(self)
        super().connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """The transport is gone."""
        self._connections.discard(self)
        super().connection_lost(exc)

    def shutdown(self) -> None:
        """uvicorn stops: tell the application and the client that the service restarts (1012)."""
        self._gate.end(self.connection, 1012, "")
        if not self.connection.closed:
            asyncio.get_running_loop().call_later(_SHUTDOWN, self.connection.abort)


class _Shared:
    """What all WebSockets of one uvicorn server have in common."""

    def __init__(
        self, config: Config, server_state: ServerState, app_state: dict[str, Any], origins: Origins
    ) -> None:
        logger = logging.getLogger("uvicorn.error")
        self.gate = Gate(
            cast(Application, config.loaded_app),  # pyright: ignore[reportUnknownMemberType]
            root_path=config.root_path,
            state=app_state,
            origins=origins,
            compression="deflate" if config.ws_per_message_deflate else None,
            server_header=None,
            access=logger,
            logger=logger,
            asgi_version=config.asgi_version,
        )
        self.gate.tasks = server_state.tasks
        interval, timeout = config.ws_ping_interval, config.ws_ping_timeout
        self.settings = Settings(
            client=False,
            on_head=self.gate.on_head,
            parse_head=Request.parse,
            max_size=config.ws_max_size,
            max_queue=config.ws_max_queue,
            # To uvicorn, 0 means never.
            ping_interval=interval if interval and interval > 0 else None,
            ping_timeout=timeout if timeout and timeout > 0 else None,
            open_timeout=None,
            logger=logger,
        )
