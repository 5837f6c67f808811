"""Tests of applications with channels, in memory: ``async with client(hub, user="ann") as ann: ...``."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from types import TracebackType
from typing import Any, ClassVar, Self

from everwire._core.connection import Connection
from everwire.asgi.gate import Gate
from everwire.asgi.lifespan import Lifespan
from everwire.asgi.scope import Application
from everwire.asgi.testing import attach
from everwire.channels.carrier import Carrier, Origin
from everwire.channels.context import Credentials
from everwire.channels.session import Session
from everwire.client.client import Client
from everwire.client.connector import Connector, Way
from everwire.client.links import Link, LinkOptions, WebSocketLink
from everwire.client.session import Ending
from everwire.client.states import ClientState
from everwire.hub import Hub
from everwire.transports.asgi import HubApplication

__all__ = ["client"]

_SECONDS = 5.0
"""How long an application may take to end a connection, and itself."""


class _HubSite(HubApplication):
    """A hub for clients of whom it may be known who they are."""

    def __init__(self, hub: Hub, credentials: Credentials | None) -> None:
        super().__init__(hub, hub.transports)
        self._credentials = credentials

    def open(self, carrier: Carrier, origin: Origin) -> Session:
        """Begin a session over a carrier."""
        origin.credentials = self._credentials
        return super().open(carrier, origin)

    async def begin(self) -> None:
        """Begin with the hub, and take connections."""
        await self._start()


class _Life:
    """That of a hub or an application: it begins with its first client, and ends with the last."""

    _all: ClassVar[dict[int, _Life]] = {}

    def __init__(self, app: Hub | Application) -> None:
        self._app = app
        self._clients = 0
        self._lifespan = Lifespan(app, "off" if isinstance(app, Hub) else "auto")
        self._ours = isinstance(app, Hub) and not app.is_started
        self._lock = asyncio.Lock()
        self.state = self._lifespan.state

    @classmethod
    def of(cls, app: Hub | Application) -> _Life:
        """That of this application."""
        return cls._all.setdefault(id(app), cls(app))

    async def enter(self) -> None:
        """There is one client more."""
        self._clients += 1
        try:
            async with self._lock:
                if isinstance(self._app, Hub):
                    await self._app.start()
                elif self._clients == 1:
                    await self._lifespan.startup()
        except BaseException:
            self._clients -= 1
            self._forget()
            raise

    async def leave(self) -> None:
        """There is one client less."""
        self._clients -= 1
        async with self._lock:
            if self._clients:
                return
            self._forget()
            if self._ours and isinstance(self._app, Hub):
                await self._app.close()
            await self._lifespan.shutdown(timeout=_SECONDS)

    def _forget(self) -> None:
        if not self._clients:
            self._all.pop(id(self._app), None)


class client(Client):
    """A client of a hub in this event loop, without a port: ``async with client(hub, user="ann") as ann``.

    It is a :class:`everwire.Client`; the bytes pass through a pair of sockets, and the hub decides about
    what it asks for as it does about everybody's. A hub that was not started is, with its first client, and
    is closed after its last one; ``async with hub:`` around them keeps it.

    Parameters:
        app: the hub, or the ASGI application that mounts it: its lifespan goes from the first of its clients
            to the last.
        user: whom the client is of: the hub takes it as given, and asks neither for a token nor the
            ``connect`` hook. For a hub only.
        credentials: the same with all that a ``connect`` hook may answer.
        path: where the hub's WebSockets are.
        options: of :class:`everwire.Client`: ``token``, ``data``, ``format``, ``decode``,
            ``additional_headers`` ... Delays are made for tests: it comes back after 10 to 50 ms.

    Raises:
        ValueError: it is said in two ways who the client is, or to an application.
    """

    def __init__(
        self,
        app: Hub | Application,
        *,
        user: str = "",
        credentials: Credentials | None = None,
        path: str = "/connection/websocket",
        **options: Any,
    ) -> None:
        if user:
            if credentials is not None:
                raise ValueError("say who the client is by `user` or by `credentials`, not by both")
            credentials = Credentials(user=user)
        if credentials is not None and (options.get("token") or options.get("get_token")):
            raise ValueError(
                "a client with a token is whom the token names: leave `user` and `credentials` out"
            )
        if credentials is not None and not isinstance(app, Hub):
            raise ValueError(
                "`user` and `credentials` are for hubs: an application finds out itself who comes"
            )
        self._app = app
        self._life: _Life | None = None
        self._site: _HubSite | None = _HubSite(app, credentials) if isinstance(app, Hub) else None
        self._gate: Gate | None = None
        self._server: Connection | None = None
        self._online = asyncio.Event()
        self._online.set()
        self._lost = asyncio.Event()
        settings: dict[str, Any] = {
            "min_reconnect_delay": 0.01,
            "max_reconnect_delay": 0.05,
            "ready_timeout": _SECONDS,
            "compression": None,
            **options,
            "proxy": None,
        }
        super().__init__(f"ws://testserver{path}", **settings)

    # The network

    def cut(self) -> None:
        """Cut the connection, as a network does: neither side says goodbye, and the client comes back."""
        if self._server is not None:
            self._server.abort()

    @asynccontextmanager
    async def offline(self) -> AsyncGenerator[None, None]:
        """Be without a network: ``async with ann.offline(): await hub.publish(...)``.

        On entering, the connection is cut. On leaving, the client is back, and its subscriptions are, too.
        """
        connected = self.state is ClientState.CONNECTED
        self._online.clear()
        self._lost.clear()
        self.cut()
        try:
            if connected:
                await self._lost.wait()
            yield
        finally:
            self._online.set()
        if self.state is not ClientState.DISCONNECTED:
            await self.connect()
            waiting = [each.ready() for each in tuple(self._subscriptions.values())]
            # What the hub refuses now, the subscription itself tells.
            await asyncio.gather(*waiting, return_exceptions=True)

    # Inside

    def _new_connector(self) -> Connector:
        return Connector(self, [Way("websocket", self.uri, self._open, 0)], self._link_options, self._token)

    async def _open(self, uri: str, options: LinkOptions, first: bytes) -> Link:
        await self._online.wait()
        if self._gate is None:
            raise RuntimeError("this client begins with `async with`")
        self._server, sock = await attach(self._gate)
        try:
            return await WebSocketLink.open(
                uri, replace(options, websocket={**options.websocket, "sock": sock})
            )
        except BaseException:
            sock.close()
            raise

    def lost(self, ending: Ending, *, was_connected: bool) -> None:
        """A session is over, and another one is tried. (For the connector.)"""
        super().lost(ending, was_connected=was_connected)
        self._lost.set()

    async def __aenter__(self) -> Self:
        self._life = life = _Life.of(self._app)
        await life.enter()
        state: Mapping[str, Any] | None = None
        if self._site is not None:
            await self._site.begin()
        else:
            state = life.state
        self._gate = Gate(
            self._app if self._site is None else self._site,
            state=state,
            origins=None,
            server_header=None,
            direct=None if self._site is None else self._site.everwire_listener,
        )
        try:
            return await super().__aenter__()
        except BaseException:
            await self._leave()
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await super().__aexit__(kind, exc, trace)
        finally:
            await self._leave()

    async def _leave(self) -> None:
        gate, self._gate = self._gate, None
        life, self._life = self._life, None
        if gate is not None:
            await gate.shutdown(timeout=_SECONDS)
        if life is not None:
            await life.leave()
