"""The gate to an ASGI application, on a server of our own."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from conftest import Run
from live import connect

import everwire
from asgi.places import gated
from everwire.asgi import ClientDisconnected, Gate


async def echo(scope: Any, receive: Any, send: Any) -> None:
    assert await receive() == {"type": "websocket.connect"}
    await send({"type": "websocket.accept"})
    while (event := await receive())["type"] == "websocket.receive":
        await send({**event, "type": "websocket.send"})


def test_messages_pass_both_ways(run: Run) -> None:
    async def main() -> None:
        async with gated(Gate(echo)) as server, connect(server) as ws:
            await ws.send("text")
            assert await ws.recv() == "text"
            await ws.send(b"bytes")
            assert await ws.recv() == b"bytes"

    run(main)


def test_an_application_learns_that_its_client_is_gone(run: Run) -> None:
    async def main() -> None:
        learned: asyncio.Future[tuple[Any, OSError]] = asyncio.get_running_loop().create_future()

        async def app(scope: Any, receive: Any, send: Any) -> None:
            await receive()
            await send({"type": "websocket.accept"})
            event = await receive()
            with pytest.raises(OSError) as caught:
                await send({"type": "websocket.send", "text": "late"})
            learned.set_result((event, caught.value))

        async with gated(Gate(app)) as server, connect(server) as ws:
            await ws.close(4321, "bye")
            event, error = await learned
        assert event == {"type": "websocket.disconnect", "code": 4321, "reason": "bye"}
        assert isinstance(error, ClientDisconnected)
        assert isinstance(error.__cause__, everwire.ConnectionClosed)

    run(main)
