"""A hub mounted in an application that other ASGI servers serve: hypercorn and daphne."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from commands import Program
from conftest import Run
from live import HOST
from transports.clients import KINDS, Client, client
from transports.sites import Site
from transports.test_unidirectional import Listening

import everwire

pytestmark = pytest.mark.loops("asyncio")

APP = """
from fastapi import FastAPI
import everwire

hub = everwire.Hub(insecure=True)
hub.namespace("", history=20, presence=True)
app = FastAPI(lifespan=hub.lifespan)
app.mount("/connection", hub.asgi())

@app.post("/publish/{channel}")
async def publish(channel: str, data: int):
    await hub.publish(channel, data)

@app.get("/clients")
async def clients() -> int:
    return hub.info().clients
"""

COMMANDS = {
    "hypercorn": ["hypercorn", "--graceful-timeout", "1", "--bind", f"{HOST}:PORT"],
    "daphne": ["daphne", "--bind", HOST, "--port", "PORT"],
}
each_server = pytest.mark.parametrize("server", COMMANDS)


@contextmanager
def served(server: str, folder: Path, port: int) -> Iterator[tuple[Program, Site]]:
    """The application under one of the servers."""
    (folder / "main.py").write_text(APP)
    command, *arguments = (each.replace("PORT", str(port)) for each in COMMANDS[server])
    with Program([Path(sys.executable).parent / command, *arguments, "main:app"], cwd=folder) as program:
        program.wait_for(r"Running on|Listening on")
        hub: Any = None
        yield program, Site(hub, port, "/connection", lambda: None)


async def publish(site: Site, value: int) -> None:
    """Publish through the application."""
    async with httpx.AsyncClient(trust_env=False) as http:
        answer = await http.post(f"http://{HOST}:{site.port}/publish/news", params={"data": value})
        assert answer.status_code == 200


async def nobody_is_there(site: Site) -> None:
    """Wait until the hub knows that all clients are gone."""
    async with httpx.AsyncClient(trust_env=False) as http, asyncio.timeout(10):
        while (await http.get(f"http://{HOST}:{site.port}/clients")).text != "0":
            await asyncio.sleep(0.01)


@each_server
def test_every_transport_carries_sessions(
    run: Run, server: str, tmp_path: Path, unused_tcp_port: int
) -> None:
    async def talk(site: Site, one: Client) -> None:
        await one.start("news")
        await publish(site, 1)
        since = await one.publication()
        assert bytes(since.data) == b"1"
        await publish(site, 2)
        assert bytes((await one.publication()).data) == b"2"

    async def listen(site: Site, kind: str) -> None:
        async with Listening(kind, site, '{"subs": {"news": {}}}') as one:
            assert "news" in (await one.push())["connect"]["subs"]
            await publish(site, 3)
            push = await one.push()
            assert push["pub"]["data"] == 3

    async def main() -> None:
        with served(server, tmp_path, unused_tcp_port) as (program, site):
            for kind in KINDS:
                one: Any
                async with client(kind, site) as one:
                    await talk(site, one)
                    await one.cut()
                await nobody_is_there(site)
            for kind in ("uni_sse", "uni_http_stream", "uni_websocket"):
                await listen(site, kind)
                await nobody_is_there(site)
            async with everwire.connect(site.url("/raw/news?since=0", "ws"), proxy=None) as ws:
                assert await ws.recv() is not None
            await nobody_is_there(site)
            assert program.stop(signal.SIGTERM) == 0
            assert "Traceback" not in program.output

    run(main, timeout=60)


@each_server
def test_a_client_comes_back_after_a_restart(
    run: Run, server: str, tmp_path: Path, unused_tcp_port: int
) -> None:
    async def main() -> None:
        uri = f"ws://{HOST}:{unused_tcp_port}/connection/websocket"
        delays: dict[str, Any] = {"min_reconnect_delay": 0.05, "max_reconnect_delay": 0.2}
        with served(server, tmp_path, unused_tcp_port) as (program, site):
            one = everwire.Client(uri, proxy=None, **delays)
            await one.connect()
            news = await one.subscribe("news", on_unrecovered="continue")
            await publish(site, 1)
            assert (await anext(news)).data == 1
            program.stop(signal.SIGTERM)
        back = asyncio.Event()
        news.on("subscribed", lambda event: back.set())
        with served(server, tmp_path, unused_tcp_port) as (program, site):
            await back.wait()
            await publish(site, 2)
            assert (await anext(news)).data == 2
            await one.disconnect()
            await nobody_is_there(site)

    run(main, timeout=60)
