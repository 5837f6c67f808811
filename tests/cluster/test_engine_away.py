"""A node that is cut off from its engine: it lives, says that it is not ready, and nothing is lost for it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from conftest import Run
from live import HOST, take_errors, until
from transports.sites import site

import everwire
import everwire.engines.nats
import everwire.engines.redis
from cluster.balancer import Balancer
from cluster.site import ENGINES, engine
from everwire.errors import CommandError, EngineError

pytestmark = pytest.mark.loops("asyncio")


async def failure(work: Awaitable[Any]) -> tuple[Any, Any, Any]:
    """How something fails; the exception itself would keep connections alive."""
    try:
        await work
    except (CommandError, EngineError) as error:
        return type(error), getattr(error, "code", 0), getattr(error, "temporary", False)
    raise AssertionError("it did not fail")


@pytest.mark.parametrize("name", ENGINES)
def test_a_node_that_is_cut_off_and_comes_back(run: Run, tmp_path: Path, name: str, caplog: Any) -> None:
    async def main(url: str) -> None:
        parts = urlsplit(url)
        async with Balancer([parts.port or 0]) as way:
            far = parts._replace(netloc=f"{HOST}:{way.port}").geturl() + "&timeout=1"
            here = everwire.Hub(far, insecure=True, node_info_interval=0.3)
            there = everwire.Hub(url, insecure=True, node_info_interval=0.3)
            for hub in (here, there):
                hub.namespace("", history=100)
            async with there, site("everwire", here) as place, httpx.AsyncClient(trust_env=False) as http:
                uri = place.url("/websocket", "ws")
                async with everwire.Client(uri, proxy=None, min_reconnect_delay=0.01) as one:
                    news, quiet = await one.subscribe("news"), await one.subscribe("quiet")
                    await there.publish("news", 0)
                    await there.publish("quiet", 0)
                    assert (await anext(news)).data == (await anext(quiet)).data == 0

                    await way.shut()
                    await until(lambda: not here.health.ready)
                    ready = await http.get(place.url("/health/ready"))
                    assert ready.status_code == 503 and set(ready.json()["problems"]) == {"engine"}
                    assert (await http.get(place.url("/health"))).status_code == 200
                    assert await failure(one.publish("news", "never")) == (CommandError, 100, True)
                    assert (await failure(here.publish("news", "never")))[0] is EngineError
                    for value in range(1, 6):
                        await there.publish("news", value)
                    await there.publish("quiet", 1)

                    await way.reopen()
                    await until(lambda: here.health.ready)
                    assert [(await anext(news)).data for _ in range(5)] == [1, 2, 3, 4, 5]
                    # Nothing is published into it any more: the loss is found all the same.
                    assert (await anext(quiet)).data == 1
                    await one.publish("news", 6)
                    assert (await anext(news)).data == 6
        take_errors(caplog)

    with engine(name, tmp_path) as url:
        run(lambda: main(url))


def test_a_node_starts_before_its_engine(run: Run, tmp_path: Path, caplog: Any) -> None:
    async def main(url: str) -> None:
        parts = urlsplit(url)
        async with Balancer([parts.port or 0]) as way:
            await way.shut()
            far = parts._replace(netloc=f"{HOST}:{way.port}").geturl() + "&timeout=1"
            with pytest.raises(EngineError):
                await everwire.Hub(far, insecure=True).start()
            hub = everwire.Hub(far, insecure=True, engine_start_timeout=20)
            hub.namespace("", history=100)
            starting = asyncio.ensure_future(hub.start())
            await until(lambda: "not reachable yet" in caplog.text)
            await way.reopen()
            await starting
            assert hub.health.ready and (await hub.publish("a", 1)).epoch
            await hub.close()
        take_errors(caplog)

    with engine("redis", tmp_path) as url:
        run(lambda: main(url))
