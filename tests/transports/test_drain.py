"""Draining a hub: clients of each transport are told to come back, and new ones are refused."""

from __future__ import annotations

import asyncio

import httpx
import pytest
from conftest import Run
from live import until
from transports.clients import KINDS, client
from transports.sites import open_hub, site

import everwire
from everwire.errors import InvalidStatus

pytestmark = pytest.mark.loops("asyncio")


@pytest.mark.parametrize("where", ["everwire", "uvicorn-fastapi"])
def test_clients_of_all_transports_are_sent_elsewhere(run: Run, where: str) -> None:
    async def main() -> None:
        hub = open_hub()
        async with site(where, hub) as place, httpx.AsyncClient(timeout=10, trust_env=False) as http:
            clients = [client(kind, place) for kind in KINDS]
            raw = await everwire.connect(place.url("/raw/news", "ws"), proxy=None)
            for one in clients:
                await one.__aenter__()
                await one.start("news")
            await until(lambda: hub.info().clients == len(KINDS) + 1)
            draining = asyncio.create_task(hub.drain(spread=0.2))
            for one in clients:
                assert (await one.end()).code == 3001
            await raw.wait_closed()
            assert raw.close_code == 3001
            await draining
            for one in clients:
                await one.__aexit__(None, None, None)
            # Balancers and who comes all the same are told so; the node lives.
            ready = await http.get(place.url("/health/ready"))
            assert (ready.status_code, list(ready.json()["problems"])) == (503, ["drain"])
            assert (await http.get(place.url("/health"))).status_code == 200
            answer = await http.post(place.url("/http_stream"), content='{"id":1,"connect":{}}')
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
            with pytest.raises(InvalidStatus) as refused:
                await everwire.connect(place.url("/websocket", "ws"), proxy=None)
            response = refused.value.response
            assert (response.status, response.headers["Retry-After"]) == (503, "1")

    run(main)


def test_who_comes_too_fast_comes_later(run: Run) -> None:
    async def main() -> None:
        hub = open_hub(connection_rate_limit=0.001)
        async with site("everwire", hub) as place, httpx.AsyncClient(timeout=10, trust_env=False) as http:
            first = await everwire.connect(place.url("/websocket", "ws"), proxy=None)
            async with first:
                for path in ("/websocket", "/uni_websocket", "/raw/news"):
                    with pytest.raises(InvalidStatus) as refused:
                        await everwire.connect(place.url(path, "ws"), proxy=None)
                    response = refused.value.response
                    assert (response.status, response.headers["Retry-After"]) == (503, "30")
                answer = await http.post(place.url("/sse"), content='{"id":1,"connect":{}}')
                assert (answer.status_code, answer.headers["retry-after"]) == (503, "30")
                assert "connection_rate_limit" in answer.text
                assert (await http.get(place.url("/health"))).status_code == 200

    run(main)


def test_a_host_that_closes_over_a_time_drains_its_hub(run: Run) -> None:
    async def main() -> None:
        hub = open_hub()
        loop = asyncio.get_running_loop()
        async with everwire.asgi.serve(hub, "127.0.0.1", 0, access_log=False) as host:
            uri = f"ws://127.0.0.1:{host.port}/connection/websocket"
            sockets = [await everwire.connect(uri, proxy=None) for _ in range(10)]
            begin = loop.time()
            host.close(spread=0.5)
            with pytest.raises(OSError):
                await everwire.connect(uri, proxy=None)
            ends = []
            for ws in sockets:
                await ws.wait_closed()
                ends.append(loop.time() - begin)
                assert (ws.close_code, ws.close_reason) == (3001, "shutdown")
            assert max(ends) >= 0.4
            await host.wait_closed()

    run(main)


def test_the_time_for_the_end_bounds_the_spread(run: Run) -> None:
    async def main() -> None:
        hub = open_hub()
        async with everwire.asgi.serve(hub, "127.0.0.1", 0, timeout_graceful_shutdown=0.2) as host:
            uri = f"ws://127.0.0.1:{host.port}/connection/websocket"
            sockets = [await everwire.connect(uri, proxy=None) for _ in range(10)]
            host.close(spread=3600)
            await asyncio.wait_for(host.wait_closed(), 10)
            for ws in sockets:
                await ws.wait_closed()
                assert ws.close_code == 3001

    run(main)
