"""What every transport promises, in every format, on every server."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from conftest import Run
from live import until
from msgspec import Raw
from transports.clients import KINDS, client, deaf
from transports.sites import open_hub, site

from everwire.wire.messages import (
    Command,
    ConnectRequest,
    PresenceRequest,
    PublishRequest,
    RPCRequest,
    SubscribeRequest,
)

pytestmark = pytest.mark.loops("asyncio")

each_kind = pytest.mark.parametrize("kind", KINDS)
elsewhere = ("websocket-json", "sse-json", "http_stream-protobuf", "long_poll-json")
each = pytest.mark.parametrize(
    ("kind", "where"),
    [(kind, "everwire") for kind in KINDS] + [(kind, "uvicorn-starlette") for kind in elsewhere],
)


def number(publication: Any) -> int:
    """The payload of the tests' publications."""
    return int(json.loads(bytes(publication.data)))


@pytest.mark.parametrize("where", ["everwire", "everwire-fastapi", "uvicorn-starlette"])
@each_kind
def test_a_session_from_its_beginning_to_its_end(run: Run, kind: str, where: str) -> None:
    async def main() -> None:
        hub = open_hub()

        @hub.rpc("double")
        async def double(ctx: Any, data: int) -> int:
            return 2 * data

        async with site(where, hub) as place, client(kind, place) as one, client(kind, place) as two:
            connected, subscribed = await one.start("news")
            assert connected.connect is not None and connected.connect.client
            assert connected.connect.ping == 25 and connected.connect.pong
            assert subscribed.subscribe is not None and subscribed.subscribe.epoch
            await two.start("news")
            await hub.publish("news", 1)
            assert [number(await each_one.publication()) for each_one in (one, two)] == [1, 1]

            asked = two.send(Command(id=9, publish=PublishRequest(channel="news", data=Raw(b"2"))))
            await asked
            got = [await two.reply(), await two.reply()]
            assert {reply.id for reply in got} == {0, 9}
            assert number(await one.publication()) == 2

            answer = await one.ask(rpc=RPCRequest(method="double", data=Raw(b"21")))
            assert answer.rpc is not None and bytes(answer.rpc.data) == b"42"
            answer = await one.ask(presence=PresenceRequest(channel="news"))
            assert answer.presence is not None and len(answer.presence.presence) == 2
            await two.cut()
            await until(lambda: hub.info().clients == 1)
            assert await hub.channels() == {"news": 1}

    run(main)


@each
def test_what_was_missed_comes_first(run: Run, kind: str, where: str) -> None:
    async def main() -> None:
        hub = open_hub()
        async with site(where, hub) as place:
            async with client(kind, place) as one:
                _, subscribed = await one.start("news")
                await hub.publish("news", 1)
                last = await one.publication()
                await one.cut()
                epoch = subscribed.subscribe.epoch
            for value in range(2, 7):
                await hub.publish("news", value)
            async with client(kind, place) as one:
                _, again = await one.start("news", recover=True, epoch=epoch, offset=last.offset)
                assert again.subscribe.recovered
                assert [number(each) for each in again.subscribe.publications] == [2, 3, 4, 5, 6]
                await hub.publish("news", 7)
                assert number(await one.publication()) == 7
                await one.cut()
            for value in range(8, 40):
                await hub.publish("news", value)
            async with client(kind, place) as one:
                _, again = await one.start("news", recover=True, epoch=epoch, offset=7)
                assert again.subscribe.was_recovering and not again.subscribe.recovered
                assert again.subscribe.publications == []

    run(main)


@each
def test_many_publications_come_in_order(run: Run, kind: str, where: str) -> None:
    async def main() -> None:
        hub = open_hub()
        async with site(where, hub) as place, client(kind, place) as one:
            await one.start("news", "plain:x")
            for value in range(300):
                await hub.publish("news" if value % 3 else "plain:x", value)
            got = [number(await one.publication()) for _ in range(300)]
            assert [value for value in got if value % 3] == [value for value in range(300) if value % 3]
            assert sorted(got) == list(range(300))
            assert [value for value in got if not value % 3] == list(range(0, 300, 3))

    run(main)


@each
def test_the_client_is_told_why_it_ends(run: Run, kind: str, where: str) -> None:
    async def main() -> None:
        hub = open_hub()
        async with site(where, hub) as place, client(kind, place) as one, client(kind, place) as two:
            await one.start("news")
            await hub.publish("news", 1)
            await hub.disconnect("", code=4501, reason="enough")
            assert number(await one.publication()) == 1
            ended = await one.end()
            assert (ended.code, ended.reason) == (4501, "enough")
            await two.start("news")
            await hub.close()
            assert (await two.end()).code == 3001

    run(main)


@each
def test_malformed_commands_end_the_session(run: Run, kind: str, where: str) -> None:
    async def main() -> None:
        hub = open_hub()
        async with site(where, hub) as place, client(kind, place) as one:
            await one.start()
            await one.send_frame(b"\x05\x01\x02" if one.codec.binary else b"{nonsense")
            assert (await one.end()).code == 3501
            assert hub.info().clients == 0

    run(main)


@each
def test_what_comes_before_connecting_ends_the_session(run: Run, kind: str, where: str) -> None:
    async def main() -> None:
        hub = open_hub()
        async with site(where, hub) as place, client(kind, place) as one:
            await one.open(Command(id=1, subscribe=SubscribeRequest(channel="news")))
            assert (await one.end()).code == 3501

    run(main)


@pytest.mark.parametrize("where", ["everwire", "uvicorn"])
@pytest.mark.parametrize("kind", ["websocket-json", "http_stream-json"])
def test_a_client_that_takes_nothing_is_cut(run: Run, kind: str, where: str) -> None:
    async def main() -> None:
        hub = open_hub(max_backlog=1 << 16)
        connect = Command(id=1, connect=ConnectRequest())
        subscribe = Command(id=2, subscribe=SubscribeRequest(channel="news"))
        async with site(where, hub) as place:
            sock = await deaf(kind, place, connect, subscribe)
            try:
                await until(lambda: hub.info().subscriptions)
                # The system takes some of it, then nobody does.
                async with asyncio.timeout(10):
                    while hub.info().clients:
                        await hub.publish("news", "x" * 50_000)
                        await asyncio.sleep(0)
                assert await hub.channels() == {}
                assert hub.counts.disconnects == {3008: 1}
                assert (hub.counts.connections, hub.counts.subscriptions) == (0, 0)
            finally:
                sock.close()

    run(main)


@pytest.mark.parametrize("kind", ["websocket-json", "http_stream-protobuf", "sse-json"])
def test_pings_are_answered_or_the_session_ends(run: Run, kind: str) -> None:
    async def main() -> None:
        hub = open_hub(ping_interval=0.2, pong_timeout=0.1)
        async with site("everwire", hub) as place, client(kind, place) as one:
            await one.start()
            ping = await one.reply()
            assert ping.id == 0 and ping.push is None and ping.error is None
            await one.send_frame(one.codec.pong)
            await one.reply()
            assert (await one.end()).code == 3012

    run(main)


def test_connect_requests_with_an_error_are_answered(run: Run) -> None:
    async def main() -> None:
        hub = open_hub(insecure=False)

        @hub.on_connect
        async def refuse(ctx: Any) -> None:
            from everwire import Unauthorized

            raise Unauthorized

        for kind in KINDS:
            async with site("everwire", hub) as place, client(kind, place) as one:
                await one.open(Command(id=1, connect=ConnectRequest()))
                reply = await one.reply()
                assert reply.error is not None and reply.error.code == 101

    run(main)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if not kind.startswith("long_poll")])
def test_clients_are_told_to_come_back_when_the_server_closes(run: Run, kind: str) -> None:
    async def main() -> None:
        async with site("everwire", open_hub()) as place, client(kind, place) as one:
            await one.start("news")
            place.close()
            ended = await one.end()
            assert (ended.code, ended.reason) == (3001, "shutdown")

    run(main)
