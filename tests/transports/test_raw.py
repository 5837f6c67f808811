"""Raw channels: payloads for a plain WebSocket and a plain EventSource."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from conftest import Run
from live import until
from transports.clients import events
from transports.sites import Site, open_hub, site

import everwire
from everwire.channels.context import Credentials
from everwire.errors import ConnectionClosed

pytestmark = pytest.mark.loops("asyncio")

each_server = pytest.mark.parametrize("where", ["everwire", "uvicorn-starlette"])


@asynccontextmanager
async def event_source(
    site: Site, path: str, last: str | None = None
) -> AsyncIterator[tuple[httpx.Response, AsyncIterator[dict[str, str]]]]:
    """What a browser's EventSource does."""
    headers = {} if last is None else {"last-event-id": last}
    async with (
        httpx.AsyncClient(timeout=10, trust_env=False, headers=headers) as http,
        http.stream("GET", site.url(path)) as response,
    ):
        yield response, events(response.aiter_bytes())


def websocket(site: Site, path: str) -> everwire.connect:
    return everwire.connect(site.url(path, "ws"), proxy=None)


@each_server
def test_a_websocket_gets_payloads_and_nothing_else(run: Run, where: str) -> None:
    async def main() -> None:
        hub = open_hub()
        async with site(where, hub) as place, websocket(place, "/raw/news") as ws:
            await until(lambda: hub.info().subscriptions)
            await hub.publish("news", {"n": 1})
            await hub.publish("news", "two")
            assert [await ws.recv(), await ws.recv()] == ['{"n":1}', '"two"']
            position = await hub.publish("news", 3)
            assert await ws.recv() == "3"
            async with websocket(place, "/raw/news?since=1") as late:
                assert [await late.recv(), await late.recv()] == ['"two"', "3"]
            async with websocket(place, f"/raw/news?since=2,{position.epoch}") as late:
                assert await late.recv() == "3"
            async with websocket(place, f"/raw/news?since=2&epoch={position.epoch}") as late:
                assert await late.recv() == "3"
                await hub.publish("news", 4)
                assert await late.recv() == "4"

    run(main)


@each_server
def test_a_position_that_is_gone_is_told(run: Run, where: str) -> None:
    async def main() -> None:
        hub = open_hub()
        async with site(where, hub) as place:
            await hub.start()
            for value in range(30):
                position = await hub.publish("news", value)
            for since in ("1", "29,another", "31"):
                async with websocket(place, f"/raw/news?since={since}") as ws:
                    with pytest.raises(ConnectionClosed) as closed:
                        await ws.recv()
                    assert closed.value.code == 4410
                    assert closed.value.reason == f"the log is at 30,{position.epoch}"
                async with event_source(place, "/raw/news", since) as (_, stream):
                    event = await anext(stream)
                    assert (event["event"], event["id"]) == ("unrecovered", f"30,{position.epoch}")
                    await hub.publish("news", "next")
                    await hub.publish("news", "next")
                    event = await anext(stream)
                    assert event["data"] == '"next"' and "event" not in event
                    return

    run(main)


@each_server
def test_an_event_source_comes_back_to_where_it_was(run: Run, where: str) -> None:
    async def main() -> None:
        hub = open_hub()
        async with site(where, hub) as place:
            async with event_source(place, "/raw/news") as (response, stream):
                assert response.headers["content-type"].startswith("text/event-stream")
                for value in (b'{"a":\n1}', 2):
                    await hub.publish("news", value)
                first, second = await anext(stream), await anext(stream)
                assert first["data"] == '{"a":\n1}' and second["data"] == "2"
                assert second["id"].startswith("2,")
            for value in (3, 4):
                await hub.publish("news", value)
            async with event_source(place, "/raw/news", second["id"]) as (_, stream):
                assert [(await anext(stream))["data"] for _ in range(2)] == ["3", "4"]
                await hub.publish("news", 5)
                assert (await anext(stream))["data"] == "5"

    run(main)


@each_server
def test_it_takes_the_permission_of_a_session(run: Run, where: str) -> None:
    async def main() -> None:
        hub = everwire.Hub()

        @hub.on_connect
        async def connect(ctx: Any) -> Credentials:
            if ctx.token == "bad":
                raise everwire.Unauthorized
            return Credentials(user=ctx.token)

        @hub.channel("room:{room}", history=5)
        async def room(ctx: Any, room: str) -> None:
            if ctx.user != room:
                raise everwire.Forbidden

        async with site(where, hub) as place:
            for path, status in (
                ("/raw/room:ann?token=bob", 403),
                ("/raw/room:ann?token=bad", 401),
                ("/raw/nothing?token=ann", 404),
                ("/raw/", 404),
                ("/raw/room:ann?token=ann&since=x", 400),
            ):
                async with event_source(place, path) as (response, _):
                    assert response.status_code == status, path
            for path, code in (
                ("/raw/room:ann?token=bob", 3507),
                ("/raw/nothing?token=ann", 3501),
            ):
                async with websocket(place, path) as ws:
                    with pytest.raises(ConnectionClosed) as closed:
                        await ws.recv()
                    assert closed.value.code == code
            async with event_source(place, "/raw/room:ann?token=ann") as (_, stream):
                await hub.publish("room:ann", "hello")
                assert (await anext(stream))["data"] == '"hello"'
            await until(lambda: hub.info().clients == 0)

    run(main)


def test_silence_is_filled_with_pings_and_messages_are_refused(run: Run) -> None:
    async def main() -> None:
        hub = open_hub(ping_interval=0.1, pong_timeout=0.05)
        async with (
            site("everwire", hub) as place,
            event_source(place, "/raw/news") as (_, stream),
            websocket(place, "/raw/news") as ws,
        ):
            await until(lambda: hub.info().clients == 2)
            before = {session.due for session in hub.sessions_of("")}
            await until(lambda: before.isdisjoint({each.due for each in hub.sessions_of("")}))
            await hub.publish("news", 1)
            assert (await anext(stream))["data"] == await ws.recv() == "1"
            await ws.send("hello?")
            with pytest.raises(ConnectionClosed) as closed:
                await ws.recv()
            assert closed.value.code == 1003

    run(main)


@each_server
def test_names_of_channels_are_percent_encoded_once(run: Run, where: str) -> None:
    async def main() -> None:
        hub = open_hub()
        async with site(where, hub) as place, websocket(place, "/raw/a%2Fb%2541/%C3%BC") as ws:
            await until(lambda: hub.info().subscriptions)
            assert await hub.channels() == {"a/b%41/ü": 1}
            await hub.publish("a/b%41/ü", 1)
            assert await ws.recv() == "1"

    run(main)


def test_what_is_no_text_ends_it(run: Run) -> None:
    async def main() -> None:
        hub = open_hub()
        async with site("everwire", hub) as place, websocket(place, "/raw/news") as ws:
            await until(lambda: hub.info().subscriptions)
            await hub.publish("news", b"\xff")
            with pytest.raises(ConnectionClosed) as closed:
                await ws.recv()
            assert closed.value.code == 3506

    run(main)
