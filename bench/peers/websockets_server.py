"""websockets, its asyncio interface."""

from __future__ import annotations

import asyncio

from harness.arguments import BACKLOG, MAX_SIZE, parse
from websockets.asyncio.server import ServerConnection, broadcast, serve

arguments = parse()
subscribers: set[ServerConnection] = set()


async def handler(ws: ServerConnection) -> None:
    if ws.request.path != "/fan":
        async for message in ws:
            await ws.send(message)
        return
    subscribers.add(ws)
    try:
        async for message in ws:
            broadcast(subscribers, message)
    finally:
        subscribers.discard(ws)


async def main() -> None:
    async with serve(
        handler,
        "127.0.0.1",
        arguments.port,
        ssl=arguments.ssl,
        compression="deflate" if arguments.deflate else None,
        max_size=MAX_SIZE,
        backlog=BACKLOG,
        ping_interval=None,
    ):
        await asyncio.Event().wait()


arguments.run(main())
