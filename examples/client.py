"""A client: connect, send, receive, close.

Run examples/echo_server.py first.
"""

import asyncio

import everwire


async def main() -> None:
    async with everwire.connect("ws://127.0.0.1:8765") as ws:
        await ws.send("Hello, wire!")
        print(await ws.recv())

        await ws.send(b"\x00\x01\x02")
        print(await ws.recv())

        latency = await ws.ping()
        print(f"A ping takes {latency * 1000:.2f} ms")


asyncio.run(main())
