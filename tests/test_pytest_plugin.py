"""The fixture that runs a server for a test."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest
from conftest import Certificates

import everwire
from everwire.pytest_plugin import StartServer

pytest_plugins = ["pytester"]


async def echo(ws: everwire.Connection) -> None:
    async for message in ws:
        await ws.send(message)


class Echo(everwire.Listener):
    def on_message(self, ws: everwire.Connection, message: str | bytes) -> None:
        ws.send_nowait(message)


async def application(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        raise RuntimeError("not for me")
    await receive()
    await send({"type": "websocket.accept"})
    while (event := await receive())["type"] == "websocket.receive":
        await send({**event, "type": "websocket.send"})


async def ask(uri: str, **options: Any) -> Any:
    async with everwire.connect(uri, proxy=None, **options) as ws:
        await ws.send("hello")
        return await ws.recv()


@pytest.mark.parametrize("handler", [echo, Echo(), application], ids=["coroutine", "listener", "asgi"])
def test_a_server_for_a_synchronous_test(everwire_server: StartServer, handler: Any) -> None:
    server = everwire_server(handler)
    assert asyncio.run(ask(server.uri)) == "hello"


def test_several_servers_and_options(everwire_server: StartServer, certificates: Certificates) -> None:
    one, two = everwire_server(echo, subprotocols=["v1"]), everwire_server(Echo(), ssl=certificates.server)
    assert one.port != two.port
    assert asyncio.run(ask(one.uri, subprotocols=["v1"])) == "hello"
    assert asyncio.run(ask(str(two), ssl=certificates.client)) == "hello"


def test_a_server_can_be_closed_early(everwire_server: StartServer) -> None:
    server = everwire_server(echo)
    server.close()
    with pytest.raises(OSError), socket.create_connection(("127.0.0.1", server.port), 1):
        pass


def test_what_is_wrong_is_said_at_once(everwire_server: StartServer) -> None:
    with pytest.raises(ValueError, match="max_queue"):
        everwire_server(echo, max_queue=0)
    with pytest.raises(TypeError):
        everwire_server(echo, no_such_option=1)


def test_the_plugin_is_there_without_being_asked_for(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import asyncio
        import everwire

        async def echo(ws):
            async for message in ws:
                await ws.send(message)

        def test_echo(everwire_server):
            async def main():
                async with everwire.connect(everwire_server(echo).uri, proxy=None) as ws:
                    await ws.send("hello")
                    assert await ws.recv() == "hello"

            asyncio.run(main())
        """
    )
    pytester.runpytest_subprocess().assert_outcomes(passed=1)
