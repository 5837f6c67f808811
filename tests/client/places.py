"""Hubs that are served for clients, and a proxy that cuts their connections."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from proxies import LoopbackServer

import everwire.asgi
from everwire import Client
from everwire.hub import Hub

HOST = "127.0.0.1"

QUICK: dict[str, Any] = {
    "min_reconnect_delay": 0.01,
    "max_reconnect_delay": 0.05,
    "ready_timeout": 5.0,
    "proxy": None,
    "compression": None,
}
"""Options of clients that are cut off often."""

OPEN: dict[str, Any] = {
    "presence": True,
    "join_leave": True,
    "allow_subscribe_for_anonymous": True,
    "allow_subscribe_for_client": True,
    "allow_publish_for_anonymous": True,
    "allow_publish_for_client": True,
}
"""Options of channels in which everybody may do everything."""


def a_hub(**options: Any) -> Hub:
    """A hub with channels without a log, with a log, and with one of two publications."""
    hub = Hub(**options)
    hub.namespace("", **OPEN)
    hub.namespace("log", history=100, **OPEN)
    hub.namespace("short", history=2, **OPEN)
    return hub


class Cutter(LoopbackServer):
    """A proxy on the way to a server, whose connections can be cut.

    Attributes:
        opened: how many connections it has had.
        refuse: whether it cuts each new connection at once.
        budget: bytes from the server that the next connection passes on before it is cut; None: any number.
    """

    def __init__(self, port: int) -> None:
        super().__init__()
        self.target = port
        self.opened = 0
        self.refuse = False
        self.budget: int | None = None
        self._pipes: set[asyncio.StreamWriter] = set()

    def cut(self) -> None:
        """Cut all connections, in the middle of whatever they carry."""
        for writer in tuple(self._pipes):
            writer.transport.abort()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.opened += 1
        if self.refuse:
            return
        budget, self.budget = self.budget, None
        theirs, ours = await asyncio.open_connection(HOST, self.target)
        self._pipes |= {writer, ours}
        try:
            done, left = await asyncio.wait(
                [
                    asyncio.create_task(self._pump(reader, ours, None)),
                    asyncio.create_task(self._pump(theirs, writer, budget)),
                ],
                return_when=asyncio.FIRST_COMPLETED,
            )
            for task in left:
                task.cancel()
            await asyncio.gather(*done, *left, return_exceptions=True)
        finally:
            self._pipes -= {writer, ours}
            ours.transport.abort()

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, budget: int | None
    ) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(1 << 16):
                if budget is not None:
                    data, budget = data[:budget], budget - len(data)
                writer.write(data)
                await writer.drain()
                if budget is not None and budget <= 0:
                    return


@asynccontextmanager
async def served(hub: Hub, *, port: int = 0) -> AsyncIterator[int]:
    """A hub that is served; gives the port."""
    async with everwire.asgi.serve(hub, HOST, port, access_log=False) as host:
        yield host.port


def client(port: int, **options: Any) -> Client:
    """A client of the server at a port."""
    return Client(f"ws://{HOST}:{port}/connection/websocket", **{**QUICK, **options})


@asynccontextmanager
async def connected(hub: Hub, **options: Any) -> AsyncIterator[Client]:
    """A client that is connected to a hub."""
    async with served(hub) as port, client(port, **options) as one:
        yield one
