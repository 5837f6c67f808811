"""The hub as applications have it: with an engine by its URL, and served as an ASGI application."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Self

from everwire.channels import hub
from everwire.channels.api import Api
from everwire.channels.config import load_config
from everwire.channels.engine import Engine
from everwire.channels.rules import Rule
from everwire.channels.tokens import TokenOptions
from everwire.engines import open_engine
from everwire.errors import ConfigError, HandshakeError
from everwire.ops.exporter import Exporter
from everwire.ops.metrics import HubMetrics
from everwire.ops.saturation import Sampler, Saturation
from everwire.supervised import supervised
from everwire.transports.asgi import Endpoint, HubApplication
from everwire.transports.incoming import Incoming, Receive, Scope, Send
from everwire.transports.options import TransportOptions
from everwire.transports.server_api import ServerApi
from everwire.websocket.messages import Request
from everwire.websocket.origins import Origins

if TYPE_CHECKING:
    from everwire.websocket.listener import Listener

__all__ = ["Hub"]


class Hub(hub.Hub):
    """Channels that lose nothing: ``hub = everwire.Hub()``.

    It is an ASGI application by itself: ``everwire serve app:hub`` serves it, and other applications mount
    what :meth:`asgi` makes.

    Parameters:
        engine: where the logs of channels are: ``"memory:"``: in this process; ``"sqlite:PATH"``: in a file,
            to outlive it; ``"nats://HOST:PORT"`` or ``"redis://HOST:PORT"``: where several nodes share them,
            as in :func:`everwire.engines.open_engine`; or an engine. None: what ``EVERWIRE_ENGINE`` in the
            environment says; else, in one of several workers of ``everwire serve``, what they share; else
            ``"memory:"``.
        origins: pages that may connect, as for :func:`everwire.serve`.
        max_size: bytes of the largest message of a client.
        max_backlog: unsent bytes of one client; one that is behind by more is closed with 3008.
        api_key: the key of the server API at ``/api``, or several while it is changed. Without one it is
            closed.
        metrics_address: ``HOST:PORT`` at which ``/metrics`` is without a key, for a network of its own;
            empty: it is at the hub's own port only, for those who have *api_key*. Needs the extra
            ``metrics``.
        options: those of :class:`everwire.channels.tokens.TokenOptions`, by which tokens of clients are
            checked
            (``token_hmac_secret_key`` and so on), and all others of :class:`everwire.channels.hub.Hub`.

    Attributes:
        api: the server API in this process; ``@hub.api.rpc("name")`` adds functions to it.
        metrics: what Prometheus is told; a collector for a registry of ``prometheus_client``, too.

    Raises:
        ConfigError: there is no such engine; or it is of one process, and this is one of several workers.
        ValueError, TypeError: an option does not make sense.
    """

    everwire_websocket_path = "/connection/websocket"
    """Where its WebSockets are, for those who are told by everwire's own server."""

    def __init__(
        self,
        engine: str | Engine | None = None,
        *,
        origins: Origins = "same",
        max_size: int = 1 << 16,
        max_backlog: int = 1 << 20,
        api_key: str | Sequence[str] = (),
        metrics_address: str = "",
        **options: Any,
    ) -> None:
        tokens = {name: options.pop(name) for name in list(options) if name.startswith("token_")}
        super().__init__(_as_engine(engine), **options)
        if tokens:
            self.verifier = TokenOptions(**tokens).verifier()
        self.api = Api(self)
        self._server_api = ServerApi(self.api, key=api_key, insecure=self.insecure)
        self.transports = TransportOptions(origins=origins, max_size=max_size, max_backlog=max_backlog)
        self._application: HubApplication | None = None
        self._sampler = Sampler()
        self.metrics = HubMetrics(self, self._sampler)
        # A worker that takes the place of another begins before that ends.
        ports = 2 * supervised.workers if supervised.workers > 1 else 1
        self._exporter = Exporter(self.metrics, metrics_address, ports=ports) if metrics_address else None

    @classmethod
    def from_config(cls, path: str | os.PathLike[str]) -> Self:
        """A hub as a configuration file describes it: TOML, YAML or JSON.

        Raises:
            ConfigError: it cannot be read, or says something that it cannot mean.
        """
        config = load_config(path)
        try:
            hub = cls(**config.hub_options())
        except (ValueError, TypeError) as error:
            raise ConfigError(f"{os.fspath(path)}: {error}") from None
        for name, options in config.channels():
            hub.rules.add(Rule(name, options))
        return hub

    @asynccontextmanager
    async def lifespan(self, app: object = None) -> AsyncGenerator[None, None]:
        """Begin and end with an application that mounts the hub: ``FastAPI(lifespan=hub.lifespan)``.

        Frameworks do not tell mounted applications of start and end. Without this the hub begins when it is
        first used, and nothing ends it.
        """
        async with self:
            yield

    def asgi(self) -> HubApplication:
        """The hub as an ASGI application: ``app.mount("/connection", hub.asgi())``."""
        if self._application is None:
            api = Endpoint(
                name="/api",
                http=self._answer_api,
                methods=("POST",),
                deep=True,
                # Whoever has the key may come from anywhere; without one, other pages may not.
                cross_origin=not self.insecure,
            )
            metrics = Endpoint(
                name="/metrics",
                http=self._answer_metrics,
                methods=("GET",),
                cross_origin=not self.insecure,
            )
            self._application = HubApplication(self, self.transports, [api, metrics])
        return self._application

    async def _answer_api(self, app: HubApplication, incoming: Incoming) -> None:
        await self._server_api.handle(incoming)

    async def _answer_metrics(self, app: HubApplication, incoming: Incoming) -> None:
        self._server_api.authorize(incoming.headers)
        try:
            body, content_type = self.metrics.render()
        except ConfigError as error:
            raise HandshakeError(str(error), 501) from None
        await incoming.answer(200, body, content_type=content_type)

    @property
    def saturation(self) -> Saturation:
        """How full this node is: ``hub.saturation.value`` is 0 to 1, the largest of its parts."""
        return self._sampler.read(
            connections=self.counts.connections, connection_limit=self.options.connection_limit
        )

    async def _begin(self) -> None:
        await super()._begin()
        self._sampler.start()
        if self._exporter is not None:
            try:
                await self._exporter.start()
            except BaseException:
                await self._end()
                raise

    async def _end(self) -> None:
        if self._exporter is not None:
            await self._exporter.close()
        self._sampler.close()
        await super()._end()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve what an ASGI server has."""
        await self.asgi()(scope, receive, send)

    def everwire_listener(self, request: Request) -> tuple[Listener, Any, str | None] | None:
        """What serves a WebSocket of everwire's own server without a task."""
        return self.asgi().everwire_listener(request)

    @property
    def everwire_origins(self) -> Origins:
        """Which pages may connect, for everwire's own server."""
        return self.transports.origins

    def everwire_clients(self) -> int:
        """How many clients there are, for everwire's own server."""
        return self.open_sessions

    async def everwire_drain(self, *, spread: float | None, deadline: float | None = None) -> None:
        """Everwire's server sends its clients away."""
        await self.drain(spread=spread, deadline=deadline)

    def everwire_closing(self) -> None:
        """Everwire's server is about to close its connections: tell the clients to come back."""
        self.asgi().everwire_closing()


def _as_engine(engine: str | Engine | None) -> Engine:
    """The engine that is meant.

    Raises:
        ConfigError: there is none such, or it would be another one in each worker.
    """
    if engine is None:
        engine = os.environ.get("EVERWIRE_ENGINE")
    if not engine:
        shared = supervised.ask("engine") if supervised.workers > 1 and supervised.ask is not None else ""
        return open_engine(shared or None)
    opened = open_engine(engine) if isinstance(engine, str) else engine
    if supervised.workers > 1 and opened.name in ("memory", "sqlite"):
        raise ConfigError(
            f"each of {supervised.workers} workers would have channels of its own: the engine "
            f"{opened.name!r} is of one process. Name none, for one that the workers share, or "
            "one of several nodes, like nats://HOST or redis://HOST"
        )
    return opened
