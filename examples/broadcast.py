"""One sends, all receive: a clock that everyone who connects can watch.

Run it, and connect to ws://127.0.0.1:8765, with as many clients as you like.
"""

import asyncio
import contextlib
from datetime import datetime

import everwire

clock = everwire.Topic(overflow="latest")  # who reads too slowly skips to the newest message


async def watch(ws: everwire.Connection) -> None:
    clock.add(ws)
    await ws.wait_closed()


async def main() -> None:
    async with everwire.serve(watch, "127.0.0.1", 8765):
        print("Serving ws://127.0.0.1:8765, Ctrl-C stops it", flush=True)
        while True:
            clock.publish(datetime.now().isoformat(timespec="seconds"))
            await asyncio.sleep(1)


with contextlib.suppress(KeyboardInterrupt):
    asyncio.run(main())
