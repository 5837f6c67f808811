"""The ASGI application of a hub: its transports by path."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from everwire.channels.carrier import Carrier, Origin
from everwire.errors import ClientDisconnected, EverwireError, HandshakeError, InvalidOrigin
from everwire.pacing import as_rate_limit
from everwire.transports.direct import SessionListener
from everwire.transports.emulation import emulate_for_others, emulation
from everwire.transports.health import health
from everwire.transports.incoming import Incoming, Receive, Scope, Send
from everwire.transports.leaving import Leaving
from everwire.transports.native import NativeFeeds
from everwire.transports.options import TransportOptions
from everwire.transports.raw import raw
from everwire.transports.streams import StreamListener, http_stream, sse, uni_http_stream, uni_sse
from everwire.transports.tunnel import TunnelMiddleware
from everwire.transports.websocket import uni_websocket, websocket
from everwire.websocket.messages import Request
from everwire.websocket.origins import Origins, origin_check

if TYPE_CHECKING:
    from everwire.channels.hub import Hub
    from everwire.channels.session import Session
    from everwire.websocket.listener import Listener

__all__ = ["Endpoint", "HubApplication"]

Handler = Callable[["HubApplication", Incoming], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """What is at a path.

    Attributes:
        name: the path, without ``/connection`` before it.
        http: answers requests with one of *methods*.
        methods: the methods that it knows.
        websocket: serves WebSockets.
        deep: whether paths below it are its own, too: ``/raw/news``.
        cross_origin: whether the endpoint itself sees to who may come from where.
        opens: whether its requests open sessions. Its WebSockets always do.
    """

    name: str
    http: Handler | None = None
    methods: tuple[str, ...] = ()
    websocket: Handler | None = None
    deep: bool = False
    cross_origin: bool = False
    opens: bool = False


ENDPOINTS = (
    Endpoint(name="/websocket", websocket=websocket),
    Endpoint(name="/sse", http=sse, methods=("GET", "POST"), opens=True),
    Endpoint(name="/http_stream", http=http_stream, methods=("POST",), opens=True),
    Endpoint(name="/emulation", http=emulation, methods=("POST",)),
    Endpoint(name="/uni_websocket", websocket=uni_websocket),
    Endpoint(name="/uni_sse", http=uni_sse, methods=("GET", "POST"), opens=True),
    Endpoint(name="/uni_http_stream", http=uni_http_stream, methods=("POST",), opens=True),
    Endpoint(name="/raw", http=raw, methods=("GET",), websocket=raw, deep=True, opens=True),
    Endpoint(name="/health", http=health, methods=("GET", "HEAD"), deep=True, cross_origin=True),
)
"""What a hub's application serves by itself."""

PREFIX = "/connection"


class HubApplication:
    """An ASGI application that serves a hub: host it, or mount it in another one.

    Its paths are those of Centrifugo, ``/connection/websocket`` and so on; mounted at ``/connection``, or at
    any other path, they are ``/websocket`` and so on below that.

    Parameters:
        hub: the hub; started with the application's lifespan, or with the first request.
        options: what all transports let through.
        endpoints: further ones; one with the name of another takes its place.

    Attributes:
        hub, options: as given.
        feeds: makes the feeds of connections that are everwire's own.
        stream_listener: hears of the ends of streams that are.
        leaving: looks whether other servers stop.
    """

    def __init__(
        self, hub: Hub, options: TransportOptions | None = None, endpoints: Iterable[Endpoint] = ()
    ) -> None:
        self.hub = hub
        self.options = options if options is not None else TransportOptions()
        self.feeds = NativeFeeds(self.options.max_backlog)
        self.stream_listener = StreamListener(self.options.max_backlog)
        self._endpoints = {endpoint.name: endpoint for endpoint in (*ENDPOINTS, *endpoints)}
        self._check_origin = origin_check(self.options.origins)
        self._listener = SessionListener(self)
        self._pinging_listener = SessionListener(self, frame_pings=True)
        self.leaving = Leaving(self.everwire_closing)
        self._tunnels = self._make_tunnels()
        emulate_for_others(hub)
        self._started = False
        self._rate_limit = as_rate_limit(hub.options.connection_rate_limit)
        self._logger = logging.getLogger("everwire.hub")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request, a WebSocket, or the application's lifespan."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "http":
            await self._start()
            # It leaves to _serve what is no tunnel's.
            await self._tunnels(scope, receive, send)
        elif scope["type"] == "websocket":
            await self._start()
            await self._serve(scope, receive, send)
        else:
            raise RuntimeError(f"a hub has nothing for ASGI's {scope['type']!r}")

    def everwire_listener(self, request: Request) -> tuple[Listener, Any, str | None] | None:
        """What serves a WebSocket of everwire's own server without a task; None: the application does."""
        if not self._started or self._find(request.pathname)[0] is not self._endpoints["/websocket"]:
            return None
        if self._check_origin is not None:
            self._check_origin(request.headers.get("Origin"), request.host)
        self._admit()
        return SessionListener.route(request, self._listener, self._pinging_listener)

    def _admit(self) -> None:
        """Let one more client in.

        Raises:
            HandshakeError: the hub is being drained, or they come too fast.
        """
        try:
            if self.hub.draining:
                raise HandshakeError("this node sends its clients elsewhere: come again", 503, retry_after=1)
            if self._rate_limit is not None:
                self._rate_limit.admit()
        except HandshakeError:
            self.hub.counts.turned_away += 1
            raise

    def open(self, carrier: Carrier, origin: Origin) -> Session:
        """Begin a session over a carrier."""
        session = self.hub.open(carrier, origin)
        # A carrier need not know its session, but for those of this layer, which tell it of their ends.
        carrier.session = session  # type: ignore[attr-defined]
        return session

    # The beginning and the end

    @property
    def everwire_origins(self) -> Origins:
        """Which pages may connect, for everwire's own server."""
        return self.options.origins

    async def everwire_drain(self, *, spread: float | None, deadline: float | None = None) -> None:
        """Everwire's server sends its clients away: those of the hub leave their own way (3001)."""
        await self.hub.drain(spread=spread, deadline=deadline)

    def everwire_closing(self) -> None:
        """Everwire's server is about to close its connections: tell the clients to come back (3001)."""
        self._started = False
        self._tunnels.release()
        self.hub.end_sessions()

    def _make_tunnels(self) -> TunnelMiddleware:
        return TunnelMiddleware(
            self._serve,
            origins=self.options.origins,
            max_size=self.options.max_size,
            max_backlog=self.options.max_backlog,
            peers=self.hub.cluster,
        )

    async def _start(self) -> None:
        await self.hub.start()
        self._started = True

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            event = await receive()
            if event["type"] == "lifespan.startup":
                try:
                    await self._start()
                except EverwireError as error:
                    await send({"type": "lifespan.startup.failed", "message": str(error)})
                    return
                await send({"type": "lifespan.startup.complete"})
            elif event["type"] == "lifespan.shutdown":
                self._started = False
                await self.hub.close()
                tunnels, self._tunnels = self._tunnels, self._make_tunnels()
                await tunnels.close()
                await send({"type": "lifespan.shutdown.complete"})
                return

    # Finding what is at a path

    def _find(self, path: str) -> tuple[Endpoint | None, str]:
        """The endpoint at a path, and what of the path comes after its name."""
        if path.startswith(PREFIX + "/"):
            path = path.removeprefix(PREFIX)
        head, slash, rest = path[1:].partition("/")
        endpoint = self._endpoints.get("/" + head)
        if endpoint is not None and (endpoint.deep or not slash):
            return endpoint, rest
        return None, ""

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"]
        root: str = scope.get("root_path", "")
        if root and path.startswith(root):
            path = path.removeprefix(root)
        endpoint, rest = self._find(path)
        incoming = Incoming(scope, receive, send, rest)
        try:
            if endpoint is None:
                known = ", ".join(sorted(self._endpoints))
                raise HandshakeError(
                    f"there is nothing at {path}; this is a hub of channels, which has, below {PREFIX} or "
                    f"where it is mounted: {known}",
                    404,
                )
            if not endpoint.cross_origin:
                incoming.check_origin(self._check_origin)
            await self._dispatch(endpoint, incoming)
        except InvalidOrigin as error:
            self._logger.warning("refused a request for %s: %s", path, str(error))
            await incoming.refuse(error)
        except HandshakeError as error:
            allow = ", ".join(endpoint.methods).encode() if endpoint is not None else b""
            await incoming.refuse(error, [(b"allow", allow)] if error.status == 405 else ())
        except ClientDisconnected:
            pass

    async def _dispatch(self, endpoint: Endpoint, incoming: Incoming) -> None:
        if incoming.scope["type"] == "websocket":
            if endpoint.websocket is None:
                raise HandshakeError(f"{endpoint.name} is for HTTP requests, not for WebSockets", 400)
            self._admit()
            await endpoint.websocket(self, incoming)
        elif endpoint.http is None:
            raise HandshakeError(f"{endpoint.name} is for WebSockets: the request has to upgrade", 426)
        elif incoming.method == "OPTIONS" and not endpoint.cross_origin:
            await self._preflight(endpoint, incoming)
        elif incoming.method not in endpoint.methods:
            allowed = " or ".join(endpoint.methods)
            raise HandshakeError(f"{endpoint.name} takes {allowed}, not {incoming.method}", 405)
        else:
            if endpoint.opens:
                self._admit()
            await endpoint.http(self, incoming)

    async def _preflight(self, endpoint: Endpoint, incoming: Incoming) -> None:
        """Tell a browser what the page of an allowed origin may send (Fetch, CORS preflight)."""
        methods = ", ".join((*endpoint.methods, "OPTIONS")).encode()
        asked = incoming.headers.get("access-control-request-headers", "")
        headers = [(b"access-control-allow-methods", methods), (b"access-control-max-age", b"300")]
        if asked:
            headers.append((b"access-control-allow-headers", asked.encode("latin-1")))
        await incoming.answer(204, headers=headers)
