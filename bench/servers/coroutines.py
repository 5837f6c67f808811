"""everwire with a coroutine for each connection: echoes at /echo and publishes to a Topic at /fan."""

from __future__ import annotations

from harness.arguments import BACKLOG, MAX_SIZE, parse

import everwire

arguments = parse()
topic = everwire.Topic()


async def handler(ws: everwire.Connection) -> None:
    if ws.request.path == "/fan":
        topic.add(ws)
        async for message in ws:
            topic.publish(message)
    else:
        async for message in ws:
            await ws.send(message)


async def main() -> None:
    async with everwire.serve(
        handler,
        "127.0.0.1",
        arguments.port,
        ssl=arguments.ssl,
        compression="deflate" if arguments.deflate else None,
        max_size=MAX_SIZE,
        backlog=BACKLOG,
    ) as server:
        await server.serve_forever()


arguments.run(main())
