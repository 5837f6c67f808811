"""Where an ASGI application runs: under uvicorn with each of its protocols and ours, and behind our gate."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import warnings
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from ssl import SSLContext
from typing import Any

import uvicorn
from live import HOST

from everwire.asgi import Gate
from everwire.websocket.server import Server
from everwire.websocket.sockets import Where

with warnings.catch_warnings():
    # It is deprecated, but it is one of the ways in which applications run today.
    warnings.simplefilter("ignore")
    import uvicorn.protocols.websockets.websockets_impl as _  # noqa: F401

Application = Callable[..., Any]

PEERS = {"sansio": "websockets-sansio", "websockets": "websockets", "wsproto": "wsproto"}
"""uvicorn's own protocols; the first is what uvicorn takes by default."""

OURS = ("class", "gate")


class Site:
    """An application that runs somewhere."""

    def __init__(self, port: int, stop: Callable[[], Any]) -> None:
        self.port = port
        self.stop = stop
        """Begins the shutdown of the server, as the end of its process would."""


@asynccontextmanager
async def place(name: str, app: Application, **options: Any) -> AsyncIterator[Site]:
    """Run an application in one of the places; *options* are uvicorn's."""
    if name == "gate":
        async with gate_place(app, **options) as site:
            yield site
        return
    ws = PEERS.get(name, "everwire.asgi:UvicornProtocol")
    async with uvicorn_place(app, ws=ws, **options) as site:
        yield site


@asynccontextmanager
async def gated(gate: Gate, *, ssl: SSLContext | None = None, **options: Any) -> AsyncIterator[Server]:
    """A server whose connections go through a gate."""
    server = Server(gate, close_timeout=3.0, options=options)
    where = Where(host=HOST, port=0, unix=None, sock=None, backlog=16, reuse_port=False, reuse_address=True)
    server._listen(await where.sockets(), ssl, None)
    async with server:
        yield server


@asynccontextmanager
async def gate_place(
    app: Application,
    *,
    root_path: str = "",
    ws_max_size: int = 1 << 24,
    ws_per_message_deflate: bool = True,
    **ignored: Any,
) -> AsyncIterator[Site]:
    gate = Gate(
        app,
        root_path=root_path,
        state={},
        compression="deflate" if ws_per_message_deflate else None,
        access=logging.getLogger("everwire.access"),
    )
    async with gated(gate, max_size=ws_max_size) as server:
        yield Site(server.port, gate.close)


@asynccontextmanager
async def uvicorn_place(app: Application, **options: Any) -> AsyncIterator[Site]:
    config = uvicorn.Config(
        app,
        interface="asgi3",
        lifespan="off",
        log_config=None,
        timeout_graceful_shutdown=5,
        **{"http": "httptools", **options},
    )
    config.load()
    server = uvicorn.Server(config)
    server.lifespan = config.lifespan_class(config)
    with socket.socket() as sock:
        sock.bind((HOST, 0))
        await server.startup(sockets=[sock])
        await server.on_tick(0)
        stopping: list[asyncio.Task[None]] = []

        def stop() -> asyncio.Task[None]:
            if not stopping:
                stopping.append(asyncio.get_running_loop().create_task(server.shutdown()))
            return stopping[0]

        try:
            yield Site(sock.getsockname()[1], stop)
        finally:
            await stop()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(3):
                    while server.server_state.connections or server.server_state.tasks:
                        await asyncio.sleep(0.01)
