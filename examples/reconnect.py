"""A client that comes back: after a lost connection it connects again, with growing pauses.

Run it, then start, stop and start again examples/echo_server.py.
"""

import asyncio
import contextlib

import everwire


async def main() -> None:
    async for ws in everwire.connect("ws://127.0.0.1:8765"):
        print("Connected", flush=True)
        with contextlib.suppress(everwire.ConnectionClosed):
            while True:
                await ws.send("Still there?")
                print(await ws.recv(), flush=True)
                await asyncio.sleep(1)
        print("Connection lost", flush=True)


with contextlib.suppress(KeyboardInterrupt):
    asyncio.run(main())
