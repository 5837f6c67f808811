"""A hub mounted behind the middleware that applications have."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from asgi.places import uvicorn_place
from conftest import Run
from fastapi import FastAPI, Request
from fastapi.middleware.cors import CORSMiddleware
from fastapi.middleware.gzip import GZipMiddleware
from live import HOST, until
from starlette.middleware.base import BaseHTTPMiddleware
from transports.clients import client
from transports.sites import Site, open_hub

import everwire
import everwire.asgi
from everwire.channels.context import Credentials

pytestmark = pytest.mark.loops("asyncio")


async def timed(request: Request, call_next: Any) -> Any:
    response = await call_next(request)
    response.headers["x-timed"] = "yes"
    return response


class User:
    """Middleware that knows who the user is, as those for sessions do."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "lifespan":
            scope["user"] = "ann"
        await self.app(scope, receive, send)


MIDDLEWARE: dict[str, tuple[Any, dict[str, Any]]] = {
    "cors": (CORSMiddleware, {"allow_origins": ["*"]}),
    "gzip": (GZipMiddleware, {"minimum_size": 10}),
    "base": (BaseHTTPMiddleware, {"dispatch": timed}),
    "user": (User, {}),
}


@asynccontextmanager
async def behind(middleware: str, server: str, hub: everwire.Hub) -> AsyncIterator[Site]:
    @asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[None]:
        async with hub:
            yield

    app = FastAPI(lifespan=lifespan)
    kind, options = MIDDLEWARE[middleware]
    app.add_middleware(kind, **options)
    app.mount("/connection", hub.asgi())
    if server == "everwire":
        async with everwire.asgi.serve(app, HOST, 0, access_log=False) as host:
            yield Site(hub, host.port, "/connection", host.close)
    else:
        async with uvicorn_place(app, ws="websockets-sansio", access_log=False) as place:
            yield Site(hub, place.port, "/connection", place.stop)
        await hub.close()


@pytest.mark.parametrize("server", ["everwire", "uvicorn"])
@pytest.mark.parametrize("middleware", MIDDLEWARE)
def test_sessions_pass_through_middleware(
    run: Run, middleware: str, server: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        hub = open_hub()
        users: list[str] = []

        @hub.on_connect
        async def connect(ctx: Any) -> Credentials:
            users.append((ctx.origin.scope or {}).get("user", ""))
            return Credentials(user="ann")

        async with behind(middleware, server, hub) as place:
            for kind in ("websocket-json", "sse-json", "http_stream-protobuf", "long_poll-json"):
                async with client(kind, place) as one:
                    await one.start("news")
                    for value in (b"1", b"2"):
                        await hub.publish("news", value)
                        assert bytes((await one.publication()).data) == value
                    await one.cut()
                await until(lambda: hub.info().clients == 0)
        assert users == ["ann" if middleware == "user" else ""] * 4

    run(main)
    assert [each for each in caplog.records if each.levelname == "ERROR"] == []
