"""picows.websockets, the coroutine interface of picows, as a client."""

from __future__ import annotations

from harness.driving import MESSAGE, Meter, drive
from picows import websockets


async def connect(uri: str) -> None:
    async with websockets.connect(uri, compression=None):
        pass


async def echo(uri: str, meter: Meter) -> None:
    async with websockets.connect(uri, compression=None) as ws:
        while meter.running:
            await ws.send(MESSAGE)
            reply = await ws.recv()
            assert reply == MESSAGE
            meter.count += 1


drive(connect, echo)
