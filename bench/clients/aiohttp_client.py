"""aiohttp as a client, with one session for all connections, as its documentation advises."""

from __future__ import annotations

import aiohttp
from harness.driving import MESSAGE, Meter, drive

session: aiohttp.ClientSession | None = None


def shared_session() -> aiohttp.ClientSession:
    global session
    if session is None:
        session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
    return session


async def connect(uri: str) -> None:
    async with shared_session().ws_connect(uri):
        pass


async def echo(uri: str, meter: Meter) -> None:
    async with shared_session().ws_connect(uri) as ws:
        while meter.running:
            await ws.send_str(MESSAGE)
            reply = await ws.receive_str()
            assert reply == MESSAGE
            meter.count += 1


drive(connect, echo)
