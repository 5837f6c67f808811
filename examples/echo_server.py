"""A server that sends back what it receives.

Run it, and examples/client.py beside it.
"""

import asyncio
import contextlib

import everwire


async def echo(ws: everwire.Connection) -> None:
    async for message in ws:
        await ws.send(message)


async def main() -> None:
    async with everwire.serve(echo, "127.0.0.1", 8765) as server:
        print("Serving ws://127.0.0.1:8765, Ctrl-C stops it", flush=True)
        await server.serve_forever()


with contextlib.suppress(KeyboardInterrupt):
    asyncio.run(main())
