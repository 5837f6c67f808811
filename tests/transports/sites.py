"""Where a hub is served in tests: by everwire and by uvicorn, by itself or mounted in another application."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
from asgi.places import uvicorn_place
from fastapi import FastAPI
from live import HOST
from starlette.applications import Starlette
from starlette.routing import Mount

import everwire
import everwire.asgi


class Site:
    """A hub that is served.

    Attributes:
        hub: the hub.
        port: where.
        prefix: what comes before the names of endpoints.
        close: begins to end the server.
        limits: of the connections of its clients of HTTP.
    """

    limits = httpx.Limits()

    def __init__(self, hub: everwire.Hub, port: int, prefix: str, close: Callable[[], object]) -> None:
        self.hub = hub
        self.port = port
        self.prefix = prefix
        self.close = close

    def url(self, path: str, scheme: str = "http") -> str:
        """The URL of an endpoint."""
        return f"{scheme}://{HOST}:{self.port}{self.prefix}{path}"


def mounted(framework: str, hub: everwire.Hub) -> Any:
    """An application that has the hub mounted, as its users write it."""
    if framework == "fastapi":
        app = FastAPI()
        app.mount("/connection", hub.asgi())
        return app
    return Starlette(routes=[Mount("/rooms", hub.asgi())])


@asynccontextmanager
async def site(name: str, hub: everwire.Hub, **options: Any) -> AsyncIterator[Site]:
    """Serve a hub."""
    server, _, framework = name.partition("-")
    app = mounted(framework, hub) if framework else hub
    prefix = "/rooms" if framework == "starlette" else "/connection"
    try:
        if server == "everwire":
            async with everwire.asgi.serve(app, HOST, 0, **{"access_log": False, **options}) as host:
                yield Site(hub, host.port, prefix, host.close)
        else:
            async with uvicorn_place(
                app, ws="websockets-sansio", **{"access_log": False, **options}
            ) as place:
                yield Site(hub, place.port, prefix, place.stop)
    finally:
        await hub.close()


def open_hub(**options: Any) -> everwire.Hub:
    """A hub whose channels everybody may use, with a log of 20 publications each."""
    hub = everwire.Hub(**{"insecure": True, **options})
    hub.namespace("", history=20, ttl=300, presence=True)
    hub.namespace("plain")
    return hub
