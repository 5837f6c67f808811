"""The same with callbacks: no coroutine for a connection, so it is faster and takes less memory.

Run it, and examples/client.py beside it.
"""

import asyncio
import contextlib

import everwire


class Echo(everwire.Listener):
    def on_message(self, ws: everwire.Connection, message: str | bytes) -> None:
        # A peer that sends and does not read is disconnected at max_backlog bytes.
        ws.send_nowait(message)

    def on_close(self, ws: everwire.Connection, code: int, reason: str) -> None:
        print(f"{ws.remote_address} left with {code}", flush=True)


async def main() -> None:
    async with everwire.serve(Echo(), "127.0.0.1", 8765) as server:
        print("Serving ws://127.0.0.1:8765, Ctrl-C stops it", flush=True)
        await server.serve_forever()


with contextlib.suppress(KeyboardInterrupt):
    asyncio.run(main())
