"""everwire as a client."""

from __future__ import annotations

from harness.driving import MESSAGE, Meter, drive

import everwire


async def connect(uri: str) -> None:
    async with everwire.connect(uri, compression=None):
        pass


async def echo(uri: str, meter: Meter) -> None:
    async with everwire.connect(uri, compression=None) as ws:
        while meter.running:
            await ws.send(MESSAGE)
            reply = await ws.recv()
            assert reply == MESSAGE
            meter.count += 1


drive(connect, echo)
