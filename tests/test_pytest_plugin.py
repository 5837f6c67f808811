"""The fixture that runs a server for a test."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from typing import Any

import pytest
from conftest import Certificates
from fastapi import FastAPI

import everwire
from everwire.pytest_plugin import RunningServer, StartServer

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


def a_hub(engine: str | None = None) -> everwire.Hub:
    hub = everwire.Hub(engine)
    hub.namespace("news", history=10, allow_subscribe_for_client=True, allow_subscribe_for_anonymous=True)
    return hub


def client(server: RunningServer, **options: Any) -> everwire.Client:
    return everwire.Client(
        f"{server.uri}connection/websocket",
        proxy=None,
        min_reconnect_delay=0.01,
        max_reconnect_delay=0.05,
        **options,
    )


@pytest.mark.parametrize("mounted", [False, True])
def test_a_hub_is_served_and_published_into(everwire_server: StartServer, mounted: bool) -> None:
    hub: Any = a_hub()
    app: Any = hub
    if mounted:
        app = FastAPI(lifespan=hub.lifespan)
        app.mount("/connection", hub.asgi())
    server = everwire_server(app)
    hub.sync.publish("news:a", 1)

    async def main() -> None:
        async with client(server) as one, one.subscribe("news:a", since=everwire.Position(0, "")) as news:
            assert (await anext(news)).data == 1
            await asyncio.to_thread(hub.sync.publish, "news:a", 2)
            assert (await anext(news)).data == 2

    asyncio.run(main())


def test_connections_of_a_hub_are_dropped_and_recovered(everwire_server: StartServer) -> None:
    hub = a_hub()
    server = everwire_server(hub)

    async def main() -> None:
        async with client(server) as one, one.subscribe("news:a") as news:
            events = one.events("connecting", "connected")
            server.drop_connections()
            hub.sync.publish("news:a", 1)
            assert (await anext(news)).data == 1
            assert [type(await anext(events)).__name__ for _ in range(2)] == ["Connecting", "Connected"]
            events.close()

    asyncio.run(main())


@pytest.mark.parametrize("kept", [False, True])
def test_a_server_is_restarted_and_clients_come_back(
    everwire_server: StartServer, tmp_path: Path, kept: bool
) -> None:
    hub = a_hub(f"sqlite:{tmp_path / 'log.db'}" if kept else None)
    server = everwire_server(hub)
    port = server.port

    async def main() -> None:
        async with client(server) as one, one.subscribe("news:a") as news:
            hub.sync.publish("news:a", 1)
            assert (await anext(news)).data == 1
            server.restart()
            assert server.port == port
            hub.sync.publish("news:a", 2)
            if not kept:
                with pytest.raises(everwire.Unrecovered):
                    await anext(news)
                return
            assert (await anext(news)).data == 2

    asyncio.run(main())


def test_what_is_asked_of_a_server_at_the_wrong_time_is_refused(everwire_server: StartServer) -> None:
    server = everwire_server(echo)
    with pytest.raises(RuntimeError, match="the server runs"):
        server.start()
    server.close()
    server.close()
    with pytest.raises(RuntimeError, match="does not run"):
        server.drop_connections()
    server.start()
    assert asyncio.run(ask(server.uri)) == "hello"
