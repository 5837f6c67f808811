"""Connections that are cut: everything comes, once and in order, or it is told that it does not."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from conftest import Run
from msgspec import Raw

import everwire
from client.places import OPEN, Cutter, a_hub, client, connected, served
from everwire import Unrecovered
from everwire.client import Event, Failure
from everwire.hub import Hub
from everwire.wire.delta import difference, full_as_string
from everwire.wire.json import JSON
from everwire.wire.messages import (
    Command,
    ConnectResult,
    Publication,
    Push,
    Reply,
    SubscribeResult,
    UnsubscribeResult,
)

TRANSPORTS = ["websocket", "http_stream", "sse"]


@asynccontextmanager
async def cuttable(hub: Hub, **options: Any) -> AsyncIterator[tuple[Cutter, everwire.Client]]:
    """A client that is connected to a hub by way of a proxy."""
    async with served(hub) as port, Cutter(port) as cutter:
        one = client(cutter.port, **options)
        try:
            await one.connect()
            yield cutter, one
        finally:
            await one.disconnect()


def a_long_hub() -> Hub:
    """A hub with channels of which much can be recovered."""
    hub = a_hub(recovery_max_publication_limit=2000)
    hub.namespace("long", history=2000, **OPEN)
    return hub


async def collected(subscription: everwire.Subscription, last: Any) -> list[Any]:
    """The data of all publications up to the last."""
    found: list[Any] = []
    async for publication in subscription:
        found.append(publication.data)
        if publication.data == last:
            break
    return found


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("seed", range(3))
def test_cuts_lose_nothing_and_repeat_nothing(run: Run, transport: str, seed: int) -> None:
    chance = random.Random(seed)
    count = 120

    async def main() -> None:
        hub = a_long_hub()
        async with cuttable(hub, transports=(transport,)) as (cutter, one):
            news = await one.subscribe("long:a")
            collecting = asyncio.create_task(collected(news, count - 1))
            for n in range(count):
                await hub.publish("long:a", n)
                match chance.randrange(12):
                    case 0:
                        cutter.cut()
                    case 1:
                        # The next connection is cut somewhere: in its handshake, or in a frame.
                        cutter.budget = chance.randrange(1500)
                        cutter.cut()
                    case 2:
                        await asyncio.sleep(0.02)
            assert await collecting == list(range(count))
            assert cutter.opened > 1

    run(main)


@pytest.mark.parametrize("policy", ["raise", "continue"])
def test_what_cannot_be_recovered_is_told_once(run: Run, policy: Any) -> None:
    async def main() -> None:
        hub = a_hub()
        async with cuttable(hub) as (cutter, one):
            failures: list[Event] = []
            news = one.subscribe("short:a", on_unrecovered=policy)
            news.on("error", failures.append)
            await news
            await hub.publish("short:a", 0)
            assert (await anext(news)).data == 0
            resubscribed = asyncio.Event()
            news.on("subscribed", lambda event: resubscribed.set())
            cutter.refuse = True
            cutter.cut()
            for n in range(1, 6):
                await hub.publish("short:a", n)
            cutter.refuse = False
            await resubscribed.wait()
            assert (news.was_recovering, news.recovered) == (True, False)
            await hub.publish("short:a", 6)
            if policy == "raise":
                with pytest.raises(Unrecovered, match="offset 1 may be missing") as caught:
                    await anext(news)
                assert (caught.value.since.offset, caught.value.now.offset) == (1, 6)
                assert news.position == caught.value.now
                assert failures == []
            else:
                (failure,) = failures
                assert isinstance(failure, Failure)
                assert isinstance(failure.error, Unrecovered)
            assert (await anext(news)).data == 6
            assert news.position is not None and news.position.offset == 7

    run(main)


def test_a_position_of_another_time_can_be_gone_on_from(run: Run) -> None:
    async def main() -> None:
        hub = a_hub()
        async with served(hub) as port:
            async with client(port) as one, one.subscribe("log:a") as news:
                for n in range(5):
                    await hub.publish("log:a", n)
                assert [(await anext(news)).data for _ in range(2)] == [0, 1]
                since = news.position
            async with client(port) as other, other.subscribe("log:a", since=since) as news:
                assert news.recovered
                assert [(await anext(news)).data for _ in range(3)] == [2, 3, 4]
            gone = everwire.Position(1, "another")
            async with client(port) as third, third.subscribe("log:a", since=gone) as news:
                assert news.was_recovering and not news.recovered
                with pytest.raises(Unrecovered):
                    await anext(news)

    run(main)


def test_a_server_that_forgets_says_so_and_one_that_restarts_is_found_again(run: Run) -> None:
    async def main() -> None:
        async with served(a_hub()) as port:
            one = client(port)
            await one.connect()
            news = await one.subscribe("log:a")
        hub = a_hub()
        async with served(hub, port=port):
            with pytest.raises(Unrecovered):
                await anext(news)
            await hub.publish("log:a", "back")
            assert (await anext(news)).data == "back"
            await one.disconnect()
        with pytest.raises(StopAsyncIteration):
            await anext(news)

    run(main)


def test_a_slow_reader_gets_all_and_holds_little(run: Run) -> None:
    async def main() -> None:
        hub = a_long_hub()
        async with connected(hub, max_queue=8) as one, one.subscribe("long:a") as news:
            for n in range(600):
                await hub.publish("long:a", {"n": n, "filler": "x" * 1000})
            held: list[int] = []
            for n in range(600):
                assert (await anext(news)).data["n"] == n
                held.append(len(news._inbox))
                if n % 50 == 0:
                    await asyncio.sleep(0.005)
            assert max(held) < 300

    run(main)


def test_who_asks_while_much_waits_is_answered(run: Run) -> None:
    async def main() -> None:
        hub = a_long_hub()
        async with connected(hub, max_queue=2) as one, one.subscribe("long:a") as news:
            for n in range(20):
                await hub.publish("long:a", n)
            for n in range(20):
                assert (await anext(news)).data == n
                await one.publish("other", n)

    run(main)


def test_a_transport_that_never_works_is_left_for_the_next(run: Run) -> None:
    async def main() -> None:
        hub = a_hub()
        async with served(hub) as port:
            base = f"http://127.0.0.1:{port}/connection"
            one = everwire.Client(
                f"ws://127.0.0.1:{port}/blocked",
                transports=("websocket", "http_stream", "sse"),
                endpoints={
                    "http_stream": f"{base}/nothing_here",
                    "sse": f"{base}/sse",
                    "emulation": f"{base}/emulation",
                },
                proxy=None,
            )
            told: list[Any] = []
            one.on("connected", told.append)
            one.on("error", told.append)
            async with one, one.subscribe("log:a") as news:
                await one.publish("log:a", 1)
                assert (await anext(news)).data == 1
            assert [type(each).__name__ for each in told] == ["Failure", "Failure", "Connected"]
            assert told[-1].transport == "sse"

    run(main)


def test_a_session_that_is_gone_is_made_anew(run: Run) -> None:
    async def main() -> None:
        hub = a_hub()
        async with cuttable(hub) as (cutter, one):
            connections: list[Any] = []
            one.on("connected", connections.append)
            one.on("connecting", connections.append)
            cutter.cut()
            while not connections or type(connections[-1]).__name__ != "Connected":
                await asyncio.sleep(0.001)
            await one.publish("a", 1)
            assert [type(each).__name__ for each in connections] == ["Connecting", "Connected"]
            assert connections[0].code == 1

    run(main)


@pytest.mark.parametrize("format", ["json", "protobuf"])
def test_differences_become_whole_payloads_again_over_a_cut(run: Run, format: Any) -> None:
    async def main() -> None:
        hub = a_hub()
        hub.namespace("delta", history=100, allowed_delta_types=("fossil",), **OPEN)
        async with cuttable(hub, format=format) as (cutter, one):
            news = await one.subscribe("delta:a", delta="fossil")
            sent = [{"n": n, "text": "the same words every time, and many of them " * 5} for n in range(12)]
            for n, value in enumerate(sent):
                await hub.publish("delta:a", value, delta=True)
                if n == 6:
                    cutter.cut()
            assert [(await anext(news)).data for _ in sent] == sent
            assert news._cursor.delta

    run(main)


def test_differences_go_on_after_a_recovery_and_one_that_does_not_fit_is_recovered(run: Run) -> None:
    whole = [b'{"n":%d,"text":"the same words, and the same words again"}' % n for n in range(4)]
    seen: list[Command] = []

    def publication(offset: int, base: bytes | None = None) -> Publication:
        made = Publication(data=Raw(whole[offset - 1]), offset=offset)
        if base is None:
            return full_as_string(JSON, made)
        return difference(JSON, Publication(data=Raw(base)), made)

    def result(*publications: Publication, **fields: Any) -> SubscribeResult:
        return SubscribeResult(
            recoverable=True,
            positioned=True,
            epoch="e",
            delta=True,
            publications=list(publications),
            **fields,
        )

    # The answers to one subscription after the other, and the pushes after each.
    recovered: dict[str, Any] = {"recovered": True, "was_recovering": True}
    script = [
        (result(), [publication(1)]),
        # As Centrifugo does it: differences go on from the one that the client was sent last.
        (result(offset=1, **recovered), [publication(2, whole[0]), publication(3, b"?" * 60 + whole[2])]),
        (result(publication(3), offset=2, **recovered), [publication(4, whole[2])]),
    ]

    async def handler(ws: everwire.Connection) -> None:
        async for message in ws:
            replies: list[Reply] = []
            for command in JSON.decode_commands(message):
                if command.connect is not None:
                    replies.append(Reply(id=command.id, connect=ConnectResult(client="x")))
                    continue
                assert command.id
                seen.append(command)
                if command.subscribe is None:
                    replies.append(Reply(id=command.id, unsubscribe=UnsubscribeResult()))
                    continue
                answer, pushes = script.pop(0)
                replies.append(Reply(id=command.id, subscribe=answer))
                replies += [Reply(push=Push(channel="a", pub=each)) for each in pushes]
            await ws.send(JSON.encode_replies(replies), text=True)
            if len(script) == 2:
                await ws.close(3011, "force reconnect")

    async def main() -> None:
        async with everwire.serve(handler, "127.0.0.1", 0) as server, client(server.port) as one:
            failures: list[Event] = []
            async with one.subscribe("a", delta="fossil") as news:
                news.on("error", failures.append)
                assert [(await anext(news)).raw for _ in range(4)] == whole
            assert [isinstance(each, Failure) and each.what for each in failures] == ["delta"]
        asked = [each.subscribe and each.subscribe.offset for each in seen]
        assert asked == [0, 1, None, 2, None]

    run(main)


def test_who_asks_again_at_once_leaves_the_client_time_to_come_back(run: Run) -> None:
    """The loop that a user writes who has a key for it: until it is there, without a pause."""

    async def main() -> None:
        hub = a_hub()
        hub.rpc("now")(lambda ctx, data: data)
        async with served(hub) as port, Cutter(port) as proxy, client(proxy.port) as one:
            for _ in range(5):
                proxy.cut()
                failures: list[int] = []
                while True:
                    try:
                        assert await one.rpc("now", 1) == 1
                    except everwire.Disconnected as error:
                        failures.append(error.code)
                        assert len(failures) < 10, failures
                    else:
                        break
                assert 0 not in failures, "nobody has called disconnect"

    run(main)
