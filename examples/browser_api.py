"""The browser's WebSocket API, as in JavaScript: say hello, print what comes back, close.

Run examples/echo_server.py first.
"""

import asyncio

import everwire


async def main() -> None:
    closed = asyncio.Event()
    socket = everwire.WebSocket("ws://127.0.0.1:8765")

    def opened(event: everwire.Event) -> None:
        print("Connection established.")
        socket.send("Hello, wire!")
        socket.send(b"\x00\x01\x02")

    async def received(event: everwire.MessageEvent) -> None:
        if isinstance(event.data, everwire.Blob):
            print("Data received:", await event.data.arrayBuffer())
            socket.close(1000, "That is all")
        else:
            print("Data received:", event.data)

    def ended(event: everwire.CloseEvent) -> None:
        print(f"Closed with {event.code}: {event.reason}")
        closed.set()

    socket.onopen = opened
    socket.onmessage = received
    socket.onerror = lambda event: print(f"Error: {event}")
    socket.onclose = ended
    await closed.wait()


asyncio.run(main())
