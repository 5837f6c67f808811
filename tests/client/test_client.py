"""The client against a hub: commands, subscriptions, events, refusals."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest
from conftest import Run
from live import take_errors

import everwire
from client.places import a_hub, client, connected, served
from everwire.channels.context import Context, Credentials
from everwire.channels.options import SubscribeOptions
from everwire.client import ClientState, Event, Publication, SubscriptionState
from everwire.errors import CommandError, Disconnected, Forbidden, InvalidState, Unauthorized, Unsubscribed

# Events of callbacks that are plain functions are there when the call that caused them has returned.


async def taken(subscription: everwire.Subscription, count: int) -> list[Any]:
    """The data of the next publications."""
    return [(await anext(subscription)).data for _ in range(count)]


def test_what_is_published_comes_in_order(run: Run) -> None:
    async def main() -> None:
        async with connected(a_hub()) as one, one.subscribe("log:a") as news:
            assert one.state is ClientState.CONNECTED
            assert news.state is SubscriptionState.SUBSCRIBED
            assert (news.recoverable, news.positioned, news.recovered) == (True, True, False)
            start = news.position
            assert start is not None and start.offset == 0
            for n in range(5):
                await one.publish("log:a", {"n": n})
            assert await taken(news, 5) == [{"n": n} for n in range(5)]
            assert news.position == (5, start.epoch)
            page = await news.history(limit=2, reverse=True)
            assert [each.data["n"] for each in page.publications] == [4, 3]
            assert page.position == news.position
            since = await news.history(limit=-1, since=everwire.Position(3, start.epoch))
            assert [each.offset for each in since.publications] == [4, 5]

    run(main)


def test_who_is_there(run: Run) -> None:
    async def main() -> None:
        async with connected(a_hub()) as one:
            comings: asyncio.Queue[Event] = asyncio.Queue()
            news = one.subscribe("log:a", join_leave=True)
            news.on("join", comings.put_nowait)
            news.on("leave", comings.put_nowait)
            await news
            assert set(await news.presence()) == {one.id}
            assert await news.presence_stats() == (1, 1)
            async with client(port_of(one)) as other, other.subscribe("log:a"):
                event = await comings.get()
                while event.info.client != other.id:  # type: ignore[union-attr]
                    event = await comings.get()
            left = await comings.get()
            assert isinstance(left, everwire.client.Left)
            assert left.info.client == other.id or left.info.client

    run(main)


def port_of(one: everwire.Client) -> int:
    """The port of a client's server."""
    return int(one.uri.split(":")[2].split("/")[0])


def test_rpc_and_messages(run: Run) -> None:
    async def main() -> None:
        hub = a_hub()
        heard: asyncio.Queue[Any] = asyncio.Queue()

        @hub.rpc("add")
        async def add(ctx: Context, data: Any) -> Any:
            return data["a"] + data["b"]

        @hub.on_message
        async def message(ctx: Context, data: Any) -> None:
            heard.put_nowait(data)

        async with connected(hub) as one:
            assert await one.rpc("add", {"a": 1, "b": 2}) == 3
            await one.send({"hello": "there"})
            assert await heard.get() == {"hello": "there"}
            with pytest.raises(CommandError) as caught:
                await one.rpc("no such method")
            assert caught.value.code in (104, 108)

    run(main)


def test_what_the_hub_refuses_is_an_error_of_the_call(run: Run) -> None:
    async def main() -> None:
        hub = a_hub()

        @hub.channel("secret:{name}")
        async def secret(ctx: Context, name: str) -> None:
            raise Forbidden

        async with connected(hub) as one:
            subscription = one.subscribe("secret:x")
            with pytest.raises(Forbidden):
                await subscription
            with pytest.raises(Forbidden):
                await anext(subscription)
            assert subscription.state is SubscriptionState.UNSUBSCRIBED
            with pytest.raises(Forbidden):
                await one.publish("secret:x", 1)
            # One refusal is not the end of the connection, nor of the name.
            with pytest.raises(Forbidden):
                async with one.subscribe("secret:x"):
                    pass
            await one.publish("a", 1)

    run(main)


def test_who_is_not_let_in_is_told_why(run: Run) -> None:
    async def main() -> None:
        hub = a_hub()

        @hub.on_connect
        async def connect(ctx: Context) -> None:
            raise Unauthorized

        async with served(hub) as port:
            one = client(port)
            ends: list[Event] = []
            one.on("disconnected", ends.append)
            waiting = one.subscribe("a")
            with pytest.raises((Unauthorized, Disconnected)):
                await one.connect()
            with pytest.raises((Unauthorized, Disconnected)):
                await waiting
            assert one.state is ClientState.DISCONNECTED
            assert len(ends) == 1
            await one.disconnect()

    run(main)


def test_a_server_that_is_not_there_is_named(run: Run, unused_tcp_port: int) -> None:
    async def main() -> None:
        with pytest.raises(TimeoutError, match=r"not connected within 0\.2 seconds; the last attempt"):
            async with client(unused_tcp_port, ready_timeout=0.2):
                pass

    run(main)


def test_what_time_does_not_heal_is_raised_at_once(run: Run) -> None:
    async def main() -> None:
        async with served(a_hub()) as port:
            uri = f"ws://127.0.0.1:{port}/nowhere"
            with pytest.raises(everwire.InvalidStatus, match="404"):
                async with everwire.Client(uri, proxy=None):
                    pass

    run(main)


def test_calls_without_a_connection_say_so(run: Run, unused_tcp_port: int) -> None:
    async def main() -> None:
        one = client(unused_tcp_port, timeout=0.1)
        with pytest.raises(InvalidState, match="connect"):
            await one.publish("a", 1)
        connecting = asyncio.create_task(one.connect())
        await asyncio.sleep(0)
        with pytest.raises(TimeoutError, match="no connection"):
            await one.publish("a", 1)
        await one.disconnect()
        with pytest.raises(Disconnected):
            await connecting

    run(main)


def test_a_channel_has_one_subscription_and_can_be_subscribed_again(run: Run) -> None:
    async def main() -> None:
        async with connected(a_hub()) as one:
            async with one.subscribe("a") as first:
                assert one.subscription("a") is first
                with pytest.raises(InvalidState, match="already"):
                    one.subscribe("a")
            assert one.subscription("a") is None
            with pytest.raises(StopAsyncIteration):
                await anext(first)
            async with one.subscribe("a") as second:
                await one.publish("a", 1)
                assert await taken(second, 1) == [1]

    run(main)


def test_the_server_ends_a_subscription_or_has_it_begin_anew(run: Run) -> None:
    async def main() -> None:
        hub = a_hub()

        async def credentials(ctx: Context) -> Any:
            return Credentials(user="u")

        hub.on_connect(credentials)
        async with connected(hub) as one:
            states: list[str] = []
            news = one.subscribe("log:a")
            for name in ("subscribing", "subscribed", "unsubscribed"):
                news.on(name, lambda event: states.append(type(event).__name__))
            await news
            await hub.unsubscribe("u", "log:a", code=2500, reason="again")
            await hub.publish("log:a", 1)
            assert await taken(news, 1) == [1]
            await hub.unsubscribe("u", "log:a", code=2000, reason="enough")
            with pytest.raises(Unsubscribed, match="enough"):
                await anext(news)
            assert states == ["Subscribed", "Subscribing", "Subscribed", "Unsubscribed"]

    run(main)


def test_the_server_sends_a_client_away_for_good(run: Run) -> None:
    async def main() -> None:
        hub = a_hub()

        async def credentials(ctx: Context) -> Any:
            return Credentials(user="u")

        hub.on_connect(credentials)
        async with connected(hub) as one, one.subscribe("a") as news:
            await hub.disconnect("u", code=4500, reason="enough")
            with pytest.raises(Disconnected, match="enough"):
                await anext(news)
            assert one.state is ClientState.DISCONNECTED
            with pytest.raises(Disconnected):
                await one.publish("a", 1)

    run(main)


def test_callbacks_of_either_kind_get_publications_in_order(run: Run) -> None:
    async def main() -> None:
        async with connected(a_hub()) as one:
            plain: list[Any] = []
            slow: list[Any] = []
            done = asyncio.Event()

            async def slowly(publication: Publication) -> None:
                await asyncio.sleep(0)
                slow.append(publication.data)
                if len(slow) == 20:
                    done.set()

            news = one.subscribe("log:a", on_publication=slowly)
            news.on("publication", lambda publication: plain.append(publication.data))
            await news
            await asyncio.gather(*(one.publish("log:a", n) for n in range(20)))
            await done.wait()
            assert plain == slow == list(range(20))

    run(main)


def test_a_callback_that_fails_is_logged_and_harms_nobody(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with connected(a_hub()) as one:
            seen: list[int] = []

            def bad(publication: Publication) -> None:
                raise ValueError("mine")

            news = one.subscribe("a", on_publication=bad)
            news.on("publication", lambda publication: seen.append(publication.data))
            await news
            await one.publish("a", 1)
            await one.publish("a", 2)
            assert seen == [1, 2]
            # The log keeps the traceback, and that the client.
            told = take_errors(caplog)
            assert [kind for _, kind in told] == [ValueError, ValueError]
            assert told[0][0].endswith("main.<locals>.bad failed")

    run(main)


def test_commands_of_one_turn_go_in_one_frame(run: Run) -> None:
    async def main() -> None:
        frames: list[bytes] = []

        async def handler(ws: everwire.Connection) -> None:
            async for message in ws:
                frames.append(message if isinstance(message, bytes) else message.encode())
                if len(frames) == 1:
                    await ws.send('{"id":1,"connect":{"client":"x"}}\n{"id":2,"subscribe":{}}')
                else:
                    await ws.send("\n".join(f'{{"id":{n},"publish":{{}}}}' for n in (3, 4, 5)))

        async with everwire.serve(handler, "127.0.0.1", 0) as server:
            one = client(server.port)
            early = one.subscribe("early")
            async with one:
                await early
                await asyncio.gather(*(one.publish("a", n) for n in range(3)))
                session = one.subscription("early")
                assert session is early
                assert [frame.count(b"\n") for frame in frames] == [1, 2]
                assert b'"connect"' in frames[0] and b'"subscribe"' in frames[0]
                one.tasks.clear()
                # This server answers nothing more: the unsubscription ends with the connection.
                closing = asyncio.create_task(early.unsubscribe())
                await asyncio.sleep(0)
            await closing

    run(main)


def test_a_decoder_that_fails_where_nobody_asked_ends_the_client_visibly(
    run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        async def handler(ws: everwire.Connection) -> None:
            await ws.recv()
            await ws.send('{"id":1,"connect":{"client":"x"}}\n{"push":{"message":{"data":"no number"}}}')
            await ws.wait_closed()

        async with everwire.serve(handler, "127.0.0.1", 0) as server:
            one = client(server.port, decode=int)
            waiting = one.subscribe("a")
            with contextlib.suppress(Disconnected):
                await one.connect()
            with pytest.raises(Disconnected, match="internal error: ValueError"):
                await waiting
            assert one.state is ClientState.DISCONNECTED
            await one.disconnect()
        assert [kind for _, kind in take_errors(caplog)] == [ValueError]

    run(main)


@pytest.mark.parametrize("at", ["connect", "subscribe", "publish", "anext", "rpc"])
def test_any_wait_can_be_cancelled(run: Run, at: str) -> None:
    async def main() -> None:
        hub = a_hub()
        asked = asyncio.Event()

        @hub.rpc("wait")
        async def wait(ctx: Context, data: Any) -> Any:
            asked.set()
            await asyncio.sleep(0.05)

        @hub.channel("slow:{name}")
        async def slow(ctx: Context, name: str) -> SubscribeOptions:
            asked.set()
            await asyncio.sleep(0.05)
            return SubscribeOptions()

        async with connected(hub) as one:
            news = one.subscribe("a")
            await news
            if at == "connect":
                other = client(port_of(one))
                task = asyncio.create_task(other.connect())
                await asyncio.sleep(0)
                task.cancel()
                await asyncio.wait([task])
                await other.disconnect()
                return
            work: dict[str, Any] = {
                "subscribe": lambda: one.subscribe("slow:x").__aenter__(),
                "publish": lambda: one.publish("a", 1),
                "anext": lambda: anext(news),
                "rpc": lambda: one.rpc("wait"),
            }

            async def waiting() -> None:
                await work[at]()

            task = asyncio.create_task(waiting())
            if at in ("subscribe", "rpc"):
                await asked.wait()
            else:
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task])
            assert task.cancelled()
            # All goes on as if nothing had been.
            assert one.subscription("slow:x") is None
            await one.publish("a", "next")
            while (await anext(news)).data != "next":
                pass

    run(main)


def test_server_side_subscriptions_are_events_of_the_client(run: Run) -> None:
    async def main() -> None:
        hub = a_hub()

        async def credentials(ctx: Context) -> Any:
            return Credentials(user="u")

        hub.on_connect(credentials)
        async with connected(hub) as one:
            events = one.events("subscribed", "publication", "unsubscribed")
            await hub.subscribe_user("u", "log:mine")
            await hub.publish("log:mine", {"a": 1})
            await hub.unsubscribe("u", "log:mine")
            found = [await anext(events) for _ in range(3)]
            assert [type(event).__name__ for event in found] == ["Subscribed", "Publication", "Unsubscribed"]
            assert found[1].data == {"a": 1}  # type: ignore[union-attr]
            events.close()
            with pytest.raises(StopAsyncIteration):
                await anext(events)

    run(main)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"transports": ("pigeon",)}, "there is no transport 'pigeon'"),
        ({"transports": ()}, "transports is empty"),
        ({"format": "xml"}, "there is no format 'xml'"),
        ({"max_queue": 0}, "max_queue must be at least 1"),
        ({"min_reconnect_delay": 3, "max_reconnect_delay": 2}, "min_reconnect_delay must be"),
    ],
)
def test_options_without_meaning_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        everwire.Client("ws://localhost", **options)


def test_an_event_that_there_is_not_is_refused() -> None:
    with pytest.raises(ValueError, match="no event 'conected'; there are: connecting, connected"):
        everwire.Client("ws://localhost").on("conected", print)
